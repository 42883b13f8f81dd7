"""One worker of a pool, and what is known of it."""

from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import urlsplit

from entroute.backends.http_worker import HttpWorker
from entroute.errors import WorkerMisconfigured, WorkerUnavailable

W = TypeVar("W", bound=HttpWorker)


@dataclass(slots=True, eq=False)
class Member(Generic[W]):
    """A worker and what is known of its health.

    Every attempt at it is told of: `begun`, then once `succeeded`, `failed` or `abandoned`.

    Attributes:
        worker: The client.
        healthy: Whether the last health sweep, and no call since, found that it may be called.
        detail: Why not, in words.
        context_length: Tokens it can hold as it told, None if it did not.
    """

    worker: W
    healthy: bool = True
    detail: str = ""
    context_length: int | None = None

    @property
    def name(self) -> str:
        """Host and port, as metrics name it."""
        return urlsplit(self.worker.url).netloc

    @property
    def in_flight(self) -> int:
        """Calls of this gateway that the worker is answering, streams until they end."""
        return self.worker.in_flight

    @property
    def callable(self) -> bool:
        """Whether it may be called now."""
        return self.healthy

    def begun(self) -> None:
        """Note that an attempt at it begins."""

    def succeeded(self) -> None:
        """Note that it answered an attempt to the end."""

    def failed(self, error: Exception, *, begun: bool) -> None:
        """Note that an attempt failed.

        Args:
            error: How: what the client did wrong says nothing of the worker.
            begun: Whether the first piece of an answer had come.
        """
        if isinstance(error, WorkerUnavailable | WorkerMisconfigured) and not begun:
            self.healthy, self.detail = False, str(error)

    def abandoned(self) -> None:
        """Note that an attempt was cancelled: that says nothing of the worker."""
