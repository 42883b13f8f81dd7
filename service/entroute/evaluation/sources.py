"""The tiers that a bank is recorded from: a gateway's own, or workers named one by one."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
from prometheus_client import CollectorRegistry
from pydantic import ValidationError

from entroute.backends.http_worker import HttpWorker
from entroute.backends.wire import VLLM
from entroute.errors import ConfigurationError
from entroute.fleet import Fleet, built_engines, running_engines
from entroute.loading import described, load
from entroute.protocols import Tier
from entroute.resilience_settings import HealthSettings, TimeoutSettings
from entroute.settings import Settings

PATIENT = TimeoutSettings(first_token_s=3600, between_tokens_s=600, total_s=7200)
"""Timeouts of a recording: its calls wait in a worker's queue, and nobody waits for them."""

_SWEEPS = HealthSettings(interval_s=2.0, timeout_s=30.0)
_ASKING_S = 10.0


def settings_of(workers: Sequence[str], config: Path | None, tiers: Sequence[str] = ()) -> Settings:
    """Return the configuration of the tiers to record.

    Args:
        workers: `TIER=URL,MODEL` each; several of one tier share its calls.
        config: A gateway's configuration in their place, None for the embedded default.
        tiers: Names of those that are recorded, all where none is named.

    Raises:
        ConfigurationError: Both are given, one is wrong, or a tier is unknown.
    """
    if workers and config is not None:
        raise ConfigurationError("give either --worker or --config, not both")
    settings = _of_workers(workers) if workers else load(config, os.environ)
    known = [tier.name for tier in settings.tiers]
    for name in tiers:
        if name not in known:
            raise ConfigurationError(f"--tier {name}: no tier is named so; {', '.join(known)} are")
    kept = tuple(tier for tier in settings.tiers if not tiers or tier.name in tiers)
    patient = {"tiers": kept, "timeouts": PATIENT, "health": _SWEEPS}
    return settings.model_copy(update=patient)


def _of_workers(workers: Sequence[str]) -> Settings:
    tiers: dict[str, dict[str, object]] = {}
    for given in workers:
        name, equals, rest = given.partition("=")
        url, comma, model = rest.rpartition(",")
        if not (equals and comma and name and url and model):
            raise ConfigurationError(f"--worker {given}: write TIER=URL,MODEL")
        tier = tiers.setdefault(name, {"name": name, "model": model, "workers": []})
        if tier["model"] != model:
            raise ConfigurationError(
                f"--worker {given}: tier '{name}' serves {tier['model']} elsewhere; a tier has one "
                "model"
            )
        served = url.rstrip("/")
        address = served if served.endswith("/v1") else f"{served}/v1"
        tier["workers"] = [*_listed(tier["workers"]), {"url": address}]
    data = {"tiers": list(tiers.values())}
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        raise ConfigurationError(f"--worker: {described(error, data, None)}") from None


def _listed(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else []


@asynccontextmanager
async def opened_tiers(
    settings: Settings, resolve: Callable[[str], Path], say: Callable[[str], None]
) -> AsyncIterator["Sources"]:
    """Start the engines that the tiers own and connect to all workers; end both afterwards.

    Raises:
        ConfigurationError, WeightsError, EngineError: An engine cannot be started.
        ConfigurationError: No worker of a tier answers.
    """
    engines = await asyncio.to_thread(built_engines, settings, resolve)
    if engines:
        say(f"Starting {', '.join(engines)} ...")
    async with running_engines(engines.values()), AsyncExitStack() as stack:
        urls = {name: engine.url for name, engine in engines.items()}
        fleet = Fleet(settings, time.monotonic, ready_made=None, engine_urls=urls)
        await fleet.connect(stack, CollectorRegistry())
        yield Sources(fleet)


class Sources:
    """Tiers whose workers answer.

    Args:
        fleet: The tiers, connected.

    Raises:
        ConfigurationError: No worker of a tier answers.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.tiers: dict[str, Tier] = {tier.name: tier for tier in fleet.tiers()}
        for tier in self.tiers.values():
            if not tier.available:
                addresses = ", ".join(worker.url for worker in fleet.workers(tier.name))
                raise ConfigurationError(
                    f"no worker of tier '{tier.name}' serves {tier.model} at {addresses}; start "
                    "it, or give another address"
                )

    @property
    def models(self) -> dict[str, str]:
        """Model by tier."""
        return {tier.name: tier.model for tier in self.tiers.values()}

    async def engine(self) -> str:
        """Return what serves the models, as the first worker of each tier tells, in words."""
        async with httpx.AsyncClient(trust_env=False, timeout=_ASKING_S) as client:
            told = [await _engine_at(client, self._fleet.workers(name)[0]) for name in self.tiers]
        return ", ".join(dict.fromkeys(told))

    async def prompt_logprob(
        self, tier: str, messages: Sequence[Mapping[str, object]]
    ) -> float | None:
        """Return the mean log-probability of a conversation's tokens: nats, HIGHER is likelier.

        None where the worker cannot tell: vLLM can, by its field `prompt_logprobs`. The first
        token has none.
        """
        body = {
            "model": self.tiers[tier].model,
            "messages": list(messages),
            "max_tokens": 1,
            "prompt_logprobs": 0,
        }
        worker = self._fleet.workers(tier)[0]
        url = f"{worker.url}/chat/completions"
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENT.first_token_s) as client:
            try:
                answer = await client.post(url, json=body, headers=worker.headers)
                answer.raise_for_status()
                return mean_of(answer.json())
            except (httpx.HTTPError, ValueError):
                return None


def mean_of(answer: Mapping[str, object]) -> float | None:
    """Return the mean over vLLM's `prompt_logprobs`: an object by token id, or null, a token."""
    told = answer.get("prompt_logprobs")
    values: list[float] = []
    for token in told if isinstance(told, list) else ():
        entries = list(token.values()) if isinstance(token, dict) else []
        first = entries[0] if entries else None
        if isinstance(first, dict) and isinstance(first.get("logprob"), int | float):
            values.append(float(first["logprob"]))
    return round(sum(values) / len(values), 4) if values else None


async def _engine_at(client: httpx.AsyncClient, worker: HttpWorker) -> str:
    """Return the engine's name and version, as far as it tells."""
    try:
        models = (await client.get(f"{worker.url}/models", headers=worker.headers)).json()["data"]
        owner = str(models[0].get("owned_by") or "unknown engine")
        if owner != VLLM:
            return owner
        version = await client.get(f"{worker.url.removesuffix('/v1')}/version")
        return f"{owner} {version.json()['version']}"
    except (httpx.HTTPError, AttributeError, IndexError, KeyError, TypeError, ValueError):
        return "unknown engine"
