"""What a chaos run asks: requests by the shape of a trace, in every way a client can ask.

It knows nothing about sockets. All is drawn from one seed.
"""

import csv
import gzip
import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle, takewhile
from pathlib import Path
from random import Random
from typing import Any
from zlib import crc32

SAMPLE = Path(__file__).parent / "traces" / "azure_2023_conv_sample.csv"
CHECKABLE = "Add up"
"""Prompts with these words have a right answer."""

_DOCUMENTS = 12  # different beginnings that prompts share
_AGAIN = 15  # prompts that are asked more than once
_LEAVE, _HURRY, _CUT = 0.06, 0.06, 0.06  # clients that leave, have a deadline, cap the answer


@dataclass(frozen=True, slots=True)
class Row:
    """One request of a trace: arrival in seconds, lengths in tokens."""

    arrival_s: float
    prompt_tokens: int
    answer_tokens: int


@dataclass(frozen=True, slots=True)
class Shape:
    """How a trace is scaled.

    Answers get `scale` times the trace's tokens, `longest` at most; at `pace` tokens a second after
    `ttft_s`, and arrivals are stretched so that `concurrency` requests are open on average. The
    gateway waits `patience_s` for a worker's next token, and no longer than that for anything else.
    """

    seconds: float
    concurrency: int
    pace: float
    ttft_s: float
    scale: float = 0.5
    longest: int = 200
    deadline_s: float = 60.0
    patience_s: float = 4.0


@dataclass(frozen=True, slots=True)
class Way:
    """A way to ask, and its share of the load as a weight."""

    weight: float
    model: str
    stream: bool
    options: dict[str, Any] = field(default_factory=dict)
    temperature: float = 0.7
    checkable: bool = False
    again: bool = False  # prompts that were asked before, which a cache may know


@dataclass(frozen=True, slots=True)
class Wish:
    """One request to be sent `at` seconds after the start.

    `name` is its prompt's, `tokens` the length of its answer, `deadline_s` its own or the server's;
    its client leaves after `leaves_s` seconds, if at all.
    """

    number: int
    at: float
    name: str
    prompt_tokens: int
    tokens: int
    way: Way
    deadline_s: float
    own_deadline: bool = False
    leaves_s: float | None = None
    max_tokens: int | None = None

    def body(self) -> dict[str, Any]:
        """Return what is sent to /v1/chat/completions."""
        options = dict(self.way.options)
        if self.own_deadline:
            options["budget"] = {"deadline_ms": round(self.deadline_s * 1000)}
        body: dict[str, Any] = {
            "model": self.way.model,
            "messages": [{"role": "user", "content": self._prompt()}],
            "temperature": self.way.temperature,
            "stream": self.way.stream,
            "entroute": options,
        }
        if self.max_tokens is not None:
            body["max_tokens"] = self.max_tokens
        if self.way.stream:
            body["stream_options"] = {"include_usage": True}
        return body

    def _prompt(self) -> str:
        document = f"Document {crc32(self.name.encode()) % _DOCUMENTS} says: "
        task = f"{CHECKABLE} the numbers" if self.way.checkable else "Go on"
        words = " ".join(f"w{place}" for place in range(max(0, self.prompt_tokens - 8)))
        return f"{document}{words} [{self.name} {self.tokens}] {task}."


def _pinned(strategy: str, **options: Any) -> dict[str, Any]:
    return {"strategy": strategy, **options}


WAYS: Sequence[Way] = (
    Way(16, "auto", True),
    Way(12, "auto", False),
    Way(12, "small", True),
    Way(10, "small", False),
    Way(8, "large", True),
    Way(6, "large", False),
    Way(8, "auto", True, _pinned("cascade", cache="bypass")),
    Way(5, "auto", False, _pinned("cascade")),
    Way(3, "auto", True, _pinned("self_consistency"), checkable=True),
    Way(3, "auto", False, _pinned("self_consistency"), checkable=True),
    Way(6, "auto", True, _pinned("entropy_switch", cache="bypass")),
    Way(4, "auto", False, _pinned("entropy_switch")),
    Way(8, "auto", True, temperature=0.0, again=True),
    Way(6, "small", False, temperature=0.0, again=True),
)


def read_trace(path: Path) -> list[Row]:
    """Read a trace: a CSV of arrival_s, input_tokens, output_tokens, perhaps gzipped.

    Raises:
        OSError, KeyError, ValueError: It cannot be read.
    """
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    return [
        Row(float(row["arrival_s"]), int(row["input_tokens"]), int(row["output_tokens"]))
        for row in csv.DictReader(io.StringIO(text))
    ]


def planned(rows: Sequence[Row], shape: Shape, seed: int) -> list[Wish]:
    """Return the requests of a run, in the order of their times; a short trace is repeated."""
    rng = Random(seed)
    scaled = [
        replace(
            row, answer_tokens=min(shape.longest, max(4, round(row.answer_tokens * shape.scale)))
        )
        for row in rows
    ]
    mean = sum(row.answer_tokens for row in scaled) / len(rows)
    span = (rows[-1].arrival_s - rows[0].arrival_s) * (1 + 1 / len(rows))
    # Of time: so many arrive in the time of one answer that `concurrency` are open at once.
    stretch = len(rows) / span * (shape.ttft_s + mean / shape.pace) / shape.concurrency
    arrivals = (
        (number, (row.arrival_s - rows[0].arrival_s + number // len(rows) * span) * stretch, row)
        for number, row in enumerate(cycle(scaled))
    )
    return [
        _wish(number, at, row, shape, rng)
        for number, at, row in takewhile(lambda arrival: arrival[1] < shape.seconds, arrivals)
    ]


def _wish(number: int, at: float, row: Row, shape: Shape, rng: Random) -> Wish:
    way = rng.choices(WAYS, [way.weight for way in WAYS])[0]
    name, tokens = f"q{number}", row.answer_tokens
    if way.again:
        known = rng.randrange(_AGAIN)
        name, tokens = f"again{known}", 20 + known
    words = 40 if way.again else min(400, row.prompt_tokens // 8)
    wish = Wish(number, at, name, words, tokens, way, shape.deadline_s)
    expected_s = shape.ttft_s + tokens / shape.pace
    luck = rng.random()
    if way.again or luck > _LEAVE + _HURRY + _CUT:
        return wish
    if luck < _LEAVE:
        return replace(wish, leaves_s=rng.uniform(0.05, 0.9) * expected_s)
    if luck < _LEAVE + _HURRY:
        hurried = max(0.2, rng.uniform(0.3, 0.9) * expected_s)
        return replace(wish, deadline_s=hurried, own_deadline=True)
    return replace(wish, max_tokens=max(1, tokens // 2))
