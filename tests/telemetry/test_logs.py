import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from entroute.decisions import Decision, Estimate
from entroute.evidence import Outcome
from entroute.spending import Charge, Usage
from entroute.telemetry.logs import RequestLog, configure_logs, line_of
from tests.builders import a_completion, a_trace

PROMPT, ANSWER = "my private question", "its private answer"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Give what the logs are written to; put logging back as it was afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    made = io.StringIO()
    configure_logs("info", made)
    yield made
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_a_trace_is_one_json_line(stream: io.StringIO) -> None:
    charge = Charge(0, "small", "answer", Usage(10, 0, 3, 1), 0.000016)
    trace = a_trace(
        tenant="team-a",
        cache="miss",
        estimate=Estimate(0.3, "lexical"),
        decision=Decision("small", "single", "difficulty 0.30"),
        outcome=Outcome((a_completion(ANSWER),), "single", "settled"),
        charges=(charge,),
        result="ok",
        upstream_s=1.0,
        finished=101.5,
    )
    RequestLog(structlog.get_logger("entroute")).record(trace)
    (text,) = stream.getvalue().splitlines()
    line = json.loads(text)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "request",
        "level": "info",
        "request_id": "r-1",
        "endpoint": "chat",
        "tenant": "team-a",
        "result": "ok",
        "streamed": False,
        "cache": "miss",
        "calls": 1,
        "prompt_tokens": 10,
        "completion_tokens": 3,
        "cost_usd": 0.000016,
        "duration_ms": 1500.0,
        "overhead_ms": 500.0,
        "difficulty": 0.3,
        "reason": "difficulty 0.30",
        "tier": "small",
        "strategy": "single",
        "stop_reason": "settled",
    }
    assert ANSWER not in text


def test_a_line_names_the_keys_id_and_group() -> None:
    line = line_of(a_trace(tenant="acme", key="0123456789ab", group="batch"))
    assert (line["tenant"], line["key"], line["group"]) == ("acme", "0123456789ab", "batch")
    assert not {"key", "group"} & set(line_of(a_trace()))


def test_what_was_not_computed_is_absent() -> None:
    line = line_of(a_trace(result="client_error", error="InvalidRequest"))
    assert line["error"] == "InvalidRequest"
    assert not {"tier", "ttft_ms", "difficulty", "cache", "degraded", "shared"} & set(line)
    assert line["duration_ms"] == 0


async def test_a_line_of_a_real_walk_holds_neither_prompt_nor_answer(
    stream: io.StringIO,
) -> None:
    from tests.builders import a_request
    from tests.scripted import says
    from tests.walks import walk

    w = walk(says(ANSWER))
    await w.ask(a_request(PROMPT, temperature=0.0))
    RequestLog(structlog.get_logger("entroute")).record(w.trace)
    assert '"result": "ok"' in stream.getvalue()
    assert PROMPT not in stream.getvalue()
    assert ANSWER not in stream.getvalue()


def test_other_loggers_write_json_too_and_the_level_holds(stream: io.StringIO) -> None:
    logging.getLogger("entroute.backends.health").warning("worker %s: %s", "h:1", "refused")
    logging.getLogger("entroute").debug("too much")
    logging.getLogger("httpcore.http11").debug("other servers' headers")
    (text,) = stream.getvalue().splitlines()
    line = json.loads(text)
    assert (line["event"], line["level"]) == ("worker h:1: refused", "warning")
