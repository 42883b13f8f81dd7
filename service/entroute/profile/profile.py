"""The profile: one versioned, readable file of all that calibration found for one set of models."""

import gzip
import zlib
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from entroute.errors import ConfigurationError
from entroute.profile.plans import Plan, Runtime, Way
from entroute.profile.text_model import TextModel

SCHEMA = "entroute-profile-1"
_SCHEMA = Literal["entroute-profile-1"]


class _Value(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Made(_Value):
    """Where a profile comes from."""

    at: str = Field(description="Day it was made, ISO 8601.")
    command: str = Field(description="Command that made it.")
    banks: Mapping[str, str] = Field(description="Digest of each bank file, by name.")
    prompts: int = Field(ge=1, description="Prompts it was fitted on.")
    samples: int = Field(ge=1, description="Samples it was fitted on.")
    engine: str = Field(description="Engine and mode that the samples come from.")
    temperature: float = Field(ge=0, description="Of the samples.")
    seed: int = Field(description="Of every random choice.")


class TierProfile(_Value):
    """One tier of the pair, or of the ladder."""

    name: str
    model: str
    runtime: Runtime


class GateFit(_Value):
    """What risk control found for one gate.

    Source: fixed-sequence testing with Clopper-Pearson bounds, after UCCI (2605.18796).
    """

    tier: str
    form: str
    strategy: str
    alpha: float = Field(gt=0, lt=1, description="Error of accepted answers at most.")
    delta: float = Field(gt=0, lt=1, description="Probability that this fails.")
    threshold: float | None = Field(description="Least signal to accept; None: nothing may be.")
    accepted: int = Field(ge=0, description="Prompts accepted at it.")
    wrong: int = Field(ge=0, description="Of those, wrong.")
    prompts: int = Field(ge=0, description="Prompts it was tested on, unseen by the signal's fit.")


class Profile(_Value):
    """What was fitted, in the order a request meets it."""

    schema_: _SCHEMA = Field(alias="schema", default="entroute-profile-1")
    made: Made
    tiers: tuple[TierProfile, ...] = Field(min_length=1, description="Cheapest first.")
    text: TextModel = Field(description="Difficulty from a prompt's text.")
    characters_per_token: float = Field(gt=0, description="Of prompts.")
    unit_s: float = Field(gt=0, description="Worker seconds of one mean answer of the last tier.")
    answer_s: float = Field(gt=0, description="Latency of one mean answer of the last tier.")
    answer_tokens: float = Field(gt=0, description="Mean length of an answer.")
    plans: tuple[Plan, ...] = Field(min_length=1)
    gates: tuple[GateFit, ...] = ()
    trade_off: float = Field(
        ge=0, description="lambda0: probability of a right answer that one unit must be worth."
    )
    target_cost: float = Field(gt=0, description="Mean cost in units that trade_off leads to.")
    static_plan: str = Field(description="For prompts unlike those it was fitted on.")
    free_form: Way = Field(description="For prompts whose answers nothing can check.")
    measures: Mapping[str, float] = Field(
        default={}, description="How well it predicts prompts that its fits have not seen."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        tiers = {tier.name for tier in self.tiers}
        names = [way.name for way in (*self.plans, self.free_form)]
        if len(set(names)) < len(names):
            raise ValueError("plans: a name is given twice")
        for plan in self.plans:
            if unknown := sorted(set(plan.spend) - tiers):
                raise ValueError(f"plans: '{plan.name}' spends on '{unknown[0]}', which is no tier")
        if set(self.text.tiers) != tiers or self.free_form.tier not in tiers:
            raise ValueError("text.tiers, free_form.tier: name other tiers than `tiers` does")
        if self.static_plan not in [plan.name for plan in self.plans]:
            raise ValueError(f"static_plan: no plan is named '{self.static_plan}'")
        return self

    @property
    def digest(self) -> str:
        """Names its content: 16 hex digits."""
        return blake2b(self.model_dump_json(by_alias=True).encode(), digest_size=8).hexdigest()

    @property
    def runtimes(self) -> Mapping[str, Runtime]:
        """Each tier's runtime, by name."""
        return {tier.name: tier.runtime for tier in self.tiers}

    def plan(self, name: str) -> Plan:
        """Return a plan by name.

        Raises:
            KeyError: There is none.
        """
        return next(plan for plan in self.plans if plan.name == name)

    def check_models(self, models: Mapping[str, str]) -> None:
        """Refuse to predict for models that were not measured.

        Args:
            models: Model by tier, cheapest first.

        Raises:
            ConfigurationError: Tiers or models differ.
        """
        mine = {tier.name: tier.model for tier in self.tiers}
        if mine != dict(models) or list(mine) != list(models):
            raise ConfigurationError(
                f"profile: it was fitted for {_said(mine)}, but the tiers are {_said(models)}; "
                "make one for these with `entroute bank` and `entroute calibrate`"
            )


def _said(models: Mapping[str, str]) -> str:
    return ", ".join(f"{tier}={model}" for tier, model in models.items())


def read_profile(path: Path) -> Profile:
    """Return the profile in a file, `.json` or `.json.gz`.

    Raises:
        ConfigurationError: It cannot be read, is cut off, or is no profile of this schema.
    """
    try:
        data = path.read_bytes()
        row = orjson.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
    except (EOFError, gzip.BadGzipFile, zlib.error, orjson.JSONDecodeError) as error:
        raise ConfigurationError(f"{path}: cut off or no profile: {error}") from error
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from error
    found = row.get("schema") if isinstance(row, dict) else None
    if found != SCHEMA:
        raise ConfigurationError(f"{path}: its schema is {found!r}, this version reads {SCHEMA}")
    try:
        return Profile.model_validate(row)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ConfigurationError(f"{path}: {place}: {first['msg']}") from error


def write_profile(path: Path, profile: Profile) -> None:
    """Write a profile; an older file is replaced whole."""
    text = orjson.dumps(profile.model_dump(mode="json", by_alias=True), option=orjson.OPT_INDENT_2)
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_bytes(gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)
    unfinished.replace(path)
