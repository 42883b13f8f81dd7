import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.strategies.examples import examples_in

STUB = 'def add(a: int, b: int) -> int:\n    """Add.\n{}\n    """\n'


def checks(prompt: str) -> list[str]:
    return [example.check for example in examples_in(prompt).examples]


def test_doctests_of_a_stub_are_found() -> None:
    prompt = STUB.format("\n    >>> add(1, 2)\n    3\n    >>> add(-1, 1)\n    0")
    found = examples_in(prompt)
    assert found.function == "add"
    assert [example.check for example in found.examples] == [
        "_equal(add(1, 2), 3)",
        "_equal(add(-1, 1), 0)",
    ]
    assert found.inputs == ((1, 2), (-1, 1))


def test_doctests_are_found_in_a_fence_and_among_prose() -> None:
    stub = STUB.format("\n    >>> add(1, 2)\n    3")
    assert checks(f"Please complete:\n```python\n{stub}```\nThanks!") == ["_equal(add(1, 2), 3)"]
    assert checks(f"It's this one:\n\n{stub}\nBe quick, don't dawdle.") == ["_equal(add(1, 2), 3)"]


def test_escapes_of_a_docstring_are_read_as_python_reads_them() -> None:
    prompt = 'def lines(s):\n    """\n    >>> lines("a\\\\nb")\n    2\n    """\n'
    assert examples_in(prompt).inputs == (("a\nb",),)


def test_asserts_name_the_function_where_no_stub_does() -> None:
    prompt = (
        "Write a function to find shared elements.\nYour code should pass these tests:\n\n"
        "assert set(similar((3, 4), (5, 4))) == set((4,))\nassert similar((1,), (2,)) == ()\n"
        "assert not similar((), ())"
    )
    found = examples_in(prompt)
    assert found.function == "similar"
    assert [example.check for example in found.examples] == [
        "_equal(set(similar((3, 4), (5, 4))), set((4,)))",
        "_equal(similar((1,), (2,)), ())",
        "not similar((), ())",
    ]
    assert found.inputs[0] == ((3, 4), (5, 4))


@pytest.mark.parametrize(
    "line",
    [
        "add(1, 2) -> 3",
        "Example: add(1, 2) == 3",
        "For example, `add(1, 2)` returns `3`.",
        "add(1, 2) ==> 3  # small",
        "* add(1, 2) => 3",
        "add(1, 2) = 3 because 1 + 2 is 3",
        "add(1, 2) ➞ 3",
        "add(1, 2) should return 3.",
        "add(1, 2) # 3",
        "assert add(1, 2) => 3",
        ">>> add(1, 2) == 3",
    ],
)
def test_arrows_are_examples_too(line: str) -> None:
    assert checks(f"def add(a, b):\n\nExamples\n    {line}\n") == ["_equal(add(1, 2), 3)"]


def test_the_last_function_that_examples_call_is_meant() -> None:
    prompt = "def helper(x):\n    return x\n\ndef main(x):\n    ...\n\nassert helper(1) == 1\n"
    assert examples_in(prompt).function == "helper"
    assert examples_in("def helper(x): ...\ndef main(x): ...\n").function == "main"


def test_an_example_is_counted_once() -> None:
    prompt = STUB.format("    add(1, 2) -> 3\n    >>> add(1, 2)\n    3") + "assert add(1, 2) == 3"
    assert checks(prompt) == ["_equal(add(1, 2), 3)"]


def test_what_is_not_literal_is_no_input() -> None:
    found = examples_in("assert f(Node(1)) == 2\nassert f(x=1) == 2\nassert f(*[1]) == 2")
    assert found.function == "f"
    assert len(found.examples) == 3
    assert found.inputs == ()


def test_arrows_of_names_that_nobody_defines_are_no_examples() -> None:
    assert checks("def happy(s):\n    happy(a) => False\n    happy('ab') => True") == [
        "_equal(happy('ab'), True)"
    ]


def test_outputs_that_are_no_literal_are_left_out() -> None:
    prompt = STUB.format(
        "\n    >>> add(1, 'a')\n    Traceback (most recent call last):\n    TypeError"
    )
    assert checks(prompt) == []


def test_imports_are_kept_and_prose_is_not() -> None:
    prompt = "from typing import List\nimport math\nimport tax is high\n\ndef f(x): ...\n"
    assert examples_in(prompt).imports == ("from typing import List", "import math")


def test_a_prompt_about_nothing_has_none() -> None:
    found = examples_in("How are you?")
    assert (found.function, found.examples, found.inputs) == (None, (), ())


def test_no_prompt_brings_more_examples_than_are_worth_running() -> None:
    prompt = "\n".join(f"assert f({i}) == {i}" for i in range(1000))
    assert len(examples_in(prompt).examples) == 32


@pytest.mark.parametrize("line", ["f(1) -> x\n", "assert f(1) ==\n", ">>> f(1)\nx\n"])
def test_no_more_of_a_prompt_is_parsed_than_is_worth_it(line: str) -> None:
    last = line.replace("x", "2").replace("==\n", "== 2\n")
    assert len(checks("def f(x): ...\n" + line * 60 + last)) == 1
    assert checks("def f(x): ...\n" + line * 70 + last) == []


HOSTILE = [
    ">>> " * 3000,
    '"""' * 5000,
    "assert " + "(" * 900,
    "assert f(" + "-" * 900 + "1) == 1",
    "def f(" * 2000,
    "```\n" * 4000,
    "f(1) -> " + "[" * 900,
    "  >>> f(1)\n 1\n\t>>> f(2)\n2",
    "assert f('\\ud800') == '\x00'",
    "f(" * 9000,
]


@pytest.mark.parametrize("prompt", HOSTILE)
def test_hostile_text_is_read_to_its_end(prompt: str) -> None:
    assert len(examples_in(prompt).examples) <= 32
    assert len(examples_in("def f(x):\n" + prompt).examples) <= 32


PIECES = st.sampled_from(
    [
        "def f(x):\n",
        '"""',
        ">>> f(1)\n",
        "1\n",
        "assert f(2) == 2\n",
        "f(3) -> 3\n",
        "```\n",
        "    ",
    ]
)


@given(st.lists(PIECES | st.text(max_size=20), max_size=30).map("".join))
def test_any_text_is_read_and_every_check_can_be_compiled(prompt: str) -> None:
    found = examples_in(prompt)
    for example in found.examples:
        compile(example.check, "check", "eval")
    assert found == examples_in(prompt)


@given(
    st.lists(
        st.tuples(st.integers(-99, 99), st.text("abc ", max_size=5)),
        min_size=1,
        max_size=8,
        unique=True,
    )
)
def test_every_assert_that_is_written_is_found(calls: list[tuple[int, str]]) -> None:
    prompt = "\n".join(f"assert go({n!r}, {text!r}) == {len(text)!r}" for n, text in calls)
    assert list(examples_in(prompt).inputs) == calls
