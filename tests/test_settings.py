"""One file, then the environment; every wrong key is named where it stands."""

from pathlib import Path

import pytest
import yaml

from entroute.cache import RedisCacheConfig
from entroute.difficulty import ChainConfig
from entroute.errors import ConfigurationError
from entroute.loading import load
from entroute.routing import ThresholdConfig
from entroute.settings import Settings
from entroute.strategies import DEFAULT_STRATEGIES

EXAMPLE = """
server: {host: 127.0.0.1, port: 8080}
tiers:
  - name: small
    model: qwen-small
    workers: [{url: "http://127.0.0.1:8101/v1"}]
    price: {prompt: 0.05, completion: 0.10}
  - name: large
    model: qwen-large
    workers: [{url: "http://127.0.0.1:8102/v1"}, {url: "http://127.0.0.1:8103/v1"}]
    price: {prompt: 0.30, completion: 0.60}
cache: {kind: redis, url: "redis://127.0.0.1:6379/0", ttl_s: 3600}
difficulty: {kind: chain}
policy: {kind: threshold}
auth: {keys_file: keys.yaml}
"""
SECRET = "sk-hunter2"


def loaded(tmp_path: Path, text: str = EXAMPLE, **environment: str) -> Settings:
    path = tmp_path / "gateway.yaml"
    path.write_text(text)
    return load(path, environment)


