"""Every test here ends what it started."""

from tests.fakes import no_task_left
from tests.workers import connect, two_workers, worker, worker_processes

__all__ = ["connect", "no_task_left", "two_workers", "worker", "worker_processes"]
