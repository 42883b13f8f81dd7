"""How tracing is configured, and what is refused by its path."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from entroute.errors import ConfigurationError
from entroute.loading import load
from entroute.settings import Settings
from tests.gateway_process import two_tiers

ENDPOINT = "http://collector:4318/v1/traces"
TIERS = two_tiers("http://127.0.0.1:1", "http://127.0.0.1:2")


def loaded(folder: Path, tracing: Any, **environment: str) -> Settings:
    path = folder / "gateway.yaml"
    path.write_text(yaml.safe_dump({**TIERS, "tracing": tracing}), encoding="utf-8")
    return load(path, environment)


def test_it_is_off_when_left_out() -> None:
    assert Settings.model_validate(TIERS).tracing is None


def test_content_is_never_recorded_unless_that_is_said(tmp_path: Path) -> None:
    tracing = loaded(tmp_path, {"endpoint": ENDPOINT}).tracing
    assert tracing is not None
    assert (tracing.content, tracing.sample, tracing.inbound) == (False, 1.0, "continue")
    said = loaded(tmp_path, {"endpoint": ENDPOINT}, ENTROUTE_TRACING__CONTENT="true").tracing
    assert said is not None
    assert said.content is True


def test_headers_come_from_the_environment_and_are_not_shown(tmp_path: Path) -> None:
    name = "ENTROUTE_TRACING__HEADERS__X-API-KEY"
    settings = loaded(tmp_path, {"endpoint": ENDPOINT}, **{name: "marked"})
    assert settings.tracing is not None
    assert settings.tracing.headers["x-api-key"].get_secret_value() == "marked"
    assert "marked" not in settings.model_dump_json() + repr(settings)


@pytest.mark.parametrize(
    ("tracing", "told"),
    [
        ({}, "tracing.endpoint: Field required"),
        ({"endpoint": "collector:4317"}, "tracing.endpoint: must begin with http"),
        ({"endpoint": "http://collector:4318"}, "tracing.endpoint: must have a path"),
        ({"endpoint": "http://u:p@collector/v1/traces"}, "tracing.endpoint: must not hold a user"),
        ({"endpoint": ENDPOINT, "sample": 2}, "tracing.sample: "),
        ({"endpoint": ENDPOINT, "sampel": 1}, "tracing.sampel: unknown key"),
        ({"endpoint": ENDPOINT, "inbound": "trust"}, "tracing.inbound: "),
        ({"endpoint": ENDPOINT, "headers": {"a b": "c"}}, "tracing.headers.a b"),
        ({"endpoint": ENDPOINT, "headers": {"a": "line\nmarked"}}, "tracing.headers.a: must be"),
        ({"endpoint": ENDPOINT, "queue_spans": 1}, "tracing.queue_spans: "),
    ],
    ids=str,
)
def test_what_is_wrong_is_refused_by_its_path(
    tmp_path: Path, tracing: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        loaded(tmp_path, tracing)
    assert told in str(refusal.value)
    assert "marked" not in str(refusal.value)
