"""Spans on their way to a collector that is slow, full or broken."""

import threading
from collections.abc import Iterator, Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from entroute.telemetry.tracing import RESULTS
from entroute.telemetry.tracing_outbox import Outbox

MOST = 1000


class Gate(SpanExporter):
    """An exporter that waits until it may go on; `sent` are the sizes of its batches."""

    def __init__(self, *, open_: bool = True) -> None:
        self.sent: list[int] = []
        self.may_go_on = threading.Event()
        self.asked = threading.Event()
        self.answer: SpanExportResult | Exception = SpanExportResult.SUCCESS
        self.closed = False
        if open_:
            self.may_go_on.set()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.asked.set()
        self.may_go_on.wait(60)
        if isinstance(self.answer, Exception):
            raise self.answer
        self.sent.append(len(spans))
        return self.answer

    def shutdown(self) -> None:
        self.closed = True
        self.may_go_on.set()


@pytest.fixture
def counts() -> dict[str, int]:
    return dict.fromkeys(RESULTS, 0)


@pytest.fixture
def shut() -> Iterator[Gate]:
    """A collector that does not answer before the end of the test."""
    gate = Gate(open_=False)
    yield gate
    gate.may_go_on.set()


def filled(outbox: Outbox, spans: int) -> None:
    for number in range(spans):
        outbox.on_end(ReadableSpan(f"span {number}"))


def test_everything_that_waits_is_sent_at_the_end(counts: dict[str, int]) -> None:
    gate = Gate()
    outbox = Outbox(gate, MOST, counts)
    outbox.start()
    filled(outbox, 700)
    outbox.close(60)
    assert sum(gate.sent) == 700
    assert max(gate.sent) <= 512
    assert gate.closed
    assert counts == {"exported": 700, "failed": 0, "dropped": 0}


def test_a_full_queue_drops_what_comes_and_counts_it(counts: dict[str, int], shut: Gate) -> None:
    outbox = Outbox(shut, MOST, counts)
    outbox.start()
    filled(outbox, 512)
    assert shut.asked.wait(60)  # the first batch is under way, and the queue empty
    filled(outbox, MOST + 7)
    assert counts["dropped"] == 7
    shut.may_go_on.set()
    outbox.close(60)
    assert counts == {"exported": 512 + MOST, "failed": 0, "dropped": 7}


def test_the_end_waits_no_longer_than_it_may_and_counts_what_is_lost(
    counts: dict[str, int], shut: Gate
) -> None:
    outbox = Outbox(shut, MOST, counts)
    outbox.start()
    filled(outbox, 512)
    assert shut.asked.wait(60)
    filled(outbox, 20)
    outbox.close(0.05)
    assert shut.closed
    assert counts["dropped"] + counts["exported"] <= 532
    assert counts["dropped"] in {0, 20}  # the thread may have woken up when the exporter was shut


def test_what_comes_after_the_end_is_dropped(counts: dict[str, int]) -> None:
    outbox = Outbox(Gate(), MOST, counts)
    outbox.start()
    outbox.close(60)
    filled(outbox, 3)
    assert counts["dropped"] == 3


def test_one_that_was_never_started_ends_too(counts: dict[str, int]) -> None:
    outbox = Outbox(Gate(), MOST, counts)
    filled(outbox, 2)
    outbox.close(60)
    assert counts == {"exported": 0, "failed": 0, "dropped": 2}


@pytest.mark.parametrize("answer", [SpanExportResult.FAILURE, RuntimeError("broken")], ids=str)
def test_failures_are_counted_said_once_and_end_nothing(
    counts: dict[str, int],
    answer: SpanExportResult | Exception,
    caplog: pytest.LogCaptureFixture,
) -> None:
    gate = Gate()
    gate.answer = answer
    outbox = Outbox(gate, MOST, counts)
    outbox.start()
    with caplog.at_level("INFO"):
        filled(outbox, 512)
        filled(outbox, 488)
        outbox.close(60)
    assert counts == {"exported": 0, "failed": 1000, "dropped": 0}
    said = [record.getMessage() for record in caplog.records]
    assert said == ["tracing: the collector takes no spans; they are lost meanwhile"]
