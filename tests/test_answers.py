import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entroute.answers import Answer, AnswerForm, extract, recognised_form, same

forms = st.sampled_from(["auto", "number", "choice", "boxed", "code", "text"])
fragments = st.lists(
    st.sampled_from(
        ["\\boxed{", "}", "{", "\\frac", "\\text{", "12", "3.5", "/", "-", " ", "\n", "```", "A",
         "answer is ", "####", "(B)", "x = ", ",", "$", "%", "\\left(", "\\!", "e9", "def f():",
         "\\"]
    ),
    max_size=25,
).map("".join)  # fmt: skip
texts = st.one_of(st.text(max_size=200), fragments)


def rewritten(answer: Answer) -> str:
    """Write a canonical answer the way a model would."""
    if answer.form == "boxed":
        return f"\\boxed{{{answer.canonical}}}"
    return f"```\n{answer.canonical}\n```" if answer.form == "code" else answer.canonical


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("16 - 3 = <<16-3=13>>13 eggs\n#### 42", "42"),
        ("She makes $1,234.50 a day.", "2469/2"),
        ("The answer is 5 * 3 = 15. It took 2 minutes.", "15"),
        ("The final answer is: **18** dollars", "18"),
        ("The answer is $\\frac{14}{3}$.", "14/3"),
        ("Answer:\n\n-0.50", "-1/2"),
        ("so 50% of them", "50"),
        ("about .5", "1/2"),
        ("x = 2 1/2 hours", "5/2"),
        ("the total is 1\\frac{1}{2}", "3/2"),
        ("10{,}000 people", "10000"),
        ("It is \u22123 degrees", "-3"),
        ("so 16-3", "3"),
        ("A: 26", "26"),
        ("2.5e3", "2500"),
        ("#### 007", "7"),
        ("room x2 costs 1.50.", "3/2"),
        ("-0", "0"),
    ],
)
def test_last_number_is_canonical(text, canonical):
    assert extract(text) == Answer("number", canonical)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        (r"He should do \boxed{18} more vlogs to complete the 72 vlogs.", "18"),
        (r"First \boxed{7}, so \boxed{1\frac{1}{2}} of 4.", "3/2"),
        (r"\boxed{\$1{,}200} in 12 months", "1200"),
        (r"The answer is \boxed{18} of 72.", "18"),
        (r"The answer is 20. Check: \boxed{18} of 72.", "18"),
        (r"\boxed{18} at first. The answer is 20 of 72.", "20"),
        ("\\boxed{18} of 72\n#### 20", "20"),
        (r"\boxed{18} of 72 is the answer: done", "18"),
        (r"\boxed{x + y} of 72", "72"),
        (r"\boxed{18", "18"),
    ],
)
def test_a_boxed_number_comes_before_the_last_number_unless_a_phrase_follows(text, canonical):
    assert extract(text, "number") == Answer("number", canonical)


@pytest.mark.parametrize(
    "text", ["", "no digits", "1/0", "1e999999999", "9" * 5000, "1e99999999999999", "\\frac{1}{0}"]
)
def test_numbers_that_are_none_or_traps_are_not_read(text):
    assert extract(text, "number") is None


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("\\dfrac{1}{2}", Answer("number", "1/2")),
        ("\\frac12", Answer("number", "1/2")),
        ("x = 5", Answer("number", "5")),
        ("18\\text{ dollars}", Answer("number", "18")),
        ("45^\\circ", Answer("number", "45")),
        ("11,\\! 111,\\! 100", Answer("number", "11111100")),
        ("\\text{(B)}", Answer("choice", "B")),
        ("\\left( 3, \\frac{\\pi}{2} \\right)", Answer("boxed", "(3,\\frac{\\pi}{2})")),
        ("\\text{two dogs}", Answer("boxed", "two dogs")),
        ("1, 200", Answer("boxed", "1, 200")),
        ("\\pi x", Answer("boxed", "\\pi x")),
        ("\\{1,2\\}", Answer("boxed", "\\{1,2\\}")),
        ("9" * 200, Answer("boxed", "9" * 200)),
    ],
)
def test_boxed_formulas_are_normalised(content, expected):
    assert extract(f"We get $\\boxed{{{content}}}$.", "boxed") == expected
    assert extract(f"First \\boxed{{7}}, then \\boxed{{{content}}}. Check: 3") == expected


def test_an_unfinished_or_empty_box_is_not_an_answer():
    assert extract("\\boxed{1} and \\boxed{2{3}", "boxed") == Answer("number", "1")
    assert extract("\\boxed{ }", "boxed") is None
    assert extract("nothing", "boxed") is None


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("Option B is wrong, so the answer is (C).", "C"),
        ("The answer is C, since option B is wrong", "C"),
        ("**Answer:** D", "D"),
        ("The correct option is $\\text{B}$.", "B"),
        ("The best choice would be: E", "E"),
        ("(B)", "B"),
        ("b is not it; the answer is A because it floats", "A"),
        ("answer: A) 12", "A"),
    ],
)
def test_choice_phrases_are_read_before_numbers(text, letter):
    assert extract(text + " 12 of 12" if text.endswith(".") else text) == Answer("choice", letter)


