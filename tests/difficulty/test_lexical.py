import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.difficulty.lexical import Lexical, LexicalConfig
from entroute.types import ChatRequest
from tests.builders import a_request, a_run, a_tier, backend_of

PROOF = "Prove by induction that the sum of the first n odd numbers is n^2, and derive a bound."


def difficulty(text: str) -> float:
    found = Lexical().read(text).difficulty
    assert found is not None
    return found


def test_a_greeting_is_easy_and_a_proof_is_hard() -> None:
    assert difficulty("Hi there!") < 0.1
    assert difficulty(PROOF) > 0.4


@pytest.mark.parametrize(
    ("easier", "harder"),
    [
        ("Say hi.", "Say hi to everybody who is in the room with us today."),
        ("Add the coins.", "Add 3 coins, 14 coins, 15 coins and 92 coins."),
        ("Tell me about sums.", r"Tell me about \frac{a}{b}."),
        ("Write about the sea.", "Implement the algorithm."),
        ("Say which is red.", "Compare which is red."),
    ],
)
def test_length_numbers_and_cues_make_it_harder(easier: str, harder: str) -> None:
    assert difficulty(easier) < difficulty(harder)


@given(st.text(max_size=300))
def test_difficulty_lies_between_zero_and_one_or_is_not_given(text: str) -> None:
    estimate = Lexical().read(text)
    if text.split():
        assert estimate.difficulty is not None
        assert 0 < estimate.difficulty < 1
        assert estimate.source == "lexical"
    else:
        assert estimate.abstained


def test_the_reason_names_what_was_seen() -> None:
    estimate = Lexical().read("Prove that 17 is prime.")
    assert estimate.reason == "5 words, 1 numbers, proof or derivation"


def test_the_form_of_a_checkable_answer_is_recognised() -> None:
    choices = "Which one? A) red B) green C) blue"
    assert Lexical().read(choices).checkable == "choice"
    assert Lexical().read("Tell me a story.").checkable is None


async def test_the_whole_conversation_counts_and_no_call_is_made() -> None:
    tier = a_tier("small")
    messages = ({"role": "user", "content": PROOF}, {"role": "user", "content": "Go on."})
    run = a_run(tier, request=ChatRequest(model="auto", messages=messages))
    estimate = await LexicalConfig().build().estimate(run)
    assert estimate.difficulty is not None
    assert estimate.difficulty >= difficulty(PROOF)
    assert backend_of(tier).calls == []


async def test_a_request_without_text_is_left_open() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:,"}}
    request = ChatRequest(model="auto", messages=({"role": "user", "content": [picture]},))
    assert (await Lexical().estimate(a_run(a_tier("small"), request=request))).abstained
    assert (await Lexical().estimate(a_run(a_tier("small"), request=a_request("")))).abstained
