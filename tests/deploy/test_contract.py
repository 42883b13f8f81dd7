"""Every query that is shipped, on a real Prometheus that watched everything happen.

`test_contract_names` has what needs no Prometheus: names and labels.
"""

import pytest

from docs.exported import exported
from tests.deploy.observing import silent
from tests.deploy.promql import faults
from tests.deploy.queries import Query, dashboard_queries, rule_queries
from tests.deploy.scaling import profile_queries, scaler_queries
from tests.deploy.stage import ENTROUTE, VLLM, Stage
from tests.deploy.tools import Tools
from tests.deploy.vocabulary import unused, vocabulary

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(600)]


def test_every_target_is_scraped(stage: Stage) -> None:
    health = stage.prometheus.targets()
    assert len(health) == len(stage.gateways) + len(stage.workers)
    assert set(health.values()) == {"up"}


def test_every_exported_metric_has_samples(stage: Stage) -> None:
    asked = [Query(one.name, "panel", one.series[-1]) for one in exported()]
    assert silent(stage, asked) == []


def test_every_count_moves_while_prometheus_watches(stage: Stage) -> None:
    moved = [
        Query(one.name, "panel", f"increase({one.series[-1]}[5m]) > 0")
        for one in exported()
        if one.kind != "gauge"
    ]
    assert silent(stage, moved) == []


def test_labels_are_those_that_are_documented_and_so_are_their_values(stage: Stage) -> None:
    ours = {"__name__", "job", "instance", "namespace", "pod", "le"}
    for one in exported():
        for series in stage.prometheus.series(one.series[0]):
            assert series.keys() - ours == set(one.labels), one.name
            for label, values in one.values.items():
                assert series[label] in values, (one.name, label)


def test_nothing_is_exported_that_is_not_documented(stage: Stage) -> None:
    known = {name for one in exported() for name in one.series}
    named = stage.prometheus.label_values("__name__", f'{{job="{ENTROUTE}"}}')
    own = {name for name in named if name.startswith("entroute_") and not name.endswith("_created")}
    assert own == known


def test_workers_are_watched_by_the_names_of_their_models(stage: Stage) -> None:
    asked = f'vllm:num_requests_running{{job="{VLLM}"}}'
    assert stage.prometheus.label_values("model_name", asked) == ["embed", "large", "small"]


def test_every_panel_shows_something(stage: Stage) -> None:
    panels = [query for query in dashboard_queries() if query.kind == "panel"]
    assert len(panels) > 50
    assert silent(stage, panels) == []


def test_every_variable_has_values(stage: Stage) -> None:
    variables = [query for query in dashboard_queries() if query.kind == "variable"]
    found = {
        query.origin: stage.prometheus.label_values(query.label, query.expression or None)
        if query.label
        else stage.prometheus.query(query.expression, stage.ended)
        for query in variables
    }
    assert variables
    assert [origin for origin, values in found.items() if not values] == []


def test_every_alert_watches_something(stage: Stage) -> None:
    alerts = [query for query in rule_queries() if query.kind == "alert"]
    assert len(alerts) > 20
    assert silent(stage, alerts) == []


def test_every_recording_rule_records(stage: Stage) -> None:
    recorded = [
        Query(query.origin, "recording", query.recorded)
        for query in rule_queries()
        if query.recorded
    ]
    assert len(recorded) > 10
    assert silent(stage, recorded) == []


def test_prometheus_evaluates_every_rule_without_an_error(stage: Stage) -> None:
    rules = stage.prometheus.rules()
    assert len(rules) == len(rule_queries())
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}


def test_every_autoscaler_sees_its_load(stage: Stage, tools: Tools) -> None:
    scalers = scaler_queries(tools.helm4)
    asked = "\n".join(query.expression for query in scalers)
    for wanted in (
        'vllm:num_requests_waiting{model_name="small"}',
        'vllm:num_requests_waiting{model_name="large"}',
        'entroute_requests_in_flight{job="entroute"',
        'entroute_requests_in_flight{namespace!=""',
    ):
        assert wanted in asked
    assert silent(stage, scalers) == []


def test_what_the_charts_profiles_ask_names_what_is_exported(tools: Tools) -> None:
    queries = profile_queries(tools.helm4)
    known = vocabulary([*rule_queries(), *queries])
    assert {query.kind for query in queries} >= {"scaler", "alert", "recording"}
    wrong = [
        f"{query.origin}: {fault}" for query in queries for fault in faults(query.expression, known)
    ]
    assert wrong == []


def test_every_exported_metric_is_used(tools: Tools) -> None:
    queries = [*dashboard_queries(), *rule_queries(), *scaler_queries(tools.helm4)]
    assert unused(exported(), queries) == []


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("sum by (model) (entroute_worker_up", "Prometheus refuses it"),
        ("entroute_worker_up * on (tier) entroute_worker_inflight", "Prometheus refuses it"),
        ('sum(vllm:num_requests_waiting{model="small"})', "it returns nothing"),
        ("rate(entroute_requests_totals[1m])", "it returns nothing"),
        ('entroute_reloads_total{result="restarted"}', "it returns nothing"),
        ("entroute_worker_up > 1", "it returns nothing"),
        ("0 * entroute_build_info / 0", "it returns NaN only"),
    ],
)
def test_a_query_that_says_nothing_is_found(stage: Stage, expression: str, fault: str) -> None:
    (found,) = silent(stage, [Query("a panel", "panel", expression)])
    assert found.startswith(f"a panel: {fault}")


@pytest.mark.parametrize(
    "expression",
    [
        'sum by (tier) (vllm:num_requests_waiting{model="small"}) > 5',
        "entroute_worker_up == 0 and on (tier) entroute_no_such_metric > 0",
        'entroute_redis_up == 0 unless on (job) entroute_draining{part="redis"} == 1',
    ],
)
def test_an_alert_that_can_never_fire_is_found(stage: Stage, expression: str) -> None:
    found = silent(stage, [Query("an alert", "alert", expression)])
    assert any("it returns nothing" in each for each in found)


def test_an_alert_that_does_not_fire_is_not_found_fault_with(stage: Stage) -> None:
    quiet = "max by (job) (entroute_draining offset 1d) == 1 and on (job) entroute_redis_up < 0"
    assert stage.prometheus.query(quiet, stage.ended) == []
    assert silent(stage, [Query("an alert", "alert", quiet)]) == []
