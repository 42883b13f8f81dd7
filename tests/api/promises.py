"""Gateways that decide by a profile small enough to see through."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from entroute.profile.plans import Plan
from entroute.profile.profile import Profile, write_profile
from entroute.profile.text_model import TextModel
from tests.api.conftest import Client, Workers, client_of
from tests.gateway_process import merged, serving, two_tiers
from tests.profiles import MADE, a_plan, a_profile, a_text_model

NUMBER = "How many apples are in 3 baskets of 4 apples?"
"""Asks for a number, which makes it checkable."""

LETTER = "Tell my landlord that the tap drips and somebody should come to look at it"
"""Asks for nothing that can be checked."""

SMALL = a_plan("small x1", 0.4, 0.3)
LARGE = a_plan("large x1", 0.7, 1.0, tier="large")
VOTES = a_plan(
    "small reasc <=3",
    0.55,
    1.2,
    strategy={"kind": "reasc", "samples": 3, "give_up_after": 0},
    worst_calls=3,
)
PLANS = (SMALL, LARGE, VOTES)
"""Worth .37, .60 and .43 at the profile's own trade-off of .1; .25, .20 and -.05 at .5."""

Decide = Callable[..., Awaitable[Client]]


def profile_file(folder: Path, *plans: Plan, **facts: Any) -> Path:
    """Write a profile of the two fake workers' models."""
    made = facts.pop("made", MADE)
    profile = a_profile(*(plans or PLANS), **facts).model_copy(update={"made": made})
    tiers = tuple(tier.model_copy(update={"model": f"qwen-{tier.name}"}) for tier in profile.tiers)
    return written(folder, profile.model_copy(update={"tiers": tiers}))


def written(folder: Path, profile: Profile) -> Path:
    """Write a profile to a file of its own."""
    path = folder / "profile.json.gz"
    write_profile(path, profile)
    return path


def settings_of(workers: Workers, profile: Path, **changes: Any) -> dict[str, Any]:
    """Return the settings of a gateway that decides by a profile."""
    deciding: Mapping[str, Any] = {
        "difficulty": {"kind": "learned"},
        "policy": {"kind": "compute_optimal"},
        "feedback": {"audit_share": 0.0},
        "profile": str(profile),
    }
    return merged({**two_tiers(workers.small.url, workers.large.url), **deciding}, changes)


def knows(*words: str, weight: float = -0.5) -> TextModel:
    """Return a model of texts in which these words, in lower case, make right answers rarer."""
    row = a_text_model({"small": 0.5, "large": 0.8}, output_tokens=None).model_dump()
    row["space"] |= {"vocabulary": words, "idf": [1.0] * len(words)}
    for head in row["tiers"].values():
        head["terms"] = [weight] * len(words)
    return TextModel.model_validate(row)


@asynccontextmanager
async def deciding_gateways(
    workers: Workers, http: httpx.AsyncClient, folder: Path
) -> AsyncIterator[Decide]:
    """Give what starts gateways: by plans, `changes` of settings and other facts of a profile."""
    async with AsyncExitStack() as stack:

        async def start(*plans: Plan, changes: Any = None, **facts: Any) -> Client:
            profile = profile_file(folder, *plans, **facts)
            settings = settings_of(workers, profile, **(changes or {}))
            return client_of(await stack.enter_async_context(serving(settings)), http)

        yield start


def decision_of(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the decision behind an answer that was asked to explain itself."""
    decision: dict[str, Any] = answer["entroute"]["decision"]
    return decision


async def plan_of(gateway: Client, text: str = NUMBER, **fields: Any) -> str | None:
    """Ask under `auto` and return the plan's name, None where none was chosen."""
    options = {"explain": True, **fields.pop("entroute", {})}
    answer = await gateway.answer(text, model="auto", entroute=options, **fields)
    plan: str | None = decision_of(answer)["plan"]
    return plan
