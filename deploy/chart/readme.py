"""Writes the table of values into the chart's README."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from deploy.chart.defaults import flow
from deploy.chart.external import External
from deploy.chart.tiers import EmbeddingTier, Tier, Vllm
from deploy.chart.values import Values

README = Path(__file__).resolve().parents[2] / "helm/entroute/README.md"
MARK = "<!-- values: made from deploy/chart by `make docs` -->"
_LONGEST = 60


def readme() -> str:
    """Return the README with the table below its mark renewed.

    Raises:
        ValueError: The mark is missing.
    """
    written, mark, _ = README.read_text(encoding="utf-8").partition(MARK)
    if not mark:
        raise ValueError(f"{README.name}: the mark '{MARK}' is missing; put it back")
    return written + "\n".join([MARK, "", *_tables(), ""])


def _tables() -> Iterator[str]:
    yield from _table("Values", _rows(Values, ""))
    yield from _table("A tier: `tiers.NAME`", _rows(Tier, "", inside=False))
    yield from _table(
        "An embedding tier: `embeddings.NAME`", _rows(EmbeddingTier, "", inside=False)
    )
    yield from _table("`tiers.NAME.vllm`, `embeddings.NAME.vllm`", _rows(Vllm, ""))
    yield from _table("`tiers.NAME.external`, `embeddings.NAME.external`", _rows(External, ""))


def _table(title: str, rows: Iterator[str]) -> Iterator[str]:
    yield from (f"### {title}", "", "| value | default | meaning |", "| --- | --- | --- |")
    yield from rows
    yield ""


def _rows(model: type[BaseModel], prefix: str, *, inside: bool = True) -> Iterator[str]:
    for name, field in model.model_fields.items():
        path = f"{prefix}{field.alias or name}"
        part = _part(field.annotation)
        if inside and part is not None and part.model_fields:
            yield f"| **`{path}`** | | {field.description} |"
            set_here = field.default if isinstance(field.default, part) else None
            yield from _with_defaults(part, f"{path}.", set_here)
            continue
        yield _row(path, field.is_required(), field.default, field.description or "")


def _with_defaults(model: type[BaseModel], prefix: str, made: BaseModel | None) -> Iterator[str]:
    """Yield the rows of a part as the part that holds it sets it."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{field.alias or name}"
        value = getattr(made, name) if made is not None else field.default
        part = _part(field.annotation)
        if part is not None and part.model_fields:
            yield f"| **`{path}`** | | {field.description} |"
            yield from _with_defaults(part, f"{path}.", value if isinstance(value, part) else None)
            continue
        yield _row(path, made is None and field.is_required(), value, field.description or "")


def _part(annotation: Any) -> type[BaseModel] | None:
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind if kind in {annotation, *_either(annotation)} else None
    return None


def _either(annotation: Any) -> tuple[Any, ...]:
    """Return the parts of `X | None`, none of anything else's."""
    parts = get_args(annotation)
    return parts if type(None) in parts else ()


def _row(path: str, required: bool, default: Any, about: str) -> str:  # noqa: FBT001
    shown = "required" if required else _shown(default)
    return f"| `{path}` | {shown} | {about.replace('|', chr(92) + '|')} |"


def _shown(default: Any) -> str:
    if default is None or isinstance(default, BaseModel):
        return ""
    text = flow(default)
    return f"`{text}`" if len(text) <= _LONGEST else "see `values.yaml`"
