"""The command line as operators run it: what it prints, and what its exit code says."""

import os
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

import entroute
from entroute.embedded.catalogue import CATALOGUE
from entroute.profile.profile import write_profile
from tests.command_line import Done, Run, runner
from tests.gateway_process import child_environment, command, served, two_tiers
from tests.profiles import a_plan, a_profile

TIMEOUT_S = 30.0


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command that serves nothing, in this process, under an environment."""
    return runner(capfd, monkeypatch)


def serve(*arguments: str) -> Done:
    """Run `entroute serve`, which is to fail, as a process."""
    done = subprocess.run(
        command(["serve", *arguments]),
        env=child_environment({}),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def write(tmp_path: Path):
    """Write a configuration file and return its path."""

    def to_file(settings: Mapping[str, Any] | str) -> str:
        path = tmp_path / "gateway.yaml"
        text = settings if isinstance(settings, str) else yaml.safe_dump(dict(settings))
        path.write_text(text, encoding="utf-8")
        return str(path)

    return to_file


@pytest.fixture
def taken() -> Iterator[int]:
    """A port of loopback on which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_version_is_the_packages(run: Run):
    done = subprocess.run(
        command(["--version"]),
        env=child_environment({}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == f"entroute {entroute.__version__}"


@pytest.mark.parametrize("arguments", [["--nonsense"], ["nonsense"], ["serve", "--nonsense"]])
def test_what_is_unknown_on_the_command_line_exits_2(run: Run, arguments: list[str]):
    done = run(*arguments)
    assert done.returncode == 2
    assert "nonsense" in done.stderr
    assert "Traceback" not in done.stderr


def test_check_prints_the_effective_configuration_without_secrets(run: Run, write):
    settings = two_tiers("http://127.0.0.1:8101", "http://127.0.0.1:8102")
    settings["tiers"][0]["workers"][0]["api_key"] = "worker-secret"
    settings["cache"] = {"kind": "redis", "url": "redis://:redis-secret@127.0.0.1:6379/0"}
    done = run(
        "check",
        "--config",
        write(settings),
        ENTROUTE_LIMITS__MAX_CALLS="7",
        ENTROUTE_TIERS__1__WORKERS__0__API_KEY="other-secret",
        ENTROUTE_PORT="tcp://10.0.0.1:80",  # Kubernetes injects such a name
    )
    assert done.returncode == 0, done.stderr
    effective = yaml.safe_load(done.stdout)
    assert effective["limits"]["max_calls"] == 7
    assert effective["server"]["max_body_bytes"] == 8 * 1024 * 1024
    assert effective["tiers"][0]["workers"][0]["url"] == "http://127.0.0.1:8101/v1"
    assert effective["policy"]["kind"] == "threshold"
    assert effective["cache"]["kind"] == "redis"
    assert "secret" not in done.stdout + done.stderr


def test_check_without_a_file_prints_the_embedded_default(run: Run):
    done = run("check")
    assert done.returncode == 0, done.stderr
    effective = yaml.safe_load(done.stdout)
    assert [tier["name"] for tier in effective["tiers"]] == ["small", "large"]
    assert {tier["engine"]["kind"] for tier in effective["tiers"]} == {"llamacpp"}
    assert effective["policy"]["kind"] == "compute_optimal"
    assert effective["difficulty"]["kind"] == "learned"
    assert effective["cache"]["kind"] == "memory"


def test_check_prints_what_it_could_read_again(run: Run, write):
    first = run("check", "--config", write(two_tiers("http://h:1", "http://h:2")))
    second = run("check", "--config", write(first.stdout))
    assert second.returncode == 0, second.stderr
    assert second.stdout == first.stdout


def test_check_names_every_wrong_key_and_no_value(run: Run, write):
    settings = two_tiers("http://127.0.0.1:8101", "ftp://a-secret")
    settings["server"]["prot"] = 1
    settings["tiers"][0]["price"]["prompt"] = -1
    settings["cache"] = {"kind": "memcached", "url": "a-secret"}
    settings["nonsense"] = {"password": "a-secret"}
    done = run("check", "--config", write(settings))
    assert done.returncode == 2
    for path in (
        "server.prot: unknown key",
        "nonsense: unknown key",
        "tiers.0.price.prompt:",
        "tiers.1.workers.0.url: must begin with http",
        "cache:",
    ):
        assert path in done.stderr
    assert "'memory', 'redis', 'off'" in done.stderr
    assert "a-secret" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        ("tiers: [", "not valid YAML"),
        ("- a list", "must be a mapping"),
        ("", "must be a mapping"),
        ("{}", "tiers: Field required"),
        ("tiers: []", "tiers:"),
    ],
)
def test_check_says_what_is_wrong_with_a_file(
    run: Run, tmp_path: Path, write, content: str | None, message: str
):
    path = str(tmp_path / "none.yaml") if content is None else write(content)
    done = run("check", "--config", path)
    assert done.returncode == 2
    assert message in done.stderr
    assert path in done.stderr
    assert "Traceback" not in done.stderr


