"""Reads the configuration: file, then environment, then one message a wrong key."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import SecretStr, ValidationError

from entroute.errors import ConfigurationError
from entroute.sandbox import BubblewrapConfig
from entroute.settings import Settings, with_default_kinds

PREFIX = "ENTROUTE_"
SEPARATOR = "__"

_FILL_IN_MIDDLE = {
    "prefix": "<|fim_prefix|>",
    "suffix": "<|fim_suffix|>",
    "middle": "<|fim_middle|>",
}
"""Of Qwen2.5-Coder."""

EMBEDDED: Mapping[str, Any] = {
    "tiers": [
        {
            "name": "small",
            "model": "qwen2.5-coder-0.5b",
            "engine": {"kind": "llamacpp", "gguf": "qwen2.5-coder-0.5b-instruct"},
            "fill_in_middle": _FILL_IN_MIDDLE,
            "price": {"prompt": 0.05, "completion": 0.10},
        },
        {
            "name": "large",
            "model": "qwen2.5-coder-1.5b",
            "engine": {"kind": "llamacpp", "gguf": "qwen2.5-coder-1.5b-instruct"},
            "fill_in_middle": _FILL_IN_MIDDLE,
            "price": {"prompt": 0.15, "completion": 0.30},
        },
    ],
    "difficulty": {"kind": "learned"},
    "policy": {"kind": "compute_optimal"},
}
"""What `entroute serve` starts without a file: two real models on this machine's CPU, and the
profile of this pair to decide by."""


def load(path: Path | None, environment: Mapping[str, str]) -> Settings:
    """Return the settings of a file (the embedded default without one) under an environment.

    Raises:
        ConfigurationError: The file cannot be read, or keys are wrong; every one is named.
    """
    data = dict(EMBEDDED) if path is None else _read(path)
    for name in sorted(environment):
        if name.startswith(PREFIX) and SEPARATOR in name:
            keys = name.removeprefix(PREFIX).lstrip("_").lower().split(SEPARATOR)
            data = _overridden(data, keys, environment[name], name)
    data = with_default_kinds(data)
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        raise ConfigurationError(described(error, data, path)) from None


@dataclass(frozen=True, slots=True)
class Reread:
    """Reads a configuration again, wherever it was read before.

    Attributes:
        path: The file, None for the embedded default.
        environment: What overrides it.
    """

    path: Path | None
    environment: Mapping[str, str]

    def __call__(self) -> Settings:
        """Return the settings as they are now; raises as `load`."""
        return load(self.path, self.environment)


def load_sandbox(path: Path | None) -> BubblewrapConfig:
    """Return the settings of a sandbox server, the defaults without a file.

    Raises:
        ConfigurationError: The file cannot be read, or keys are wrong; every one is named.
    """
    data = {} if path is None else _read(path, "memory_mib: 512")
    try:
        return BubblewrapConfig.model_validate({"kind": "bubblewrap", **data})
    except ValidationError as error:
        raise ConfigurationError(described(error, data, path)) from None


def read_key(path: Path) -> SecretStr:
    """Return the key that a file holds.

    Raises:
        ConfigurationError: The file cannot be read, or is empty.
    """
    key = _text(path).strip()
    if not key:
        raise ConfigurationError(f"{path}: holds no key")
    return SecretStr(key)


def described(error: ValidationError, data: Any, path: Path | None) -> str:
    """Return one line a wrong key: its path and what is wrong, never its value."""
    lines = []
    items = error.errors(include_url=False, include_input=False, include_context=False)
    # A list whose only item is wrong is also called too short: the item says it better.
    inside = {item["loc"][:depth] for item in items for depth in range(len(item["loc"]))}
    for item in items:
        if item["type"] == "too_short" and item["loc"] in inside:
            continue
        place = _place(item["loc"], data)
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "unknown key"
        elif item["type"] == "union_tag_invalid":
            message = message.split("Input tag ")[-1]
        lines.append(f"  {place}: {message}" if place else f"  {message}")
    source = "the embedded default" if path is None else str(path)
    return "\n".join([f"{source} is not a valid configuration:", *lines])


def _place(location: Sequence[int | str], data: Any) -> str:
    """Return a dotted path as the file has it: without the tags that unions put into it."""
    parts: list[str] = []
    here = data
    for part in location:
        if isinstance(here, Mapping) and part not in here and here.get("kind") == part:
            continue
        parts.append(str(part))
        if isinstance(here, Mapping):
            here = here.get(part)
        elif isinstance(here, list | tuple) and isinstance(part, int) and part < len(here):
            here = here[part]
        else:
            here = None
    return ".".join(parts)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: not UTF-8: {error.reason}") from error


def _read(path: Path, example: str = "tiers: [...]") -> dict[str, Any]:
    text = _text(path)
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        # Not chained and not quoted: the parser's words hold the line, which may hold a secret.
        raise ConfigurationError(f"{path}: not valid YAML{_where(error)}") from None
    if not isinstance(data, dict):
        raise ConfigurationError(f"{path}: must be a mapping of settings, such as '{example}'")
    return data


def _where(error: yaml.YAMLError) -> str:
    mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
    return "" if mark is None else f": line {mark.line + 1}, column {mark.column + 1}"


def _overridden(node: Any, keys: Sequence[str], value: str, name: str) -> Any:
    """Return a copy of `node` with one environment variable's value put at its path."""
    if not keys:
        return _read_value(value)
    head, rest = keys[0], keys[1:]
    if isinstance(node, list) or (node is None and head.isdigit()):
        # One past the end makes an element; variables come in order of their names.
        elements = list(node or ())
        if not head.isdigit() or int(head) > len(elements):
            raise ConfigurationError(f"{name}: '{head}' is no index of a list of {len(elements)}")
        place = int(head)
        old = elements[place] if place < len(elements) else None
        elements[place : place + 1] = [_overridden(old, rest, value, name)]
        return elements
    base = node if isinstance(node, Mapping) else {}
    return {**base, head: _overridden(base.get(head), rest, value, name)}


def _read_value(value: str) -> Any:
    """Return a variable's value: lists and mappings as YAML, all else as the text it is.

    Settings make numbers and booleans of text where they want them; a secret stays what it is.
    """
    if not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        return value
