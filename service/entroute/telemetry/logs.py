"""Logs: one structured line a request, never with prompts, answers or keys in it."""

import logging
import sys
from typing import Any, TextIO

import structlog

from entroute.evidence import Trace


def configure_logs(level: str, stream: TextIO = sys.stderr, process: int | None = None) -> None:
    """Send every log record to `stream` as one JSON object a line.

    Args:
        level: Least level that is sent.
        stream: Where to; a line is written at once, so that processes may share it.
        process: Which of several server processes this is, None where there is one.
    """

    def numbered(_: Any, __: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return line if process is None else {**line, "process": process}

    shared: list[structlog.typing.Processor] = [
        numbered,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    set_level(level)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # one line a health probe is noise
    # At debug it writes other servers' headers, which may repeat the key that they were sent.
    logging.getLogger("httpcore").setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def set_level(level: str) -> None:
    """Log nothing below a level."""
    logging.getLogger().setLevel(level.upper())


class RequestLog:
    """Writes one line a finished trace.

    Args:
        logger: A structlog logger.
    """

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def record(self, trace: Trace) -> None:
        """Write the line."""
        self._logger.info("request", **line_of(trace))


def line_of(trace: Trace) -> dict[str, Any]:
    """Return a trace as a flat object; what was not computed is absent. Times are milliseconds."""
    end = trace.started if trace.finished is None else trace.finished
    usages = [charge.usage for charge in trace.charges]
    line: dict[str, Any] = {
        "request_id": trace.request_id,
        "endpoint": trace.endpoint,
        "tenant": trace.tenant,
        "key": trace.key or None,
        "group": trace.group or None,
        "result": trace.result,
        "streamed": trace.streamed,
        "error": trace.error,
        "cache": trace.cache,
        "shared": trace.shared or None,
        "resumed": trace.resumed or None,
        "degraded": trace.degraded or None,
        "exhausted": trace.exhausted,
        "calls": sum(usage.calls for usage in usages),
        "prompt_tokens": sum(usage.prompt_tokens for usage in usages),
        "completion_tokens": sum(usage.completion_tokens for usage in usages),
        "cost_usd": round(sum(charge.cost_usd for charge in trace.charges), 9),
        "duration_ms": _ms(end - trace.started),
        "overhead_ms": _ms(trace.overhead_s(end)),
        "ttft_ms": None if trace.ttft_s is None else _ms(trace.ttft_s),
    }
    if trace.story is not None:
        line |= trace.story.ids
    if trace.estimate is not None:
        line["difficulty"] = trace.estimate.difficulty
    if trace.decision is not None:
        line["reason"] = trace.decision.reason
        line["plan"] = trace.decision.plan or None
        line["predicted_quality"] = trace.decision.predicted_quality
    if trace.outcome is not None:
        line["tier"], line["strategy"] = trace.outcome.tier, trace.outcome.strategy
        line["stop_reason"] = trace.outcome.stop_reason
    return {name: value for name, value in line.items() if value is not None}


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 3)
