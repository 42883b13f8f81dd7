"""Server-sent events: whatever the bytes and however they are cut, the events are the same."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.backends.sse import MAX_EVENT_BYTES, EventReader
from entroute.errors import WorkerProtocolError
from tests.fuzz.conftest import examples

MARK = "\N{ZERO WIDTH NO-BREAK SPACE}".encode()

noise = st.lists(
    st.sampled_from(
        [
            *(b"data:", b"data: ", b"data", b"\n", b"\r\n", b"\r", b"\n\n", b":", b": keep-alive"),
            *(
                b"event: x",
                b"id: 1",
                b"retry: 5",
                b"retry",
                b"",
                MARK,
                b"\x00",
                b"\xff\xfe",
                b"[DONE]",
            ),
        ]
    )
    | st.binary(max_size=6),
    max_size=30,
).map(b"".join)

lines = st.binary(max_size=12).map(lambda raw: raw.replace(b"\n", b"").replace(b"\r", b""))
events = st.lists(st.lists(lines, min_size=1, max_size=3), max_size=5)
between = st.lists(
    st.sampled_from(
        [b": keep-alive\n", b": x\n\n", b"event: a\n", b"id:\r\n", b"retry: 7\n", b"other\n"]
    ),
    max_size=2,
).map(b"".join)


def read(slices: Sequence[bytes]) -> list[bytes]:
    """Return the events, then what was refused if anything was."""
    reader = EventReader()
    found: list[bytes] = []
    try:
        for data in slices:
            found.extend(reader.feed(data))
    except WorkerProtocolError:
        found.append(b"refused")
    return found


def cut(stream: bytes, places: Sequence[int]) -> Iterator[bytes]:
    borders = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    for begin, end in itertools.pairwise(borders):
        yield stream[begin:end]


@given(noise, st.lists(st.integers(0, 500), max_size=12))
@examples(400)
def test_any_bytes_cut_anywhere_give_the_same_events(stream: bytes, places: list[int]) -> None:
    whole = read([stream])
    assert read(list(cut(stream, places))) == whole
    assert read([stream[i : i + 1] for i in range(len(stream))]) == whole


@given(events, st.data())
@examples(300)
def test_what_is_encoded_in_any_lawful_way_is_read_back(
    sent: list[list[bytes]], data: st.DataObject
) -> None:
    stream = data.draw(st.sampled_from([b"", MARK]))
    for event in sent:
        stream += data.draw(between)
        for line in event:
            end = data.draw(st.sampled_from([b"\n", b"\r\n"]))
            space = b" " if line.startswith(b" ") else data.draw(st.sampled_from([b"", b" "]))
            stream += b"data:" + space + line + end
        stream += data.draw(st.sampled_from([b"\n", b"\r\n"]))
    assert read(list(cut(stream, data.draw(st.lists(st.integers(0, 500)))))) == [
        b"\n".join(event) for event in sent
    ]


@given(st.integers(1, 60), st.sampled_from([b"data: ", b": ", b"event: ", b"junk"]), st.booleans())
@examples(60)
def test_the_bound_holds_whatever_the_cuts(step: int, begin: bytes, ends: bool) -> None:  # noqa: FBT001
    line = begin + b"x" * MAX_EVENT_BYTES
    stream = line + b"\n\n" if ends else line
    size = len(stream) // step + 1
    assert read([stream[i : i + size] for i in range(0, len(stream), size)]) == [b"refused"]


@pytest.mark.parametrize("lines", [1, 7, 64])
def test_the_bound_is_on_all_lines_of_an_event(lines: int) -> None:
    fits = MAX_EVENT_BYTES // lines - 8
    one = b"data:" + b"x" * fits + b"\n"
    (event,) = read([one * lines + b"\n"])
    assert len(event) == fits * lines + lines - 1
    assert read([one * lines + one + b"\n"]) == [b"refused"]


class Counted(bytearray):
    """Bytes that count what is put into them and taken out of them whole."""

    moved = 0

    def __iadd__(self, piece: bytes) -> Self:  # type: ignore[override,misc]
        Counted.moved += len(piece)
        return super().__iadd__(piece)

    def __bytes__(self) -> bytes:
        Counted.moved += len(self)
        return bytes(memoryview(self))


def moved_by(size: int, step: int) -> int:
    """Return how many bytes are moved to read an event of so many, in slices of so many."""
    reader = EventReader()
    reader._line = Counted()
    Counted.moved = 0
    stream = b"data: " + b"x" * size + b"\n\n"
    found = [e for i in range(0, len(stream), step) for e in reader.feed(stream[i : i + step])]
    assert [len(event) for event in found] == [size]
    return Counted.moved


def test_the_work_grows_with_the_bytes_and_not_with_the_slices() -> None:
    most = 3 * 2**20
    assert 2**20 <= moved_by(2**20, 1) <= most
    assert 2**20 <= moved_by(2**20, 2**16) <= most
    assert moved_by(2**18, 1) * 3.5 <= moved_by(2**20, 1) <= moved_by(2**18, 1) * 4.5