def refused(tmp_path: Path, text: str = EXAMPLE, **environment: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        loaded(tmp_path, text, **environment)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


def changed(**parts: object) -> str:
    return yaml.safe_dump({**yaml.safe_load(EXAMPLE), **parts})


def engine(*args: str) -> dict[str, object]:
    return {"kind": "vllm", "model": "m", "args": args}


def a_tier(**facts: object) -> dict[str, object]:
    return {"name": "small", "model": "m", "workers": [{"url": "http://h/v1"}], **facts}


def test_the_documented_example_loads(tmp_path: Path) -> None:
    settings = loaded(tmp_path)
    small, large = settings.tiers
    assert [worker.url for worker in large.workers] == [
        "http://127.0.0.1:8102/v1",
        "http://127.0.0.1:8103/v1",
    ]
    assert small.price.build().completion == 0.10
    assert isinstance(settings.cache, RedisCacheConfig)
    assert isinstance(settings.difficulty, ChainConfig)
    assert isinstance(settings.policy, ThresholdConfig)
    assert settings.auth is not None
    assert str(settings.auth.keys_file) == "keys.yaml"


def test_without_a_file_the_embedded_pair_of_models_is_configured() -> None:
    settings = load(None, {})
    assert [tier.name for tier in settings.tiers] == ["small", "large"]
    assert all(tier.engine is not None for tier in settings.tiers)


def test_the_environment_reaches_into_the_embedded_default() -> None:
    settings = load(None, {"ENTROUTE_TIERS__1__ENGINE__THREADS": "2", "ENTROUTE_SERVER__PORT": "1"})
    assert settings.tiers[1].engine is not None
    assert settings.tiers[1].engine.model_dump()["threads"] == 2
    assert load(None, {}).tiers[1].engine.model_dump()["threads"] is None  # type: ignore[union-attr]


def test_a_field_of_a_default_part_needs_no_kind(tmp_path: Path) -> None:
    settings = loaded(tmp_path, changed(cache={"ttl_s": 5}, policy={"hard_above": 0.9}))
    assert settings.cache.model_dump()["ttl_s"] == 5
    assert settings.policy.model_dump()["hard_above"] == 0.9


@pytest.mark.parametrize(
    ("parts", "line"),
    [
        ({"sever": {}}, "sever: unknown key"),
        ({"server": {"prot": 1}}, "server.prot: unknown key"),
        ({"tiers": [a_tier(modle="x")]}, "tiers.0.modle: unknown key"),
        (
            {"tiers": [a_tier(workers=[{"url": "http://h/v1", "key": 1}])]},
            "tiers.0.workers.0.key: unknown key",
        ),
        ({"cache": {"kind": "memory", "ttl": 1}}, "cache.ttl: unknown key"),
        ({"cache": {"ttl": 1}}, "cache.ttl: unknown key"),
        ({"policy": {"kind": "static", "easy_below": 1}}, "policy.easy_below: unknown key"),
        ({"strategies": [{"kind": "cascade", "windw": 1}]}, "strategies.0.windw: unknown key"),
        (
            {"difficulty": {"kind": "chain", "estimators": [{"kind": "probe", "token": 1}]}},
            "difficulty.estimators.0.token: unknown key",
        ),
        (
            {
                "tiers": [
                    {
                        "name": "s",
                        "model": "m",
                        "engine": {"kind": "llamacpp", "gguf": "x", "thread": 1},
                    }
                ]
            },
            "tiers.0.engine.thread: unknown key",
        ),
    ],
)
def test_an_unknown_key_is_named_with_its_path_as_the_file_has_it(
    tmp_path: Path, parts: dict[str, object], line: str
) -> None:
    assert refused(tmp_path, changed(**parts)) == [line]


@pytest.mark.parametrize(
    ("parts", "start"),
    [
        ({"server": {"port": "many"}}, "server.port: Input should be a valid integer"),
        ({"server": {"port": 70000}}, "server.port: Input should be less than or equal to 65535"),
        ({"server": []}, "server: Input should be a valid dictionary"),
        ({"tiers": {}}, "tiers: Input should be a valid tuple"),
        ({"tiers": []}, "tiers: Tuple should have at least 1 item"),
        ({"tiers": [a_tier(price={"prompt": -1})]}, "tiers.0.price.prompt: Input should be"),
        ({"tiers": [a_tier(name="no spaces")]}, "tiers.0.name: String should match pattern"),
        ({"tiers": [{"model": "m"}]}, "tiers.0.name: Field required"),
        ({"cache": {"kind": "redis"}}, "cache.url: Field required"),
        ({"cache": {"kind": "disk"}}, "cache: 'disk'"),
        ({"policy": {"kind": "computed"}}, "policy: 'computed'"),
        ({"policy": {"easy_below": 0.9, "hard_above": 0.1}}, "policy: easy_below must not be"),
        ({"limits": {"deadline_s": 0}}, "limits.deadline_s: Input should be greater than 0"),
        ({"strategies": [{"window": 3}]}, "strategies.0: Unable to extract tag"),
    ],
)
def test_a_wrong_value_is_named_with_its_path(
    tmp_path: Path, parts: dict[str, object], start: str
) -> None:
    assert any(line.startswith(start) for line in refused(tmp_path, changed(**parts)))


def test_every_wrong_key_is_named_at_once(tmp_path: Path) -> None:
    lines = refused(tmp_path, changed(sever=1, server={"port": "x"}, cache={"kind": "off", "a": 1}))
    assert [line.partition(":")[0] for line in lines] == ["server.port", "cache.a", "sever"]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"tiers": [a_tier(), a_tier(model="n")]}, "tiers: small names more than one"),
        ({"tiers": [a_tier(), a_tier(name="large")]}, "tiers: m names more than one"),
        ({"tiers": [a_tier(), a_tier(name="m", model="n")]}, "tiers: m names more than one"),
        ({"tiers": [a_tier(name="auto")]}, "'auto' is the name under which the policy decides"),
        ({"tiers": [a_tier(workers=[])]}, "give one of workers, discover and engine"),
        ({"tiers": [a_tier(engine={"kind": "vllm", "model": "m"})]}, "give one of workers"),
        ({"strategies": [{"kind": "single"}] * 2}, "strategies: a kind is given twice"),
        ({"policy": {"kind": "static", "tier": "huge"}}, "policy.tier: no tier is named 'huge'"),
        ({"policy": {"middle": "magic"}}, "policy: no strategy is named 'magic'"),
        ({"policy": {"checkable": "cot_pot"}}, "policy: 'cot_pot' runs programs"),
        ({"policy": {"kind": "static", "strategy": "rejection"}}, "that bring a verifier"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    tmp_path: Path, parts: dict[str, object], words: str
) -> None:
    assert any(words in line for line in refused(tmp_path, changed(**parts)))


