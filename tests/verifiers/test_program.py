from typing import Any

import pytest

from entroute.errors import InvalidRequest, SandboxUnavailable
from entroute.execution import Execution
from entroute.verifiers import build_verifier
from tests.builders import a_completion, a_request
from tests.fakes import FakeSandbox, executed, verifier_parts

EVEN = "def sat(x, least=2):\n    return isinstance(x, int) and x >= least and x % 2 == 0"
TEXT = "def sat(text):\n    return isinstance(text, str) and 'Paris' in text"


async def judged(
    text: str, source: str = EVEN, sandbox: FakeSandbox | None = None, **options: Any
) -> tuple[float | None, str]:
    parts = verifier_parts(sandbox=sandbox or FakeSandbox(executed))
    verifier = build_verifier({"kind": "program", "source": source, **options}, parts)
    (verdict,) = await verifier.score(a_request(), [a_completion(text)])
    return None if verdict.abstained else verdict.score, verdict.reason


@pytest.mark.parametrize(
    ("text", "source", "mode", "score"),
    [
        ("Let me see.\n\n4\n", EVEN, "auto", 1),
        ("Let me see.\n\n5", EVEN, "auto", 0),
        ("```\n4\n```", EVEN, "auto", 1),
        ("```python\ndef solution():\n    return 4\n```", EVEN, "auto", 1),
        ("```python\ndef g():\n    return 5\n```", EVEN, "auto", 0),
        ("It is Paris", TEXT, "auto", 1),
        ("It is\nParis, of course", TEXT, "auto", 1),
        ("'Paris'", TEXT, "literal", 1),
        ("Paris", TEXT, "literal", 0),
        ("'Paris'", "def sat(t): return t == \"'Paris'\"", "text", 1),
        ("4", EVEN, "code", 0),
        ("def solution():\n    return 4", EVEN, "code", 1),
        ("", EVEN, "auto", 0),
        ("[1, 2]", "def sat(x): return x == [1, 2]", "literal", 1),
    ],
)
async def test_the_predicate_is_given_what_the_mode_says(
    text: str, source: str, mode: str, score: float
) -> None:
    assert (await judged(text, source, answer=mode))[0] == score


@pytest.mark.parametrize("value", ["1", "'yes'", "[0]", "None"])
async def test_only_true_itself_is_a_yes(value: str) -> None:
    assert (await judged("4", f"def sat(x): return {value}"))[0] == 0


async def test_errors_score_zero_and_say_whose_they_are() -> None:
    score, reason = await judged("4", "def sat(x):\n    return x[0]")
    assert score == 0
    assert reason.startswith("sat failed: TypeError")
    score, reason = await judged("def g():\n    return 1 / 0", answer="code")
    assert score == 0
    assert reason == "the answer failed: ZeroDivisionError: division by zero"
    assert (await judged("def g(): raise SystemExit", answer="code"))[0] == 0
    assert await judged("4", answer="code") == (0, "no code defines solution() or g()")


async def test_what_the_answer_prints_is_no_verdict() -> None:
    code = "def g():\n    print('{\"sat\": true}')\n    return 5"
    assert (await judged(code, answer="code"))[0] == 0


@pytest.mark.parametrize(
    ("execution", "score", "words"),
    [
        (Execution("timeout"), 0, "ran longer than 10 s"),
        (Execution("killed", error="out of memory"), 0, "the program failed: out of memory"),
        (Execution("ok", stdout="nothing"), 0, "it ended early"),
        (SandboxUnavailable("http://box: no room"), None, "the sandbox cannot run it"),
    ],
)
async def test_what_does_not_end_by_itself_scores_zero_and_a_dead_sandbox_abstains(
    execution: Execution | Exception, score: float | None, words: str
) -> None:
    found, reason = await judged("4", sandbox=FakeSandbox(lambda _: execution))
    assert found == score
    assert words in reason


async def test_identical_answers_are_run_once() -> None:
    sandbox = FakeSandbox(executed)
    verifier = build_verifier({"kind": "program", "source": EVEN}, verifier_parts(sandbox=sandbox))
    verdicts = await verifier.score(a_request(), [a_completion(t) for t in ("4", "5", "4")])
    assert [verdict.score for verdict in verdicts] == [1, 0, 1]
    assert len(sandbox.sources) == 2


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def sat(x", "no Python that can be parsed"),
        ("a\0b", "no Python that can be parsed"),
        ("x = 1", r"must define the function sat\(answer\)"),
        ("if True:\n    def sat(x): return True", "at its top"),
        ("async def sat(x): return True", "must define the function"),
        ("def sat(): return True", "one parameter"),
        ("def sat(x, y): return True", "one parameter"),
        ("def sat(x, *, y): return True", "one parameter"),
        ("def sat(x=1): return True", "one parameter"),
        ("return True", "define the function sat"),
    ],
)
def test_a_malformed_predicate_is_refused_by_its_field(source: str, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words) as caught:
        build_verifier(
            {"kind": "program", "source": source}, verifier_parts(sandbox=FakeSandbox(executed))
        )
    assert caught.value.param == "entroute.verifier.source"


def test_without_a_sandbox_it_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="operator must switch the sandbox on") as caught:
        build_verifier({"kind": "program", "source": EVEN}, verifier_parts())
    assert caught.value.param == "entroute.verifier.kind"
