"""The response object: what was asked, and what became of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from entroute.api.render import spent
from entroute.api.responses.schema import ResponseBody
from entroute.api.responses.tools import function_tools, shown_tool
from entroute.evidence import Outcome, Trace

_REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Why an answer is incomplete, by its finish reason."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a response says of its request.

    Attributes:
        id: Of the response.
        created_at: Unix seconds.
        store: Whether it is meant to be kept.
        body: What the client sent.
        now: Returns unix seconds.
        settings: What of the body has a form of its own in the response; see `shown_settings`.
    """

    id: str
    created_at: int
    store: bool
    body: ResponseBody
    now: Callable[[], float]
    settings: Mapping[str, Any]

    def begun(self, model: str) -> dict[str, Any]:
        """Return the response while it is made."""
        return self._response("in_progress", model, [])

    def ended(
        self, outcome: Outcome, trace: Trace, model: str, output: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        """Return the response when its answer is there."""
        reason = incomplete_reason(outcome)
        response = self._response("incomplete" if reason else "completed", model, output)
        response["usage"] = _usage(outcome, trace)
        if reason:
            response["incomplete_details"] = {"reason": reason}
        else:
            response["completed_at"] = int(self.now())
        return response

    def failed(
        self, code: str, message: str, model: str, output: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        """Return the response that an error has cut off."""
        response = self._response("failed", model, output)
        response["error"] = {"code": code, "message": message}
        return response

    def _response(
        self, status: str, model: str, output: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        body = self.body
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created_at,
            "status": status,
            "background": False,
            "completed_at": None,
            "error": None,
            "incomplete_details": None,
            "instructions": body.instructions,
            "max_output_tokens": body.max_output_tokens,
            "max_tool_calls": body.max_tool_calls,
            "metadata": body.metadata or {},
            "model": model,
            "output": list(output),
            "previous_response_id": body.previous_response_id,
            "store": self.store,
            "temperature": body.temperature,
            "top_logprobs": body.top_logprobs or 0,
            "top_p": body.top_p,
            "truncation": "disabled",
            "usage": None,
            **self.settings,
        }


def incomplete_reason(outcome: Outcome) -> str | None:
    """Return why an answer is incomplete, None where it is not."""
    return _REASONS.get(outcome.choices[0].finish_reason)


def shown_settings(body: ResponseBody) -> dict[str, Any]:
    """Return the request's settings that have a form of their own in the response."""
    text, reasoning, extra = body.text, body.reasoning, body.model_extra or {}
    shown: dict[str, Any] = {"format": (text and text.format) or {"type": "text"}}
    if text is not None and text.verbosity is not None:
        shown["verbosity"] = text.verbosity
    parallel = body.parallel_tool_calls
    echoed: dict[str, Any] = {
        "parallel_tool_calls": True if parallel is None else parallel,
        "reasoning": {
            "effort": reasoning.effort if reasoning else None,
            "summary": (reasoning.summary or reasoning.generate_summary) if reasoning else None,
        },
        "text": shown,
        "tool_choice": body.tool_choice or "auto",
        "tools": [shown_tool(tool) for tool in function_tools(body.tools or ())],
    }
    labels = ("user", "safety_identifier", "prompt_cache_key")
    return {**echoed, **{name: extra.get(name) for name in labels}}


def _usage(outcome: Outcome, trace: Trace) -> dict[str, Any]:
    """Return the delivered answer's usage as one call's, and everything spent beside it.

    Workers tell neither tokens written to their prefix caches nor tokens of reasoning apart.
    """
    delivered = outcome.choices[0].usage
    return {
        "input_tokens": delivered.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": delivered.cached_tokens,
            "cache_write_tokens": 0,
        },
        "output_tokens": delivered.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": delivered.prompt_tokens + delivered.completion_tokens,
        "entroute": spent(trace.charges),
    }
