"""The evidence behind an answer, for clients that ask with `explain`."""

from typing import Any

from entroute.confidence import token_entropy
from entroute.evidence import Outcome, Trace, Verdict
from entroute.types import Completion


def evidence_of(trace: Trace, outcome: Outcome) -> dict[str, Any]:
    """Return decision, estimate, candidates with verdicts, moves and the answer's entropies."""
    evidence: dict[str, Any] = {
        "candidates": [_candidate(c) for c in outcome.candidates],
        "verifier": outcome.verifier or None,
        "verdicts": [_verdict(v) for v in outcome.verdicts],
        "escalations": [
            {"from": m.source, "to": m.target, "reason": m.reason, "confidence": m.confidence}
            for m in outcome.escalations
        ],
        "segments": [
            {"tier": s.tier, "tokens": s.tokens, "reread_tokens": s.reread_tokens}
            for s in outcome.segments
        ],
        "cancelled": outcome.cancelled,
        "saved_tokens": dict(outcome.saved),
        "failures": len(outcome.failures),
        "entropy_nats": [round(token_entropy(t), 4) for t in outcome.choices[0].logprobs],
    }
    if trace.decision is not None:
        evidence["decision"] = {
            "tier": trace.decision.tier,
            "strategy": trace.decision.strategy,
            "reason": trace.decision.reason,
            "alternatives": list(trace.decision.alternatives),
        }
    if trace.estimate is not None:
        estimate = trace.estimate
        evidence["estimate"] = {
            "difficulty": estimate.difficulty,
            "source": estimate.source,
            "reason": estimate.reason,
            "checkable": estimate.checkable,
        }
    return evidence


def _candidate(candidate: Completion) -> dict[str, Any]:
    return {
        "tier": candidate.tier,
        "content": candidate.content,
        "finish_reason": candidate.finish_reason,
        "completion_tokens": candidate.usage.completion_tokens,
        "latency_s": round(candidate.latency_s, 4),
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "score": round(verdict.score, 4),
        "reason": verdict.reason,
        "abstained": verdict.abstained,
        "answer": verdict.answer,
    }
