"""vLLM that the chart runs: what its pods are told, where models are kept, how they stop."""

from pathlib import Path
from typing import Any

import pytest

from tests.deploy.cases import profile, values, worker
from tests.deploy.chart import Object, named, of_kind, refused, rendered
from tests.deploy.objects import Pod, environment, pod_of, pods, selects
from tests.deploy.tools import Tools
from tests.vllm import pod as tried

pytestmark = pytest.mark.deploy

NAME = "entroute-tier-small"


def objects(tools: Tools, **vllm: Any) -> list[Object]:
    return rendered(tools.helm4, values({"small": worker(**vllm)}), namespace="llm")


def pod(tools: Tools, **vllm: Any) -> Pod:
    return pod_of(objects(tools, **vllm), f"Deployment/{NAME}")


def arguments(tools: Tools, **vllm: Any) -> list[str]:
    return list(pod(tools, **vllm).container("vllm")["args"])


def test_the_server_serves_the_model_under_the_name_that_the_gateway_asks_for(
    tools: Tools,
) -> None:
    args = arguments(tools, model="org/weights", revision="abc123")
    assert args[0] == "org/weights"
    assert {"--served-model-name=small-model", "--revision=abc123", "--port=8000"} <= set(args)


def test_what_values_say_of_the_engine_reaches_it(tools: Tools) -> None:
    args = arguments(
        tools,
        quantization="fp8",
        maxModelLen=8192,
        gpuMemoryUtilization=0.85,
        gpu={"count": 4},
        drain={"timeoutSeconds": 120},
    )
    assert {
        "--quantization=fp8",
        "--max-model-len=8192",
        "--gpu-memory-utilization=0.85",
        "--tensor-parallel-size=4",
        "--enable-prefix-caching",
        "--enable-prompt-tokens-details",
        "--enable-force-include-usage",
        "--shutdown-timeout=120",
    } <= set(args)


def test_what_is_left_out_is_left_to_vllm(tools: Tools) -> None:
    options = {arg.partition("=")[0] for arg in arguments(tools)}
    assert not {"--quantization", "--max-model-len", "--revision"} & options


def test_further_arguments_come_last_and_verbatim(tools: Tools) -> None:
    extra = ["--max-num-seqs=7", "--hf-overrides", '{"a": [1, "b c"]}', "{{ not a template }}"]
    assert arguments(tools, extraArgs=extra)[-4:] == extra


@pytest.mark.parametrize("name", ["gpu", "production"])
def test_every_option_of_a_profile_is_one_of_vllm_s(tools: Tools, name: str) -> None:
    # tests/vllm compares this list with what a real server says.
    known = (Path(__file__).parents[1] / "vllm/options_0_32.txt").read_text().split()
    servers = [
        container
        for each in pods(rendered(tools.helm4, profile(name)))
        for container in each.containers
        if container["name"] == "vllm"
    ]
    assert len(servers) == 2
    for server in servers:
        options = {arg.partition("=")[0] for arg in server["args"] if arg.startswith("-")}
        assert options <= set(known)


def test_prefix_caching_can_be_turned_off(tools: Tools) -> None:
    args = arguments(tools, prefixCaching=False)
    assert "--no-enable-prefix-caching" in args
    assert "--enable-prefix-caching" not in args


def test_a_replica_s_gpus_are_limits_and_share_the_model(tools: Tools) -> None:
    container = pod(tools, gpu={"resource": "amd.com/gpu", "count": 2}).container("vllm")
    assert container["resources"]["limits"]["amd.com/gpu"] == 2
    assert "--tensor-parallel-size=2" in container["args"]


def test_gpus_that_share_a_model_get_shared_memory_and_one_alone_none(tools: Tools) -> None:
    def shared(**vllm: Any) -> list[dict[str, Any]]:
        return [v["emptyDir"] for v in pod(tools, **vllm).spec["volumes"] if v["name"] == "shm"]

    assert shared() == []
    assert shared(gpu={"count": 2}) == [{"medium": "Memory", "sizeLimit": "8Gi"}]
    assert shared(shmSize="1Gi") == [{"medium": "Memory", "sizeLimit": "1Gi"}]
    mounts = pod(tools, gpu={"count": 2}).container("vllm")["volumeMounts"]
    assert {"name": "shm", "mountPath": "/dev/shm"} in mounts  # noqa: S108


def test_without_gpus_nothing_is_said_of_them(tools: Tools) -> None:
    container = pod(tools, gpu={"count": 0}).container("vllm")
    assert container["resources"]["limits"].keys() == {"memory"}
    assert not any(arg.startswith("--gpu-memory-utilization") for arg in container["args"])


def test_it_runs_as_the_user_of_the_official_image_with_a_home_it_can_write(tools: Tools) -> None:
    it = pod(tools)
    assert it.spec["securityContext"]["runAsUser"] == 2000
    variables = environment(it.container("vllm"))
    assert variables["USER"] == "vllm"  # older releases of PyTorch ask for a name
    mounts = {one["mountPath"]: one["name"] for one in it.container("vllm")["volumeMounts"]}
    emptied = {one["name"] for one in it.spec["volumes"] if "emptyDir" in one}
    assert {mounts[variables["HOME"]], mounts["/tmp"]} <= emptied  # noqa: S108
    assert variables["HF_HOME"] in mounts