@pytest.mark.parametrize(
    "url",
    ["h:80/v1", "http://", "http://[::1", "http://h:port/v1", "ftp://h", "http://h/v1?key=hunter2"],
)
def test_a_worker_address_that_cannot_be_called_is_refused(tmp_path: Path, url: str) -> None:
    (line,) = refused(tmp_path, changed(tiers=[a_tier(workers=[{"url": url}])]))
    assert line.startswith("tiers.0.workers.0.url: must")


def test_a_tier_may_be_named_as_its_model(tmp_path: Path) -> None:
    assert loaded(tmp_path, changed(tiers=[a_tier(name="m")])).tiers[0].name == "m"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "gateway.example"])
def test_listening_beyond_loopback_without_auth_must_be_said(tmp_path: Path, host: str) -> None:
    (line,) = refused(tmp_path, changed(server={"host": host}, auth=None))
    assert "auth.keys_file" in line
    assert "server.allow_unauthenticated" in line
    said = {"host": host, "allow_unauthenticated": True}
    assert loaded(tmp_path, changed(server=said, auth=None)).server.host == host
    assert loaded(tmp_path, changed(server={"host": host})).auth is not None


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_loopback_needs_no_auth(tmp_path: Path, host: str) -> None:
    assert loaded(tmp_path, changed(server={"host": host}, auth=None)).auth is None


def test_the_environment_overrides_the_file_at_any_depth(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path,
        ENTROUTE_CACHE__TTL_S="60",
        ENTROUTE_TIERS__1__WORKERS__0__URL="http://10.0.0.9:8000/v1/",
        ENTROUTE_TIERS__0__VISION="true",
        ENTROUTE_LIMITS__MAX_COST_USD="0.5",
    )
    assert settings.cache.model_dump()["ttl_s"] == 60
    assert settings.tiers[1].workers[0].url == "http://10.0.0.9:8000/v1"
    assert settings.tiers[1].workers[1].url == "http://127.0.0.1:8103/v1"
    assert settings.tiers[0].vision
    assert settings.limits.build().max_cost_usd == 0.5


def test_other_names_in_the_environment_are_ignored(tmp_path: Path) -> None:
    environment = {
        "ENTROUTE_SERVICE_HOST": "10.0.0.1",
        "ENTROUTE_PORT": "tcp://10.0.0.1:80",
        "ENTROUTE_PORT_80_TCP_ADDR": "10.0.0.1",
        "OTHER__SERVER__PORT": "1",
    }
    assert loaded(tmp_path, **environment) == loaded(tmp_path)


def test_an_index_beyond_the_list_is_refused_by_the_variables_name(tmp_path: Path) -> None:
    made = loaded(tmp_path, ENTROUTE_STRATEGIES__0__KIND="cascade")
    assert [config.kind for config in made.strategies] == ["cascade"]
    with pytest.raises(ConfigurationError, match="ENTROUTE_TIERS__5__NAME: '5' is no index"):
        loaded(tmp_path, ENTROUTE_TIERS__5__NAME="x")
    with pytest.raises(ConfigurationError, match="is no index of a list of 2"):
        loaded(tmp_path, ENTROUTE_TIERS__FIRST__NAME="x")


def test_a_wrong_key_from_the_environment_is_named(tmp_path: Path) -> None:
    assert refused(tmp_path, ENTROUTE_SERVER__PROT="1") == ["server.prot: unknown key"]


