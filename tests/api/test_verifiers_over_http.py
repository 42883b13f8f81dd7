"""Verifiers over HTTP: what is refused, in which words, and what is answered all the same."""

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from entroute.strategies import DEFAULT_STRATEGIES
from entroute.verifiers import KNOWN_VERIFIERS
from tests.api.conftest import Client, Workers, base_settings, client_of
from tests.api.ways import BUBBLEWRAP, CODE, FUNCTION, SAID, SUM, scripted
from tests.gateway_process import serving

pytestmark = pytest.mark.asyncio(loop_scope="session")

VOTING = ("self_consistency", "adaptive_consistency", "esc", "reasc", "short_m_at_k")
LOOP = "```python\ndef double(n):\n    while True:\n        pass\n```"
TESTS = {"kind": "tests", "tests": ["assert double(2) == 4"], "entry_point": "double"}
PROGRAM = {"kind": "program", "source": "def sat(answer):\n    return '51' in str(answer)"}
EXACT = {"kind": "exact", "answer": "51"}
SLEEP_S = 1.5
SLEEPER = f"```python\nimport time\ntime.sleep({SLEEP_S})\nprint(17 * 3)\n```"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def sandboxed_gateway(fake_workers: Workers) -> AsyncIterator[str]:
    reward = {"name": "nobody", "url": "http://127.0.0.1:9/score"}
    settings = base_settings(fake_workers, sandbox=BUBBLEWRAP, rewards=[reward])
    async with serving(settings) as url:
        yield url


@pytest_asyncio.fixture(loop_scope="session")
async def sandboxed(sandboxed_gateway: str, workers: Workers, http: httpx.AsyncClient) -> Client:
    """A gateway that runs programs, before workers that answer these tests' prompts."""
    await scripted(workers)
    return client_of(sandboxed_gateway, http)


def judged(verifier: dict[str, Any], strategy: str = "best_of_n") -> dict[str, Any]:
    return {"strategy": strategy, "verifier": verifier, "explain": True}


def weighing(*verifiers: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"kind": "weighted", "parts": [{"verifier": v} for v in verifiers], **fields}


