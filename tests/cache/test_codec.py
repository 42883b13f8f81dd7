import struct
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.cache.codec import SCHEMA_VERSION, Entry, decode, encode
from entroute.evidence import Outcome
from entroute.types import Completion
from tests.cache.samples import completion, incompressible, outcome, outcomes


def without_workers(value: Outcome) -> Outcome:
    def bare(completions: tuple[Completion, ...]) -> tuple[Completion, ...]:
        return tuple(replace(one, worker="") for one in completions)

    return replace(value, choices=bare(value.choices), candidates=bare(value.candidates))


@given(outcomes())
def test_decoding_undoes_encoding_up_to_the_worker(value: Outcome) -> None:
    assert decode(encode(value)) == Entry(without_workers(value), {})


@given(outcomes(), st.dictionaries(st.text(), st.text(), max_size=8))
def test_the_stamps_of_tags_survive(value: Outcome, stamps: dict[str, str]) -> None:
    assert decode(encode(value, stamps)) == Entry(without_workers(value), stamps)


def test_the_spending_of_the_stored_answer_survives() -> None:
    found = decode(encode(outcome()))
    assert isinstance(found, Entry)
    assert found.outcome.usage == outcome().usage
    assert found.outcome.tier == "small"


def test_large_outcomes_are_compressed() -> None:
    assert len(encode(outcome("a" * 100_000))) < 2_000


def test_a_completion_that_is_choice_and_candidate_is_stored_once() -> None:
    one = completion(incompressible(20_000))  # compression alone could not hide a second copy
    alone = replace(outcome(), choices=(one,))
    both = replace(alone, candidates=(one,))
    assert len(encode(both)) < len(encode(alone)) + 100
    assert decode(encode(both)) == Entry(both, {})


@given(outcomes() | st.just(outcome("six times seven " * 500)), st.data())
def test_any_changed_byte_is_noticed(value: Outcome, data: st.DataObject) -> None:
    stored = bytearray(encode(value))
    place = data.draw(st.integers(0, len(stored) - 1))
    stored[place] ^= data.draw(st.integers(1, 255))
    assert decode(bytes(stored)) == ("version" if place == 2 else "damaged")


@given(outcomes() | st.just(outcome("six times seven " * 500)), st.data())
def test_a_truncated_value_is_noticed(value: Outcome, data: st.DataObject) -> None:
    stored = encode(value)
    assert decode(stored[: data.draw(st.integers(0, len(stored) - 1))]) == "damaged"


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_damaged(data: bytes) -> None:
    assert decode(data) == "damaged"


@pytest.mark.parametrize("version", [0, SCHEMA_VERSION + 1, 255])
def test_another_schema_version_is_told_apart(version: int) -> None:
    stored = bytearray(encode(outcome()))
    assert stored[2] == SCHEMA_VERSION
    stored[2] = version
    assert decode(bytes(stored)) == "version"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"1",
        b"null",
        b"{}",
        b'{"completions": 3}',
        b'{"completions": [[]]}',
        b'{"stamps": 1}',
    ],
)
def test_a_sound_frame_around_another_document_is_damaged(body: bytes) -> None:
    header = struct.pack(">2sBBI", b"er", SCHEMA_VERSION, 0, zlib.crc32(body))
    assert decode(header + body) == "damaged"


def test_an_outcome_with_a_member_of_another_release_is_damaged() -> None:
    body = encode(outcome())[8:].replace(b'"strategy":', b'"tactics":')
    header = struct.pack(">2sBBI", b"er", SCHEMA_VERSION, 0, zlib.crc32(body))
    assert decode(header + body) == "damaged"
