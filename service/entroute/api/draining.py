"""The end of a server: what runs may end in its time, then it is told that the server leaves."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from starlette.types import Scope

from entroute.errors import ShuttingDown
from entroute.evidence import Trace

_CUT = "cut"
_TRACE = "trace"


class Drain:
    """Whether a server is leaving, and the requests that have not ended yet.

    Attributes:
        begun: Whether it has been asked to stop: others should be sent what is new.
        over: Whether the time of what still runs is up.
    """

    def __init__(self) -> None:
        self.begun = False
        self.over = False
        self._open: dict[asyncio.Task[Any], Scope] = {}

    def begin(self) -> None:
        """Note that the server has been asked to stop."""
        self.begun = True

    def end(self) -> int:
        """Cancel what still runs, which is told why; return how many requests that is."""
        self.begun = self.over = True
        for task, scope in self._open.items():
            state = scope["state"]
            state[_CUT] = True
            trace: Trace | None = state.get(_TRACE)
            if trace is not None and trace.result == "running":
                trace.result, trace.error = "server_error", ShuttingDown.__name__
            task.cancel()
        return len(self._open)

    @contextmanager
    def request(self, scope: Scope) -> Iterator[None]:
        """Hold a request, whose task this is, until it ends or the server's time is up.

        Raises:
            ShuttingDown: It was up.
        """
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("must run in a task")
        if self.over:
            raise ShuttingDown
        self._open[task] = scope
        try:
            yield
        except asyncio.CancelledError:
            if was_cut(scope) and task.uncancel() == 0:
                raise ShuttingDown from None
            raise
        finally:
            del self._open[task]


def note_trace(scope: Scope, trace: Trace) -> None:
    """Let the end of a drain be told in a request's trace."""
    scope["state"][_TRACE] = trace


def was_cut(scope: Scope) -> bool:
    """Say whether a request was cancelled because the server's time was up."""
    return bool(scope["state"].get(_CUT))