def test_serve_on_a_port_in_use_names_the_setting(taken: int, write):
    settings = two_tiers("http://127.0.0.1:1", "http://127.0.0.1:2")
    done = serve("--config", write(settings), "--port", str(taken))
    assert done.returncode == 2
    assert "server.port" in done.stderr
    assert str(taken) in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("port", ["-1", "65536", "eighty"])
def test_a_sandbox_on_no_port_is_refused(run: Run, port: str):
    done = run("sandbox", "--port", port)
    assert done.returncode == 2
    assert "--port" in done.stderr


def test_a_sandbox_on_a_port_in_use_names_the_option(run: Run, taken: int):
    done = run("sandbox", "--port", str(taken))
    assert done.returncode == 2
    assert f"--port: {taken} on 127.0.0.1 is in use" in done.stderr


def test_serve_on_an_address_of_another_machine_names_the_setting(write):
    settings = two_tiers("http://127.0.0.1:1", "http://127.0.0.1:2")
    settings["server"]["allow_unauthenticated"] = True
    done = serve("--config", write(settings), "--host", "192.0.2.1")
    assert done.returncode == 2
    assert "server.host" in done.stderr


def test_listening_beyond_loopback_without_keys_must_be_said(run: Run, write):
    path = write(two_tiers("http://127.0.0.1:1", "http://127.0.0.1:2"))
    done = run("check", "--config", path, ENTROUTE_SERVER__HOST="0.0.0.0")
    assert done.returncode == 2
    assert "auth.keys_file" in done.stderr
    assert "allow_unauthenticated" in done.stderr


@pytest.mark.parametrize("gguf", ["no-such-model", "/nonexistent/weights.gguf"])
def test_serve_with_unknown_weights_lists_the_known_models(write, gguf: str):
    engine = {"kind": "llamacpp", "gguf": gguf}
    settings = {"server": {"port": 0}, "tiers": [{"name": "a", "model": "m", "engine": engine}]}
    done = serve("--config", write(settings))
    assert done.returncode == 1
    assert gguf in done.stderr
    for model in CATALOGUE:
        assert (model.name in done.stderr) == model.generates
    assert "Traceback" not in done.stderr


def test_serve_says_how_to_try_it(tmp_path: Path):
    settings = two_tiers("http://127.0.0.1:1", "http://127.0.0.1:2")
    with served(tmp_path, settings) as gateway:
        gateway.terminate()
        assert gateway.process.wait(TIMEOUT_S) == 0
    log = gateway.log.read_text()
    assert f"curl -i {gateway.url}/v1/chat/completions" in log
    assert f'base_url="{gateway.url}/v1"' in log


@pytest.fixture
def guarded(write, tmp_path: Path):
    """Write a configuration with a key file and return its path."""

    def to_files(*entries: Mapping[str, Any]) -> str:
        keys = tmp_path / "keys.yaml"
        keys.write_text(yaml.safe_dump({"keys": list(entries)}), encoding="utf-8")
        settings = two_tiers("http://127.0.0.1:1", "http://127.0.0.1:2")
        return str(write({**settings, "auth": {"keys_file": str(keys)}}))

    return to_files


