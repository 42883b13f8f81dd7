"""Text to canonical answer, and equality of canonical answers.

Everything here is syntax and exact arithmetic: equality that needs algebra is left open (None).
Only the last 20,000 characters of a text are read, and no pattern backtracks beyond a line.
"""

import ast
import re
import textwrap
import warnings
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import Literal

AnswerForm = Literal["auto", "number", "choice", "boxed", "code", "text"]

TAIL = 20_000  # characters: an answer stands at the end
MAX_NUMERAL = 100  # characters, also once written out: beyond is no answer but a trap
MAX_LATEX = 1_000  # characters of a formula that are worth normalising


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer in canonical writing: equal answers of one form have equal `canonical`.

    `form` is what was FOUND, never "auto": a boxed number is a "number" and a boxed letter a
    "choice", so that samples that write one answer in two ways vote together.
    """

    form: AnswerForm
    canonical: str


def extract(text: str, form: AnswerForm = "auto", *, cut: bool = False) -> Answer | None:
    r"""Find the answer a text ends on, or None when it holds none of that form.

    "auto" tries the last \boxed{}, the last fenced code block, a phrase naming a choice, the last
    number. "number" prefers what follows "####" or "the answer is", or stands in a box, whichever
    comes last; percent sign, currency and thousands separators are dropped, fractions and decimals
    become lowest terms. Python code is compared without comments and layout. "text" is the whole
    text, case and spacing folded. Where the text was `cut` off, a number that is merely the last
    one is no answer.
    """
    tail = text[-TAIL:]
    match form:
        case "boxed":
            return _boxed(tail)
        case "code":
            return _fenced_code(tail) or _bare_code(tail)
        case "choice":
            boxed = _boxed(tail)
            return boxed if boxed and boxed.form == "choice" else _choice(tail) or _mark(tail)
        case "number":
            return _number(tail, cut=cut)
        case "text":
            folded = " ".join(tail.casefold().split()).rstrip(" .")
            return Answer("text", folded) if folded else None
        case "auto":
            return _boxed(tail) or _fenced_code(tail) or _choice(tail) or _number(tail, cut=cut)


def same(a: Answer, b: Answer) -> bool | None:
    """Decide whether two answers are equal: None when it takes algebra or running code to tell."""
    if a.canonical == b.canonical:
        return True
    forms = {a.form, b.form}
    open_question = "boxed" in forms or forms == {"code"} or ("text" in forms and len(forms) > 1)
    return None if open_question else False


_CODE_PROMPT = re.compile(
    r"(?im)\b(?:write an?|implement (?:an?|the|this)|complete (?:the|this)) "
    r"(?:(?:following|simple|short|single|recursive|python|java|javascript|c\+\+|rust|sql) ){0,3}"
    r"(?:function|program|script|code|method|class)\b|^[ \t]{0,12}def \w{1,60}\("
)
_LATEX_PROMPT = re.compile(
    r"\\(?:frac|sqrt|cdot|times|pi|theta|angle|sum|begin|left|[(\[])"
    r"|\$[a-zA-Z]\$|\$[^$\n ]{0,40}[=^_\\+][^$\n]{0,80}\$"
)
_MATHS_PROMPT = re.compile(
    r"(?i)\b(?:find|compute|evaluate|simplify|solve|determine|what (?:is|are)|how many|express)\b"
)
_NUMBER_PROMPT = re.compile(
    r"(?i)\bhow (?:many|much|far|long|old|tall|fast|heavy)\b|\bcalculate\b|\bcompute\b"
    r"|\bwhat (?:is|was|will be|would be) (?:the|his|her|their|its) (?:[a-z]{1,15} ){0,2}"
    r"(?:total|sum|average|mean|cost|price|number|amount|profit|percentage|difference|value)\b"
)
_QUANTITY = re.compile(
    r"(?i)[0-9]+|\b(?:two|three|four|five|six|seven|eight|nine|ten|half|third|twice|double|dozen)\b"
)


def recognised_form(prompt: str) -> AnswerForm | None:
    """Recognise which checkable form of answer a prompt asks for; None when unsure."""
    tail = prompt[-TAIL:]
    letters = "AB" if re.search(r"(?i)\b(?:options|choices)\b", tail) else "ABC"
    if "\\boxed" in tail:
        return "boxed"
    if _CODE_PROMPT.search(tail):
        return "code"
    if all(re.search(rf"(?:^|[\s(]){letter}[).:]\s", tail) for letter in letters):
        return "choice"
    if _LATEX_PROMPT.search(tail) and _MATHS_PROMPT.search(tail):
        return "boxed"
    if _NUMBER_PROMPT.search(tail) and len(list(islice(_QUANTITY.finditer(tail), 2))) > 1:
        return "number"
    return None


# --- numbers ---------------------------------------------------------------------------------

_UNSIGNED = r"(?:(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)"
_NUMERAL = re.compile(
    r"(?P<sign>(?<![\w)\]}])[-+])?[$€£]?(?<![A-Za-z_0-9.])"
    r"(?:(?P<whole>[0-9]{1,9})\s(?=[0-9]{1,9}\s?/\s?[0-9]))?"
    rf"(?P<top>{_UNSIGNED})(?:[eE](?P<power>[-+]?[0-9]+))?"
    rf"(?:\s?/\s?(?P<bottom>{_UNSIGNED}))?"
)
_LATEX_FRACTION = re.compile(
    r"([0-9]\s?)?\\[dt]?frac\s?"
    r"(?:\{\s?(-?[0-9.,]{1,100})\s?\}\s?\{\s?([0-9.,]{1,100})\s?\}|([0-9])\s?([0-9]))"
)
_ANSWER_PHRASE = re.compile(
    r"(?im)(?:\banswer\b[^\n.:=]{0,60}?(?:\bis\b|\bwas\b|[:=])|^\s?A:)[\s:=*]{0,9}"
)
_NUMBER_SPELLING = ("\u2212", "-"), ("\\!", ""), ("\\,", ""), ("{,}", ","), ("\\$", "$")


def _number(text: str, *, cut: bool) -> Answer | None:
    content, end = _last_box(text)
    boxed = _box_answer(content)
    if boxed and boxed.form == "number":
        return _phrased(_plain_numbers(text[end:])) or boxed
    plain = _plain_numbers(text)
    numerals = list(_NUMERAL.finditer(plain))
    return _phrased(plain) or (_number_answer(numerals[-1]) if numerals and not cut else None)


def _phrased(plain: str) -> Answer | None:
    for sentence in _answer_sentences(plain):
        result = _NUMERAL.search(sentence.rsplit("=", 1)[-1]) or _NUMERAL.search(sentence)
        if result:
            return _number_answer(result)
    return None


def _answer_sentences(text: str) -> list[str]:
    marks = [match.end() for match in re.finditer("####", text)][-1:]
    marks += [match.end() for match in _ANSWER_PHRASE.finditer(text)][-1:]
    return [
        re.split(r"\n|[.;](?:\s|$)", text[at : at + 300].lstrip(), maxsplit=1)[0] for at in marks
    ]


def _plain_numbers(text: str) -> str:
    for latex, plain in _NUMBER_SPELLING:
        text = text.replace(latex, plain)
    return _LATEX_FRACTION.sub(_plain_fraction, text)


def _plain_fraction(match: re.Match[str]) -> str:
    whole, top, bottom, short_top, short_bottom = match.groups("")
    return f"{whole.strip()} {top}{short_top}/{bottom}{short_bottom}".lstrip()


def _number_answer(match: re.Match[str]) -> Answer | None:
    if len(match[0]) > MAX_NUMERAL or abs(power := int(match["power"] or 0)) > MAX_NUMERAL:
        return None
    if not (bottom := Fraction((match["bottom"] or "1").replace(",", ""))):
        return None
    size = Fraction(match["top"].replace(",", "")) * Fraction(10) ** power / bottom
    size += int(match["whole"] or 0)
    canonical = str(-size if match["sign"] == "-" else size)
    return Answer("number", canonical) if len(canonical) <= MAX_NUMERAL else None


# --- boxed formulas --------------------------------------------------------------------------

_LATEX_SPELLING = (
    (re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox)\{([^{}]*)\}"), r" \1 "),
    (re.compile(r"\\(?:left|right)(?![A-Za-z])|(?<!\\)\\(?:! *|[,;: $%])|[$%~]"), ""),
    (re.compile(r"\s+"), " "),
    (re.compile(r"(?<![A-Za-z,]) | (?![A-Za-z0-9])|(?<=[A-Za-z]) (?=[0-9])"), ""),
    (re.compile(r"(?<=,) (?![0-9]{3}(?![0-9]))"), ""),  # "1, 200" is two numbers
    (re.compile(r"\\[dtc]frac(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\^(?:\\circ|\{\\circ\})|^[a-zA-Z]=(?=.)|\.$"), ""),
    (re.compile(r"\\frac([0-9])([0-9])"), r"\\frac{\1}{\2}"),
    (re.compile(r"\\sqrt([0-9])"), r"\\sqrt{\1}"),
)
_UNIT = re.compile(r"\\(?:text|mathrm|mbox)\{[^{}]*\}(?:\^\{?[0-9]\}?)?[\s.]*$")


def _boxed(text: str) -> Answer | None:
    return _box_answer(_last_box(text)[0])


def _box_answer(content: str) -> Answer | None:
    canonical = _plain_latex(content)
    if letter := re.fullmatch(r"\(?([A-J])[).]*", canonical):
        return Answer("choice", letter[1])
    for formula in (_plain_latex(_UNIT.sub("", content)), canonical):
        number = _NUMERAL.fullmatch(_plain_numbers(formula))
        if number and (answer := _number_answer(number)):
            return answer
    return Answer("boxed", canonical) if canonical else None


def _plain_latex(formula: str) -> str:
    if len(formula) > MAX_LATEX:
        return formula.strip()
    before = None
    while before != formula:
        before = formula
        for pattern, replacement in _LATEX_SPELLING:
            formula = pattern.sub(replacement, formula)
    return formula


def _last_box(text: str) -> tuple[str, int]:
    """Return what the last complete box holds and where it ends, matching braces in one pass."""
    closes: dict[int, int] = {}
    opened: list[int] = []
    for brace in re.finditer(r"\\[{}\\]|[{}]", text):
        if brace[0] == "{":
            opened.append(brace.start())
        elif brace[0] == "}" and opened:
            closes[opened.pop()] = brace.start()
    boxes = [box.end() for box in re.finditer(r"\\(?:boxed|fbox)\{", text)]
    whole = ((at, closes[at - 1]) for at in reversed(boxes) if at - 1 in closes)
    start, end = next(whole, (0, 0))
    return text[start:end], end


# --- choices and code ------------------------------------------------------------------------

_LETTER = (  # a bare A or I before a word is an article or a pronoun
    r"[*$\s(\[\"'`]{0,6}(?:\\(?:text|mathrm)\{)?(?:(?i:option|choice) )?\(?([A-J])(?![\w'\u2019-])"
    r"(?!(?<=[AI]) (?!because|since|as |and )[a-z])"
)
_CHOICE_PHRASES = (
    re.compile(r"(?i:\banswer\b)[^\n.:=]{0,40}?(?i:\bis\b|[:=])" + _LETTER),
    re.compile(r"(?i:\b(?:correct|right|best) \w{1,20} (?:is|would be):?)" + _LETTER),
    re.compile(r"\A[\s(*]{0,9}([A-J])[).*\s]{0,9}\Z"),
)
_CHOICE_MARKS = (
    re.compile(r"(?i:\b(?:option|choice|answer)) \(?([A-J])(?![\w'\u2019-])"),
    re.compile(r"(?m)^[ *(]{0,6}([A-J])[).:*]{1,4}(?:\s|$)"),
    re.compile(r"\(([A-J])\)"),
)


def _choice(text: str) -> Answer | None:
    for phrase in _CHOICE_PHRASES:
        if letters := phrase.findall(text):
            return Answer("choice", letters[-1])
    return None


def _mark(text: str) -> Answer | None:
    """Read a letter that is marked as an option, if the text marks only one."""
    for mark in _CHOICE_MARKS:
        letters = set(mark.findall(text))
        if len(letters) == 1:
            return Answer("choice", letters.pop())
    return None


_STATEMENT = r"(?m)^(?:def|class|import|from|return|for|while|if|with|try|\w+ =) ?"


def _fenced_code(text: str) -> Answer | None:
    """Read the last block; its closing fence may be missing, as a stop sequence takes it away."""
    blocks = re.split(r"(?m)^[ \t]{0,12}```[^\n`]*$", text)[1::2]
    written = [block for block in blocks if block.strip()]
    if not written:
        return None
    source = textwrap.dedent(written[-1])
    return Answer("code", _plain_python(source) or source.strip())


def _bare_code(text: str) -> Answer | None:
    canonical = _plain_python(textwrap.dedent(text))
    return Answer("code", canonical) if re.search(_STATEMENT, canonical) else None


def _plain_python(source: str) -> str:
    try:
        with warnings.catch_warnings():  # odd escapes in an answer are no concern of our log
            warnings.simplefilter("ignore")
            return ast.unparse(ast.parse(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
