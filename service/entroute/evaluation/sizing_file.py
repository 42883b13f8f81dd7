"""The file that `entroute size` reads."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from entroute.errors import ConfigurationError
from entroute.evaluation.lengths import Lengths, Spread, read_trace
from entroute.evaluation.sizing import GatewayCost, Supply, Target, Traffic
from entroute.evaluation.sizing_workers import Worker
from entroute.evaluation.step_times import OVERHEAD_S, ForwardSteps, IdealisedSteps

Share = Annotated[float, Field(ge=0, lt=1)]
Level = Annotated[float, Field(gt=0, lt=1)]


class _Value(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SpreadSettings(_Value):
    """A length that varies, log-normally."""

    mean: float = Field(ge=1, description="Tokens.")
    cv: float = Field(0, ge=0, le=20, description="Standard deviation over the mean.")


class TrafficSettings(_Value):
    """What is asked at the peak: a trace, or a rate and lengths."""

    trace: Path | None = Field(None, description="CSV of arrival_s, input_tokens, output_tokens.")
    requests_per_s: float | None = Field(None, gt=0, description="The trace's own if left out.")
    prompt_tokens: SpreadSettings | Annotated[float, Field(ge=1)] | None = None
    completion_tokens: SpreadSettings | Annotated[float, Field(ge=1)] | None = None
    cached_share: Share = Field(0, description="Prompt tokens that prefix caches hold.")
    cache_hits: Share = Field(0, description="Requests that the gateway's cache answers.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        lengths = (self.prompt_tokens, self.completion_tokens)
        if self.trace is not None and lengths != (None, None):
            raise ValueError("give a trace, or prompt_tokens and completion_tokens")
        if self.trace is None and (None in lengths or self.requests_per_s is None):
            raise ValueError("give a trace, or requests_per_s, prompt_tokens and completion_tokens")
        return self

    def build(self, folder: Path) -> Traffic:
        """Return the traffic; a trace's rate is that of its busiest minute.

        Raises:
            ConfigurationError: The trace cannot be read.
        """
        if self.trace is None:
            spreads = (_spread(self.prompt_tokens), _spread(self.completion_tokens))
            rate, lengths = self.requests_per_s or 0.0, Lengths.spread(*spreads)
        else:
            arrivals = read_trace(folder / self.trace)
            lengths = Lengths.of(arrivals)
            rate = self.requests_per_s or busiest_minute([arrival.at_s for arrival in arrivals])
        return Traffic(rate, lengths, self.cached_share, self.cache_hits)


class NeedSettings(_Value):
    """What a request takes of a tier in the mean, everything charged."""

    calls: float = Field(ge=0, description="Calls of any purpose.")
    answers: float | None = Field(
        None, ge=0, description="Tokens they generate, in lengths of one answer; else `calls`."
    )


class MixSettings(_Value):
    """How requests are answered: by tier, or by plans of a profile."""

    calls: Mapping[str, NeedSettings] | None = None
    profile: Path | None = Field(None, description="Profile; the one that ships if left out.")
    plans: Mapping[str, Annotated[float, Field(ge=0)]] | None = Field(
        None, description="Share of requests by the name of their plan; scaled to 1."
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.calls is None) == (self.plans is None):
            raise ValueError("give calls by tier, or plans of a profile")
        if self.calls is not None and not any(need.calls for need in self.calls.values()):
            raise ValueError("calls: no tier is asked for anything")
        if self.plans is not None and sum(self.plans.values()) <= 0:
            raise ValueError("plans: the shares add up to nothing")
        return self


class ForwardSettings(_Value):
    """A worker by measured forward times."""

    kind: Literal["forward_times"]
    file: Path = Field(description="CSV: gpu, model, tp, num_tokens, linear_ms_per_forward.")
    gpu: str
    model: str
    tensor_parallel: int = Field(1, ge=1)
    overhead_s: float = Field(OVERHEAD_S, ge=0, description="Of a step, beside the forward pass.")
    max_num_seqs: int = Field(256, ge=1)
    max_num_batched_tokens: int = Field(2048, ge=2)

    def build(self, folder: Path) -> Worker:
        """Return the worker.

        Raises:
            ConfigurationError: The table has nothing for it.
        """
        steps = ForwardSteps.read(
            folder / self.file, self.gpu, self.model, self.tensor_parallel, self.overhead_s
        )
        return Worker(steps, self.max_num_seqs, self.max_num_batched_tokens, steps.kv_tokens)


class RuntimeSettings(_Value):
    """A worker by the idealised runtime that `entroute calibrate` fits: a profile's `runtime`."""

    kind: Literal["runtime"]
    prompt_s: float = Field(ge=0, description="Worker seconds for a prompt token.")
    stream_token_s: float = Field(gt=0, description="Seconds between two tokens of one stream.")
    batch: float = Field(ge=1, description="Answers in flight when it was measured.")

    def build(self, folder: Path) -> Worker:
        """Return the worker: no more answers at once than it was measured with."""
        steps = IdealisedSteps(self.prompt_s, self.stream_token_s)
        return Worker(steps, most_answers=int(self.batch), step_tokens=1_000_000)


