"""Writes `values.yaml`: every default with what it means, made from the models."""

import textwrap
from collections.abc import Iterator
from typing import Any

import yaml
from pydantic import BaseModel

from deploy.chart.external import External
from deploy.chart.tiers import Vllm
from deploy.chart.values import Values
from entroute.strategies import RUN_PROGRAMS

_WIDTH = 100
_HEAD = """\
# Values of the chart, with their defaults. Made from deploy/chart by `make docs`; do not edit.
# values.schema.json refuses what is not here. Examples: the folder `profiles`.
"""


def values_yaml() -> str:
    """Return the file."""
    return _HEAD + "".join(f"{line}\n" for line in _lines(Values(), 0))


def tier_defaults() -> str:
    """Return what a tier's `vllm` and `external` are filled up with, as YAML."""
    parts: dict[str, BaseModel] = {"vllm": _unset(Vllm), "external": External()}
    return "# Made from deploy/chart by `make docs`; do not edit.\n" + yaml.safe_dump(
        {name: plain_defaults(part) for name, part in parts.items()}, sort_keys=False
    )


def facts() -> str:
    """Return what templates need to know of the service, as YAML."""
    known = {"runPrograms": sorted(RUN_PROGRAMS)}
    return "# Made from entroute by `make docs`; do not edit.\n" + yaml.safe_dump(known)


def plain_defaults(part: BaseModel) -> dict[str, Any]:
    """Return a model's defaults as values have them; what must be given is not in them."""
    required = {
        field.alias or name
        for name, field in type(part).model_fields.items()
        if field.is_required()
    }
    dumped = part.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {name: value for name, value in dumped.items() if name not in required}


def _unset(model: type[BaseModel]) -> BaseModel:
    """Return a model with defaults only, whatever must be given missing."""
    return model.model_construct(
        **{
            name: None if field.is_required() else field.get_default(call_default_factory=True)
            for name, field in model.model_fields.items()
        }
    )


def _lines(part: BaseModel, depth: int) -> Iterator[str]:
    indent = "  " * depth
    for name, field in type(part).model_fields.items():
        value = getattr(part, name)
        if depth == 0:
            yield ""
        about = (
            f"{field.description}" if value is not None else f"{field.alias}: {field.description}"
        )
        width = _WIDTH - len(indent) - 2
        yield from (f"{indent}# {line}" for line in textwrap.wrap(about, width))
        if isinstance(value, BaseModel) and type(value).model_fields:
            yield f"{indent}{field.alias}:"
            yield from _lines(value, depth + 1)
        elif value is not None:
            plain = part.model_dump(mode="json", by_alias=True, include={name})[str(field.alias)]
            yield f"{indent}{field.alias}: {flow(plain)}"


def flow(value: Any) -> str:
    """Return a value as one line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")
