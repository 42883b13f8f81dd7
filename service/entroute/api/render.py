"""Outcomes and deltas to OpenAI's bodies and chunks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from entroute.api.explain import evidence_of
from entroute.evidence import Outcome, Trace
from entroute.protocols import Clock
from entroute.spending import Charge, Usage
from entroute.types import Completion, Delta, TokenLogprob


@dataclass(slots=True)
class Rendering:
    """How one request's answer is written.

    Attributes:
        id: Of the answer.
        created: Unix seconds.
        chat: Whether it is a chat completion, not a text completion.
        trace: Of the request.
        clock: Monotonic seconds.
        models: Model by tier.
        asked_model: The model the client wrote, used until a tier is known.
        logprobs: Whether the client wants log-probabilities.
        top_logprobs: How many alternatives a token it wants.
        explain: Whether it wants the evidence.
        echo: The prompt that every choice begins with, "" for none.
        reads_prompt: Whether the worker has put the prompt into the answer itself.
        service_tier: OpenAI's name of the tier that serves it, None where it asked for none.
        model: The model's name, fixed at the first piece.
        started: Choices whose first piece was written.
        characters: By choice, those of the tokens whose log-probabilities were written.
    """

    id: str
    created: int
    chat: bool
    trace: Trace
    clock: Clock
    models: Mapping[str, str]
    asked_model: str
    logprobs: bool
    top_logprobs: int
    explain: bool
    echo: str = ""
    reads_prompt: bool = False
    service_tier: str | None = None
    model: str = ""
    started: set[int] = field(default_factory=set)
    characters: dict[int, int] = field(default_factory=dict)

    def body(self, outcome: Outcome) -> dict[str, Any]:
        """Return a whole answer."""
        self._name_model(outcome.tier)
        body = self._envelope("chat.completion" if self.chat else "text_completion")
        body["choices"] = [self._choice(i, choice) for i, choice in enumerate(outcome.choices)]
        body["usage"] = self.usage(outcome)
        if self.explain:
            body["entroute"] = self.summary(outcome)
        return body

    def chunks(self, delta: Delta) -> list[dict[str, Any]]:
        """Return one piece, after the prompt where a choice begins with it."""
        begun = delta.index in self.started or not self.echo
        prompt = [] if begun else [self.chunk(Delta(self.echo, delta.index, tier=delta.tier))]
        return [*prompt, self.chunk(delta)]

    def chunk(self, delta: Delta) -> dict[str, Any]:
        """Return one piece; a choice's first carries the role."""
        self._name_model(delta.tier)
        piece: dict[str, Any] = {"index": delta.index, "logprobs": None, "finish_reason": None}
        if self.chat:
            piece["delta"] = {"content": delta.content} if delta.content else {}
            piece["delta"].update(delta.extra)
            if delta.index not in self.started:
                piece["delta"] = {"role": "assistant", "content": "", **piece["delta"]}
        else:
            piece["text"] = delta.content
        self.started.add(delta.index)
        if self.logprobs and delta.logprobs:
            piece["logprobs"] = self._logprobs(delta.logprobs, delta.index)
        return self._chunk([piece])

    def last_chunks(self, outcome: Outcome, *, include_usage: bool) -> list[dict[str, Any]]:
        """Return what ends a stream: what was not streamed, finish reasons, usage, `entroute`."""
        self._name_model(outcome.tier)
        chunks = []
        for index, choice in enumerate(outcome.choices):
            if index not in self.started:
                chunks.extend(self.chunks(whole_delta(index, choice)))
            piece: dict[str, Any] = {**choice.choice_extra, "index": index, "logprobs": None}
            piece["finish_reason"] = choice.finish_reason
            piece["delta" if self.chat else "text"] = {} if self.chat else ""
            chunks.append(self._chunk([piece]))
        if include_usage:
            for chunk in chunks:
                chunk["usage"] = None
            chunks.append({**self._chunk([]), "usage": self.usage(outcome)})
        chunks[-1]["entroute"] = self.summary(outcome)
        return chunks

    def usage(self, outcome: Outcome) -> dict[str, Any]:
        """Return the delivered answer's usage as one call's, and everything spent beside it."""
        first = outcome.choices[0].usage
        generated = sum(choice.usage.completion_tokens for choice in outcome.choices)
        return {
            "prompt_tokens": first.prompt_tokens,
            "completion_tokens": generated,
            "total_tokens": first.prompt_tokens + generated,
            "prompt_tokens_details": {"cached_tokens": first.cached_tokens},
            "entroute": spent(self.trace.charges),
        }

    def summary(self, outcome: Outcome) -> dict[str, Any]:
        """Return the `entroute` object: final values, and the evidence where it is wanted."""
        return summary_of(self.trace, outcome, self.clock(), explain=self.explain)

    def _name_model(self, tier: str) -> None:
        """Fix the model's name at the first piece: it is constant over a stream."""
        if not self.model:
            self.model = self.models.get(tier, self.asked_model)

    def _envelope(self, kind: str) -> dict[str, Any]:
        known = {"id": self.id, "object": kind, "created": self.created, "model": self.model}
        return known if self.service_tier is None else {**known, "service_tier": self.service_tier}

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        kind = "chat.completion.chunk" if self.chat else "text_completion"
        return {**self._envelope(kind), "choices": choices}

    def _choice(self, index: int, choice: Completion) -> dict[str, Any]:
        rendered: dict[str, Any] = {**choice.choice_extra, "index": index}
        rendered["finish_reason"] = choice.finish_reason
        rendered["logprobs"] = self._logprobs(choice.logprobs, index) if self.logprobs else None
        if not self.chat:
            return {**rendered, "text": self.echo + choice.content}
        content = choice.content if choice.content or not choice.tool_calls else None
        message = {"role": "assistant", "content": content, "refusal": None, **choice.extra}
        return {**rendered, "message": message}

    def _logprobs(self, tokens: tuple[TokenLogprob, ...], index: int) -> dict[str, Any]:
        """Return log-probabilities as the client asked for them; ours may hold more."""
        k = self.top_logprobs
        if self.chat:
            content = [{**t, "top_logprobs": list(t.get("top_logprobs") or ())[:k]} for t in tokens]
            return {"content": content, "refusal": None}
        told: list[float | None] = [t["logprob"] for t in tokens]
        tops = [_alternatives(t, k) for t in tokens]
        offsets = [self.characters.get(index, 0)]
        if self.reads_prompt and not offsets[0]:  # nothing comes before a prompt's first token
            told[:1], tops[:1] = [None], [None]
        for token in tokens:
            offsets.append(offsets[-1] + len(token["token"]))
        self.characters[index] = offsets[-1]
        return {
            "tokens": [t["token"] for t in tokens],
            "token_logprobs": told,
            "top_logprobs": tops,
            "text_offset": offsets[:-1],
        }


