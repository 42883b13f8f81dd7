import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.answers import Answer, extract
from entroute.execution import Execution, Repeat
from entroute.strategies.programs import (
    Printed,
    ballot,
    code_of,
    printed,
    sentence,
    spoken,
    value_of,
)
from tests.builders import a_budget, a_completion, a_request, a_run, a_tier
from tests.strategies.programming import running


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Try\n```python\nx = 1\n```\nor\n```py\ny = 2\n```\n", "y = 2"),
        ("```\nx = 1", "x = 1"),
        ("  x = 1\n  y = 2", "x = 1\ny = 2"),
        ("1. Do\n   ```python\n   x = 1\n   ```", "x = 1"),
        ("I would rather not.", None),
        ("```python\n\n```", None),
        ("", None),
        ("```python\n" + "x = 1\n" * 10_000 + "```", None),
    ],
)
def test_the_last_block_is_the_code(text: str, code: str | None) -> None:
    found = code_of(text)
    assert (found and found.strip()) == code


def test_a_block_that_defines_the_function_comes_before_one_that_uses_it() -> None:
    text = "```python\ndef go(x):\n    return x\n```\nUse it:\n```python\ngo(1)\n```"
    assert "def go" in (code_of(text, "go") or "")
    assert "def go" not in (code_of(text, "stay") or "")


def test_an_answer_that_goes_on_with_a_prompt_is_read_with_it() -> None:
    prompt = "def go(x):\n"
    assert code_of("    return x", "go", before=prompt) == "def go(x):\n    return x"
    whole = "def go(x):\n    return 2"
    assert code_of(whole, "go", before=prompt) == whole
    assert code_of("I cannot.", "go", before=prompt) is None


@given(st.text(max_size=300), st.none() | st.just("f"), st.text(max_size=30))
def test_any_text_is_searched(text: str, function: str | None, before: str) -> None:
    code = code_of(text, function, before=before)
    assert code is None or code.strip()


async def test_a_program_has_no_more_time_than_the_request() -> None:
    given_s: list[float] = []

    class Timed:
        async def run(
            self,
            source: str,
            *,
            stdin: str = "",
            wall_s: float = 10.0,
            repeat: Repeat | None = None,
        ) -> Execution:
            given_s.append(wall_s)
            return Execution("ok", "1\n2\n")

    text = "```\nprint(1)\n```"
    run = a_run(a_tier("small"), budget=a_budget(deadline=102.0))
    value = await printed(run, Timed(), text, wall_s=5)
    assert given_s == [2.0]
    assert (value.value, value.alone, value.reason) == ("2", False, "the program printed 2")
    assert (await printed(run, running(), text, wall_s=1)).alone


def test_a_value_is_said_as_the_prompt_asks_for_it() -> None:
    assert sentence(a_request("What is 6*7?"), "42") == "The answer is 42."
    assert sentence(a_request("Put it in \\boxed{}."), "42") == r"The answer is \boxed{42}."
    program = a_completion("print(42)", logprobs=({"token": "print", "logprob": 0.0},))
    said = spoken(a_request(), program, Printed("42", "printed"))
    assert (said.content, said.logprobs) == ("The answer is 42.", ())
    assert spoken(a_request(), program, Printed(None, "failed")) == program
    assert spoken(a_request(), program, None) == program


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        ("42", Answer("number", "42")),
        ("0.50", Answer("number", "1/2")),
        ("B", Answer("choice", "B")),
        ("(3, 4)", Answer("boxed", "(3,4)")),
        ("a walk in the park", None),
        ("}{", None),
        (None, None),
    ],
)
def test_a_printed_value_is_read_as_a_whole(value: str | None, answer: Answer | None) -> None:
    assert extract(ballot(a_completion("print()"), Printed(value, "printed")).content) == answer


@pytest.mark.parametrize(
    ("line", "value", "number"),
    [
        ("42", "42", "42"),
        ("Answer: 18", "18", "18"),
        ("The final answer is 18", "18", "18"),
        ("the answer is: (3, 4)", "(3, 4)", None),
        ("Answer:", None, None),
        ("0.30000000000000004", "0.3", "0.3"),
        ("-3.3000000000000003", "-3.3", "-3.3"),
        ("114.99999999999999", "115", "115"),
        ("[0.30000000000000004, 1.5]", "[0.3, 1.5]", None),
        ("1.0000000000000002e-05", "1e-05", "1e-05"),
        ("12.50", "12.50", "12.50"),
        ("18.0", "18.0", "18.0"),
        ("123456789012.25", "123456789012.25", "123456789012.25"),
        ("18 apples", "18 apples", "18 apples"),
        ("$1,200", "$1,200", "$1,200"),
        ("1/3", "1/3", "1/3"),
        ("B", "B", None),
        ("12 or 13", "12 or 13", None),
        ("[1, 2]", "[1, 2]", None),
        *[(word, None, None) for word in ("None", "nan", "inf", "-inf", "True", "False.", "null")],
    ],
)
def test_a_printed_line_is_read_as_a_value_or_as_none(
    line: str, value: str | None, number: str | None
) -> None:
    assert value_of(line, number=False) == value
    assert value_of(line, number=True) == number


@given(st.text(max_size=200), st.booleans())
def test_any_line_is_read(line: str, number: bool) -> None:  # noqa: FBT001
    assert value_of(line, number=number) != ""