def test_articles_and_option_lists_are_not_choices():
    assert extract("The answer is A dog", "choice") is None
    assert extract("(A) red\n(B) blue", "choice") is None
    assert extract("I would take (B) here", "choice") == Answer("choice", "B")
    assert extract("B) 12 apples", "choice") == Answer("choice", "B")
    assert extract("\\boxed{C}", "choice") == Answer("choice", "C")


def test_code_ignores_comments_and_layout_and_takes_the_last_block():
    first = extract(
        "```python\nx=1\n```\nBetter:\n```python\ndef f( a ):\n  # add\n  return a+1\n```"
    )
    second = extract("def f(a):\n    return (a + 1)\n", "code")
    unclosed = extract("```py\ndef f(a): return a+1")
    assert first == second == unclosed
    assert first is not None
    assert first.form == "code"
    assert extract("just prose", "code") is None
    assert extract("```js\n  let x = 1;  \n```") == Answer("code", "let x = 1;")
    assert extract("``` \n ```", "code") is None


@pytest.mark.parametrize(
    "body", ["-" * 19_000 + "1", "(" * 19_000, "x\0y", "'\\d'", "f" + ".a" * 9_000]
)
def test_hostile_code_neither_raises_nor_warns(body):
    answer = extract(f"```python\n{body}\n```")
    assert answer is not None
    assert answer.form == "code"


def test_text_folds_case_and_spacing():
    assert extract("  Grey\n Cat. ", "text") == extract("grey cat", "text")
    assert extract(" . ", "text") is None


def test_equality_is_decided_by_arithmetic_and_left_open_for_algebra():
    half = extract("0.5", "number")
    assert half == extract("1/2") == extract(".50")
    assert same(Answer("number", "1/2"), Answer("number", "2")) is False
    assert same(Answer("choice", "A"), Answer("number", "1")) is False
    assert same(Answer("boxed", "2^3"), Answer("number", "8")) is None
    assert same(Answer("code", "f()"), Answer("code", "g()")) is None
    assert same(Answer("text", "eight"), Answer("number", "8")) is None
    assert same(Answer("text", "eight"), Answer("text", "nine")) is False


@given(texts, forms)
def test_canonical_form_is_a_fixed_point(text, form):
    answer = extract(text, form)
    if answer is not None:
        assert answer.form != "auto"
        assert answer.canonical
        assert extract(rewritten(answer), answer.form) == answer


@given(texts, texts, forms, forms)
def test_equality_is_reflexive_and_symmetric(a, b, form_a, form_b):
    left, right = extract(a, form_a), extract(b, form_b)
    if left is not None and right is not None:
        assert same(left, left) is True
        assert same(left, right) is same(right, left)


@given(st.fractions(max_denominator=10**6), st.sampled_from(["{}", "#### {}", "\\boxed{{{}}}"]))
def test_every_fraction_survives_being_written(value, template):
    if abs(value.numerator) < 10**40:
        assert extract(template.format(value)) == Answer("number", str(value))


@given(
    st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(9**9), max_value=9**9)
)
def test_decimals_with_and_without_separators_are_one_number(value):
    plain, grouped = extract(f"= {value:f}"), extract(f"Total: ${value:,f}.")
    assert plain == grouped == Answer("number", str(Fraction(value)))


@pytest.mark.parametrize(
    "pattern",
    ["\\boxed{", "{", "}", "1,", "1,111", " ", "answer ", "answer is", "answer is ", "\\frac{1}{",
     "####", "(A) ", "```\n", "$", "1 ", "1 1/", "A", "\\text{", "write a ", "\n", "*", "-",
     "def f("],
)  # fmt: skip
def test_long_hostile_text_is_read_in_bounded_time(pattern):
    text = pattern * (200_000 // len(pattern))
    started = time.perf_counter()
    for form in ("auto", "number", "choice", "boxed", "code", "text"):
        extract(text, form)
        extract(f"\\boxed{{{text[:15_000]}}}", form)
    recognised_form(text)
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    ("prompt", "form"),
    [
        ("Janet has 3 ducks and buys 4 more. How many ducks does she have?", "number"),
        ("A robe takes two bolts and half that much fiber. What is the total number?", "number"),
        ("If $f(x) = \\frac{3x-2}{x-2}$, what is the value of $f(-2)$?", "boxed"),
        ("Solve it and put the answer in \\boxed{}.", "boxed"),
        ("Which is it?\n(A) red\n(B) blue\n(C) green", "choice"),
        ("Is it?\nOptions:\nA) Yes\nB) No", "choice"),
        ("Write a Python function to reverse a list.", "code"),
        ('def add(a, b):\n    """Add."""', "code"),
        ("Write a poem about the sea.", None),
        ("How much do you like cats?", None),
        ("It costs $5 and he pays $3. Tell a joke.", None),
        ("Write a training program for my marathon.", None),
        ("What is the capital of France?", None),
    ],
)
def test_prompts_are_recognised_conservatively(prompt, form):
    assert recognised_form(prompt) == form


@pytest.mark.parametrize("form", ["number", "auto"])
def test_the_last_number_of_a_text_that_was_cut_off_is_no_answer(form: AnswerForm) -> None:
    assert extract("First 3 * 4 = 12, then 12 +", form, cut=True) is None
    assert extract(r"It is \boxed{12}. To check, 12 / 4", form, cut=True) == Answer("number", "12")
    assert extract("First 3 * 4 = 12", form) == Answer("number", "12")