KEY = {"name": "mobile app", "tenant": "mobile", "sha256": "0" * 64}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{**KEY, "tiers": ["small", "smal"]}], "tiers: smal not configured; known: small, large"),
        ([{**KEY, "strategies": ["sinlge"]}], "strategies: sinlge not configured"),
        ([{**KEY, "name": "web"}, KEY], "its key is also that of 'web'"),
    ],
)
def test_check_refuses_a_key_file_that_does_not_fit_by_its_entry(
    run: Run, guarded, entries: list[dict[str, Any]], message: str
):
    done = run("check", "--config", guarded(*entries))
    assert done.returncode == 2
    assert message in done.stderr
    assert f"keys.{len(entries) - 1} ('mobile app')" in done.stderr
    assert done.stdout == ""


def test_serve_refuses_a_key_file_that_does_not_fit(guarded):
    done = serve("--config", guarded({**KEY, "tiers": ["smal"]}))
    assert done.returncode == 2
    assert "keys.0 ('mobile app')" in done.stderr
    assert "Traceback" not in done.stderr


def test_check_takes_a_key_file_that_fits(run: Run, guarded):
    path = guarded({**KEY, "tiers": ["small"], "strategies": ["single", "cascade"]})
    assert run("check", "--config", path).returncode == 0


def with_profile(folder: Path, **changes: Any) -> tuple[dict[str, Any], Path]:
    """Return settings that name a profile of their tiers, and its file."""
    path = folder / "profile.json.gz"
    profile = a_profile(a_plan("small x1", 0.4, 0.3))
    tiers = tuple(tier.model_copy(update={"model": f"qwen-{tier.name}"}) for tier in profile.tiers)
    write_profile(path, profile.model_copy(update={"tiers": tiers}))
    settings = two_tiers("http://127.0.0.1:1", "http://127.0.0.1:2")
    policy = {"kind": "compute_optimal"}
    return {**settings, "policy": policy, "profile": str(path), **changes}, path


def test_check_prints_the_profiles_path(run: Run, write, tmp_path: Path):
    settings, path = with_profile(tmp_path)
    done = run("check", "--config", write(settings))
    assert done.returncode == 0, done.stderr
    effective = yaml.safe_load(done.stdout)
    assert effective["profile"] == str(path)
    assert effective["policy"]["kind"] == "compute_optimal"


def test_check_refuses_a_profile_that_does_not_fit(run: Run, write, tmp_path: Path):
    settings, path = with_profile(tmp_path)
    settings["tiers"][1]["model"] = "llama"
    other = run("check", "--config", write(settings))
    assert other.returncode == 2
    assert "large=qwen-large" in other.stderr
    assert "large=llama" in other.stderr
    path.write_bytes(path.read_bytes()[:100])
    cut = run("check", "--config", write(settings))
    assert cut.returncode == 2
    assert f"entroute: {path}: cut off or no profile" in cut.stderr
    assert cut.stdout == ""


def test_serve_refuses_a_missing_profile_before_it_fetches_weights(write, tmp_path: Path):
    engine = {"kind": "llamacpp", "gguf": "nowhere"}
    tiers = [{"name": "a", "model": "m", "engine": engine}]
    settings, path = with_profile(tmp_path, tiers=tiers)
    path.unlink()
    done = serve("--config", write(settings))
    assert done.returncode == 2
    assert done.stderr.strip() == f"entroute: {path}: No such file or directory"


def test_models_list_names_every_model_and_where_it_is(run: Run, tmp_path: Path):
    model = CATALOGUE[-1]
    folder = tmp_path / "entroute" / "models"
    folder.mkdir(parents=True)
    held = folder / model.filename
    held.touch()
    os.truncate(held, model.size_bytes)  # sparse: the list looks at the size alone
    done = run("models", "list", XDG_CACHE_HOME=str(tmp_path))
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    for one in CATALOGUE:
        line = next(line for line in lines if one.name in line)
        assert one.licence in line
        assert (model.filename[:20] in line) == (one is model)


def test_pulling_an_unknown_model_lists_the_known_ones(run: Run):
    done = run("models", "pull", "no-such-model")
    assert done.returncode == 2
    assert "no-such-model" in done.stderr
    assert CATALOGUE[0].name in done.stderr
