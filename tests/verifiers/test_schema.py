import time
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from entroute.errors import InvalidRequest
from entroute.verifiers import build_verifier
from entroute.verifiers.schema import MAX_ANSWER
from tests.builders import a_completion, a_request
from tests.fakes import verifier_parts

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name"],
    "additionalProperties": False,
}


async def judged(text: str, **options: Any) -> tuple[float | None, str]:
    verifier = build_verifier({"kind": "schema", **options}, verifier_parts())
    (verdict,) = await verifier.score(a_request(), [a_completion(text)])
    return None if verdict.abstained else verdict.score, verdict.reason


def refusal(**options: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        build_verifier({"kind": "schema", **options}, verifier_parts())
    return caught.value


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ('{"name": "Ada", "age": 36}', 1),
        ('  {"name": "Ada"}\n', 1),
        ('Here:\n```json\n{"name": "Ada"}\n```\nDone.', 1),
        ('```json\n{"wrong": 1}\n```\nbetter:\n```json\n{"name": "Ada"}\n```', 1),
        ('{"age": 36}', 0),
        ('{"name": "Ada", "age": -1}', 0),
        ('{"name": "Ada"} as asked', 0),
        ('{"name": "Ada", "age": NaN}', 0),
        ("", 0),
        ("[" * 30_000, 0),
        ('"\\ud800"', 0),
    ],
)
async def test_an_answer_is_one_or_zero_by_the_schema(text: str, score: float) -> None:
    assert (await judged(text, json_schema=PERSON))[0] == score


async def test_the_reason_says_what_is_wrong() -> None:
    assert '"name" is a required property' in (await judged("{}", json_schema=PERSON))[1]
    assert (await judged("no", json_schema=PERSON))[1].startswith("no JSON")
    assert (await judged("no", regex="^yes$"))[1] == "the pattern is not found"


@pytest.mark.parametrize(
    ("regex", "text", "score"),
    [
        ("[0-9]{4}", "It was 1999.", 1),
        ("^[0-9]{4}$", "It was 1999.", 0),
        ("^[0-9]{4}$", " 1999\n", 1),
        ("^é+$", "éé", 1),
    ],
)
async def test_a_pattern_is_searched_unless_it_is_anchored(
    regex: str, text: str, score: float
) -> None:
    assert (await judged(text, regex=regex))[0] == score


async def test_both_must_hold_where_both_are_given() -> None:
    options = {"json_schema": PERSON, "regex": "Ada"}
    assert (await judged('{"name": "Ada"}', **options))[0] == 1
    assert (await judged('{"name": "Bob"}', **options))[0] == 0


async def test_references_within_a_schema_are_followed_recursion_too() -> None:
    tree = {
        "$defs": {
            "tree": {"type": "array", "items": {"$ref": "#/$defs/tree"}},
            "a/b": {"$ref": "#/$defs/tree"},
        },
        "$ref": "#/$defs/a~1b",
    }
    assert (await judged("[[], [[]]]", json_schema=tree))[0] == 1
    assert (await judged("[[], [1]]", json_schema=tree))[0] == 0


async def test_a_schema_may_say_its_draft_and_its_name() -> None:
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": "https://example.com/pair",
        "definitions": {"one": {"const": {"id": "x"}}},
        "items": [{"$ref": "#/definitions/one"}, {"type": "integer"}],
    }
    assert (await judged('[{"id": "x"}, 1]', json_schema=schema))[0] == 1
    assert (await judged('[{"id": "y"}, 1]', json_schema=schema))[0] == 0


@pytest.mark.parametrize("pattern", ["^(a+)+$", "(a|aa)*b", r"(\w*)*x", "(a{0,9}){0,30}b"])
async def test_no_pattern_hangs_on_what_backtracking_would(pattern: str) -> None:
    text = "a" * (MAX_ANSWER - 2) + "!"
    started = time.perf_counter()
    assert (await judged(text, regex=pattern))[0] == 0
    assert (await judged(f'"{text[2:]}"', json_schema={"pattern": pattern}))[0] == 0
    assert time.perf_counter() - started < 20


