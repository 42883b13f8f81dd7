import json

import pytest

from entroute.sandbox.reading import Collected, Facts, Report, judge

SECRET = "5" * 32
OK = f"{SECRET} {json.dumps({'status': 'ok', 'error': ''})}\n"


def status(told: str, **facts: float | str) -> str:
    """Return what is made of a report and an exit."""
    report = Report(SECRET)
    report.add(told.encode())
    seen = {"code": 0, "seconds": 0.1, "cpu_s": 2, "late": False, "excess": "", **facts}
    return judge(report, Collected(10, 99), Facts(**seen)).status  # type: ignore[arg-type]


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


FORGED = [
    "[" * 8000,
    '{"status": ' + "[" * 4000 + "]" * 4000 + ', "error": ""}',
    "null",
    "7",
    '"ok"',
    '["ok", ""]',
    '{"status": "ok"}',
    '{"error": ""}',
    '{"status": "ok", "error": 5}',
    '{"status": "ok", "error": null}',
    '{"status": "ok", "error": "but"}',
    '{"status": ["ok"], "error": ""}',
    '{"status": {"ok": 1}, "error": ""}',
    '{"status": true, "error": ""}',
    '{"status": "fine", "error": ""}',
    '{"status": "timeout", "error": "x"}',
    '{"status": "error", "error": ["x"]}',
    '{"status": "killed", "error": {}}',
    '{"status": "error", "error": ' + "9" * 5000 + "}",
]


@pytest.mark.parametrize("forged", FORGED, ids=range(len(FORGED)))
def test_a_report_that_knows_the_secret_and_is_garbage_is_none(forged: str) -> None:
    report = Report(SECRET)
    report.add(f"started\n{SECRET} {forged}\n".encode())
    assert (report.ending, report.forged) == (None, True)
    assert status(f"started\n{SECRET} {forged}\n") == "error"


def test_an_error_that_is_told_is_text_that_can_be_passed_on_and_short() -> None:
    report = Report(SECRET)
    told = json.dumps({"status": "error", "error": "\ud800" + "x" * 9999})
    report.add(f"started\n{SECRET} {told}\n".encode())
    assert report.ending is not None
    state, error = report.ending
    assert (state, error[:2]) == ("error", "?x")
    assert len(error) < 1000


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
        ({"excess": "too much output"}, "killed"),
    ],
)
def test_an_exit_that_is_not_the_runners_is_never_ok(
    facts: dict[str, float | str], expected: str
) -> None:
    assert status("started\n", **facts) == expected
    assert status("started\n" + OK, **facts) != "ok"


def test_output_is_cut_and_counted_and_broken_text_is_replaced() -> None:
    output = Collected(4, 6)
    for chunk in (b"a\xff", b"bcd", b"e"):
        output.add(chunk)
    assert (output.text, output.seen) == ("a\N{REPLACEMENT CHARACTER}bc", 6)
    assert output.excess == ""
    output.add(b"f")
    assert output.excess == "too much output"
