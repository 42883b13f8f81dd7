import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.backends.sse import MAX_EVENT_BYTES, EventReader
from entroute.errors import WorkerProtocolError


def encode(events: list[bytes], line_end: bytes) -> bytes:
    return b"".join(
        b"".join(b"data: " + line + line_end for line in event.split(b"\n")) + line_end
        for event in events
    )


def read(*slices: bytes) -> list[bytes]:
    reader = EventReader()
    return [event for data in slices for event in reader.feed(data)]


lines = st.binary(max_size=12).map(lambda raw: raw.replace(b"\n", b"").replace(b"\r", b""))
events = st.lists(st.lists(lines, min_size=1, max_size=3).map(b"\n".join), max_size=5)


@given(events, st.sampled_from([b"\n", b"\r\n"]), st.data())
def test_encode_then_parse_is_the_identity_under_any_slicing(
    sent: list[bytes], line_end: bytes, data: st.DataObject
) -> None:
    stream = encode(sent, line_end)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    slices = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert read(*slices) == sent


def test_comments_names_ids_and_retries_are_passed_over() -> None:
    stream = b": keep-alive\n\nevent: token\nid: 7\nretry: 100\ndata: one\n\n: more\ndata: two\n\n"
    assert read(stream) == [b"one", b"two"]


def test_the_space_after_the_colon_may_be_missing_and_only_one_is_dropped() -> None:
    assert read(b"data:one\n\ndata:  two\n\n") == [b"one", b" two"]


def test_several_data_lines_are_one_event() -> None:
    assert read(b'data: {"a":\ndata: 1}\n\n') == [b'{"a":\n1}']


def test_an_event_without_its_blank_line_is_not_given_out() -> None:
    assert read(b"data: one\n\ndata: half\n") == [b"one"]


def test_an_endless_line_is_refused() -> None:
    reader = EventReader()
    with pytest.raises(WorkerProtocolError, match="larger than"):
        list(reader.feed(b"data: " + b"x" * MAX_EVENT_BYTES))


def test_an_event_of_endless_lines_is_refused() -> None:
    reader = EventReader()
    line = b"data: " + b"x" * (MAX_EVENT_BYTES // 4) + b"\n"
    assert [list(reader.feed(line)) for _ in range(3)] == [[], [], []]
    with pytest.raises(WorkerProtocolError, match="larger than"):
        list(reader.feed(line))