async def test_a_long_answer_is_left_open() -> None:
    score, reason = await judged("a" * (MAX_ANSWER + 1), regex="a")
    assert score is None
    assert "longer than" in reason


async def test_the_larger_the_schema_the_shorter_the_answer_that_is_checked() -> None:
    schema = {"items": {"allOf": [{"minimum": i} for i in range(2000)]}}
    started = time.perf_counter()
    assert (await judged(f"[{'1999,' * 1500}1999]", json_schema=schema))[0] == 1
    assert (await judged(f"[{'1999,' * 9000}1999]", json_schema=schema))[0] is None
    assert time.perf_counter() - started < 20


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "strin"}, "cannot be used"),
        ({"pattern": "("}, "regex"),
        ({"pattern": "(?=a)b"}, "regex"),
        ({"properties": []}, "object"),
        ({"$ref": "#/$defs/none"}, "names nothing"),
        ({"$ref": "other.json"}, "leads outside"),
        ({"$ref": "file:///etc/hostname"}, "leads outside"),
        ({"$schema": "http://127.0.0.1:9/meta"}, "meta-schema"),
        ({"properties": {"a": {"$id": "http://127.0.0.1:9/"}}}, "below its root"),
        ({"items": {"$dynamicRef": "#x"}}, "below its root"),
        ({"enum": ["x" * 70_000]}, "characters"),
        ({"$schema": "http://json-schema.org/draft-04/schema#"}, "draft-04"),
        ({"const": "\ud800"}, "cannot be used"),
    ],
)
def test_a_malformed_schema_is_refused_by_its_field(schema: dict[str, Any], words: str) -> None:
    error = refusal(json_schema=schema)
    assert error.param == "entroute.verifier.json_schema"
    assert words in error.message


def test_references_that_multiply_are_refused() -> None:
    defs: dict[str, Any] = {
        f"a{i}": {"allOf": [{"$ref": f"#/$defs/a{i + 1}"}, {"$ref": f"#/$defs/a{i + 1}"}]}
        for i in range(30)
    }
    error = refusal(json_schema={"$defs": {**defs, "a30": {}}, "$ref": "#/$defs/a0"})
    assert "unrolls" in error.message


NODE = {"$ref": "#/$defs/node"}
DEEP = '{"next":' * 120 + '{"value":"x"}' + "}" * 120


def recursive(**node: Any) -> dict[str, Any]:
    return {"$defs": {"node": node}, **NODE}


@pytest.mark.parametrize(
    "node",
    [
        {"properties": {"next": NODE, "children": {"items": NODE}, "value": {"type": "integer"}}},
        {"properties": {"next": {"anyOf": [NODE, {"type": "null"}]}, "value": {"type": "null"}}},
        {"properties": {"next": {"oneOf": [{"type": "null"}, NODE]}, "value": {"type": "null"}}},
        {"properties": {"next": {"allOf": [NODE]}, "value": {"type": "integer"}}},
        {"properties": {"value": {"type": "integer"}}, "additionalProperties": NODE},
        {"patternProperties": {"^n": NODE}, "properties": {"value": {"type": "integer"}}},
        {"properties": {"$ref": {}, "anyOf": NODE, "oneOf": NODE, "next": {"maxProperties": 0}}},
    ],
)
async def test_recursion_that_does_not_branch_is_checked_however_deep(node: Any) -> None:
    schema = recursive(**node)
    assert (await judged('{"next": {}}', json_schema=schema))[0] == 1
    assert (await judged(DEEP, json_schema=schema))[0] == 0


