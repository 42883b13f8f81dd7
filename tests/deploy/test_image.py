"""The images, built from the real Dockerfile and run as containers."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
import yaml

import entroute
from entroute.embedded.engine import free_port
from loadtest.spawn import fake_worker
from tests.deploy.containers import command, environment, ran, running
from tests.deploy.images import ROOT, Builder, Image, base_of_dockerfile, prepared
from tests.deploy.tools import Tools

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(900)]

SBOM = "usr/share/doc/entroute/sbom.cdx.json"
ADDED_MB = 125
"""What the gateway may add to its base, unpacked; 105 MB when this was written."""


@pytest.fixture(scope="module")
def builder() -> Builder:
    return prepared(lambda line: print(line, file=sys.stderr))  # noqa: T201


@pytest.fixture(scope="module")
def gateway(builder: Builder) -> Iterator[Image]:
    image = builder.build("gateway")
    yield image
    builder.remove(image)


@pytest.fixture(scope="module")
def sandbox(builder: Builder) -> Iterator[Image]:
    image = builder.build("sandbox")
    yield image
    builder.remove(image)


@pytest.fixture(scope="module")
def embedded(builder: Builder) -> Iterator[Image]:
    image = builder.build("embedded")
    yield image
    builder.remove(image)


def configured(folder: Path, port: int, worker: str) -> Path:
    settings = {
        "server": {"host": "127.0.0.1", "port": port},
        "tiers": [{"name": "small", "model": "fake", "workers": [{"url": f"{worker}/v1"}]}],
    }
    folder.chmod(0o755)  # it is read by another user
    (folder / "gateway.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return folder


def test_the_dockerfile_is_clean(tools: Tools) -> None:
    done = subprocess.run(
        [tools.hadolint, "--no-fail", "--format", "json", ROOT / "Dockerfile"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == []


def test_an_image_says_how_it_is_run(gateway: Image, sandbox: Image) -> None:
    for image in (gateway, sandbox):
        assert image.config["User"] == "10001:10001"
        assert image.config["Entrypoint"] == ["entroute"]
        assert image.config["Healthcheck"]["Test"][0] == "CMD"
        assert image.config["StopSignal"] == "SIGTERM"
        assert image.config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert gateway.config["Cmd"] == ["serve", "--config", "/etc/entroute/gateway.yaml"]
    assert gateway.config["ExposedPorts"] == {"8080/tcp": {}}
    assert sandbox.config["Cmd"][0] == "sandbox"


def test_the_gateway_is_small(gateway: Image) -> None:
    assert ADDED_MB / 2 < gateway.added_bytes / 1e6 < ADDED_MB


@pytest.mark.parametrize(
    "module",
    ["xllamacpp", "vllm", "sklearn", "matplotlib", "numpy", "torch", "pip", "setuptools"],
)
def test_the_gateway_holds_no_engine_and_no_builder(
    gateway: Image, tmp_path: Path, module: str
) -> None:
    program = f"import importlib.util as u; print(u.find_spec({module!r}))"
    assert ran(gateway, tmp_path, ["python", "-c", program]).strip() == "None"


def test_a_container_is_nobody_and_can_write_nowhere(gateway: Image, tmp_path: Path) -> None:
    program = (
        "import os, sys\n"
        "print(os.getuid(), os.getgid(), os.getpid())\n"
        "for name in ('/etc', '/opt/entroute', '/usr/share/entroute', '/var/cache/entroute'):\n"
        "    print(os.statvfs(name).f_flag & os.ST_RDONLY)\n"
    )
    printed = ran(gateway, tmp_path, ["python", "-c", program]).split()
    assert printed == ["10001", "10001", "1", "1", "1", "1", "1"]
    owners = {path.lstat().st_uid for path in (gateway.root / "opt/entroute").rglob("*")}
    assert owners == {0}


def test_nothing_is_compiled_when_a_gateway_starts(gateway: Image, tmp_path: Path) -> None:
    program = (
        "import os, sys, entroute.cli, entroute.telemetry\n"
        "for module in list(sys.modules.values()):\n"
        "    cached = getattr(module, '__cached__', None)\n"
        "    if cached and not os.path.exists(cached): print(module.__name__)\n"
    )
    assert ran(gateway, tmp_path, ["python", "-c", program]) == ""


def test_a_configuration_is_checked_in_the_image(gateway: Image, tmp_path: Path) -> None:
    folder = configured(tmp_path, 8080, "http://127.0.0.1:1")
    words = ["entroute", "check", "--config", "/etc/entroute/gateway.yaml"]
    assert yaml.safe_load(ran(gateway, folder, words))["tiers"][0]["name"] == "small"
    assert ran(gateway, folder, ["entroute", "--version"]) == f"entroute {entroute.__version__}\n"


async def test_a_container_answers_and_ends_its_answers_before_it_stops(
    gateway: Image, tmp_path: Path
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    chat = {"model": "small", "messages": [{"role": "user", "content": "Say something."}]}
    async with (
        fake_worker(model="fake", tokens=40, tokens_per_second=20) as worker,
        aiohttp.ClientSession() as session,
    ):
        etc = tmp_path / "etc"
        etc.mkdir()
        configured(etc, port, worker.url)
        log = tmp_path / "log"
        with running(gateway, etc, gateway.config["Cmd"], log) as container:
            container.wait_for("answers at")
            assert _healthy(gateway, etc, port)
            async with session.get(f"{url}/healthz") as answer:
                assert answer.status == 200
            async with session.post(
                f"{url}/v1/chat/completions", json={**chat, "stream": True}
            ) as stream:
                assert stream.status == 200
                await stream.content.readline()
                container.signal(signal.SIGTERM)
                rest = (await stream.read()).decode()
            assert rest.rstrip().endswith("data: [DONE]")
            assert container.process.wait(60) == 0
        assert not _healthy(gateway, etc, port)


def test_a_program_runs_in_the_sandbox_image(sandbox: Image, tmp_path: Path) -> None:
    port = free_port()
    etc = tmp_path / "etc"
    etc.mkdir()
    etc.chmod(0o755)
    (etc / "sandbox.key").write_text("k" * 32, encoding="utf-8")
    log = tmp_path / "log"
    words = [*sandbox.config["Cmd"], "--port", str(port)]
    with running(sandbox, etc, words, log) as container:
        container.wait_for("Application startup complete")
        for source in ("print(6 * 7)", "while True: pass") * 2:
            answer = httpx.post(
                f"http://127.0.0.1:{port}/run",
                json={"source": source, "wall_s": 1.0},
                headers={"authorization": f"Bearer {'k' * 32}"},
                timeout=60,
                trust_env=False,
            )
            assert answer.json()["stdout"] == ("42\n" if "print" in source else "")
        give_up = time.monotonic() + 20
        while container.dead():  # PID 1 collects what it started and what was left to it
            assert time.monotonic() < give_up
            time.sleep(0.05)
        container.signal(signal.SIGTERM)
        assert container.process.wait(60) == 0


def test_the_embedded_image_holds_an_engine(embedded: Image, tmp_path: Path) -> None:
    program = "import xllamacpp; print(xllamacpp.__name__)"
    assert ran(embedded, tmp_path, ["python", "-c", program]).strip() == "xllamacpp"


@pytest.mark.parametrize("target", ["gateway", "sandbox", "embedded"])
def test_the_bill_of_materials_names_all_that_is_installed(
    target: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    image: Image = request.getfixturevalue(target)
    bom = json.loads((image.root / SBOM).read_text(encoding="utf-8"))
    assert (bom["bomFormat"], bom["specVersion"]) == ("CycloneDX", "1.6")
    assert bom["metadata"]["component"]["name"] == f"entroute-{target}"
    components: list[dict[str, Any]] = bom["components"]
    references = [component["bom-ref"] for component in components]
    assert len(references) == len(set(references))
    packages = [one for one in components if one["type"] != "operating-system"]
    assert len(packages) == len(components) - 1
    assert all(package["purl"].startswith("pkg:") for package in packages)
    installed = (
        "from importlib.metadata import distributions as d\n"
        "for one in d(): print(one.name, one.version, sep='==')\n"
    )
    python = set(ran(image, tmp_path, ["python", "-c", installed]).split())
    debian = set(
        ran(image, tmp_path, ["dpkg-query", "-W", "-f", "${Package}==${Version}\\n"]).split()
    )
    named = {f"{component['name']}=={component['version']}" for component in components}
    series = [name for name in named if name.startswith("python==")]
    assert python | debian <= named
    assert series[0].startswith(f"python=={base_of_dockerfile()['series']}.")


def test_a_scanner_reads_the_bill_of_materials(gateway: Image, tools: Tools) -> None:
    words = ["sbom", "--quiet", "--offline-scan", "--skip-db-update", "--scanners", "license"]
    done = subprocess.run(
        [tools.trivy, *words, "--format", "json", "--list-all-pkgs", gateway.root / SBOM],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kinds = {result.get("Type") for result in json.loads(done.stdout)["Results"]}
    assert {"debian", "python-pkg"} <= kinds


def _healthy(image: Image, configuration: Path, port: int) -> bool:
    words = image.config["Healthcheck"]["Test"][1:]
    own = environment(image, {"ENTROUTE_SERVER__PORT": str(port)})
    return not subprocess.run(command(image, configuration, words), env=own, check=False).returncode
