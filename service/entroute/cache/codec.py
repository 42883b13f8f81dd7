"""Outcomes as bytes, with everything a hit needs to answer like the original.

Layout, big-endian: the magic `er`, schema version (1 byte), packing (1 byte: 0 plain, 1 zlib),
CRC-32 of the rest (4 bytes), JSON. Completions are stored once each; choices and candidates
refer to them by place. A completion's `worker` is dropped: it names a machine that may be gone.
"""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import orjson

from entroute.evidence import Escalation, Outcome, Segment, Verdict
from entroute.spending import Charge, Usage
from entroute.types import Completion

SCHEMA_VERSION = 3
"""Raise it when a stored outcome's fields change in number or meaning; 1 to 255."""

COMPRESS_ABOVE = 1024
"""Bytes of JSON from which compression pays for its time."""

_MAGIC = b"er"
_HEADER = struct.Struct(">2sBBI")
_PLAIN, _ZLIB = 0, 1


def encode(outcome: Outcome) -> bytes:
    """Return an outcome as bytes for `decode`.

    Raises:
        TypeError: A field holds what JSON cannot say.
    """
    table = {id(completion): completion for completion in (*outcome.choices, *outcome.candidates)}
    place = {key: index for index, key in enumerate(table)}
    document = {field.name: getattr(outcome, field.name) for field in fields(outcome)}
    document["completions"] = [replace(completion, worker="") for completion in table.values()]
    for name in ("choices", "candidates"):
        document[name] = [place[id(completion)] for completion in document[name]]
    body = orjson.dumps(document, default=_plain)
    packing = _PLAIN
    if len(body) > COMPRESS_ABOVE:
        # Level 1: a hit's time matters more than the last tenth of its size.
        packing, body = _ZLIB, zlib.compress(body, level=1)
    return _HEADER.pack(_MAGIC, SCHEMA_VERSION, packing, zlib.crc32(body)) + body


def decode(data: bytes) -> Outcome | None:
    """Return the outcome in `data`, or None when it is damaged or of another schema version."""
    try:
        body = _unpack(data)
        return None if body is None else _outcome(orjson.loads(body))
    except (struct.error, zlib.error, ValueError, TypeError, LookupError, AttributeError):
        return None


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a stored outcome cannot hold a {type(value).__name__}")


def _unpack(data: bytes) -> bytes | None:
    magic, version, packing, checksum = _HEADER.unpack_from(data)
    body = data[_HEADER.size :]
    if (magic, version) != (_MAGIC, SCHEMA_VERSION) or zlib.crc32(body) != checksum:
        return None
    if packing == _PLAIN:
        return body
    return zlib.decompress(body) if packing == _ZLIB else None


def _outcome(document: dict[str, Any]) -> Outcome:
    completions = [_completion(entry) for entry in document.pop("completions")]
    values = document | {
        "choices": tuple(completions[place] for place in document["choices"]),
        "candidates": tuple(completions[place] for place in document["candidates"]),
        "verdicts": tuple(Verdict(**entry) for entry in document["verdicts"]),
        "charges": tuple(_charge(entry) for entry in document["charges"]),
        "escalations": tuple(Escalation(**entry) for entry in document["escalations"]),
        "degraded": tuple(document["degraded"]),
        "failures": tuple(document["failures"]),
        "segments": tuple(Segment(**entry) for entry in document["segments"]),
    }
    return Outcome(**values)


def _completion(entry: dict[str, Any]) -> Completion:
    values = entry | {"usage": Usage(**entry["usage"]), "logprobs": tuple(entry["logprobs"])}
    return Completion(**values)


def _charge(entry: dict[str, Any]) -> Charge:
    return Charge(**(entry | {"usage": Usage(**entry["usage"])}))
