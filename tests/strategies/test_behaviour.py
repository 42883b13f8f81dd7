import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.strategies.behaviour import (
    Solution,
    best_solution,
    cluster_sizes,
    functional_hash,
)
from entroute.strategies.inputs import generated_inputs, mutated

PROGRAM = '''
import math

LIMIT = 10

def helper(items, start=0):
    """Add."""
    total = start
    for item in items:  # one by one
        total += item
    return total

def solve(numbers):
    best = [helper(numbers, LIMIT) for number in numbers if number > 0]
    try:
        return math.floor(best[0])
    except IndexError as error:
        print(error)
'''
KEEP = {"solve"}
PRIVATE = [
    "LIMIT",
    "helper",
    "items",
    "start",
    "total",
    "item",
    "numbers",
    "best",
    "number",
    "error",
]


def seeded(seed: int = 0) -> Random:
    return Random(seed)  # noqa: S311 - a test repeats itself


def renamed(source: str, names: dict[str, str]) -> str:
    return re.sub(r"[A-Za-z_]\w*", lambda word: names.get(word[0], word[0]), source)


@given(st.lists(st.from_regex(r"[a-z]{3,8}_[a-z]{3}", fullmatch=True), min_size=10, unique=True))
def test_renaming_makes_no_difference(names: list[str]) -> None:
    other = renamed(PROGRAM, dict(zip(PRIVATE, names, strict=False)))
    assert functional_hash(other, KEEP) == functional_hash(PROGRAM, KEEP)


@given(st.lists(st.sampled_from(["", "  ", "# note", "\t"]), min_size=30, max_size=30))
def test_comments_and_layout_make_no_difference(ends: list[str]) -> None:
    lines = PROGRAM.splitlines()
    other = "\n".join(line + end for line, end in zip(lines, ends, strict=False))
    spaced = other.replace("    ", "  ").replace("def ", "\n\n\n# a function\ndef ")
    assert functional_hash(spaced, KEEP) == functional_hash(PROGRAM, KEEP)


def test_docstrings_and_idle_statements_make_no_difference() -> None:
    bare = PROGRAM.replace('    """Add."""\n', "")
    assert functional_hash(bare, KEEP) == functional_hash(PROGRAM, KEEP)
    assert functional_hash("def f():\n    '''Do.'''", {"f"}) == functional_hash(
        "def f():\n    pass", {"f"}
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def solve(x): return x + 1", "def solve(x): return x + 2"),
        ("def solve(x): return x + 1", "def answer(x): return x + 1"),
        ("def solve(x, y): return x - y", "def solve(x, y): return y - x"),
        ("def solve(x): return x.real", "def solve(x): return x.imag"),
        ("def solve(x): return 1", "def solve(x): return True"),
        ("def solve(x): return sorted(x)", "def solve(x): return list(x)"),
        (
            "def a():\n    max = 3\ndef solve(x): return max(x)",
            "def a():\n    m = 3\ndef solve(x): return m(x)",
        ),
        (
            "class P:\n    x = 1\ndef solve(n): return vars(P)",
            "class P:\n    y = 1\ndef solve(n): return vars(P)",
        ),
        (
            "class P:\n    one: int\ndef solve(n): return P",
            "class P:\n    two: int\ndef solve(n): return P",
        ),
        ("def solve(one): return locals()", "def solve(two): return locals()"),
        ("def go(one): pass\ndef solve(): go(one=1)", "def go(two): pass\ndef solve(): go(one=1)"),
        ("def solve(x: List): return x", "def solve(x: list): return x"),
        ("def solve(x) return 1", "def solve(x) return 2"),
    ],
)
def test_programs_that_may_differ_have_different_hashes(one: str, other: str) -> None:
    assert functional_hash(one, KEEP) != functional_hash(other, KEEP)


@given(st.text(max_size=200))
def test_any_text_has_a_hash(text: str) -> None:
    assert functional_hash(text) == functional_hash(text)


def test_source_nested_beyond_measure_has_a_hash() -> None:
    assert functional_hash("x = " + "-" * 5000 + "1")
    assert functional_hash("x = " + "(" * 500 + "1" + ")" * 500)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1000, 1000)
    | st.floats(-1e6, 1e6)
    | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        | st.sets(st.integers(-9, 9), max_size=4)
    ),
    max_leaves=8,
)


