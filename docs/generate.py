"""Writes the pages that are made from code: `python -m docs.generate [--check]`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from docs.exported import Exported, exported
from entroute.settings import Settings
from entroute.tenants.keys_records import KeyFile

FOLDER = Path(__file__).parent


def main(arguments: list[str]) -> int:
    """Write every generated page, or say which are out of step.

    Returns:
        The exit code: 1 when `--check` finds a page out of step.
    """
    stale = []
    for name, text in (("configuration.md", configuration()), ("metrics.md", metrics())):
        path = FOLDER / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        if "--check" in arguments:
            stale.append(name)
        else:
            path.write_text(text, encoding="utf-8")
    if stale:
        print(f"out of step with the code, run `make docs`: {', '.join(stale)}", file=sys.stderr)
    return int(bool(stale))


def configuration() -> str:
    """Return the configuration reference."""
    lines = [
        "# Configuration",
        "",
        "_Made from `entroute.settings` by `make docs`; do not edit._",
        "",
        "One YAML file: `entroute serve --config FILE`. Every key can be overridden by an",
        "environment variable, `ENTROUTE_` and the path joined by two underscores, list elements",
        "by their index: `ENTROUTE_CACHE__TTL_S=60`, `ENTROUTE_TIERS__0__WORKERS__0__API_KEY`.",
        "A key at the top is `ENTROUTE__ALLOW_FIELDS`. Lists and mappings are written as YAML.",
        "Variables without two underscores are ignored. Unknown keys are refused with their",
        "path. `entroute check --config FILE` prints the effective configuration without secrets.",
        "A section with a `kind` is one of several; without a kind it is the default one.",
        "",
        *_rows(Settings, ""),
        "",
        "## The key file (`auth.keys_file`)",
        "",
        'A key is stored as its SHA-256: `printf %s "$KEY" | sha256sum`.',
        "",
        *_rows(KeyFile, ""),
        "",
    ]
    return "\n".join(lines)


def _rows(model: type[BaseModel], prefix: str) -> Iterator[str]:
    """Yield a table of a model's keys, then the tables of the models inside it."""
    inner: list[tuple[str, type[BaseModel]]] = []
    yield "| key | type | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        models = _models(field.annotation)
        many = get_origin(field.annotation) in {tuple, list}
        inner += [(path + ("[]" if many else ""), each) for each in models]
        kind = " or ".join(f"`{_label(each)}`" for each in models) or _type(field.annotation)
        yield f"| `{path}` | {kind} | {_default(field)} | {field.description or ''} |"
    for path, each in inner:
        yield from (
            "",
            f"### `{path}`: {_label(each)}",
            "",
            (each.__doc__ or "").split("\n")[0],
            "",
        )
        yield from _rows(each, f"{path}.")


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _label(model: type[BaseModel]) -> str:
    kind = model.model_fields.get("kind")
    return f"kind: {kind.default}" if kind is not None else model.__name__


def _type(annotation: Any) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(parts[0])
    if origin is Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if origin in {Union, UnionType}:
        return " or ".join(_type(part) for part in parts if part is not type(None))
    if origin is not None:
        return f"list of {_type(parts[0])}"
    return str(getattr(annotation, "__name__", annotation)).replace("SecretStr", "secret")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if value is PydanticUndefined or isinstance(value, BaseModel) or value in ((), None, ""):
        return ""
    if isinstance(value, tuple) and all(isinstance(each, BaseModel) for each in value):
        return ", ".join(f"`{_label(type(each))}`" for each in value)
    if isinstance(value, frozenset):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def metrics() -> str:
    """Return the list of exported metrics."""
    lines = [
        "# Metrics",
        "",
        "_Made from `entroute.telemetry` by `make docs`; do not edit._",
        "",
        "At `GET /metrics`. Labels come only from closed sets: those that are listed here, and",
        "names of tiers, workers, strategies, plans, verifiers and groups of keys that the",
        "configuration and the profile name.",
        "",
        "| metric | type | labels | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for one in exported():
        labels = "; ".join(_label_of(one, label) for label in one.labels)
        lines.append(f"| `{one.name}` | {one.kind} | {labels} | {one.text} |")
    return "\n".join([*lines, ""])


def _label_of(one: Exported, label: str) -> str:
    values = ", ".join(one.values.get(label, ()))
    return f"`{label}`: {values}" if values else f"`{label}`"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
