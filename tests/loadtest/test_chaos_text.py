"""An answer that is not exactly what its workers sent is found, whatever is wrong with it."""

from dataclasses import replace

import pytest

from loadtest.sent import Sent
from tests.loadtest.chaos_cases import asked, cut_off, going_on, reading, sent, words

TEXT = words("small0r1", 0, 0, 5)


def test_a_whole_answer_of_one_worker_is_right():
    found = reading(asked(TEXT), sent())
    assert (found.wrong, len(found.stretches)) == ("", 1)
    assert found.stretches[0].whole


def test_an_ending_is_part_of_the_answer():
    ending = f"{TEXT}\n#### 42"
    assert reading(asked(ending), sent(text=ending)).wrong == ""
    assert "a part of" in reading(asked(TEXT), sent(text=ending)).wrong


@pytest.mark.parametrize("tokens", range(6))
def test_any_prefix_is_right_where_an_error_ended_it(tokens: int):
    assert reading(cut_off(words("small0r1", 0, 0, tokens)), sent()).wrong == ""


def test_a_client_that_left_may_have_any_prefix():
    assert reading(asked(TEXT[:17], left=True, done=False), sent()).wrong == ""


@pytest.mark.parametrize("tokens", range(5))
def test_a_prefix_that_ended_in_order_is_wrong(tokens: int):
    found = reading(asked(words("small0r1", 0, 0, tokens)), sent())
    assert "ended" in found.wrong


@pytest.mark.parametrize(
    "text",
    [
        f"{words('small0r1', 0, 0, 3)} {words('small0r1', 0, 2, 5)}",
        f"{words('small0r1', 0, 0, 1)} {TEXT}",
        f"{TEXT} {words('small0r1', 0, 4, 5)}",
        f"{TEXT} {TEXT}",
    ],
)
def test_a_doubled_token_is_found(text: str):
    assert reading(asked(text), sent()).wrong
    assert reading(cut_off(text), sent()).wrong


@pytest.mark.parametrize("lost", range(4))
def test_a_lost_token_is_found(lost: int):
    tokens = TEXT.split()
    text = " ".join(tokens[:lost] + tokens[lost + 1 :])
    assert reading(asked(text), sent()).wrong
    assert reading(cut_off(text), sent()).wrong


def test_a_lost_token_is_found_where_its_number_begins_another():
    long = sent(total=15)
    text = f"{words('small0r1', 0, 0, 1)} {words('small0r1', 0, 12, 15)}"
    assert reading(asked(text), long).wrong


def test_swapped_tokens_are_found():
    tokens = TEXT.split()
    assert reading(asked(" ".join([tokens[1], tokens[0], *tokens[2:]])), sent()).wrong


def test_a_mixture_of_two_generations_is_found():
    other = sent("small1r1")
    text = f"{words('small0r1', 0, 0, 2)} {words('small1r1', 0, 2, 5)}"
    assert reading(asked(text), sent(), other).wrong
    whole = f"{words('small0r1', 0, 0, 2)} {words('small1r1', 0, 0, 5)}"
    assert "did not go on" in reading(asked(whole), sent(), other).wrong


def test_another_prompts_answer_is_found():
    assert "answered q2, not q1" in reading(asked(TEXT), sent(prompt="q2")).wrong


def test_text_that_no_worker_sent_is_found():
    assert "no worker sent" in reading(asked(f"{TEXT} Sorry."), sent()).wrong
    assert "no worker sent" in reading(asked(TEXT)).wrong


def test_another_finish_reason_than_the_workers_is_found():
    assert "'length' after all" in reading(asked(TEXT, finish_reason="length"), sent()).wrong


def test_a_budget_may_cut_an_answer():
    cut = asked(TEXT[:12], finish_reason="length", stop_reason="budget")
    assert reading(cut, sent()).wrong == ""


def test_so_may_a_deadline_that_the_client_set():
    wish = replace(asked("").wish, deadline_s=5.0, own_deadline=True)
    cut = asked(TEXT[:12], finish_reason="length", stop_reason=None, wish=wish, took_s=5.0)
    assert reading(cut, sent()).wrong == ""
    assert reading(replace(cut, took_s=2.0), sent()).wrong


def _handed_over() -> tuple[str, Sent, Sent]:
    first = words("small0r1", 0, 0, 2)
    rest = going_on(sent("large0r1", 7, 3), first)
    return first + rest.text, sent(), rest


def test_an_answer_that_changed_hands_is_right_if_each_went_on_with_what_was_there():
    text, first, rest = _handed_over()
    found = reading(asked(text), first, rest)
    assert (found.wrong, [each.whole for each in found.stretches]) == ("", [False, True])


def test_a_hand_over_that_goes_on_with_another_text_is_found():
    _, first, rest = _handed_over()
    text = words("small0r1", 0, 0, 3) + rest.text
    assert "did not go on" in reading(asked(text), first, rest).wrong
