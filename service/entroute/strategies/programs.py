"""Programs in answers: finding them, running one for what it prints, saying what it printed."""

import re
import textwrap
from dataclasses import dataclass, replace

from entroute.answers import TAIL, extract, recognised_form
from entroute.code import code_blocks, defining, parsed
from entroute.errors import SandboxUnavailable
from entroute.evidence import Refusal
from entroute.execution import Repeat
from entroute.protocols import Run, Sandbox
from entroute.strategies.base import until_deadline
from entroute.types import ChatRequest, Completion

PROGRAM_LINE = (
    "Do not reason in words. Instead, write a short Python program that computes the answer and "
    "prints only the final value. Answer with one Python code block and nothing else."
)

MAX_VALUE = 200
"""Characters of a printed line that can still be an answer."""

MAX_CODE = 50_000
"""Characters of an answer's code; longer ones are not run."""

_DIGITS = 12
_NO_VALUES = frozenset({"none", "nan", "inf", "infinity", "true", "false", "null"})
_LABEL = re.compile(r"(?i)^(?:the )?(?:final )?(?:answer|result)(?: is:?|\s?[:=])\s*")
_FLOAT = re.compile(r"(?<![\w.])\d{1,16}\.\d{1,20}(?:e[-+]?\d{1,3})?(?![\w.])")
_NUMERAL = re.compile(r"\d[\d.,]*(?:e[-+]?\d+)?(?:\s?/\s?\d[\d.,]*)?")


@dataclass(frozen=True, slots=True)
class Printed:
    """What came of an answer's program.

    Attributes:
        value: The one value it printed, or None.
        reason: What happened, in words.
        alone: Whether it printed nothing else.
        lost: Whether it could not be run at all, which says nothing of the program.
    """

    value: str | None
    reason: str
    alone: bool = False
    lost: bool = False


def last_prompt(request: ChatRequest) -> str:
    """Return the text of the last user message, or the prompt of a text completion."""
    return request.asked


def code_of(text: str, function: str | None = None, *, before: str = "") -> str | None:
    """Return the Python code of an answer, or None where it holds none.

    The last fenced block counts, of those that define `function` where any does; without a fence
    the whole text, if it parses. `before` is the prompt of a text completion: an answer that goes
    on with it is only whole together with it.
    """
    blocks = [textwrap.dedent(block) for block in code_blocks(text)]
    blocks = defining(blocks, [function] if function else []) or blocks
    whole = [textwrap.dedent(text)] if not blocks and parsed(textwrap.dedent(text)) else []
    if before and not blocks and (not whole or _continues(text)):
        whole = [before + text] if parsed(before + text) else whole
    found = [code for code in (*blocks, *whole) if code.strip() and len(code) <= MAX_CODE]
    return found[-1] if found else None


def _continues(text: str) -> bool:
    return text[:1] in {" ", "\t"} or "def " not in text


async def printed(run: Run, sandbox: Sandbox, text: str, *, wall_s: float) -> Printed:
    """Run an answer's program and return the value that it printed last.

    A sandbox that is down is noted as degraded.

    Raises:
        TimeoutError: The request's deadline passed meanwhile.
    """
    code = code_of(text)
    if code is None:
        return Printed(None, "the answer holds no program")
    try:
        async with until_deadline(run):
            repeat = Repeat.of(run.principal.tenant, run.options.cache)
            with run.trace.outside("sandbox") as step:
                execution = await sandbox.run(code, wall_s=wall_left(run, wall_s), repeat=repeat)
                step.note(status=execution.status)
    except SandboxUnavailable:
        run.trace.degrade("sandbox")
        return Printed(None, "the program could not be run", lost=True)
    if not execution.ok:
        return Printed(None, f"the program ended with {execution.status}: {execution.error}"[:300])
    return _last_value(run.request, execution.stdout)


def _last_value(request: ChatRequest, stdout: str) -> Printed:
    lines = [line.strip() for line in stdout.splitlines() if line.strip()]
    if not lines:
        return Printed(None, "the program printed nothing")
    if len(lines[-1]) > MAX_VALUE:
        return Printed(None, "the program printed a line too long for an answer")
    value = value_of(lines[-1], number=recognised_form(last_prompt(request)) == "number")
    if value is None:
        return Printed(None, f"the program printed {lines[-1]}, which is no value")
    return Printed(value, f"the program printed {value}", alone=len(lines) == 1)


def value_of(line: str, *, number: bool) -> str | None:
    """Return the value that a printed line says, None where it says none.

    A label before it is dropped, and so is the noise of floats: those that are not whole keep 12
    digits. None, nan, an infinity and a truth value are what a program prints that found nothing.
    Where a `number` is asked for, the line must hold one and no other.
    """
    value = _FLOAT.sub(_without_noise, _LABEL.sub("", line))
    if not value or value.lstrip("+-").rstrip(".").lower() in _NO_VALUES:
        return None
    if number and (len(_NUMERAL.findall(value)) != 1 or extract(value, "number") is None):
        return None
    return value


def _without_noise(match: re.Match[str]) -> str:
    number = float(match[0])
    if number >= 10 ** (_DIGITS - 1) or number.is_integer() or len(match[0]) <= _DIGITS:
        return match[0]
    return f"{number:.{_DIGITS}g}"


def wall_left(run: Run, wall_s: float) -> float:
    """Return the seconds that a program may take: `wall_s`, less where the deadline is nearer."""
    return max(0.1, min(wall_s, run.ledger.budget.deadline - run.clock()))


def sentence(request: ChatRequest, value: str) -> str:
    r"""Say a value as an answer, in a box where the prompt asks for \boxed{}."""
    boxed = recognised_form(last_prompt(request)[-TAIL:]) == "boxed"
    return rf"The answer is \boxed{{{value}}}." if boxed else f"The answer is {value}."


def spoken(request: ChatRequest, completion: Completion, ran: Printed | None) -> Completion:
    """Return a sample as it is delivered: a program's as a sentence that says what it printed.

    Log-probabilities are dropped then: they are those of the program's tokens.
    """
    if ran is None or ran.value is None:
        return completion
    return replace(completion, content=sentence(request, ran.value), logprobs=())


def ballot(completion: Completion, ran: Printed) -> Completion:
    r"""Return a program's sample as voters read it: its value in a box, "" where it has none.

    In a box a value is read as a whole, (3, 4) as no single number; prose is no value.
    """
    value = ran.value or ""
    word = len(value.split()) == 1 or any(letter.isdigit() for letter in value)
    boxed = rf"\boxed{{{value}}}" if word else ""
    return replace(completion, content=boxed if extract(boxed) else "", logprobs=())


def refuse_rewritten(run: Run) -> Refusal | None:
    """Refuse what an answer in our own words cannot honour: log-probabilities, formats, gaps."""
    if run.request.logprobs:
        return Refusal("logprobs", "its answer may be a program's output, which has none")
    if run.request.suffix is not None:
        return Refusal("suffix", "its answer may be a sentence about a program's output")
    form = run.request.extra.get("response_format")
    if isinstance(form, dict) and form.get("type") != "text":
        return Refusal("response_format", "its answer may be a sentence about a program's output")
    return None
