"""The evidence behind an answer, for clients that ask with `explain`."""

from typing import Any

from entroute.confidence import token_entropy
from entroute.decisions import Decision, Estimate
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
        "resumed": sum(candidate.resumed for candidate in outcome.candidates),
        "cancelled": outcome.cancelled,
        "saved_tokens": dict(outcome.saved),
        "failures": len(outcome.failures),
        "entropy_nats": [round(token_entropy(t), 4) for t in outcome.choices[0].logprobs],
    }
    if trace.likeness is not None:
        evidence["semantic"] = {
            "result": trace.likeness.result,
            "similarity": _rounded(trace.likeness.similarity),
            "guard": trace.likeness.guard or None,
        }
    if trace.decision is not None:
        evidence["decision"] = _decision(trace.decision)
    if trace.estimate is not None:
        evidence["estimate"] = _estimate(trace.estimate)
    return evidence


def _decision(decision: Decision) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "tier": decision.tier,
        "strategy": decision.strategy,
        "reason": decision.reason,
        "alternatives": list(decision.alternatives),
    }
    if not decision.basis:
        return shown
    return shown | {
        "plan": decision.plan or None,
        "basis": decision.basis,
        "predicted_quality": _rounded(decision.predicted_quality),
        "predicted_cost_usd": decision.predicted_cost_usd,
        "quality_unmet": decision.quality_unmet,
        "plans": [
            {
                "plan": plan.plan,
                "tier": plan.tier,
                "strategy": plan.strategy,
                "p_right": _rounded(plan.p_right),
                "cost": _rounded(plan.cost),
                "cost_usd": plan.cost_usd,
                "reason": plan.reason,
                "chosen": plan.chosen,
            }
            for plan in decision.plans
        ],
    }


def _estimate(estimate: Estimate) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "difficulty": estimate.difficulty,
        "source": estimate.source,
        "reason": estimate.reason,
        "checkable": estimate.checkable,
    }
    if estimate.p_right:
        shown["p_right"] = {tier: _rounded(p) for tier, p in estimate.p_right.items()}
        shown["task"] = estimate.task
        shown["output_tokens"] = _rounded(estimate.output_tokens)
        shown["features"] = [
            {"feature": name, "harder": _rounded(value)} for name, value in estimate.features
        ]
    return shown


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _candidate(candidate: Completion) -> dict[str, Any]:
    return {
        "tier": candidate.tier,
        "content": candidate.content,
        "finish_reason": candidate.finish_reason,
        "completion_tokens": candidate.usage.completion_tokens,
        "latency_s": round(candidate.latency_s, 4),
        "resumed": candidate.resumed,
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "score": round(verdict.score, 4),
        "reason": verdict.reason,
        "abstained": verdict.abstained,
        "answer": verdict.answer,
    }
