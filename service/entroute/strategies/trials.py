"""One run of an answer's code in the sandbox: every example and every input of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from entroute.code import PRIVATE_OUT
from entroute.errors import SandboxUnavailable
from entroute.evidence import Verdict
from entroute.execution import Repeat
from entroute.protocols import Run, Sandbox
from entroute.strategies.base import until_deadline
from entroute.strategies.examples import Examples
from entroute.strategies.programs import code_of, wall_left
from entroute.types import ChatRequest, Completion

_CUT = "its report was cut short"
_RUNNER = (
    PRIVATE_OUT
    + """
import ast, contextlib, hashlib, io, math, sys
def _say(kind, text, out=_private_out(), mark=_MARK):
    print("\\n" + mark, kind, text, file=out, flush=True)
def _equal(a, b):
    if float in (type(a), type(b)) and {type(a), type(b)} <= {int, float}:
        return a == b or math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9)
    if isinstance(a, (list, tuple)) and type(a) is type(b):
        return len(a) == len(b) and all(map(_equal, a, b))
    return a == b
def _shown(v):
    if isinstance(v, float):
        return format(v, ".9g")
    if v is None or isinstance(v, (bool, int, str, bytes)):
        return repr(v)
    if isinstance(v, (list, tuple)):
        return ("(" if isinstance(v, tuple) else "[") + ",".join(map(_shown, v)) + "]"
    if isinstance(v, (set, frozenset)):
        return "{" + ",".join(sorted(map(_shown, v))) + "}"
    if isinstance(v, dict):
        return "{" + ",".join(sorted(_shown(k) + ":" + _shown(v[k]) for k in v)) + "}"
    text = repr(v)
    return type(v).__name__ if " at 0x" in text else text
def _behaviour(call, *args):
    try:
        text = _shown(call(*args))
    except BaseException as error:
        return "!" + type(error).__name__
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
    return ascii(text[:40]) + digest if len(text) > 40 else ascii(text)
_space = {"__name__": "answer"}
with contextlib.redirect_stdout(io.StringIO()):
    for _line in _IMPORTS:
        try:
            exec(_line, _space)
        except ImportError:
            pass
    try:
        exec(compile(_CODE, "answer", "exec"), _space)
        _loaded = "ok"
    except BaseException as error:
        _loaded = type(error).__name__
    if _loaded == "ok" and _NAME and _NAME not in _space:
        _loaded = "defines no " + _NAME
    _say("load", _loaded)
    if _loaded == "ok":
        for _check in _CHECKS:
            try:
                _right = bool(eval(_check, {**_space, "_equal": _equal}))
            except BaseException:
                _right = False
            _say("check", int(_right))
        for _source in _INPUTS:
            _say("input", _behaviour(_space[_NAME], *ast.literal_eval(_source)))
