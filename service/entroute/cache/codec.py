"""Outcomes as bytes, with everything a hit needs to answer like the original.

Layout, big-endian: the magic `er`, schema version (1 byte), packing (1 byte: 0 plain, 1 zlib),
CRC-32 of the rest (4 bytes), JSON. Completions are stored once each; choices and candidates
refer to them by place. A completion's `worker` is dropped: it names a machine that may be gone.
"""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Literal, NamedTuple

import orjson

from entroute.evidence import Escalation, Outcome, Segment, Verdict
from entroute.spending import Charge, Usage
from entroute.types import EMPTY, Completion

SCHEMA_VERSION = 4
"""Raise it when a stored outcome's fields change in number or meaning; 1 to 255."""

COMPRESS_ABOVE = 1024
"""Bytes of JSON from which compression pays for its time."""

_MAGIC = b"er"
_HEADER = struct.Struct(">2sBBI")
_PLAIN, _ZLIB = 0, 1


Flaw = Literal["version", "damaged"]
"""Why bytes are no entry: another release wrote them, or they are not what was written."""


class Entry(NamedTuple):
    """What is kept under a key: an outcome, and the stamps of its tags."""

    outcome: Outcome
    stamps: Mapping[str, str]


def encode(outcome: Outcome, stamps: Mapping[str, str] = EMPTY) -> bytes:
    """Return an outcome and the stamps of its tags as bytes for `decode`.

    Raises:
        TypeError: A field holds what JSON cannot say.
    """
    table = {id(completion): completion for completion in (*outcome.choices, *outcome.candidates)}
    place = {key: index for index, key in enumerate(table)}
    document = {field.name: getattr(outcome, field.name) for field in fields(outcome)}
    document["stamps"] = stamps
    document["completions"] = [replace(completion, worker="") for completion in table.values()]
    for name in ("choices", "candidates"):
        document[name] = [place[id(completion)] for completion in document[name]]
    return pack(document)


def pack(document: Mapping[str, Any]) -> bytes:
    """Return a JSON object as bytes for `unpack`.

    Raises:
        TypeError: A value is what JSON cannot say.
    """
    body = orjson.dumps(document, default=_plain)
    packing = _PLAIN
    if len(body) > COMPRESS_ABOVE:
        # Level 1: a hit's time matters more than the last tenth of its size.
        packing, body = _ZLIB, zlib.compress(body, level=1)
    return _HEADER.pack(_MAGIC, SCHEMA_VERSION, packing, zlib.crc32(body)) + body


def decode(data: bytes) -> Entry | Flaw:
    """Return what `encode` was given, or why it cannot be told."""
    document = unpack(data)
    if isinstance(document, str):
        return document
    try:
        stamps = {str(key): str(stamp) for key, stamp in document.pop("stamps").items()}
        return Entry(_outcome(document), stamps)
    except (struct.error, zlib.error, ValueError, TypeError, LookupError, AttributeError):
        return "damaged"


def unpack(data: bytes) -> dict[str, Any] | Flaw:
    """Return what `pack` was given, or why it cannot be told."""
    try:
        magic, version, packing, checksum = _HEADER.unpack_from(data)
        if magic != _MAGIC:
            return "damaged"
        if version != SCHEMA_VERSION:
            return "version"
        document = orjson.loads(_unpacked(data[_HEADER.size :], packing, checksum))
    except (struct.error, zlib.error, ValueError):
        return "damaged"
    return document if isinstance(document, dict) else "damaged"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a stored outcome cannot hold a {type(value).__name__}")


def _unpacked(body: bytes, packing: int, checksum: int) -> bytes:
    """Return the JSON of an entry.

    Raises:
        ValueError: Its bytes are not what was written.
    """
    if zlib.crc32(body) != checksum or packing not in {_PLAIN, _ZLIB}:
        raise ValueError("damaged")
    return zlib.decompress(body) if packing == _ZLIB else body


def _outcome(document: dict[str, Any]) -> Outcome:
    completions = [completion_of(entry) for entry in document.pop("completions")]
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


def completion_of(entry: Mapping[str, Any]) -> Completion:
    """Return a completion from its JSON.

    Raises:
        TypeError, LookupError: It is none.
    """
    values = {**entry, "usage": Usage(**entry["usage"]), "logprobs": tuple(entry["logprobs"])}
    return Completion(**values)


def _charge(entry: dict[str, Any]) -> Charge:
    return Charge(**(entry | {"usage": Usage(**entry["usage"])}))
