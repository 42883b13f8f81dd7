import pytest

from entroute.errors import SandboxUnavailable
from entroute.execution import Execution
from entroute.protocols import Sandbox
from entroute.strategies.examples import examples_in
from entroute.strategies.trials import ExampleJudge, Trial, Tried
from tests.builders import a_completion, a_request, a_run, a_tier
from tests.fakes import FakeSandbox
from tests.processes import NOISE, OwnProcess

EXAMPLES = examples_in("Write `double`.\n\nassert double(2) == 4\nassert double(5) == 10")
RIGHT = "def double(x):\n    return 2 * x\n"


def trial(sandbox: Sandbox) -> Trial:
    return Trial(a_run(a_tier("small")), sandbox, EXAMPLES, 10.0, EXAMPLES.inputs, "mark")


async def tried(code: str, sandbox: Sandbox) -> Tried:
    return await trial(sandbox).of(code)


@pytest.mark.parametrize(
    "noise",
    [
        *NOISE,
        "print('mark load no')",
    ],
)
async def test_output_below_print_does_not_cost_a_right_program_its_report(noise: str) -> None:
    loud, quiet = f"{RIGHT}\n{noise}", RIGHT
    assert await tried(loud, OwnProcess()) == await tried(quiet, OwnProcess())
    assert (await tried(loud, OwnProcess())).share == 1


@pytest.mark.parametrize(
    ("said", "share", "words"),
    [
        ("", 0, "cannot be loaded: its report was cut short"),
        ("\nmark load ok\n\nmark check 1\n", 0.5, "1 of 2 examples, its report was cut short"),
    ],
)
async def test_a_report_that_is_cut_short_says_so(said: str, share: float, words: str) -> None:
    result = await tried(RIGHT, FakeSandbox(lambda _: Execution("ok", said)))
    assert (result.share, result.reason) == (share, words)


async def test_a_sandbox_that_is_down_is_a_failure_of_the_judge() -> None:
    judge = ExampleJudge(trial(FakeSandbox(lambda _: SandboxUnavailable("down"))))
    (verdict,) = await judge.score(a_request(), [a_completion(f"```\n{RIGHT}```")])
    assert (verdict.abstained, verdict.failed) == (True, True)
