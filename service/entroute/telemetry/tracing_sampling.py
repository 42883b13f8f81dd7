"""Which requests are traced, and as part of whose trace."""

from collections.abc import Callable, Iterable
from random import Random

from entroute.protocols import Clock
from entroute.spans import Story
from entroute.telemetry.tracing_context import SpanContext, context_of
from entroute.telemetry.tracing_settings import Inbound
from entroute.telemetry.tracing_story import QuietStory, RequestStory

_LOW_BITS = (1 << 64) - 1


class Stories:
    """Opens the story of every request.

    Args:
        sample: Share of the traces that begin here which are recorded, in [0, 1].
        inbound: What becomes of a client's trace.
        clock: Monotonic seconds.
        now_ns: Nanoseconds since 1970.
        rng: Draws ids.

    Attributes:
        sample: Share of the traces that begin here which are recorded, in [0, 1].
    """

    def __init__(
        self,
        sample: float,
        inbound: Inbound,
        clock: Clock,
        now_ns: Callable[[], int],
        rng: Random,
    ) -> None:
        self.sample = sample
        self._inbound = inbound
        self._clock = clock
        self._now_ns = now_ns
        self._rng = rng

    def open(self, headers: Iterable[tuple[bytes, bytes]]) -> Story:
        """Return the story of a request that has just arrived with these headers."""
        said = None if self._inbound == "ignore" else context_of(headers)
        parent = said if self._inbound == "continue" else None
        if parent is not None:
            own = SpanContext(parent.trace_id, self._id(64), parent.sampled, parent.state)
        else:
            trace_id = self._id(128)
            own = SpanContext(trace_id, self._id(64), self._drawn(trace_id))
        if not own.sampled:
            return QuietStory(own)
        return RequestStory(
            own,
            parent=parent,
            link=said if parent is None else None,
            clock=self._clock,
            epoch_ns=self._now_ns() - round(self._clock() * 1e9),
            new_id=lambda: self._id(64),
        )

    def _drawn(self, trace_id: int) -> bool:
        """Whether a new trace is recorded: by its id, so that all who see the id agree.

        Source: OpenTelemetry's TraceIdRatioBased sampler.
        """
        return trace_id & _LOW_BITS < round(self.sample * (_LOW_BITS + 1))

    def _id(self, bits: int) -> int:
        return self._rng.getrandbits(bits) or 1  # 0 is no id
