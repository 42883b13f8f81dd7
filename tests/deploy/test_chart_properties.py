"""Any values that are taken make a release that fits together."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.chart.base import TIER_NAME
from entroute.tier_settings import EmbeddingSettings, TierSettings
from tests.deploy.chart import of_kind, rendered
from tests.deploy.chart_walk import complaints, secrets_of
from tests.deploy.test_chart_config import settings_of
from tests.deploy.tools import Tools

pytestmark = pytest.mark.deploy

NAMES = st.from_regex(TIER_NAME, fullmatch=True).filter(lambda name: name != "auto")
RELEASES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?(\.[a-z0-9]{1,20})?", fullmatch=True)
SECRET = st.fixed_dictionaries({"existingSecret": st.sampled_from(["", "a-secret"])})

OWN = st.fixed_dictionaries(
    {"model": st.just("org/model"), "replicas": st.integers(0, 3)},
    optional={"apiKey": SECRET},
).map(lambda vllm: {**vllm, "modelCache": {"kind": "emptyDir"}})
ELSEWHERE = st.fixed_dictionaries(
    {"urls": st.lists(st.sampled_from(["http://a/v1", "https://b:1/v1"]), min_size=1, max_size=2)},
    optional={"apiKey": SECRET},
)
SOURCES = st.one_of(
    OWN.map(lambda own: {"vllm": own}), ELSEWHERE.map(lambda away: {"external": away})
)


@st.composite
def tiers(draw: st.DrawFn, least: int, mark: str) -> dict[str, Any]:
    """Draw tiers of different names, models and ranks, in any order."""
    names = draw(st.lists(NAMES, min_size=least, max_size=4, unique=True))
    ranks = draw(
        st.lists(st.integers(0, 999_999), min_size=len(names), max_size=len(names), unique=True)
    )
    return {
        name: {"rank": rank, "settings": {"model": f"{mark}/{name}"}, **draw(SOURCES)}
        for name, rank in zip(names, ranks, strict=True)
    }


@st.composite
def releases(draw: st.DrawFn) -> Mapping[str, Any]:
    """Draw values that nothing is wrong with."""
    switch = st.booleans()
    chat, embed = draw(tiers(1, "chat")), draw(tiers(0, "embed"))
    kind = draw(st.sampled_from(["none", "bundled", "external"]))
    secret = {"existingSecret": "redis"}
    return {
        "auth": draw(st.sampled_from([{"allowUnauthenticated": True}, {"existingSecret": "k"}])),
        "discovery": draw(st.sampled_from(["dns", "kubernetes"])),
        "tiers": chat,
        "embeddings": {name: tier for name, tier in embed.items() if name not in chat},
        "redis": {"kind": kind, "external": secret, "bundled": {"password": secret}},
        "config": {"cache": {"kind": "memory" if kind == "none" else "redis"}},
        "sandbox": {"enabled": draw(switch), "key": {"existingSecret": "s"}},
        "networkPolicy": {"enabled": draw(switch), "gatewayEgress": [{"ports": [{"port": 443}]}]},
        "gateway": {
            "autoscaling": {
                "kind": draw(st.sampled_from(["none", "hpa", "keda"])),
                "maxReplicas": draw(st.integers(2, 9)),
            },
            "podDisruptionBudget": {"enabled": draw(switch)},
        },
        "inferencePool": {"enabled": draw(switch), "endpointPicker": {"name": "picker"}},
        "ingress": {"enabled": draw(switch), "hosts": [{"host": "x.example"}]},
        "httpRoute": {"enabled": draw(switch), "parentRefs": [{"name": "outside"}]},
        "serviceAccount": draw(st.sampled_from([{}, {"create": False, "name": "of-others"}])),
    }


@given(values=releases(), release=RELEASES, major=st.sampled_from([3, 4]))
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_values_that_are_taken_make_a_release_that_fits_together(
    tools: Tools, tmp_path: Path, values: Mapping[str, Any], release: str, major: int
) -> None:
    helm = {3: tools.helm3, 4: tools.helm4}[major]
    objects = rendered(helm, values, release=release)
    assert complaints(objects, secrets_of(values)) == []
    read = settings_of(objects, tmp_path)
    _check_tiers(values["tiers"], read.tiers)
    _check_tiers(values["embeddings"], read.embeddings)
    pods = of_kind(objects, "Pod")
    assert [pod["metadata"]["annotations"]["helm.sh/hook"] for pod in pods] == ["test"]


def _check_tiers(
    said: Mapping[str, Any], found: Sequence[TierSettings] | Sequence[EmbeddingSettings]
) -> None:
    """Check that tiers have their order, and every worker the key that is meant for it."""
    assert [tier.name for tier in found] == sorted(said, key=lambda name: int(said[name]["rank"]))
    for tier in found:
        source = said[tier.name].get("vllm") or said[tier.name]["external"]
        keyed = bool(source.get("apiKey", {}).get("existingSecret"))
        keys = [worker.api_key for worker in tier.workers]
        if tier.discover is not None:
            keys.append(tier.discover.api_key)
        assert [key is not None for key in keys] == [keyed] * max(1, len(tier.workers))