@pytest.mark.parametrize("value", ["@hunter2", "{hunter2", "sk: hunter2: x", "%hunter2", SECRET])
def test_a_secret_from_the_environment_may_hold_any_character(tmp_path: Path, value: str) -> None:
    settings = loaded(tmp_path, ENTROUTE_TIERS__0__WORKERS__0__API_KEY=value)
    key = settings.tiers[0].workers[0].api_key
    assert key is not None
    assert key.get_secret_value() == value
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    "text",
    [
        changed(tiers=[a_tier(workers=[{"url": "http://h/v1", "api_key": [SECRET]}])]),
        changed(tiers=[a_tier(workers=[{"url": "http://h/v1", "api_key": {"a": SECRET}}])]),
        changed(tiers=[a_tier(workers=[{"url": "http://h/v1", "apikey": SECRET}])]),
        changed(tiers=[a_tier(workers=SECRET)]),
        changed(tiers=[a_tier(workers=[{"url": f"http://h/v1?key={SECRET}"}])]),
        changed(sandbox={"kind": "http", "url": f"http://:{SECRET}@h"}),
        changed(rewards=[{"name": "r", "url": f"http://h/score?key={SECRET}"}]),
        changed(tiers=[{"name": "a", "model": "m", "engine": engine("--api-key", SECRET)}]),
        changed(tiers=[{"name": "a", "model": "m", "engine": engine(f"--hf-token={SECRET}")}]),
        changed(cache={"kind": "redis", "url": f"http://:{SECRET}@h"}),
        changed(cache={"kind": "redis", "ulr": f"redis://:{SECRET}@h"}),
        f'{EXAMPLE}\nbroken: "{SECRET}',
        f"{EXAMPLE}\napi_key: @{SECRET}",
        f"{EXAMPLE}\n  api_key: {SECRET}: x",
    ],
)
def test_an_error_never_repeats_a_secret(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        loaded(tmp_path, text)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_file_that_is_no_yaml_is_named_with_the_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"gateway.yaml: not valid YAML: line 2, column"):
        loaded(tmp_path, "server: {}\ntiers: [")


@pytest.mark.parametrize("text", ["", "- a\n- b", "just text", "3"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match="must be a mapping of settings"):
        loaded(tmp_path, text)


def test_a_missing_or_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere.yaml: No such file"):
        load(tmp_path / "nowhere.yaml", {})
    (tmp_path / "latin.yaml").write_bytes(b"server: {host: \xff}")
    with pytest.raises(ConfigurationError, match=r"latin.yaml: not UTF-8"):
        load(tmp_path / "latin.yaml", {})


def test_configured_strategies_take_the_place_of_the_defaults(tmp_path: Path) -> None:
    settings = loaded(tmp_path, changed(strategies=[{"kind": "cascade", "window": 7}]))
    by_kind = {config.kind: config.model_dump() for config in settings.all_strategies}
    assert by_kind["cascade"]["window"] == 7
    assert set(by_kind) == {config.kind for config in DEFAULT_STRATEGIES}


@pytest.mark.parametrize(
    "secret", ["#abc", "abc #def", "null", "123456", "yes", "a: b", "@x", "{x"]
)
def test_a_secret_from_the_environment_stays_what_it_is(tmp_path: Path, secret: str) -> None:
    settings = loaded(tmp_path, ENTROUTE_TIERS__0__WORKERS__0__API_KEY=secret)
    key = settings.tiers[0].workers[0].api_key
    assert key is not None
    assert key.get_secret_value() == secret


def test_a_top_level_list_comes_from_the_environment(tmp_path: Path) -> None:
    assert loaded(tmp_path, ENTROUTE__ALLOW_FIELDS="[priority]").allow_fields == {"priority"}


def test_a_worker_url_with_a_password_is_refused_without_quoting_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="api_key") as caught:
        loaded(tmp_path, ENTROUTE_TIERS__0__WORKERS__0__URL="http://me:s3cret@127.0.0.1:1/v1")
    assert "s3cret" not in str(caught.value)
