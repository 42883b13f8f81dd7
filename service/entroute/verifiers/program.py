"""`program`: a predicate `sat(answer) -> bool`, sent with the request, decides."""

import ast
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from entroute.code import MAX_SOURCE, code_blocks, parsed
from entroute.errors import InvalidRequest, SandboxUnavailable
from entroute.evidence import Verdict
from entroute.protocols import Run, Sandbox
from entroute.types import ChatRequest, Completion
from entroute.verifiers.code import (
    NOT_RUN,
    code_of,
    functions,
    needed_sandbox,
    reported,
)
from entroute.verifiers.judging import each_once, out_of_order, quoted
from entroute.verifiers.parts import VerifierParts

AnswerMode = Literal["auto", "text", "literal", "code"]

_MAKERS = ("solution", "g")
_PROGRAM = """
def answer_of(mode, text, maker):
    import ast
    if mode == "text":
        return text
    if mode == "code":
        space = {"__name__": "answer"}
        exec(compile(text, "answer.py", "exec"), space)
        return space[maker]()
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        if mode == "literal":
            raise
        return FACTS["whole"]

def main():
    sys.stdout = Silent()
    part, name, source = "the answer", "answer.py", FACTS["text"]
    try:
        answer = answer_of(FACTS["mode"], FACTS["text"], FACTS["maker"])
        part, name, source = "sat", "sat.py", FACTS["source"]
        space = {"__name__": "sat"}
        exec(compile(source, name, "exec"), space)
        report({"sat": space["sat"](answer) is True})
    except BaseException as error:
        report({"part": part, "error": describe(error, name, source)})

main()
"""


class ProgramConfig(BaseModel):
    """Score 1 for an answer that satisfies a predicate."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["program"] = "program"
    source: str = Field(
        min_length=1,
        max_length=MAX_SOURCE,
        description="Python that defines `sat(answer)`; further parameters need defaults. Only "
        "True itself is a yes.",
    )
    answer: AnswerMode = Field(
        default="auto",
        description="What sat is given: `text`, the whole answer; `literal`, the Python literal "
        "that is its last block or line; `code`, what its `solution()` or `g()` returns; `auto`, "
        "the first of code, literal and text that there is.",
    )
    timeout_s: float = Field(
        default=10.0, ge=1, le=30, description="Seconds that one answer and its check may take."
    )

    def build(self, parts: VerifierParts) -> "Program":
        """Return the verifier.

        Raises:
            InvalidRequest: The source defines no such predicate, or there is no sandbox.
        """
        sandbox = needed_sandbox(parts, self.kind)
        tree = parsed(self.source)
        if tree is None:
            raise _refused("is no Python that can be parsed")
        sat = functions(tree).get("sat")
        if sat is None:
            raise _refused("must define the function sat(answer) at its top")
        if not _takes_one(sat):
            raise _refused("must define sat with one parameter that has no default, the answer")
        return Program(parts.run, sandbox, self.source, self.answer, self.timeout_s)


class Program:
    """Scores 1 when the predicate returns exactly True, else 0; so does what runs too long.

    Identical answers are run once, each in a process of its own together with the predicate.
    Abstains where the sandbox cannot run, which is noted as degraded.

    Args:
        run: The request, for its random choices and its tenant.
        sandbox: Runs answer and predicate.
        source: Defines `sat`.
        mode: What `sat` is given.
        timeout_s: Wall seconds of one run.

    Source: programming puzzles (P3, 2106.05784).
    """

    name = "program"
    top_logprobs: int | None = None
    compares = False
    calls = 0

    def __init__(
        self, run: Run, sandbox: Sandbox, source: str, mode: AnswerMode, timeout_s: float
    ) -> None:
        self._run = run
        self._sandbox = sandbox
        self._source = source
        self._mode = mode
        self._timeout_s = timeout_s
        self._known: dict[str, Verdict] = {}

    async def score(
        self, request: ChatRequest, candidates: Sequence[Completion]
    ) -> tuple[Verdict, ...]:
        """Run all distinct answers concurrently. See `Verifier.score`."""
        texts = [candidate.content for candidate in candidates]
        return await each_once(texts, self._judge, self._known)

    async def _judge(self, whole: str) -> Verdict:
        mode, text, maker = _given(whole[-MAX_SOURCE:], self._mode)
        if mode == "code" and not maker:
            return Verdict(0.0, "no code defines solution() or g()")
        facts = {"source": self._source, "mode": mode, "text": text, "maker": maker}
        facts["whole"] = whole[-MAX_SOURCE:]
        try:
            report = await reported(self._sandbox, self._run, _PROGRAM, facts, self._timeout_s)
        except SandboxUnavailable:
            self._run.trace.degrade("sandbox")
            return out_of_order(NOT_RUN)
        if report.execution.status == "timeout":
            return Verdict(0.0, f"ran longer than {self._timeout_s:g} s")
        said = report.lines[-1] if report.lines else {}
        if "sat" in said:
            right = said["sat"] is True
            return Verdict(float(right), "satisfies sat" if right else "does not satisfy sat")
        part = str(said.get("part", "the program"))
        why = str(said.get("error") or report.execution.error or "it ended early")
        return Verdict(0.0, f"{quoted(part)} failed: {quoted(why)}")


def _given(text: str, mode: AnswerMode) -> tuple[AnswerMode, str, str]:
    """Return how to read which part of a text, and the function to call if it is code."""
    if mode in {"auto", "code"}:
        code = code_of(text, _MAKERS)
        maker = _maker(code)
        if maker or mode == "code":
            return "code", code, maker
    if mode == "text":
        return mode, text, ""
    blocks = code_blocks(text)
    lines = [line for line in text.splitlines() if line.strip()]
    return mode, blocks[-1] if blocks else lines[-1] if lines else "", ""


def _maker(code: str) -> str:
    """Return the name of the function that makes the answer, "" where there is none."""
    tree = parsed(code)
    defined = {} if tree is None else functions(tree)
    return next((name for name in _MAKERS if name in defined), "")


def _takes_one(sat: ast.FunctionDef) -> bool:
    """Whether a function can be called with one argument and needs it."""
    args = sat.args
    needed = len(args.posonlyargs) + len(args.args) - len(args.defaults)
    return needed == 1 and all(default is not None for default in args.kw_defaults)


def _refused(why: str) -> InvalidRequest:
    return InvalidRequest(f"source {why}.", param="entroute.verifier.source")
