"""What differs between two configurations, and what of it needs a restart."""

from typing import Any

import pytest

from entroute.changes import changed_keys, restart_keys
from entroute.settings import Settings
from tests.gateway_process import merged, two_tiers

ENGINE = {"kind": "llamacpp", "gguf": "a.gguf"}


def settings(**changes: Any) -> Settings:
    base = two_tiers("http://127.0.0.1:1", "http://127.0.0.1:2")
    return Settings.model_validate(merged(base, changes))


def tier(name: str, **facts: Any) -> dict[str, Any]:
    return {"name": name, "model": f"qwen-{name}", **facts}


def of_tiers(*tiers: dict[str, Any]) -> Settings:
    return Settings.model_validate({"tiers": list(tiers)})


def test_nothing_differs_between_equal_configurations():
    assert changed_keys(settings(), settings()) == []
    assert restart_keys(settings(), settings()) == []


def test_what_changed_is_named_at_the_top_in_the_order_of_the_configuration():
    new = settings(limits={"max_calls": 3}, server={"drain_s": 1})
    assert changed_keys(settings(), new) == ["server", "limits"]


@pytest.mark.parametrize(
    "changes",
    [
        {"limits": {"max_calls": 3}},
        {"timeouts": {"total_s": 3}},
        {"health": {"interval_s": 3}},
        {"retries": {"attempts": 1}},
        {"policy": {"kind": "static"}},
        {"difficulty": {"kind": "lexical"}},
        {"strategies": [{"kind": "cascade", "window": 8}]},
        {"rewards": [{"name": "r", "url": "http://127.0.0.1:3/score"}]},
        {"allow_fields": ["priority"]},
        {"server": {"log_level": "debug", "keep_alive_s": 1, "drain_s": 1, "drain_delay_s": 1}},
        {"server": {"max_body_bytes": 2048}},
    ],
)
def test_what_the_walk_is_made_of_can_change(changes: dict[str, Any]):
    assert changed_keys(settings(), settings(**changes)) == list(changes)
    assert restart_keys(settings(), settings(**changes)) == []


@pytest.mark.parametrize(
    ("changes", "paths"),
    [
        ({"server": {"port": 1}}, ["server.port"]),
        ({"server": {"host": "::1", "receive_s": 9}}, ["server.host", "server.receive_s"]),
        ({"cache": {"kind": "memory", "semantic": {"threshold": 0.99}}}, None),
        ({"cache": {"kind": "off"}}, ["cache"]),
        ({"redis": {"url": "redis://127.0.0.1:1/0"}}, ["redis"]),
        ({"auth": {"keys_file": "keys.yaml"}}, ["auth"]),
        ({"sandbox": {"kind": "bubblewrap"}}, ["sandbox"]),
        ({"responses": {"store": False, "ttl_s": 1}}, ["responses.store", "responses.ttl_s"]),
        ({"feedback": {"kind": "memory", "window": 300}}, ["feedback.window"]),
        ({"tracing": {"endpoint": "http://127.0.0.1:1/v1/traces"}}, ["tracing"]),
    ],
)
def test_what_holds_state_or_listens_needs_a_restart(
    changes: dict[str, Any], paths: list[str] | None
):
    expected = ["cache.semantic.threshold"] if paths is None else paths
    assert restart_keys(settings(), settings(**changes)) == expected


def test_an_engine_that_would_have_to_be_started_or_stopped_needs_a_restart():
    workers = {"workers": [{"url": "http://127.0.0.1:1/v1"}]}
    without, with_one = of_tiers(tier("a", **workers)), of_tiers(tier("a", engine=ENGINE))
    other = of_tiers(tier("a", engine={**ENGINE, "threads": 3}))
    assert restart_keys(without, with_one) == ["tiers.0.engine"]
    assert restart_keys(with_one, without) == ["tiers.0.engine"]
    assert restart_keys(with_one, other) == ["tiers.0.engine"]
    renamed = of_tiers(tier("b", engine=ENGINE))
    assert restart_keys(with_one, renamed) == ["tiers.0.engine", "tiers: the engine of 'a'"]


def test_tiers_may_come_and_go_around_an_engine():
    workers = {"workers": [{"url": "http://127.0.0.1:1/v1"}]}
    before = of_tiers(tier("a", engine=ENGINE))
    after = of_tiers(tier("b", **workers), tier("a", engine=ENGINE, price={"prompt": 2}))
    assert restart_keys(before, after) == []


def test_how_much_is_traced_can_change_and_what_holds_spans_cannot():
    def traced(**tracing: Any) -> Settings:
        return settings(tracing={"endpoint": "http://127.0.0.1:1/v1/traces", **tracing})

    assert restart_keys(traced(), traced(sample=0.1)) == []
    assert changed_keys(traced(), traced(sample=0.1)) == ["tracing"]
    changed = traced(headers={"authorization": "marked"}, sample=0.1, content=True)
    assert restart_keys(traced(), changed) == ["tracing.headers.authorization", "tracing.content"]
