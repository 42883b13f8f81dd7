import json

import pytest

from entroute.sandbox.reading import Collected, Facts, Report, judge

SECRET = "5" * 32
OK = f"{SECRET} {json.dumps({'status': 'ok', 'error': ''})}\n"


def status(told: str, **facts: float) -> str:
    """Return what is made of a report and an exit."""
    report = Report(SECRET)
    report.add(told.encode())
    seen = {"code": 0, "seconds": 0.1, "cpu_s": 2, "late": False, "flooded": False, **facts}
    return judge(report, Collected(10), Facts(**seen)).status  # type: ignore[arg-type]


def test_only_the_runners_own_word_and_exit_make_a_run_ok() -> None:
    assert status("started\n" + OK) == "ok"


@pytest.mark.parametrize(
    "told",
    [
        "started\n",
        "started\n" + OK[:-1],
        "started\n" + OK + "x",
        "started\nx" + OK,
        "started\n" + OK + OK,
        "started\n" + OK.replace(SECRET, "0" * 32),
        f"started\n{SECRET} []\n",
        f"started\n{SECRET} {{}}\n",
        f"started\n{SECRET} \xff\n",
    ],
)
def test_anything_else_on_the_channel_does_not(told: str) -> None:
    assert status(told) == "error"


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"code": 1}, "error"),
        ({"code": 137}, "killed"),
        ({"code": 137, "seconds": 2.1}, "timeout"),
        ({"code": 152}, "timeout"),
        ({"code": 139}, "killed"),
        ({"code": 255}, "killed"),
        ({"code": -9}, "killed"),
        ({"late": True}, "timeout"),
        ({"flooded": True}, "killed"),
    ],
)
def test_an_exit_that_is_not_the_runners_is_never_ok(
    facts: dict[str, float], expected: str
) -> None:
    assert status("started\n", **facts) == expected
    assert status("started\n" + OK, **facts) != "ok"


def test_output_is_cut_and_counted_and_broken_text_is_replaced() -> None:
    output = Collected(4)
    for chunk in (b"a\xff", b"bcd", b"e"):
        output.add(chunk)
    assert (output.text, output.seen) == ("a\N{REPLACEMENT CHARACTER}bc", 6)
