"""Every test here ends what it started."""

from tests.fakes import no_task_left

__all__ = ["no_task_left"]
