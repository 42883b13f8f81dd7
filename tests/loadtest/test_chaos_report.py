"""A chaos run's report says what did not hold, and when the machine itself was too busy."""

import json

from loadtest.chaos_checks import Check, Evidence
from loadtest.chaos_report import Cost, Findings, as_json, markdown
from tests.loadtest.chaos_cases import asked, cut_off, paused


def findings(*checks: Check, waited_s: float = 0.0) -> Findings:
    found = Evidence([asked("small0r1.0.0"), cut_off("")], {}, [paused("small0", 1, 2)])
    return Findings(3, 60.0, found, [], Cost(60, 12, 3, 6, waited_s, 0), checks)


def test_a_check_that_does_not_hold_is_told_with_what_speaks_against_it():
    found = findings(Check("all is well", holds=False, seen="2 of 3", against=("chaos-7: lost",)))
    assert not found.hold
    assert "| all is well | **NO** | 2 of 3 |" in markdown(found)
    assert "- chaos-7: lost" in markdown(found)


def test_a_run_that_holds_says_so_with_its_faults_and_cost():
    found = findings(Check("all is well", holds=True, seen="3 of 3"))
    assert found.hold
    assert "1 faults: 1 x paused" in markdown(found)
    assert "CPU in cores: gateway 0.20, load client 0.05, workers 0.10" in markdown(found)
    assert "No core was free" not in markdown(found)


def test_a_starved_gateway_is_pointed_out():
    assert "**No core was free for the gateway 50% of the time**" in markdown(
        findings(waited_s=30.0)
    )


def test_the_json_holds_every_error():
    told = json.loads(json.dumps(as_json(findings())))
    assert [error["error"]["code"] for error in told["errors"]] == ["upstream_error"]
    assert told["requests"] == 2
