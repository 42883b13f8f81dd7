"""Text that waits until it may be released: tokens, characters, whitespace."""

from entroute.strategies.handover import Stretch, Tail
from entroute.types import Delta
from tests.scripted import coin


def piece(text: str, *tokens: str) -> Delta:
    return Delta(text, logprobs=tuple(coin(0.9, token) for token in tokens))


def fed(*pieces: Delta, in_step: bool = True) -> list[tuple[str, int, str]]:
    tail = Tail(in_step=in_step)
    taken = []
    for one in pieces:
        tail.add(one, len(one.logprobs) or 1)
        taken.append(shown(tail.ready()))
    return [*taken, shown(tail.rest())]


def shown(stretch: Stretch) -> tuple[str, int, str]:
    assert len(stretch.logprobs) in {0, stretch.tokens}
    return stretch.text, stretch.tokens, "|".join(token["token"] for token in stretch.logprobs)


def test_tokens_that_end_in_text_are_released_at_once() -> None:
    assert fed(piece("The", "The"), piece(" cat", " cat")) == [
        ("The", 1, "The"),
        (" cat", 1, " cat"),
        ("", 0, ""),
    ]


def test_a_token_that_ends_in_whitespace_waits_for_text() -> None:
    assert fed(piece("is.\n\n", "is", ".\n\n"), piece(" ", " "), piece("So", "So")) == [
        ("is", 1, "is"),
        ("", 0, ""),
        (".\n\n So", 3, ".\n\n| |So"),
        ("", 0, ""),
    ]


def test_the_end_of_a_call_releases_everything() -> None:
    assert fed(piece("end.\n", "end", ".\n"), piece("", "<|im_end|>")) == [
        ("end", 1, "end"),
        ("", 0, ""),
        (".\n", 2, ".\n|<|im_end|>"),
    ]


def test_bytes_of_a_character_wait_for_the_last_of_them() -> None:
    half = "\ufffd"
    assert fed(piece("a", "a"), piece("", half), piece("", half), piece("猫", half)) == [
        ("a", 1, "a"),
        ("", 0, ""),
        ("", 0, ""),
        ("猫", 3, f"{half}|{half}|{half}"),
        ("", 0, ""),
    ]


def test_half_a_character_that_an_engine_writes_out_waits_too() -> None:
    assert fed(piece("a", "a"), piece("\ufffd", "\ufffd"))[1:] == [
        ("", 0, ""),
        ("\ufffd", 1, "\ufffd"),
    ]


def test_a_first_token_shorter_in_the_text_than_by_itself_is_no_debt() -> None:
    assert fed(piece("The", " The"), piece(" cat", " cat"))[:2] == [
        ("The", 1, " The"),
        (" cat", 1, " cat"),
    ]


def test_text_behind_its_tokens_is_released_by_whole_tokens() -> None:
    pieces = piece("", "Hel"), piece("Hell", "lo"), piece("o w", " world")
    assert fed(*pieces, in_step=False) == [
        ("", 0, ""),
        ("Hel", 1, "Hel"),
        ("lo", 1, "lo"),
        (" w", 1, " world"),
    ]


def test_a_piece_without_log_probabilities_is_one_token() -> None:
    assert fed(Delta("The cat "), Delta("sat"), Delta()) == [
        ("", 0, ""),
        ("The cat sat", 2, ""),
        ("", 0, ""),
        ("", 0, ""),
    ]


def test_a_character_sent_whole_counts_for_all_its_tokens() -> None:
    tail = Tail(in_step=True)
    tail.add(piece("猫", "猫"), 3)
    stretch = tail.ready()
    assert (stretch.text, stretch.tokens, len(stretch.logprobs)) == ("猫", 3, 1)