def test_the_pod_that_a_real_vllm_is_tried_in_is_the_chart_s(tools: Tools) -> None:
    """tests/vllm/test_chart_pod.py runs one in this."""
    it = pod(
        tools,
        gpu={"count": 0},
        maxModelLen=tried.CONTEXT_LENGTH,
        drain={"timeoutSeconds": tried.DRAIN_S},
    )
    server = it.container("vllm")
    assert server["args"] == [
        "org/small-model",
        tried.OPTIONS[0],
        "--port=8000",
        *tried.OPTIONS[1:],
    ]
    assert environment(server) == tried.ENVIRONMENT
    assert sorted(one["mountPath"] for one in server["volumeMounts"]) == sorted(tried.WRITABLE)
    context = it.spec["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"]) == (tried.USER, tried.GROUP)


def test_loading_may_take_half_an_hour_before_anything_kills_it(tools: Tools) -> None:
    for one in (pod(tools), pod(tools, startupProbe={"failureThreshold": 400})):
        probe = one.container("vllm")["startupProbe"]
        assert probe["httpGet"] == {"path": "/health", "port": "http"}
        assert probe["periodSeconds"] * probe["failureThreshold"] >= 1800
    deployment = named(objects(tools), "Deployment", NAME)
    assert deployment["spec"]["progressDeadlineSeconds"] > 1800


def test_a_worker_stops_late_enough_to_be_noticed_and_to_finish(tools: Tools) -> None:
    it = pod(tools, drain={"delaySeconds": 20, "timeoutSeconds": 300})
    server = it.container("vllm")
    assert server["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "20"]
    assert "--shutdown-timeout=300" in server["args"]
    assert it.spec["terminationGracePeriodSeconds"] >= 20 + 300 + 10


def test_an_update_needs_no_spare_gpu(tools: Tools) -> None:
    strategy = named(objects(tools), "Deployment", NAME)["spec"]["strategy"]
    assert strategy == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1},
    }
    recreated = objects(tools, strategy={"type": "Recreate"})
    assert named(recreated, "Deployment", NAME)["spec"]["strategy"] == {"type": "Recreate"}


def test_the_gateway_finds_pods_through_a_headless_service(tools: Tools) -> None:
    service = named(objects(tools), "Service", NAME)
    assert service["spec"]["clusterIP"] == "None"
    assert [(p["name"], p["port"]) for p in service["spec"]["ports"]] == [("http", 8000)]


def test_the_key_that_servers_ask_for_comes_from_a_secret(tools: Tools) -> None:
    it = pod(tools, apiKey={"existingSecret": "vllm", "key": "k"})
    wanted = {"secretKeyRef": {"name": "vllm", "key": "k"}}
    assert environment(it.container("vllm"))["VLLM_API_KEY"] == wanted
    assert "VLLM_API_KEY" not in environment(pod(tools).container("vllm"))


def test_an_embedding_tier_pools_and_counts_no_cached_tokens(tools: Tools) -> None:
    embedder = {"rank": 1, "settings": {"model": "e"}, "vllm": {"model": "org/e"}}
    made = rendered(tools.helm4, values({"small": worker()}, embeddings={"passages": embedder}))
    args = pod_of(made, "Deployment/entroute-embedding-passages").container("vllm")["args"]
    assert "--runner=pooling" in args
    assert not {"--enable-prefix-caching", "--enable-prompt-tokens-details"} & set(args)


def test_only_the_gateway_and_prometheus_reach_a_worker(tools: Tools) -> None:
    scraper = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "metrics"}}}
    closed = {"enabled": True, "monitoring": [scraper]}
    made = rendered(tools.helm4, values({"small": worker()}, networkPolicy=closed))
    it = pod_of(made, f"Deployment/{NAME}")
    policies = [
        one["spec"]
        for one in of_kind(made, "NetworkPolicy")
        if selects(one["spec"]["podSelector"], it.labels)
    ]
    (policy,) = policies
    (rule,) = policy["ingress"]
    assert [port["port"] for port in rule["ports"]] == [8000]
    (gateway,) = [peer for peer in rule["from"] if peer != scraper]
    reaching = {each.owner for each in pods(made) if selects(gateway["podSelector"], each.labels)}
    assert reaching == {"Deployment/entroute"}
    assert gateway.keys() == {"podSelector"}  # of this namespace alone


def test_a_tier_elsewhere_makes_no_objects(tools: Tools) -> None:
    tier = {"rank": 1, "settings": {"model": "m"}, "external": {"urls": ["http://a:1/v1"]}}
    made = rendered(tools.helm4, values({"small": tier}))
    assert [one for one in made if "entroute/tier" in one["metadata"]["labels"]] == []
    assert len(of_kind(made, "Deployment")) == 1


def test_a_promise_of_more_tokens_than_vllm_would_hold_is_refused(tools: Tools) -> None:
    tier = worker(maxModelLen=4096)
    tier["settings"]["context_length"] = 8192
    said = refused(tools.helm4, values({"small": tier}))
    assert "tiers.small.vllm.maxModelLen" in said
    assert "8192" in said


def test_more_shares_of_a_model_than_gpus_are_refused(tools: Tools) -> None:
    tier = worker(tensorParallelSize=4, gpu={"count": 2})
    assert "tiers.small.vllm.tensorParallelSize" in refused(tools.helm4, values({"small": tier}))


def test_an_unknown_value_of_a_worker_is_refused_by_its_name(tools: Tools) -> None:
    said = refused(tools.helm4, values({"small": worker(maxModelLength=4096)}))
    assert "maxModelLength" in said
