"""Profiles small enough to see through: probabilities that depend on nothing but what they say."""

from collections.abc import Mapping
from typing import Any

from entroute.profile.features import CHEAP
from entroute.profile.linear import Linear, logit
from entroute.profile.plans import Plan, Runtime, Spend, Way
from entroute.profile.profile import Made, Profile, TierProfile
from entroute.profile.text_model import Familiarity, Head, Space, TextModel

MADE = Made(
    at="2026-01-01",
    command="made by hand",
    banks={},
    prompts=1,
    samples=1,
    engine="fake",
    temperature=0.7,
    seed=0,
)


def a_text_model(p_right: Mapping[str, float], **facts: Any) -> TextModel:
    """Return a model that predicts the same for every text it is familiar with."""
    plain = (0.0,) * len(CHEAP)
    return TextModel(
        space=Space(
            vocabulary=(),
            idf=(),
            unknown_idf=1.0,
            mean=plain,
            deviation=(1e6,) * len(CHEAP),
        ),
        tiers={
            tier: Head(intercept=logit(p), terms=(), cheap=plain) for tier, p in p_right.items()
        },
        familiarity=facts.pop("familiarity", Familiarity(least_known=0.0, most_odd=1e9)),
        prompts=1,
        **facts,
    )


def a_plan(name: str, p: float, cost: float, **facts: Any) -> Plan:
    """Return a plan of the small tier that costs `cost` large answers and is right with `p`.

    Its forms, unless given, are number and choice.
    """
    tier = facts.pop("tier", "small")
    facts.setdefault("strategy", {"kind": "single"})
    facts.setdefault("forms", ("number", "choice"))
    facts.setdefault("worst_calls", 1)
    facts.setdefault("p95_answers", 1.0)
    facts.setdefault("success", Linear(intercept=logit(p)))
    spend = Spend(calls=Linear(intercept=1.0), answers=Linear(intercept=cost))
    return Plan(name=name, tier=tier, spend={tier: spend}, prompts=100, right=p, cost=cost, **facts)


def a_profile(*plans: Plan, **facts: Any) -> Profile:
    """Return a profile of the tiers small and large, on which a token takes a hundredth second.

    One unit of cost is 100 tokens; prompts are read for nothing. The first plan is the static one.
    """
    runtime = Runtime(prompt_s=0.0, token_s=0.01, stream_token_s=0.01, batch=4)
    facts.setdefault("trade_off", 0.1)
    return Profile(
        made=MADE,
        tiers=tuple(
            TierProfile(name=name, model=f"{name}-model", runtime=runtime)
            for name in ("small", "large")
        ),
        text=facts.pop("text", None) or a_text_model({"small": 0.5, "large": 0.8}),
        characters_per_token=4.0,
        unit_s=1.0,
        answer_s=1.0,
        answer_tokens=100.0,
        plans=plans,
        target_cost=1.0,
        static_plan=facts.pop("static_plan", plans[0].name),
        free_form=Way(name="free form", tier="small", strategy={"kind": "cascade"}),
        **facts,
    )
