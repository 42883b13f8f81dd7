from entroute.execution import Execution
from entroute.protocols import Run
from entroute.verifiers.code import code_of, reported
from tests.builders import a_run, a_tier
from tests.fakes import FakeSandbox, executed

SHORT = "def short():\n    return 1\n"
LONG = "x = 1\ny = 2\nz = 3\nprint(x + y + z)\n"


def asking() -> Run:
    return a_run(a_tier("small"))


def fenced(code: str, language: str = "python") -> str:
    return f"Look:\n```{language}\n{code}```\n"


def test_the_code_is_the_block_that_defines_a_name_else_the_longest_else_the_text() -> None:
    text = fenced(SHORT) + fenced(LONG)
    assert code_of(text, ("short",)).strip() == SHORT.strip()
    assert code_of(text, ("other",)).strip() == LONG.strip()
    assert code_of(text).strip() == LONG.strip()
    assert code_of("x = 1") == "x = 1"


def test_a_block_in_a_list_loses_its_indentation() -> None:
    text = "1. so:\n   ```python\n   def f():\n       pass\n   ```"
    assert code_of(text, ("f",)) == "def f():\n    pass\n"


def test_the_last_block_that_defines_a_name_wins() -> None:
    better = "def short():\n    return 2\n"
    assert code_of(fenced(SHORT) + fenced(better), ("short",)).strip() == better.strip()


async def test_a_program_reports_and_sees_its_facts() -> None:
    facts = {"text": "é\u2028'''\"\\n", "half": "\ud800", "whole": "😀", "number": 1}
    program = "print('noise')\nreport({'facts': FACTS})\nprint('{}')"
    report = await reported(FakeSandbox(executed), asking(), program, facts, 1.0)
    assert report.lines == ({"facts": {**facts, "half": "?"}},)
    assert report.execution.ok


async def test_every_program_has_a_word_of_its_own() -> None:
    sandbox, run = FakeSandbox(lambda _: Execution("ok")), asking()
    for _ in range(2):
        assert (await reported(sandbox, run, "pass", {}, 1.0)).lines == ()
    assert sandbox.sources[0] != sandbox.sources[1]


async def test_an_error_is_described_by_its_message_or_by_the_line_that_raised_it() -> None:
    program = (
        "for source in ('x = 1\\nassert x == 2', 'assert 0, 1', 'raise ValueError'):\n"
        "    try:\n"
        "        exec(compile(source, 'a.py', 'exec'), {})\n"
        "    except Exception as error:\n"
        "        report({'error': describe(error, 'a.py', source)})\n"
    )
    report = await reported(FakeSandbox(executed), asking(), program, {}, 1.0)
    assert [line["error"] for line in report.lines] == [
        "AssertionError: assert x == 2",
        "AssertionError: 1",
        "ValueError: raise ValueError",
    ]
