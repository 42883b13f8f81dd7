"""Every name in every query, beside what is exported: no program is needed, it takes seconds."""

import json
from pathlib import Path

import pytest

from docs.exported import exported
from tests.deploy.promql import faults
from tests.deploy.queries import (
    Query,
    Unreadable,
    adapted,
    chart_queries,
    dashboard_queries,
    filled,
    rule_queries,
)
from tests.deploy.vocabulary import unused, vocabulary

RULES = rule_queries()
QUERIES = [*dashboard_queries(), *RULES]
KNOWN = vocabulary(RULES)


def wrong(queries: list[Query]) -> list[str]:
    """Return what is wrong with queries, each fault after its origin."""
    return [f"{query.origin}: {fault}" for query in queries for fault in checked(query)]


def checked(query: Query) -> list[str]:
    return faults(query.expression, KNOWN) if query.expression else []


def test_there_are_dashboards_alerts_and_records() -> None:
    kinds = [query.kind for query in QUERIES]
    assert kinds.count("panel") > 50
    assert kinds.count("variable") >= 5
    assert kinds.count("alert") > 20
    assert kinds.count("recording") > 10


def test_dashboards_and_rules_name_what_is_exported() -> None:
    assert wrong(QUERIES) == []


def test_the_adapter_asks_for_what_is_exported() -> None:
    asked = {name: faults(expression, KNOWN) for name, expression in adapted().items()}
    assert asked == {
        "entroute_requests_in_flight": [],
        "vllm_num_requests_waiting": [],
        "vllm_num_requests_running": [],
    }


def test_every_exported_metric_is_on_a_dashboard_or_in_an_alert() -> None:
    assert unused(exported(), QUERIES) == []


def test_every_vllm_series_of_the_vocabulary_names_its_model() -> None:
    ours = {name for name in KNOWN if name.startswith("vllm:")}
    without = {name for name in ours if "model_name" not in KNOWN[name].labels}
    assert len(ours) > 50
    assert without <= {"vllm:cache_config_info"}


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("sum(rate(entroute_request_total[5m]))", "nothing exports entroute_request_total"),
        ("vllm:gpu_cache_usage_perc", "nothing exports vllm:gpu_cache_usage_perc"),
        (
            'sum(vllm:num_requests_waiting{model="small"})',
            "vllm:num_requests_waiting has no label model",
        ),
        (
            "sum by (model) (vllm:num_requests_waiting)",
            "sum by or without asks for the label model, which is not in what it works on",
        ),
        (
            'entroute_requests_total{outcome="error"}',
            "entroute_requests_total's outcome is never 'error'",
        ),
        (
            'entroute_shed_total{kind=~"full|late"}',
            "entroute_shed_total's kind is never 'late'",
        ),
        (
            "histogram_quantile(0.9, sum by (tier) (rate(entroute_difficulty_bucket[5m])))",
            "histogram_quantile asks for the label le, which is not in what it works on",
        ),
        (
            "entroute_worker_up / on (tier, model) entroute_worker_inflight",
            "/ on, left of it, asks for the label model, which is not in what it works on",
        ),
        (
            "entroute_worker_up * on (job) group_left (model) entroute_build_info",
            "group_left or group_right asks for the label model, which is not in what it works on",
        ),
        (
            'label_replace(entroute_worker_up, "host", "$1", "address", "(.*):.*")',
            "label_replace asks for the label address, which is not in what it works on",
        ),
        ('{job="entroute"}', "names no metric"),
        ("sum(entroute_worker_up", "it cannot be parsed"),
    ],
)
def test_a_wrong_name_is_found(expression: str, fault: str) -> None:
    found = faults(expression, KNOWN)
    assert any(fault in each for each in found), found


@pytest.mark.parametrize(
    "expression",
    [
        "sum by (job, tier) (rate(entroute_tokens_total[5m]))",
        "histogram_quantile(0.9, sum by (le, tier) (rate(entroute_queue_wait_seconds_bucket[5m])))",
        'sum(vllm:num_requests_waiting{model_name="small"})',
        "count by (job) (up == 0) and on (job) group by (job) (entroute_build_info)",
        'label_replace(absent(entroute_redis_up), "what", "redis", "", "")',
        "sum without (instance, pod) (entroute_queue_depth)",
        "max_over_time(sum by (tier) (entroute_queue_depth)[5m:1m])",
        "entroute_worker_up * on (job) group_left (version) entroute_build_info",
        "topk by (job) (3, entroute_worker_inflight) / 2 + vector(1)",
    ],
)
def test_a_right_name_is_not_found_fault_with(expression: str) -> None:
    assert faults(expression, KNOWN) == []


def test_a_metric_that_nobody_asks_for_is_found() -> None:
    families = [family for family in exported() if family.name.startswith("entroute_worker_")]
    asked = [Query("panel", "panel", family.series[0]) for family in families]
    assert unused(families, asked) == []
    assert unused(families, asked[1:]) == [families[0].name]


def test_a_record_that_nobody_reads_uses_nothing() -> None:
    (family,) = (each for each in exported() if each.name == "entroute_redis_up")
    inner = Query("rule", "recording", family.name, recorded="one")
    outer = Query("rule", "recording", "max(one)", recorded="two")
    assert unused([family], [outer, inner]) == [family.name]
    assert unused([family], [outer, inner, Query("alert", "alert", "two > 1")]) == []


def a_board(folder: Path, expression: str) -> Path:
    """Write a dashboard with a variable and a panel within a row."""
    panel = {"title": "in a row", "targets": [{"refId": "A", "expr": expression}]}
    variable = {"name": "tier", "type": "query", "query": "label_values(entroute_worker_up, tier)"}
    board = {
        "templating": {"list": [variable]},
        "panels": [{"type": "row", "panels": [panel]}],
        "annotations": {"list": [{"name": "reloads", "expr": 'sum(entroute_draining{x="$tier"})'}]},
    }
    (folder / "board.json").write_text(json.dumps(board), encoding="utf-8")
    return folder


def test_a_dashboards_queries_are_read_with_its_variables_filled_in(tmp_path: Path) -> None:
    folder = a_board(tmp_path, 'rate(a{tier=~"${tier:regex}"}[$__rate_interval])')
    assert [(query.expression, query.label) for query in dashboard_queries(folder)] == [
        ("entroute_worker_up", "tier"),
        ('rate(a{tier=~".*"}[1m])', ""),
        ('sum(entroute_draining{x=".*"})', ""),
    ]


def test_an_unknown_variable_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match=r"board.json: panel 'in a row', query A: .*\$group"):
        dashboard_queries(a_board(tmp_path, 'a{group=~"$group"}'))
    with pytest.raises(Unreadable, match=r"\$__everything"):
        filled("rate(a[$__everything])", [], "a panel")


def test_an_hpa_asks_for_what_the_adapter_makes() -> None:
    pods = {"metric": {"name": "vllm_num_requests_waiting"}}
    hpa = {
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "small"},
        "spec": {"metrics": [{"type": "Pods", "pods": pods}, {"type": "Resource"}]},
    }
    (query,) = chart_queries([hpa], "a chart")
    assert query.expression == 'sum(vllm:num_requests_waiting{namespace!="",pod!=""}) by (pod)'
    pods["metric"]["name"] = "vllm_queue"
    with pytest.raises(Unreadable, match="HorizontalPodAutoscaler small, vllm_queue"):
        chart_queries([hpa], "a chart")