class TierSettings(_Value):
    """What a tier is made of."""

    worker: Annotated[ForwardSettings | RuntimeSettings, Field(discriminator="kind")]
    gpus: float | None = Field(None, gt=0, description="Of one worker; tensor_parallel, else 1.")
    usd_per_gpu_hour: float = Field(ge=0)
    min_replicas: int = Field(1, ge=1)

    def build(self, folder: Path) -> Supply:
        """Return the supply.

        Raises:
            ConfigurationError: Its worker's speed is not known.
        """
        own = self.worker.tensor_parallel if isinstance(self.worker, ForwardSettings) else 1
        worker = self.worker.build(folder)
        return Supply(worker, self.gpus or own, self.usd_per_gpu_hour, self.min_replicas)


class TargetSettings(_Value):
    """What must hold at the peak."""

    utilisation: Level = 0.7
    ttft_s: float | None = Field(None, gt=0)
    percentile: Level = 0.95

    def build(self) -> Target:
        """Return the target."""
        return Target(self.utilisation, self.ttft_s, self.percentile)


class GatewaySettings(_Value):
    """What one gateway process, one core, carries."""

    cpu_s_per_request: float = Field(GatewayCost().request_s, ge=0)
    cpu_s_per_token: float = Field(GatewayCost().token_s, ge=0)
    utilisation: Level = 0.6
    min_replicas: int = Field(2, ge=1)

    def build(self) -> GatewayCost:
        """Return the gateway's cost."""
        return GatewayCost(
            self.cpu_s_per_request, self.cpu_s_per_token, self.utilisation, self.min_replicas
        )


class SizingSettings(_Value):
    """All that is asked of `entroute size`."""

    traffic: TrafficSettings
    mix: MixSettings
    tiers: Mapping[str, TierSettings] = Field(min_length=1, description="Cheapest first.")
    target: TargetSettings = TargetSettings()
    gateway: GatewaySettings = GatewaySettings()


def read_sizing(path: Path) -> SizingSettings:
    """Read a sizing file.

    Raises:
        ConfigurationError: It cannot be read, or a field is wrong: its path is named.
    """
    try:
        row = yaml.safe_load(path.read_text(encoding="utf-8"))
        return SizingSettings.model_validate(row)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: no YAML: {error}") from error
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        lines = [f"{'.'.join(map(str, one['loc'])) or 'all of it'}: {one['msg']}" for one in found]
        raise ConfigurationError(f"{path}: " + "; ".join(lines)) from error


def busiest_minute(times: list[float]) -> float:
    """Return the requests a second of the busiest 60 s; all of a shorter trace are one minute's.

    Args:
        times: Arrivals in seconds, ordered, at least one.
    """
    most, first = 0, 0
    for place, time in enumerate(times):
        while time - times[first] >= 60:  # noqa: PLR2004 - a minute
            first += 1
        most = max(most, place - first + 1)
    return most / 60


def _spread(value: SpreadSettings | float | None) -> Spread:
    if isinstance(value, SpreadSettings):
        return Spread(value.mean, value.cv)
    return Spread(value or 1.0)
