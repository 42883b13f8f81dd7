"""`tests`: the share of a request's own unit tests that a candidate's code passes."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from entroute.errors import InvalidRequest, SandboxUnavailable
from entroute.evidence import Verdict
from entroute.protocols import Run, Sandbox
from entroute.types import ChatRequest, Completion
from entroute.verifiers.code import CUT, NOT_RUN, Report, code_of, needed_sandbox, reported
from entroute.verifiers.judging import each_once, out_of_order, quoted
from entroute.verifiers.parts import VerifierParts
from entroute.verifiers.unit_tests import MAX_TESTS, read_tests

MAX_RUNS = 5
"""Runs of one candidate: each test that kills its process costs one more."""

_PROGRAM = """
def main(code, tests, entry_point):
    silent = Silent()
    sys.stdout = silent
    space = {"__name__": "answer"}
    try:
        exec(compile(code, "answer.py", "exec"), space)
    except BaseException as error:
        report({"loaded": False, "error": describe(error, "answer.py", code)})
        return
    report({"loaded": True})
    for test in tests:
        error = ""
        try:
            names = {**space, "__name__": "__main__"}
            exec(compile(test, "test.py", "exec"), names)
            check = names.get("check")
            if entry_point and callable(check) and check is not space.get("check"):
                check(names[entry_point])
        except BaseException as caught:
            error = describe(caught, "test.py", test) or "failed"
        sys.stdout = silent
        report({"error": error})

main(FACTS["code"], FACTS["tests"], FACTS["entry_point"])
"""


class UnitTestsConfig(BaseModel):
    """Score by the share of unit tests that pass."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["tests"] = "tests"
    tests: Annotated[
        tuple[str, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)
    ] = Field(
        min_length=1,
        max_length=MAX_TESTS,
        description="Python source of the tests, or a list of sources, one a test; of a single "
        "source each assert and each `test_*` function at its top is a test. A test fails where "
        "it raises; one that runs no assert is refused. At most 50 tests and 64 KiB.",
    )
    entry_point: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$",
        description="Function under test: the block that defines it is the code, and a test that "
        "defines `check` has it called with it.",
    )
    timeout_s: float = Field(
        default=10.0, ge=1, le=30, description="Seconds that a candidate's tests may run together."
    )

    def build(self, parts: VerifierParts) -> "UnitTests":
        """Return the verifier.

        Raises:
            InvalidRequest: A test cannot fail or be read, they are too many, or there is no
                sandbox.
        """
        sandbox = needed_sandbox(parts, self.kind)
        try:
            tests = read_tests(self.tests, self.entry_point)
        except ValueError as error:
            raise InvalidRequest(str(error), param="entroute.verifier.tests") from error
        return UnitTests(parts.run, sandbox, tests, self.entry_point, self.timeout_s)


class UnitTests:
    """Scores passed tests / all tests, in [0, 1]; code that runs too long scores 0.

    Code whose report is cut scores 0, too. Identical code is run once, in one process unless a
    test kills it: then the tests after that one run in a fresh process, five processes at most.
    Abstains where the sandbox cannot run, which is noted as degraded.

    Args:
        run: The request, for its random choices and its tenant.
        sandbox: Runs the code.
        tests: Python sources, at least one.
        entry_point: Function under test, or None.
        timeout_s: Wall seconds of one run.
    """

    name = "tests"
    top_logprobs: int | None = None
    compares = False
    calls = 0

    def __init__(
        self,
        run: Run,
        sandbox: Sandbox,
        tests: Sequence[str],
        entry_point: str | None,
        timeout_s: float,
    ) -> None:
        self._run = run
        self._sandbox = sandbox
        self._tests = tuple(tests)
        self._entry_point = entry_point
        self._timeout_s = timeout_s
        self._known: dict[str, Verdict] = {}

    async def score(
        self, request: ChatRequest, candidates: Sequence[Completion]
    ) -> tuple[Verdict, ...]:
        """Run all distinct codes concurrently. See `Verifier.score`."""
        names = (self._entry_point,) if self._entry_point else ()
        codes = [code_of(candidate.content, names) for candidate in candidates]
        return await each_once(codes, self._judge, self._known)

    async def _judge(self, code: str) -> Verdict:
        if not code.strip():
            return Verdict(0.0, "no code can be read")
        errors: list[str] = []
        try:
            for _ in range(MAX_RUNS):
                report = await self._report(code, self._tests[len(errors) :])
                ended = report.execution
                if ended.status == "timeout":
                    return Verdict(0.0, f"ran longer than {self._timeout_s:g} s")
                first = report.lines[0] if report.lines else {}
                asked = 1 + len(self._tests) - len(errors) if first.get("loaded", True) else 1
                if ended.ok and len(report.lines) < asked:
                    return Verdict(0.0, CUT)
                if not first.get("loaded"):
                    said = str(first.get("error") or ended.error)
                    return Verdict(0.0, f"the code does not run: {quoted(said)}")
                errors += [str(line.get("error", "")) for line in report.lines[1:]]
                if len(errors) >= len(self._tests):
                    break
                errors.append(ended.error or "the process ended")
        except SandboxUnavailable:
            self._run.trace.degrade("sandbox")
            return out_of_order(NOT_RUN)
        return self._verdict(errors[: len(self._tests)])

    async def _report(self, code: str, tests: Sequence[str]) -> Report:
        facts = {"code": code, "tests": list(tests), "entry_point": self._entry_point}
        return await reported(self._sandbox, self._run, _PROGRAM, facts, self._timeout_s)

    def _verdict(self, errors: Sequence[str]) -> Verdict:
        total = len(self._tests)
        failed = [(i, error) for i, error in enumerate(errors, start=1) if error]
        passed = len(errors) - len(failed)
        if not failed:
            return Verdict(passed / total, f"all {total} tests pass")
        number, error = failed[0]
        return Verdict(
            passed / total, f"{passed} of {total} tests pass; test {number}: {quoted(error)}"
        )