async def test_an_answer_of_many_errors_is_refused_at_once() -> None:
    node = {"properties": {"next": {"anyOf": [NODE, {"type": "null"}]}, "value": {"type": "null"}}}
    schema = {"$defs": {"node": node}, "anyOf": [{"items": NODE}, {"type": "null"}]}
    started = time.perf_counter()
    score, reason = await judged(f"[{','.join([DEEP] * 40)}]", json_schema=schema)
    assert (score, reason) == (0, "not of the schema")
    assert time.perf_counter() - started < 10


LIST = {"items": NODE}


@pytest.mark.parametrize(
    ("node", "under"),
    [
        ({"anyOf": [LIST, LIST, {"type": "integer"}]}, "anyOf"),
        ({"oneOf": [LIST, LIST]}, "oneOf"),
        ({"allOf": [LIST, LIST]}, "allOf"),
        ({"if": LIST, "then": LIST}, "if, then"),
        ({"not": LIST, "items": NODE}, "items, not"),
        ({"items": NODE, "contains": NODE}, "contains, items"),
        ({"patternProperties": {"a": NODE, "b": NODE}}, "patternProperties"),
        ({"properties": {"a": NODE}, "patternProperties": {"b": NODE}}, "patternProperties"),
        ({"properties": {"a": NODE}, "unevaluatedProperties": False}, "properties"),
        ({"items": NODE, "dependentSchemas": {"a": LIST}}, "dependentSchemas"),
        ({"items": NODE, "allOf": [{"$ref": "#/$defs/other"}]}, "allOf"),
    ],
)
def test_recursion_that_branches_is_refused_and_the_keywords_are_named(
    node: Any, under: str
) -> None:
    schema = recursive(**node)
    schema["$defs"]["other"] = {"items": {"$ref": "#/$defs/other"}}
    error = refusal(json_schema=schema)
    assert error.param == "entroute.verifier.json_schema"
    assert "recurses more than once" in error.message
    assert under in error.message


@pytest.mark.parametrize(
    "schema", [{"$ref": "#"}, {"allOf": [{"$ref": "#"}]}, recursive(anyOf=[{"not": NODE}, {}])]
)
def test_recursion_that_stays_where_it_is_is_refused(schema: Any) -> None:
    assert "without going deeper" in refusal(json_schema=schema).message


def test_a_schema_that_is_nested_without_end_is_refused() -> None:
    schema: dict[str, Any] = {}
    for _ in range(5000):
        schema = {"not": schema}
    assert refusal(json_schema=schema).param == "entroute.verifier.json_schema"


@pytest.mark.parametrize("regex", ["(", "(?=a)b", r"(a)\1", r"((\w{99}){99}){99}"])
def test_a_malformed_pattern_is_refused_by_its_field(regex: str) -> None:
    assert refusal(regex=regex).param == "entroute.verifier.regex"


@pytest.mark.parametrize("regex", ["", "a" * 1001])
def test_a_pattern_has_a_length(regex: str) -> None:
    assert refusal(regex=regex).param == "entroute.verifier.regex"


def test_one_of_both_is_needed() -> None:
    assert "json_schema, regex or both" in refusal().message


async def test_nothing_is_ever_fetched() -> None:
    asked: list[str] = []

    async def serve(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.json_response({"type": "integer"})

    app = web.Application()
    app.router.add_get("/{path}", serve)
    async with TestServer(app) as server:
        url = str(server.make_url("/schema"))
        for schema in (
            {"$ref": url},
            {"$schema": url},
            {"$id": url, "$ref": "other"},
            {"$id": url, "properties": {"a": {"$ref": f"{url}#/x"}}},
            {"items": {"$dynamicRef": url}},
            {"$dynamicRef": url},
            {"$recursiveRef": url},
        ):
            try:
                verifier = build_verifier(
                    {"kind": "schema", "json_schema": schema}, verifier_parts()
                )
            except InvalidRequest:
                continue
            await verifier.score(a_request(), [a_completion('{"a": 1}')])
    assert asked == []