def verifier_cases() -> list[Any]:
    """Return each wrong verifier, the field that is named and words of the refusal."""
    where = "entroute.verifier"
    cases: list[tuple[str, dict[str, Any], str, str]] = [
        ("unknown", {"kind": "magic"}, f"{where}.kind", "majority"),
        ("no kind", {"answer": "51"}, f"{where}.kind", "Known verifiers"),
        ("unknown field", {**EXACT, "fuzzy": 1}, f"{where}.fuzzy", "not permitted"),
        ("missing field", {"kind": "exact"}, f"{where}.answer", "required"),
        ("tests no Python", {**TESTS, "tests": "assert ("}, f"{where}.tests", "parsed"),
        ("tests empty", {**TESTS, "tests": []}, f"{where}.tests", "at least 1"),
        ("tests a number", {**TESTS, "tests": 3}, f"{where}.tests", "tuple"),
        ("tests too many", {**TESTS, "tests": "assert 1\n" * 51}, f"{where}.tests", "50"),
        ("tests nul", {**TESTS, "tests": "assert 1\0"}, f"{where}.tests", "parsed"),
        ("tests deep", {**TESTS, "tests": "assert " + "-" * 5000 + "1"}, f"{where}.tests", "."),
        ("entry point", {**TESTS, "entry_point": "a b"}, f"{where}.entry_point", "pattern"),
        ("timeout", {**TESTS, "timeout_s": 9000}, f"{where}.timeout_s", "30"),
        ("no sat", {**PROGRAM, "source": "x = 1"}, f"{where}.source", "sat(answer)"),
        ("sat of two", {**PROGRAM, "source": "def sat(a, b): 1"}, f"{where}.source", "one"),
        ("sat no Python", {**PROGRAM, "source": "def sat("}, f"{where}.source", "parsed"),
        ("no form", {"kind": "schema"}, f"{where}.json_schema", "regex"),
        (
            "schema malformed",
            {"kind": "schema", "json_schema": {"type": "nothing"}},
            f"{where}.json_schema",
            "json_schema",
        ),
        (
            "schema outside",
            {"kind": "schema", "json_schema": {"$ref": "http://127.0.0.1:9/x"}},
            f"{where}.json_schema",
            "json_schema",
        ),
        ("regex malformed", {"kind": "schema", "regex": "("}, f"{where}.regex", "regex"),
        ("regex back", {"kind": "schema", "regex": r"(a)\1"}, f"{where}.regex", "regex"),
        ("no such tier", {"kind": "judge", "tier": "huge"}, f"{where}.tier", "small, large"),
        ("no such reward", {"kind": "reward", "name": "gold"}, f"{where}.name", "nobody"),
        (
            "weights 0",
            {"kind": "weighted", "parts": [{"verifier": EXACT, "weight": 0}]},
            f"{where}.parts",
            "above 0",
        ),
        (
            "weighted inside",
            weighing(EXACT, weighing(EXACT)),
            f"{where}.parts.1.verifier.kind",
            "Unknown verifier",
        ),
        (
            "weighted wrong",
            weighing(EXACT, {"kind": "exact"}),
            f"{where}.parts.1.verifier.answer",
            "required",
        ),
        (
            "weighted tests",
            weighing({**TESTS, "tests": "("}),
            f"{where}.parts.0.verifier.tests",
            "parsed",
        ),
        ("source large", {**PROGRAM, "source": "#" * 70_000}, f"{where}.source", "65536"),
        ("tests large", {**TESTS, "tests": "#" * 70_000}, f"{where}.tests", "65536"),
        ("regex large", {"kind": "schema", "regex": "a" * 2000}, f"{where}.regex", "1000"),
        (
            "schema large",
            {"kind": "schema", "json_schema": {"enum": ["x" * 70_000]}},
            f"{where}.json_schema",
            "json_schema",
        ),
        ("rubric large", {"kind": "judge", "rubric": "x" * 5000}, f"{where}.rubric", "2000"),
    ]
    return [pytest.param(*case[1:], id=case[0]) for case in cases]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("verifier", "param", "words"), verifier_cases())
async def test_a_wrong_verifier_is_refused_by_its_path(
    sandboxed: Client,
    workers: Workers,
    verifier: dict[str, Any],
    param: str,
    words: str,
    *,
    stream: bool,
) -> None:
    response = await sandboxed.chat(SUM, stream=stream, entroute=judged(verifier))
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param
    assert words in error["message"]
    assert len(error["message"]) < 1500
    assert await workers.bodies() == []


async def test_the_time_of_programs_is_not_the_gateways_own(
    sandboxed: Client, workers: Workers
) -> None:
    slow = {"contains": "prints only the final value", "answer": SLEEPER}
    await workers.small.script(rules=[slow])
    began = time.perf_counter()
    response = await sandboxed.chat(SUM, entroute={"strategy": "program_first"})
    elapsed_s = time.perf_counter() - began
    assert response.json()["choices"][0]["message"]["content"] == "The answer is 51."
    assert elapsed_s > SLEEP_S
    assert float(response.headers["x-entroute-overhead-ms"]) / 1000 <= elapsed_s - SLEEP_S


async def test_unknown_names_are_answered_with_the_known_ones(sandboxed: Client) -> None:
    unknown = await sandboxed.chat(SUM, entroute={"strategy": "magic"})
    error = unknown.json()["error"]
    assert (unknown.status_code, error["param"]) == (400, "entroute.strategy")
    assert all(config.kind in error["message"] for config in DEFAULT_STRATEGIES)
    unknown = await sandboxed.chat(SUM, entroute=judged({"kind": "magic"}))
    assert all(kind in unknown.json()["error"]["message"] for kind in KNOWN_VERIFIERS)


