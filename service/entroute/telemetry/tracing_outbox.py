"""Spans on their way to the collector: a bounded queue, emptied by a thread of its own.

Why not the SDK's batch processor: it does not count what it drops, and its end is not bounded.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

_LOG = logging.getLogger(__name__)

_BATCH = 512
_EVERY_S = 1.0  # a batch is sent after so long, full or not


class Outbox(SpanProcessor):
    """Hands spans to an exporter in another thread; nobody waits for it but `close`.

    Args:
        exporter: Sends a batch; may block.
        most: Spans that wait at most, at least a batch.
        counts: Takes what became of them: exported, failed, dropped.
    """

    def __init__(self, exporter: SpanExporter, most: int, counts: dict[str, int]) -> None:
        self._exporter = exporter
        self._most = most
        self._counts = counts
        self._queue: deque[ReadableSpan] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)

    @property
    def counts(self) -> Mapping[str, int]:
        """Spans so far by what became of them."""
        return self._counts

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span, or drop it where too many wait; never blocks for long."""
        with self._changed:
            if self._closed or len(self._queue) >= self._most:
                self._counts["dropped"] += 1
                return
            self._queue.append(span)
            if len(self._queue) == _BATCH:
                self._changed.notify()

    def close(self, within_s: float) -> None:
        """Send what waits, for so many seconds at most; blocks so long."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(within_s)
        self._exporter.shutdown()
        with self._changed:
            self._counts["dropped"] += len(self._queue)
            self._queue.clear()

    def _run(self) -> None:
        while batch := self._next():
            self._send(batch)

    def _next(self) -> list[ReadableSpan]:
        """Wait for the next batch; an empty one is the end."""
        with self._changed:
            until = time.monotonic() + _EVERY_S
            while not self._closed and len(self._queue) < _BATCH:
                left = until - time.monotonic()
                if left > 0:
                    self._changed.wait(left)
                elif self._queue:
                    break
                else:
                    until = time.monotonic() + _EVERY_S
            return [self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))]

    def _send(self, batch: list[ReadableSpan]) -> None:
        try:
            sent = self._exporter.export(batch) is SpanExportResult.SUCCESS
        except Exception:  # noqa: BLE001 - in the background: the thread must go on
            _LOG.debug("spans could not be sent", exc_info=True)
            sent = False
        with self._changed:
            self._counts["exported" if sent else "failed"] += len(batch)
        if sent is self._failing:
            self._failing = not sent
            if sent:
                _LOG.info("tracing: the collector takes spans again")
            else:
                _LOG.warning("tracing: the collector takes no spans; they are lost meanwhile")