"""
)


@dataclass(frozen=True, slots=True)
class Tried:
    """What one program did.

    Attributes:
        loaded: Whether it could be loaded and defines the function that was asked for.
        passed: Examples it passed.
        of: Examples it was tried on.
        behaviour: For each input what it returned, in canonical writing, or "!" and what it
            raised; "!late" for those that its time did not reach.
        reason: What happened, in words.
        lost: Whether it could not be run at all, which says nothing of the program.
    """

    loaded: bool
    passed: int = 0
    of: int = 0
    behaviour: tuple[str, ...] = ()
    reason: str = ""
    lost: bool = False

    @property
    def share(self) -> float:
        """Share of the examples that it passed, in [0, 1]; of none it passed all it could."""
        if not self.loaded:
            return 0.0
        return self.passed / self.of if self.of else 1.0


@dataclass(frozen=True, slots=True)
class Trial:
    """Puts programs to the examples of a prompt and to further inputs.

    Attributes:
        run: The request.
        sandbox: Where programs run.
        examples: What the prompt says.
        wall_s: Seconds that a program has for all of it.
        inputs: Arguments of further calls, literals.
        mark: Opens the lines of the report, so that nothing a program prints is taken for one. A
            program that looks for it in its own process can find it: it is no proof against lies.
    """

    run: Run
    sandbox: Sandbox
    examples: Examples
    wall_s: float
    inputs: Sequence[tuple[Any, ...]] = ()
    mark: str = field(default="")

    async def of(self, code: str) -> Tried:
        """Run one program; a sandbox that is down is noted as degraded.

        Raises:
            TimeoutError: The request's deadline passed meanwhile.
        """
        checks = [example.check for example in self.examples.examples]
        try:
            async with until_deadline(self.run):
                wall_s = wall_left(self.run, self.wall_s)
                with self.run.trace.outside("sandbox") as step:
                    execution = await self.sandbox.run(
                        self._source(code, checks), wall_s=wall_s, repeat=self._repeat()
                    )
                    step.note(status=execution.status)
        except SandboxUnavailable:
            self.run.trace.degrade("sandbox")
            return Tried(loaded=False, reason="the program could not be run", lost=True)
        said = _report(execution.stdout, self.mark)
        loaded = next((text for kind, text in said if kind == "load"), execution.error)
        if loaded != "ok":
            why = loaded or (_CUT if execution.ok else execution.status)
            return Tried(loaded=False, of=len(checks), reason=f"cannot be loaded: {why}"[:300])
        passed = sum(text == "1" for kind, text in said if kind == "check")
        shown = [text for kind, text in said if kind == "input"]
        missing = ["!late"] * (len(self.inputs) - len(shown))
        reason = f"{passed} of {len(checks)} examples"
        cut = len(said) <= len(checks) + len(self.inputs)
        ending = (
            (f", {_CUT}" if cut else "") if execution.ok else f", ended with {execution.status}"
        )
        behaviour = tuple(shown + missing)
        return Tried(True, passed, len(checks), behaviour, reason + ending)

    def _repeat(self) -> Repeat | None:
        return Repeat.of(self.run.principal.tenant, self.run.options.cache, self.mark)

    def _source(self, code: str, checks: list[str]) -> str:
        facts = {
            "_MARK": self.mark,
            "_IMPORTS": list(self.examples.imports),
            "_CODE": code,
            "_NAME": self.examples.function,
            "_CHECKS": checks,
            "_INPUTS": [repr(arguments) for arguments in self.inputs],
        }
        return "".join(f"{name} = {value!r}\n" for name, value in facts.items()) + _RUNNER


def _report(stdout: str, mark: str) -> list[tuple[str, str]]:
    lines = (line.split(" ", 2) for line in stdout.splitlines() if line.startswith(f"{mark} "))
    return [(parts[1], parts[2]) for parts in lines if len(parts) == 3]  # noqa: PLR2004


class ExampleJudge:
    """Scores a sample by the share of the prompt's examples that its code passes.

    Abstains where nothing can be run.

    Args:
        trial: The examples.
    """

    name = "examples"
    top_logprobs: int | None = None
    compares = False
    calls = 0

    def __init__(self, trial: Trial) -> None:
        self._trial = trial

    async def score(
        self, request: ChatRequest, candidates: Sequence[Completion]
    ) -> tuple[Verdict, ...]:
        """Run each sample's code once. See `Verifier.score`."""
        return tuple([await self._judge(request, candidate) for candidate in candidates])

    async def _judge(self, request: ChatRequest, candidate: Completion) -> Verdict:
        code = answered_code(request, candidate, self._trial.examples)
        if code is None:
            return Verdict(0.0, "no code can be read")
        tried = await self._trial.of(code)
        return Verdict(tried.share, tried.reason, abstained=tried.lost, failed=tried.lost)


def answered_code(request: ChatRequest, candidate: Completion, examples: Examples) -> str | None:
    """Return a sample's code, together with the prompt where it goes on with one."""
    return code_of(candidate.content, examples.function, before=request.prompt or "")
