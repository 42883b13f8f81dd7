"""How the semantic cache's false hits are counted."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from loadtest.intervals import clopper_pearson_upper
from loadtest.semantic_pairs import (
    PARTS,
    Pair,
    Scored,
    components,
    read_contradictions,
    read_qqp,
    scored,
    split,
)
from loadtest.semantic_report import (
    by_likeness,
    chosen_threshold,
    draw,
    guarded,
    table,
    tally,
)
from loadtest.semantic_stream import stream

CONTRADICTIONS = Path(__file__).resolve().parents[1] / "cache/semantic/contradictions.jsonl"


def pair(number: int, *, same: bool) -> Pair:
    return Pair(f"p{number}", f"a{number}", f"b{number}", same)


SCORED = [
    Scored(pair(1, same=True), 0.99, None),
    Scored(pair(2, same=True), 0.96, "names"),
    Scored(pair(3, same=False), 0.95, None),
    Scored(pair(4, same=False), 0.94, "polarity"),
    Scored(pair(5, same=True), 0.81, None),
]


def test_a_bound_is_the_share_at_which_so_few_are_one_in_twenty() -> None:
    assert clopper_pearson_upper(0, 100) == pytest.approx(1 - 0.05 ** (1 / 100))
    assert clopper_pearson_upper(1, 10) == pytest.approx(0.3942, abs=1e-4)
    assert clopper_pearson_upper(5, 5) == 1
    with pytest.raises(ValueError, match="one trial"):
        clopper_pearson_upper(0, 0)


def test_hits_and_false_hits_are_counted_with_guards_and_without() -> None:
    alone, now = tally(SCORED, by_likeness, 0.9), tally(SCORED, guarded, 0.9)
    assert (alone.hits, alone.false_hits) == (4, 2)
    assert alone.recall == pytest.approx(2 / 3)
    assert (now.hits, now.false_hits, now.precision) == (2, 1, 0.5)
    assert now.of_different == (0.5, clopper_pearson_upper(1, 2))


def test_pairs_that_were_left_out_count_as_look_ups_and_duplicates() -> None:
    counted = tally(SCORED, guarded, 0.9, others=(95, 7))
    assert (counted.lookups, counted.same, counted.recall) == (100, 10, 0.1)


def test_a_pair_that_means_the_same_on_reading_is_no_false_hit() -> None:
    assert tally(SCORED, guarded, 0.9, forgiven={"p3"}).false_hits == 0


def test_no_hits_prove_nothing() -> None:
    counted = tally(SCORED, guarded, 0.995)
    assert (counted.hits, counted.precision, counted.of_hits) == (0, 1, (0, 1))


def test_the_lowest_threshold_that_surely_keeps_the_bound_is_chosen() -> None:
    many = [Scored(pair(n, same=n % 50 > 0), 0.9 + n / 10_000, None) for n in range(900)]
    many += [Scored(pair(n, same=False), 0.9, None) for n in range(1000, 1200)]
    assert chosen_threshold(many, 0.05, (), 0.8) == 0.91
    assert chosen_threshold(many, 0.05, (), 0.93) == 0.93
    with pytest.raises(ValueError, match="no threshold"):
        chosen_threshold(many, 0.001, (), 0.8)


def test_a_table_has_a_row_a_rule_and_threshold(tmp_path: Path) -> None:
    assert len(list(table(SCORED, (0, 0), None, [0.9, 0.95]))) == 2 + 4
    rows = list(table(SCORED, (0, 0), {"p3"}, [0.9]))
    assert rows[-1].endswith("| 0 | 0.0% (≤ 77.6%) |")
    draw(SCORED, (0, 0), 0.95, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_no_question_is_in_two_parts(tmp_path: Path) -> None:
    rows = [
        {"id": str(n), "text_a": f"q{n}", "text_b": f"q{n + n % 3}", "label": n % 2}
        for n in range(300)
    ]
    file = tmp_path / "pairs.jsonl.gz"
    with gzip.open(file, "wt", encoding="utf-8") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)
    parts = split(read_qqp(file))
    texts = [{text for pair in parts[part] for text in (pair.a, pair.b)} for part in PARTS]
    assert sum(len(part) for part in parts.values()) == len(rows)
    assert all(texts)
    assert len(texts[0] | texts[1] | texts[2]) == sum(len(part) for part in texts)


def test_components_hold_what_is_linked() -> None:
    found = components([("a", "b"), ("c", "d"), ("b", "e")])
    assert found["a"] == found["b"] == found["e"] != found["c"] == found["d"]


def test_a_stream_tells_right_from_wrong_from_unlabelled() -> None:
    pairs = [
        Pair("1", "How do I boil an egg?", "How can I boil an egg?", True),
        Pair("2", "How do I fry an egg?", "How do I fry eggs?", False),
        Pair("3", "Why do cats purr?", "What is a dog?", False),
        Pair("4", "What are cats?", "why do cats purr", False),
    ]
    texts = sorted({text for pair in pairs for text in (pair.a, pair.b)})
    axes = {"boil": 0, "fry": 1, "purr": 2, "dog": 3, "What are cats": 4}
    vectors = {
        text: np.eye(5, dtype=np.float32)[next(at for word, at in axes.items() if word in text)]
        for text in texts
    }
    seen = stream(pairs, vectors, 0.95)
    assert (seen.indexed, seen.asked, seen.answerable, seen.alike) == (4, 4, 1, 3)
    assert (seen.right, seen.wrong) == (1, 1)
    assert seen.unlabelled == (("why do cats purr", "Why do cats purr?"),)
    assert any(
        "25.00% of look-ups" in line or "75.00% of look-ups" in line for line in seen.lines()
    )


def test_unlike_pairs_are_not_scored() -> None:
    vectors = {"a1": np.array([1.0, 0.0]), "b1": np.array([0.0, 1.0])}
    assert scored([pair(1, same=False)], vectors, 0.5) == []


def test_the_contradiction_set_is_what_the_page_says() -> None:
    pairs = read_contradictions(CONTRADICTIONS)
    assert len({(pair.a, pair.b) for pair in pairs}) == len(pairs)
    assert len({pair.id for pair in pairs}) == len(pairs)
    assert sum(not pair.same for pair in pairs) == 454
    assert sum(pair.same for pair in pairs) == 199
    assert len({pair.kind for pair in pairs if not pair.same}) >= 15
