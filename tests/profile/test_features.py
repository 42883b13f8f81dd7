from hypothesis import given
from hypothesis import strategies as st

from entroute.profile.features import CHEAP, MAX_CHARACTERS, extract

CHOICE = "Which of the following is not a prime?\nA. 2\nB. 13\nC. 9 or 15\nD. 7\nAnswer:"


def cheap(text: str) -> dict[str, float]:
    return dict(zip(CHEAP, extract(text).cheap, strict=True))


@given(st.text(max_size=400))
def test_every_text_has_every_feature_and_the_same_each_time(text: str) -> None:
    found = extract(text)
    assert len(found.cheap) == len(CHEAP)
    assert all(-100 < value < 100 for value in found.cheap)
    assert found == extract(text)


def test_no_name_is_given_twice() -> None:
    assert len(set(CHEAP)) == len(CHEAP)


def test_words_are_folded_and_numbers_keep_only_their_length() -> None:
    assert extract("Ann's 12 CATS, 7 dogs").words == ("ann's", "#2", "cats", ",", "#1", "dogs")


def test_terms_are_words_and_pairs_of_neighbours() -> None:
    assert extract("to be to be").terms() == {"to": 2, "be": 2, "to be": 2, "be to": 1}


def test_options_are_counted_and_measured() -> None:
    found = cheap(CHOICE)
    assert found["options"] == 4
    assert found["share of numeric options"] == 1
    assert found["spread of option lengths"] > 0
    assert found["words outside the options"] < found["words"]
    assert cheap("No options here.")["options"] == 0


def test_cues_speak() -> None:
    assert cheap(CHOICE)["which of the following"] == 1
    assert cheap(CHOICE)["negations"] > cheap("Which one is a prime?")["negations"]
    assert cheap("How many apples are left?")["how many"] == 1
    assert cheap("def f(x): return x")["code"] > 0
    assert cheap("She pays $20, then $3.50.")["money"] > 0
    assert cheap("She pays $20, then $3.50.")["decimals"] > 0
    assert cheap("Schöne Grüße")["share beyond ASCII"] > 0


def test_digits_of_other_scripts_do_not_break_it() -> None:
    assert extract("٣٤ apples, x² and ½").words[0] == "#2"


def test_only_both_ends_of_a_long_text_are_read() -> None:
    middle = "middle " * MAX_CHARACTERS
    words = set(extract(f"begin {middle} end").words)
    assert {"begin", "end"} <= words
    assert len(extract(middle).words) < MAX_CHARACTERS


def test_a_very_long_word_is_cut() -> None:
    assert len(extract("a" * 500).words[0]) < 100
