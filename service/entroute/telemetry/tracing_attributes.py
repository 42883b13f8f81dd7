"""What spans say: attributes of requests, calls and steps, by OpenTelemetry's GenAI conventions.

Names of our own begin with `entroute.`. Nothing here quotes a prompt, an answer, an error's words
or a key: values are numbers, ids, and names from the configuration or the code. What a worker
calls its model, or its reason to stop, is taken only where it looks like a name.

Source: OpenTelemetry semantic conventions 1.41.0, GenAI spans and GenAI agent spans.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from entroute.evidence import Outcome, Trace
from entroute.spending import Charge
from entroute.telemetry.tracing_content import input_messages, output_messages
from entroute.telemetry.tracing_story import CANCELLED, Called, Span
from entroute.types import Call, Completion

Attributes = dict[str, Any]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}")
_REASONS = frozenset(
    {"stop", "length", "tool_calls", "content_filter", "function_call", "abort", "error"}
)
_PORTS = {"http": 80, "https": 443}
_API = "openai"  # what a worker speaks of which nobody knows what it runs


def of_request(trace: Trace) -> Attributes:
    """Return the attributes of a request's own span.

    Tokens are `entroute.usage.*` here: the calls' spans have GenAI's names, and who sums those
    over a trace counts each token once.
    """
    outcome, decision, estimate = trace.outcome, trace.decision, trace.estimate
    usages = [charge.usage for charge in trace.charges]
    strategy = outcome.strategy if outcome else decision.strategy if decision else None
    told: Attributes = {
        "gen_ai.operation.name": "invoke_workflow",
        "gen_ai.workflow.name": strategy,
        "error.type": CANCELLED if trace.result == "cancelled" else trace.error,
        "entroute.request_id": trace.request_id,
        "entroute.endpoint": trace.endpoint,
        "entroute.result": trace.result,
        "entroute.streamed": trace.streamed,
        "entroute.key": trace.key or None,
        "entroute.group": trace.group or None,
        "entroute.strategy": strategy,
        "entroute.tier": outcome.tier if outcome else decision.tier if decision else None,
        "entroute.cache": trace.cache,
        "entroute.shared": trace.shared or None,
        "entroute.resumed": trace.resumed or None,
        "entroute.degraded": list(trace.degraded) or None,
        "entroute.exhausted": trace.exhausted,
        "entroute.limited": trace.limited,
        "entroute.calls": sum(usage.calls for usage in usages),
        "entroute.usage.input_tokens": sum(usage.prompt_tokens for usage in usages),
        "entroute.usage.output_tokens": sum(usage.completion_tokens for usage in usages),
        "entroute.cost_usd": sum(charge.cost_usd for charge in trace.charges),
        "entroute.overhead_s": trace.overhead_s(trace.started),
        "entroute.queued_s": trace.queued_s or None,
        "entroute.time_to_first_token_s": trace.ttft_s,
        "entroute.difficulty": estimate.difficulty if estimate else None,
        **(_of_outcome(outcome) if outcome else {}),
    }
    return known(told)


def _of_outcome(outcome: Outcome) -> Attributes:
    return {
        "entroute.stop_reason": outcome.stop_reason,
        "entroute.candidates": len(outcome.candidates) or None,
        "entroute.verifier": outcome.verifier or None,
        "entroute.cancelled_calls": outcome.cancelled or None,
    }


def of_passage(trace: Trace, name: str) -> Attributes:
    """Return what a part of the walk found: cache, difficulty or decision."""
    estimate, decision, likeness = trace.estimate, trace.decision, trace.likeness
    told: Attributes = {}
    if name == "cache":
        told = {"entroute.cache": trace.cache, "entroute.likeness": likeness and likeness.result}
    elif name == "difficulty" and estimate is not None:
        told = {
            "entroute.difficulty": estimate.difficulty,
            "entroute.source": estimate.source,
            "entroute.task": estimate.task,
        }
    elif name == "decision" and decision is not None:
        told = {
            "entroute.tier": decision.tier,
            "entroute.strategy": decision.strategy,
            "entroute.plan": decision.plan or None,
            "entroute.basis": decision.basis or None,
            "entroute.reason": decision.reason,
            "entroute.predicted_quality": decision.predicted_quality,
            "entroute.predicted_cost_usd": decision.predicted_cost_usd,
        }
    return known(told)


def of_call(called: Called, charge: Charge, *, content: bool) -> Attributes:
    """Return the attributes of one call's span, prompt and answer only with `content`."""
    usage = charge.usage
    told: Attributes = {
        "gen_ai.operation.name": called.name,
        "gen_ai.provider.name": called.engine or _API,
        "gen_ai.request.model": called.model or None,
        "gen_ai.request.stream": called.facts.get("streamed") or None,
        "gen_ai.usage.input_tokens": usage.prompt_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens or None,
        "gen_ai.usage.output_tokens": usage.completion_tokens,
        "error.type": called.error,
        "entroute.tier": charge.tier,
        "entroute.purpose": charge.purpose,
        "entroute.call": called.number,
        "entroute.attempts": 1 + len(called.failures) - _failed(called),
        "entroute.partial": bool(usage.partial_calls) or None,
        "entroute.cost_usd": charge.cost_usd,
        **address(called.worker),
    }
    call, answer = called.facts.get("call"), called.facts.get("answer")
    if isinstance(call, Call):
        told |= _of_asked(call, content=content)
    if isinstance(answer, Completion):
        told |= _of_answer(answer, streamed=bool(called.facts.get("streamed")), content=content)
    return known(told)


def _failed(called: Called) -> bool:
    """Whether the last attempt is among the failures: no other followed it."""
    return called.error is not None and called.error != CANCELLED and bool(called.failures)


def _of_asked(call: Call, *, content: bool) -> Attributes:
    request = call.request
    return {
        "gen_ai.request.max_tokens": call.max_tokens,
        "gen_ai.request.temperature": request.temperature,
        "gen_ai.request.seed": None if request.seed is None else request.seed + call.sample,
        "entroute.sample": call.sample or None,
        "gen_ai.input.messages": input_messages(call) if content else None,
    }


def _of_answer(answer: Completion, *, streamed: bool, content: bool) -> Attributes:
    reason = answer.finish_reason
    return {
        "gen_ai.response.model": answer.model if _NAME.fullmatch(answer.model) else None,
        "gen_ai.response.finish_reasons": [reason if reason in _REASONS else "other"],
        "gen_ai.response.time_to_first_chunk": answer.ttft_s if streamed else None,
        "gen_ai.output.messages": output_messages(answer) if content else None,
    }


def of_step(step: Span) -> tuple[str, Attributes]:
    """Return the name and the attributes of a step's span."""
    facts = step.facts
    told: Attributes = {"error.type": step.error}
    name = step.name
    if name == "sandbox":
        name = "execute_tool sandbox"
        told |= {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "sandbox"}
        told["entroute.status"] = facts.get("status")
    elif name == "verify":
        name = f"verify {facts['verifier']}"
        told["entroute.verifier"] = facts["verifier"]
        told["entroute.candidates"] = facts["candidates"]
    elif name == "reward":
        told["entroute.reward"] = facts["endpoint"]
    return name, known(told)


def address(url: str) -> Mapping[str, Any]:
    """Return where a URL leads, nothing for none."""
    parts = urlsplit(url)
    if not parts.hostname:
        return {}
    port = parts.port or _PORTS.get(parts.scheme)
    return {"server.address": parts.hostname, "server.port": port}


def known(told: Mapping[str, Any]) -> Attributes:
    """Return attributes without those that were not computed."""
    return {name: value for name, value in told.items() if value is not None}