Refused = tuple[str, dict[str, Any], dict[str, Any], str]
"""A strategy, fields and entroute options of a request that it refuses, and the field named."""

REFUSED: list[Refused] = [
    *((kind, {"n": 2}, {}, "n") for kind in (*VOTING, "best_of_n", "self_refine")),
    ("rejection", {"n": 2}, {"verifier": EXACT}, "n"),
    *((kind, {"temperature": 0}, {}, "temperature") for kind in (*VOTING, "best_of_n")),
    *(
        (kind, {}, {"verifier": EXACT}, "entroute.verifier")
        for kind in (
            *VOTING[1:],
            "single",
            "cascade",
            "entropy_switch",
            "program_first",
            "cot_pot",
            "verify_then_escalate",
            "code_cluster",
        )
    ),
    ("rejection", {}, {}, "entroute.verifier"),
    ("rejection", {}, {"verifier": {"kind": "majority"}}, "entroute.verifier"),
    ("cascade", {"model": "small"}, {}, "model"),
    ("random_switch", {"model": "large"}, {}, "model"),
]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("refused", REFUSED, ids=str)
async def test_a_strategy_refuses_what_it_cannot_honour(
    sandboxed: Client, workers: Workers, refused: Refused, *, stream: bool
) -> None:
    kind, fields, options, param = refused
    body = {"model": "auto", **fields, "stream": stream, "entroute": {"strategy": kind, **options}}
    response = await sandboxed.chat(SUM, **body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert f"'{kind}'" in error["message"]
    assert await workers.bodies() == []


@pytest.mark.parametrize("kind", ["tests", "program"])
async def test_verifiers_that_run_programs_need_a_sandbox(
    gateway: Client, workers: Workers, kind: str
) -> None:
    verifier = TESTS if kind == "tests" else PROGRAM
    for option, param in (
        (verifier, "entroute.verifier.kind"),
        (weighing(EXACT, verifier), "entroute.verifier.parts.1.verifier.kind"),
    ):
        response = await gateway.chat(SUM, entroute=judged(option))
        error = response.json()["error"]
        assert (response.status_code, error["param"]) == (400, param)
        assert "sandbox" in error["message"]
    assert await workers.bodies() == []


@pytest.mark.parametrize("verifier", [TESTS, PROGRAM], ids=lambda v: v["kind"])
async def test_code_that_runs_for_ever_scores_0_and_the_answer_comes(
    sandboxed: Client, workers: Workers, verifier: dict[str, Any]
) -> None:
    source = "def sat(answer):\n    while True: pass"
    slow = {**verifier, "timeout_s": 1} if verifier is TESTS else {**verifier, "source": source}
    await workers.small.script(rules=[], answer=LOOP)
    answer = await sandboxed.answer(FUNCTION, entroute=judged({**slow, "timeout_s": 1}))
    shown = answer["entroute"]
    assert answer["choices"][0]["message"]["content"] == LOOP
    assert {(v["score"], v["abstained"]) for v in shown["verdicts"]} == {(0, False)}
    assert "longer than 1 s" in shown["verdicts"][0]["reason"]
    assert shown["stop_reason"] == "exhausted"


@pytest.mark.parametrize("verifier", [TESTS, PROGRAM], ids=lambda v: v["kind"])
async def test_right_code_is_verified(sandboxed: Client, verifier: dict[str, Any]) -> None:
    prompt, said = (FUNCTION, CODE) if verifier is TESTS else (SUM, SAID)
    answer = await sandboxed.answer(prompt, entroute=judged(verifier))
    assert answer["choices"][0]["message"]["content"] == said
    assert answer["entroute"]["stop_reason"] == "verified"


JUDGE = {"kind": "judge", "tier": "large"}
BLIND = {
    "judge": JUDGE,
    "self_evaluation": {"kind": "self_evaluation", "tier": "large"},
    "reward": {"kind": "reward", "name": "nobody"},
    "weighted": weighing(JUDGE, {"kind": "reward", "name": "nobody"}),
}


@pytest.mark.parametrize("kind", BLIND)
@pytest.mark.parametrize(
    ("strategy", "judges"),
    [
        ("best_of_n", None),
        ("rejection", None),
        ("self_consistency", "majority"),
        ("self_refine", "majority"),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_judge_that_says_nothing_of_use_costs_quality_not_the_answer(
    sandboxed: Client,
    workers: Workers,
    kind: str,
    strategy: str,
    judges: str | None,
    *,
    stream: bool,
) -> None:
    """Where votes stand in for it, the answer says so."""
    await workers.large.script(rules=[], answer="I would rather talk about the weather.")
    options = judged(BLIND[kind], strategy)
    response = await sandboxed.chat(SUM, entroute=options, stream=stream)
    assert response.status_code == 200
    text, shown = read(response, stream=stream)
    assert text == SAID
    assert shown["degraded"] == ["verifier"]
    assert shown["verifier"] == (judges or kind)
    purposes = {row["purpose"] for row in shown["usage"]["by"]}
    assert ("verify" in purposes) == (kind != "reward")


def read(response: httpx.Response, *, stream: bool) -> tuple[str, dict[str, Any]]:
    """Return an answer's text and its `entroute` object."""
    if not stream:
        body = response.json()
        return body["choices"][0]["message"]["content"], body["entroute"]
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n")]
    chunks = [json.loads(line) for line in lines if line.startswith("{")]
    pieces = [choice["delta"].get("content", "") for c in chunks for choice in c["choices"]]
    return "".join(pieces), chunks[-1]["entroute"]


async def test_a_judge_that_fails_outright_abstains_too(
    sandboxed: Client, workers: Workers
) -> None:
    await workers.large.script(failure={"kind": "status", "status": 500})
    answer = await sandboxed.answer(SUM, entroute=judged(JUDGE))
    assert answer["choices"][0]["message"]["content"] == SAID
    assert answer["entroute"]["degraded"] == ["verifier"]
    assert "tier 'large' failed" in answer["entroute"]["verdicts"][0]["reason"]
    assert "127.0.0.1" not in json.dumps(answer)


async def test_equal_answers_are_judged_once_although_they_come_one_by_one(
    sandboxed: Client, workers: Workers
) -> None:
    await workers.large.script(rules=[], answer="Score: 7")
    shown = (await sandboxed.answer(SUM, entroute=judged(JUDGE)))["entroute"]
    assert [round(v["score"], 2) for v in shown["verdicts"]] == [0.67] * 4
    assert len(await workers.bodies("large")) == 1


@pytest.mark.parametrize("depth", [300, 900, 100_000])
async def test_deep_nesting_is_refused_or_answered_but_is_no_failure_of_ours(
    sandboxed: Client, depth: int
) -> None:
    deep = '{"items":' * depth + "{}" + "}" * depth
    body = json.dumps({"model": "small", "messages": [{"role": "user", "content": SUM}]})
    verifier = f'{{"kind":"schema","json_schema":{deep}}}'
    options = f'"entroute":{{"strategy":"best_of_n","verifier":{verifier}}}'
    response = await sandboxed.http.post(
        f"{sandboxed.url}/v1/chat/completions",
        content=f"{body[:-1]},{options}}}",
        headers={"content-type": "application/json"},
    )
    assert response.status_code in {200, 400}, response.text
    if depth > 300:
        assert response.status_code == 400


@pytest.mark.parametrize(
    ("verifier", "prompt", "strategy"),
    [(TESTS, FUNCTION, "verify_then_escalate"), (EXACT, SUM, "self_consistency")],
)
async def test_auto_finds_a_strategy_for_a_verifier(
    sandboxed: Client, verifier: dict[str, Any], prompt: str, strategy: str
) -> None:
    options = {"verifier": verifier, "explain": True}
    answer = await sandboxed.answer(prompt, model="auto", entroute=options)
    assert answer["entroute"]["strategy"] == strategy
    assert answer["entroute"]["verifier"] == verifier["kind"]
