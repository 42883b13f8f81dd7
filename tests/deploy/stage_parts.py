"""What stands on the stage: workers' scripts, API keys, a profile, two gateways' settings."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from entroute.profile.profile import write_profile
from loadtest.fleet import Fleet, Group
from tests.keys import write_key_file
from tests.profiles import a_plan, a_profile

EMBED = "embed"
CONTEXT = {"small": 4096, "large": 32_768}
OPERATOR, FIRST, SECOND = "sk-operator", "sk-first", "sk-second"
LIMITED: Mapping[str, Mapping[str, float]] = {
    "sk-requests-minute": {"requests_per_minute": 1},
    "sk-tokens-minute": {"tokens_per_minute": 1},
    "sk-cost-minute": {"cost_per_minute_usd": 1e-6},
    "sk-requests-month": {"requests_per_month": 1},
    "sk-tokens-month": {"tokens_per_month": 1},
    "sk-cost-month": {"cost_per_month_usd": 1e-6},
}
"""Keys that may ask once."""

_CODE = "```python\ndef double(x):\n    return {}\n```"
_LOT = " ".join(sha256(str(place).encode()).hexdigest()[:8] for place in range(1200))
_UNSURE, _SURE = [0.99, 0.99, *[0.35] * 6, *[0.99] * 40], 0.97

SCRIPT: Mapping[str, Any] = {
    "ttft_ms": 3,
    "tokens_per_second": 2000,
    "certainty": _SURE,
    "tokens": 24,
    "jitter": 0.3,
    "rules": [
        {"contains": "Is the proposed answer", "answer": "True"},
        {"contains": "Score: N", "answer": "It is right.\nScore: 9"},
        {"contains": "Do not reason in words", "answer": "```python\nprint(51)\n```"},
        {"contains": "double", "answers": [_CODE.format("x + 1"), _CODE.format("2 * x")]},
        {"contains": "JSON", "answers": ['{"a": 1}', "no object"]},
        {"contains": "split", "answers": [f"The answer is {number}." for number in range(60)]},
        {"contains": "nobody", "answer": ""},
        {"contains": "Say a lot", "answer": _LOT},
        {"contains": "17 times", "answer": "17 times 3 is 51. The answer is 51."},
        {
            "contains": "doubt",
            "answer": {
                "text": "It may be one thing or another, and nobody can say which of them. " * 2,
                "certainty": _UNSURE,
            },
        },
    ],
}
"""Of every worker: answers by what the last message holds."""

GROUPS = (Group("small", 3, SCRIPT), Group("large", 2, SCRIPT), Group(EMBED, 1, {}))

PRICES = {
    "small": {"prompt": 50.0, "completion": 100.0},
    "large": {"prompt": 300, "completion": 600},
}


IMPATIENT: Mapping[str, Any] = {
    "strategies": [
        {"kind": "cascade", "warm_up": True},
        {"kind": "reasc", "samples": 6},
        {"kind": "self_refine", "rounds": 2},
        {"kind": "random_switch", "share": 0.5, "run": 4},
        {"kind": "entropy_switch", "window": 2, "minimum_run": 4},
    ],
    "health": {"interval_s": 0.3, "timeout_s": 2},
    "timeouts": {"first_token_s": 3.0},
    "retries": {"hedge_after_ms": 1000},
    "breaker": {"failures": 3, "open_s": 1.0, "max_open_s": 1.0},
    "outliers": {"interval_s": 1.0, "requests": 2, "base_ejection_s": 2.0},
    "slow_start_s": 3.0,
}
"""Of the first gateway, so that all happens in seconds."""


def write_keys(path: Path) -> Path:
    """Write the keys: one without a group, two tenants with groups, six that may ask once."""
    plenty = {"requests_per_minute": 1_000_000, "tokens_per_minute": 1_000_000_000}
    keys: dict[str, dict[str, Any]] = {
        OPERATOR: {"tenant": "operators", "admin": True},
        FIRST: {"tenant": "first", "group": "team-a", "limits": plenty},
        SECOND: {"tenant": "second", "group": "team-b", "limits": plenty},
    }
    for secret, limits in LIMITED.items():
        keys[secret] = {"tenant": "limited", "group": "team-b", "limits": dict(limits)}
    return write_key_file(path, keys)


def write_stage_profile(path: Path) -> Path:
    """Write a profile with a plan of one sample, one of votes and one of the large tier."""
    profile = a_profile(
        a_plan("one sample", 0.6, 0.2),
        a_plan("votes", 0.75, 0.6, strategy={"kind": "self_consistency"}, worst_calls=5),
        a_plan("large alone", 0.8, 1.0, tier="large"),
    )
    tiers = tuple(tier.model_copy(update={"model": tier.name}) for tier in profile.tiers)
    write_profile(path, profile.model_copy(update={"tiers": tiers}))
    return path


def settings(fleet: Fleet, folder: Path, redis: str, beside: str) -> dict[str, Any]:
    """Return the settings of the first gateway.

    Args:
        fleet: Its workers.
        folder: Of the files that they name.
        redis: URL of its Redis.
        beside: URL of its reward model and its collector of spans, no path.
    """
    tiers = {tier["name"]: tier for tier in fleet.tiers()}
    embedding = tiers.pop(EMBED)
    return {
        **IMPATIENT,
        "server": {"host": "127.0.0.1", "port": 0},
        "tiers": [
            {**tier, "price": PRICES[name], "context_length": CONTEXT[name]}
            for name, tier in tiers.items()
        ],
        "embeddings": [{**embedding, "price": {"prompt": 10.0}}],
        "redis": {"url": redis, "timeout_ms": 500},
        "cache": {
            "kind": "redis",
            "url": redis,
            "timeout_ms": 500,
            "max_entry_bytes": 4096,
            "semantic": {"enabled": True, "embed_timeout_ms": 5000, "threshold": 0.7},
        },
        "profile": str(write_stage_profile(folder / "profile.json")),
        "difficulty": {"kind": "chain"},
        "policy": {"kind": "compute_optimal"},
        "feedback": {"kind": "redis", "url": redis, "timeout_ms": 500, "audit_share": 0.3},
        "responses": {"max_bytes": 4096},
        "sandbox": {"kind": "bubblewrap", "warm": 1},
        "rewards": [{"name": "fake", "url": f"{beside}/reward", "format": "plain"}],
        "tracing": {"endpoint": f"{beside}/v1/traces"},
        "auth": {"keys_file": str(write_keys(folder / "keys.yaml"))},
    }


def crowded(of: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings under which two calls fill a worker and four the queue."""
    tiers = [{**tier, "max_in_flight": 2} for tier in of["tiers"]]
    return {**of, "tiers": tiers, "queue": {"size": 4, "timeout_s": 0.5}}


def second_settings(fleet: Fleet, folder: Path, redis: str) -> dict[str, Any]:
    """Return the settings of the second gateway: two processes, workers found by DNS."""
    tiers = []
    for name in ("small", "large"):
        worker = next(each for each in fleet.workers if each.tier == name)
        where = {"kind": "dns", "host": "127.0.0.1", "port": int(worker.url.rpartition(":")[2])}
        tiers.append({"name": name, "model": name, "discover": where, "price": PRICES[name]})
    lost = {"kind": "dns", "host": "no-such-host.invalid", "port": 1, "every_s": 1}
    return {
        "server": {"host": "127.0.0.1", "port": 0, "processes": 2},
        "tiers": tiers,
        "embeddings": [{"name": "lost", "model": "lost", "discover": lost}],
        "redis": {"url": redis, "timeout_ms": 500},
        "difficulty": {"kind": "chain", "estimators": [{"kind": "lexical"}, {"kind": "probe"}]},
        "policy": {"kind": "threshold"},
        "health": {"interval_s": 0.5, "timeout_s": 2},
        "auth": {"keys_file": str(folder / "keys.yaml"), "when_redis_fails": "closed"},
    }
