"""Everything that the OpenAPI document allows, and what it does not, is answered as it says."""

from typing import Any

import schemathesis
from hypothesis import given
from hypothesis import strategies as st
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.config import (
    CoveragePhaseConfig,
    GenerationConfig,
    PhasesConfig,
    ProjectConfig,
    ProjectsConfig,
    SchemathesisConfig,
)

from entroute.app import create_app
from entroute.settings import Settings
from tests.fuzz.conftest import KEY, TIMEOUT_S, WIDER, Fuzzed, examples
from tests.gateway_process import two_tiers
from tests.openai_wire import assert_valid

DOCUMENT = create_app(Settings.model_validate(two_tiers("http://w:1", "http://w:2"))).openapi()


def schema_of(*, covered: bool) -> Any:
    """Return the document as schemathesis reads it, with or without its tour of all borders."""
    generation = GenerationConfig(deterministic=WIDER == 1)
    phases = PhasesConfig(coverage=CoveragePhaseConfig(enabled=covered))
    project = ProjectConfig(generation=generation, phases=phases)
    config = SchemathesisConfig(projects=ProjectsConfig(default=project))
    return schemathesis.openapi.from_dict(DOCUMENT, config=config)


schema, plain = schema_of(covered=True), schema_of(covered=False)
load_all_checks()
# Fields that contradict each other are valid one by one, and so no schema refuses them; and of
# paths with several methods Starlette's 405 names only the first.
EXCLUDED = CHECKS.get_by_names(["positive_data_acceptance", "allow_header_conformance"])
UNDOCUMENTED = {500, 501}

HOSTILE = st.dictionaries(
    st.sampled_from(
        [
            *("authorization", "x-request-id", "x-entroute-budget", "x-entroute-strategy"),
            *("x-entroute-explain", "x-entroute-odd", "accept", "accept-encoding", "cookie"),
            *("x-forwarded-for", "x-forwarded-proto", "expect", "range", "if-none-match", "origin"),
        ]
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)
    | st.sampled_from(
        ["{", "null", "1e999", "[" * 300, "%0d%0aset-cookie: a=b", "../x", "A" * 5000]
    ),
    max_size=5,
)


def check(case: Any, gateway: Fuzzed, headers: dict[str, str]) -> None:
    response = case.call(base_url=gateway.url, headers=headers, timeout=TIMEOUT_S)
    case.validate_response(response, excluded_checks=EXCLUDED)
    assert response.status_code not in UNDOCUMENTED
    if response.status_code >= 400 and "/readyz" not in case.path:
        body = response.json()
        assert_valid(body, "ErrorResponse")
        assert body["error"]["message"]


@schema.parametrize()  # type: ignore[untyped-decorator]
@examples(12)
def test_every_operation_answers_as_it_is_described(case: Any, open_gateway: Fuzzed) -> None:
    body = case.body
    if isinstance(body, dict) and isinstance(body.get("model"), str) and 0 < len(body["model"]) < 9:
        body["model"] = "minilm" if "embeddings" in case.path else "small"
    check(case, open_gateway, {})


@plain.parametrize()  # type: ignore[untyped-decorator]
@examples(6)
def test_every_operation_answers_those_with_a_key(case: Any, keyed_gateway: Fuzzed) -> None:
    check(case, keyed_gateway, {"authorization": f"Bearer {KEY}"})


@plain.parametrize()  # type: ignore[untyped-decorator]
@examples(3)
def test_no_operation_answers_those_without_a_key(case: Any, keyed_gateway: Fuzzed) -> None:
    if case.method in {"GET", "POST", "DELETE"} and case.path.startswith("/v1/"):
        response = case.call(base_url=keyed_gateway.url, timeout=TIMEOUT_S)
        assert response.status_code in {401, 404, 405}
        assert_valid(response.json(), "ErrorResponse")


PATHS = sorted(DOCUMENT["paths"])


@given(st.sampled_from(PATHS), HOSTILE)
@examples(80)
def test_hostile_headers_are_refused_or_do_nothing(
    open_gateway: Fuzzed, path: str, headers: dict[str, str]
) -> None:
    body = {"model": "small", "messages": [{"role": "user", "content": "Hi"}]}
    url = open_gateway.url + path.replace("{response_id}", "resp_1")
    response = open_gateway.http.post(url, json=body, headers=headers)
    assert response.status_code < 500
    assert len(response.headers.get_list("x-request-id")) == 1
    assert "set-cookie" not in response.headers
    if response.status_code >= 400:
        assert_valid(response.json(), "ErrorResponse")


def test_every_status_but_success_is_described_with_openais_error() -> None:
    for path, operations in DOCUMENT["paths"].items():
        for operation in operations.values():
            told: dict[str, Any] = operation["responses"]
            assert "default" in told, path
            for status, response in told.items():
                if status not in {"200", "503"} or "/v1/" in path:
                    assert "application/json" in response["content"], (path, status)