def fits(new: object, old: object) -> bool:
    """Whether a value has the shape of another: types, lengths of tuples, keys, element shapes."""
    if type(new) is not type(old):
        return False
    if isinstance(new, tuple) and isinstance(old, tuple):
        return len(new) == len(old) and all(map(fits, new, old))
    if isinstance(new, dict) and isinstance(old, dict):
        return list(new) == list(old) and all(fits(new[key], old[key]) for key in old)
    if isinstance(new, list | set) and isinstance(old, list | set):
        return all(any(fits(item, was) for was in old) for item in new)
    if isinstance(new, int | float) and isinstance(old, int | float) and old:
        return isinstance(old, bool) or (new > 0) == (old > 0)
    return True


@given(VALUES, st.integers())
def test_mutations_keep_the_shape_and_the_sign(value: object, seed: int) -> None:
    assert fits(mutated(value, seeded(seed)), value)


@given(st.lists(st.tuples(VALUES, VALUES), max_size=3), st.integers(0, 12), st.integers())
def test_inputs_are_new_few_enough_and_repeatable(
    examples: list[tuple[object, ...]], count: int, seed: int
) -> None:
    made = generated_inputs(examples, count, seeded(seed))
    assert made == generated_inputs(examples, count, seeded(seed))
    written = [repr(arguments) for arguments in made]
    assert len(set(written)) == len(written) <= count
    assert not set(written) & {repr(example) for example in examples}
    assert all(any(fits(arguments, example) for example in examples) for arguments in made)


def test_inputs_are_found_where_the_domain_is_large() -> None:
    assert len(generated_inputs([([3, 1, 2], "abc")], 12, seeded(0))) == 12
    assert generated_inputs([], 12, seeded(0)) == ()
    assert generated_inputs([(None,)], 12, seeded(0)) == ()


def test_infinities_are_not_handed_to_programs() -> None:
    made = generated_inputs([(1e308,)], 12, seeded(0))
    assert made
    assert all(value < float("inf") for (value,) in made)


KEYS = st.sampled_from(["a", "b", "c"])
SHARES = {"a": 1.0, "b": 1.0, "c": 0.5}
SOLUTIONS = st.lists(
    st.builds(
        lambda key, text: Solution(f"{key}{text}", key, SHARES[key]),
        KEYS,
        st.text("xy", max_size=3),
    ),
    min_size=1,
    max_size=8,
)


@given(SOLUTIONS, st.booleans(), st.randoms(use_true_random=False))
def test_the_order_of_candidates_does_not_change_the_winner(
    solutions: list[Solution],
    codet: bool,  # noqa: FBT001 - one of the given values
    rng: Random,
) -> None:
    shuffled = rng.sample(solutions, len(solutions))
    winner = solutions[best_solution(solutions, codet=codet)]
    assert shuffled[best_solution(shuffled, codet=codet)] == winner
    mates = [one for one in solutions if one.key == winner.key]
    assert len(winner.code) == min(len(mate.code) for mate in mates)


@given(SOLUTIONS)
def test_passing_tests_come_before_the_size_of_a_cluster(solutions: list[Solution]) -> None:
    winner = solutions[best_solution(solutions, codet=False)]
    assert winner.share == max(one.share for one in solutions)
    sizes = cluster_sizes(solutions)
    rivals = [sizes[one.key] for one in solutions if one.share == winner.share]
    assert sizes[winner.key] == max(rivals)


def test_codet_weighs_size_against_tests() -> None:
    few = [Solution("good", "a", 1.0)]
    many = [Solution(f"meh{i}", "c", 0.5) for i in range(3)]
    assert best_solution([*many, *few], codet=False) == 3
    assert best_solution([*many, *few], codet=True) == 0


def test_an_answer_without_code_is_the_last_choice() -> None:
    assert best_solution([Solution("", "no code", 0.0), Solution("x", "a", 0.0)], codet=True) == 1
    with pytest.raises(ValueError, match="no solution"):
        best_solution([], codet=False)


def test_programs_too_long_or_odd_for_a_tree_are_hashed_by_their_text() -> None:
    long = "def f(x):\n" + "    x += 1\n" * 4000
    odd = f"def f(x):\n    return 0x{'f' * 9000}\n"
    for program in (long, odd):
        assert functional_hash(program) == functional_hash(f"{program}\n")
        assert functional_hash(program) != functional_hash(program.replace("x", "y", 1))
