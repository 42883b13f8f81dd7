"""Beginnings of prompts, and what is remembered of them."""

from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from entroute.backends.affinity import BLOCK, Beginnings, SentPrompts, beginnings_of
from entroute.types import Call, ChatRequest

LONG = "All happy families are alike; each unhappy family is unhappy in its own way. " * 8
Message = Mapping[str, Any]


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def chat(
    *messages: Message, salt: str = "", partial: str = "", extra: Mapping[str, Any] | None = None
) -> Call:
    request = ChatRequest("small", messages, extra=extra or {})
    return Call(0, request, "answer", 1e9, salt=salt, partial=partial)


def text(prompt: str) -> Call:
    return Call(0, ChatRequest("small", prompt=prompt), "answer", 1e9)


def told(call: Call) -> Beginnings:
    found = beginnings_of(call)
    assert found is not None
    return found


def test_a_prompt_shorter_than_a_block_has_none() -> None:
    assert beginnings_of(chat(user("Hi"))) is None
    assert beginnings_of(text("x" * (BLOCK - 1))) is None
    assert beginnings_of(text("x" * BLOCK)) is not None


def test_the_next_turn_begins_as_the_last_one_did() -> None:
    first = told(chat({"role": "system", "content": LONG}, user(LONG)))
    answer = {"role": "assistant", "content": "Tolstoy."}
    second = told(chat({"role": "system", "content": LONG}, user(LONG), answer, user(LONG)))
    assert second.home == first.home
    assert second.all[: len(first.all)] == first.all
    assert len(second.all) > len(first.all)


def test_a_short_first_message_behind_long_instructions_tells_conversations_apart() -> None:
    instructions = {"role": "system", "content": LONG}
    one, other = told(chat(instructions, user("one"))), told(chat(instructions, user("other")))
    assert not {*one.all} & {*other.all}
    reply = {"role": "assistant", "content": "uno"}
    assert told(chat(instructions, user("one"), reply, user("two"))).home == one.home


def test_instructions_alone_are_a_conversation_too() -> None:
    only = told(chat({"role": "system", "content": LONG}))
    assert only.home in only.all


def test_a_document_that_two_questions_share_is_a_beginning_of_both() -> None:
    one, other = told(chat(user(LONG + "Who?"))), told(chat(user(LONG + "What?")))
    shared = {*one.all} & {*other.all}
    assert len(shared) >= len(LONG) // BLOCK
    assert len(told(text(LONG + "a")).all) == len(told(text(LONG + "b")).all)


def test_what_a_worker_reads_before_the_messages_tells_prompts_apart() -> None:
    tools = [{"type": "function", "function": {"name": "look_up"}}]
    alike = [
        told(chat(user(LONG))),
        told(chat(user(LONG), extra={"tools": tools})),
        told(chat(user(LONG), extra={"cache_salt": "own"})),
        told(chat({"role": "system", "content": "Be brief."}, user(LONG))),
    ]
    assert len({found.home for found in alike}) == len(alike)


def test_what_no_prompt_holds_is_left_out() -> None:
    assert told(chat(user(LONG), extra={"user": "me"})) == told(chat(user(LONG)))


def test_salts_keep_tenants_apart() -> None:
    one, other = (told(chat(user(LONG), salt=salt)) for salt in ("acme", "bolt"))
    assert not {*one.all} & {*other.all}


def test_a_partial_answer_is_what_the_next_turn_has_in_its_place() -> None:
    begun = told(chat(user(LONG), partial=LONG * 4))
    assistant = {"role": "assistant", "content": LONG * 5}
    after = told(chat(user(LONG), assistant, user("Go on.")))
    assert after.all[: len(begun.all)] == begun.all
    assert len(begun.all) > len(told(chat(user(LONG))).all)


def test_no_text_is_kept() -> None:
    assert {len(beginning) for beginning in told(chat(user(LONG * 100))).all} == {8}


def test_a_prompt_has_few_beginnings_however_long() -> None:
    counts = [len(told(text("x" * length)).all) for length in (1_000, 10_000, 400_000, 9_000_000)]
    assert counts == sorted(counts)
    assert counts[2] < 200
    assert counts[3] <= 256


@given(st.text(min_size=BLOCK, max_size=4 * BLOCK), st.text(max_size=40 * BLOCK))
def test_a_text_that_goes_on_keeps_its_blocks(begin: str, rest: str) -> None:
    size = len(begin.encode())
    blocks = told(text(begin)).all[: size // BLOCK - 1]
    assert told(text(begin + rest)).all[: len(blocks)] == blocks


def made(*names: str) -> Beginnings:
    all_ = tuple(name.encode() for name in names)
    return Beginnings(all_[0], all_)


def test_who_holds_the_longest_is_found_among_those_asked_for() -> None:
    sent = SentPrompts()
    sent.note(made("a"), "short")
    sent.note(made("a", "ab"), "long")
    assert sent.holders(made("a", "ab", "abc"), {"short", "long"}) == {"long"}
    assert sent.holders(made("a", "ab", "abc"), {"short"}) == {"short"}
    assert sent.holders(made("a", "x"), {"short", "long", "new"}) == {"short", "long"}
    assert sent.holders(made("b"), {"short", "long"}) == frozenset()


def test_a_forgotten_worker_comes_back_empty() -> None:
    sent = SentPrompts()
    sent.note(made("a"), "one")
    sent.note(made("a"), "two")
    sent.forget("one")
    assert sent.holders(made("a"), {"one", "two"}) == {"two"}
    sent.note(made("b"), "one")
    assert sent.holders(made("a"), {"one"}) == frozenset()
    assert sent.holders(made("b"), {"one"}) == {"one"}
    sent.forget("never seen")


def test_the_oldest_are_dropped_and_the_longest_of_them_first() -> None:
    sent = SentPrompts(most=3)
    sent.note(made("a", "ab"), "one")
    sent.note(made("b", "bc"), "two")
    assert sent.holders(made("a", "ab"), {"one"}) == {"one"}
    assert sent.holders(made("ab"), {"one"}) == frozenset()
    sent.note(made("c", "cd", "ce"), "two")
    assert sent.holders(made("a"), {"one"}) == frozenset()


def test_what_workers_hold_is_counted_until_it_is_dropped() -> None:
    sent = SentPrompts(most=3)
    sent.note(made("a", "ab"), "one")
    sent.note(made("a", "ab"), "one")
    sent.note(made("a"), "two")
    assert (sent.held("one"), sent.held("two"), sent.held("new")) == (2, 1, 0)
    sent.note(made("x", "xy", "xyz"), "two")
    assert (sent.held("one"), sent.held("two")) == (0, 3)
    sent.forget("two")
    assert sent.held("two") == 0


@given(st.lists(st.tuples(st.lists(st.integers(0, 40), min_size=1), st.integers(0, 30))))
def test_memory_is_bounded_whatever_is_sent(prompts: list[tuple[list[int], int]]) -> None:
    sent = SentPrompts(most=16)
    for blocks, worker in prompts:
        beginnings = made(*map(str, blocks))
        sent.note(beginnings, str(worker))
        assert len(sent) <= 16
        assert 0 <= sent.held(str(worker)) <= 16
        if len({*blocks}) <= 16:
            assert str(worker) in sent.holders(beginnings, {str(worker)})