def _alternatives(token: TokenLogprob, count: int) -> dict[str, float] | None:
    return {o["token"]: o["logprob"] for o in (token.get("top_logprobs") or ())[:count]}


def summary_of(trace: Trace, outcome: Outcome, now: float, *, explain: bool) -> dict[str, Any]:
    """Return the `entroute` object: final values, and the evidence where it is wanted."""
    summary: dict[str, Any] = {
        "tier": outcome.tier,
        "strategy": outcome.strategy,
        "stop_reason": outcome.stop_reason,
        "cache": trace.cache,
        "calls": sum(charge.usage.calls for charge in trace.charges),
        "overhead_ms": round(trace.overhead_s(now) * 1e3, 3),
        "degraded": list(outcome.degraded),
        "usage": spent(trace.charges),
    }
    if trace.estimate is not None and trace.estimate.difficulty is not None:
        summary["difficulty"] = round(trace.estimate.difficulty, 4)
    if explain:
        summary.update(evidence_of(trace, outcome))
    return summary


def whole_delta(index: int, choice: Completion) -> Delta:
    """Return a finished choice as the one piece of a stream."""
    extra = dict(choice.extra)
    if choice.tool_calls:
        calls = enumerate(choice.tool_calls)
        extra["tool_calls"] = [{"index": i, **call} for i, call in calls]
    return Delta(choice.content, index, extra, choice.logprobs, tier=choice.tier)


def spent(charges: tuple[Charge, ...]) -> dict[str, Any]:
    """Return everything spent, in all and by tier and purpose."""
    rows: dict[tuple[str, str], tuple[Usage, float]] = {}
    for charge in charges:
        usage, cost = rows.get((charge.tier, charge.purpose), (Usage(), 0.0))
        rows[charge.tier, charge.purpose] = (usage + charge.usage, cost + charge.cost_usd)
    total = sum((charge.usage for charge in charges), Usage())
    by = [
        {"tier": tier, "purpose": purpose, **_numbers(usage, cost)}
        for (tier, purpose), (usage, cost) in rows.items()
    ]
    return {**_numbers(total, sum(charge.cost_usd for charge in charges)), "by": by}


def _numbers(usage: Usage, cost: float) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "cached_tokens": usage.cached_tokens,
        "completion_tokens": usage.completion_tokens,
        "calls": usage.calls,
        "partial_calls": usage.partial_calls,
        "cost_usd": round(cost, 12),
    }
