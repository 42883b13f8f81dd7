"""Workers write tool calls, so votes and judges meet some that are none."""

import json
from typing import Any

import pytest

from entroute.types import Completion
from entroute.verifiers.judging import text_of
from entroute.verifiers.majority import MajorityConfig
from tests.builders import a_completion, a_request
from tests.fakes import verifier_parts

DEEP: Any = "x"
for _ in range(5000):
    DEEP = [DEEP]
ODD = [
    DEEP,
    {"function": {"name": "f", "arguments": DEEP}},
    {"function": {"name": DEEP, "arguments": "{}"}},
    {"custom": {"name": "f", "input": DEEP}},
    "x",
    7,
    None,
    [],
    ["name", "f"],
    {},
    {"function": "f"},
    {"function": ["f"]},
    {"function": {"name": {"a": 1}, "arguments": {1, 2}}},
    {"custom": "sql"},
    {"custom": ["sql"], "function": {"name": "f", "arguments": "{}"}},
    {"function": {"name": "f", "arguments": "[1e999999999999999999]"}},
    {"function": {"name": "f", "arguments": "[" * 100_000}},
    {"function": {"name": "\ud800", "arguments": "\ud800"}},
]


def calling(*calls: Any) -> Completion:
    return a_completion("", extra={"tool_calls": list(calls)})


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
async def test_a_call_that_is_none_votes_for_itself(odd: Any) -> None:
    good = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
    candidates = [calling(odd), calling(good), calling(odd), calling(odd, good)]
    verdicts = await MajorityConfig().build(verifier_parts()).score(a_request(), candidates)
    assert [verdict.score for verdict in verdicts] == [0.5, 0.25, 0.5, 0.25]
    assert text_of(candidates[0]).encode().decode() != text_of(candidates[1])


@pytest.mark.parametrize("calls", ["x", 7, {"function": {"name": "f"}}, True])
async def test_calls_that_are_no_list_count_as_one(calls: Any) -> None:
    candidates = [a_completion("", extra={"tool_calls": calls}) for _ in range(2)]
    verdicts = await MajorityConfig().build(verifier_parts()).score(a_request(), candidates)
    assert [verdict.score for verdict in verdicts] == [1.0, 1.0]
    assert len(json.loads(text_of(candidates[0]))) == 1


async def test_a_custom_tool_is_not_a_function_of_its_name() -> None:
    custom = {"type": "custom", "custom": {"name": "sql", "input": "SELECT"}}
    function = {"type": "function", "function": {"name": "sql", "arguments": "SELECT"}}
    verifier = MajorityConfig().build(verifier_parts())
    verdicts = await verifier.score(a_request(), [calling(custom), calling(function)])
    assert [verdict.score for verdict in verdicts] == [0.5, 0.5]
    assert text_of(calling(custom)) == '[["sql","custom","SELECT"]]'
