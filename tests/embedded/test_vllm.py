import sys
import venv
from pathlib import Path

import pytest

from entroute.embedded.engine import Engine
from entroute.embedded.vllm import VllmEngine, installed
from entroute.errors import EngineError


def test_the_command_is_vllms_own_server_on_loopback() -> None:
    engine: Engine = VllmEngine(
        "small", "org/model", args=("--max-model-len", "4096"), port=8123, python=Path("/opt/py")
    )

    command = list(engine.command) if isinstance(engine, VllmEngine) else []
    server = command[command.index("/opt/py") :]
    assert server == [
        *("/opt/py", "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", "org/model", "--served-model-name", "small"),
        *("--host", "127.0.0.1", "--port", "8123", "--max-model-len", "4096"),
    ]
    assert engine.url == "http://127.0.0.1:8123/v1"
    assert not engine.running


def test_two_engines_without_a_port_get_urls_of_their_own() -> None:
    assert VllmEngine("a", "m").url != VllmEngine("b", "m").url


@pytest.fixture
def bare_python(tmp_path: Path) -> Path:
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    return tmp_path / "env" / "bin" / "python"


async def test_an_interpreter_without_vllm_is_named_with_what_to_do(bare_python: Path) -> None:
    assert not await installed(str(bare_python))

    with pytest.raises(EngineError, match=r"not installed for .*install entroute\[vllm\]"):
        await VllmEngine("small", "org/model", python=bare_python).start()


async def test_an_interpreter_with_vllm_is_recognised(bare_python: Path) -> None:
    (packages,) = (bare_python.parent.parent / "lib").glob("python*/site-packages")
    (packages / "vllm").mkdir()
    (packages / "vllm" / "__init__.py").write_text("", encoding="utf-8")

    assert await installed(str(bare_python))


async def test_an_interpreter_that_does_not_exist_is_named() -> None:
    with pytest.raises(EngineError, match=r"cannot run /no/python.*give python the path"):
        await installed("/no/python")


async def test_a_server_that_dies_shows_why(bare_python: Path) -> None:
    (packages,) = (bare_python.parent.parent / "lib").glob("python*/site-packages")
    (packages / "vllm").mkdir()
    (packages / "vllm" / "__init__.py").write_text("raise SystemExit('no GPU')", encoding="utf-8")

    with pytest.raises(EngineError, match=r"(?s)small: ended with status 1 .*no GPU"):
        await VllmEngine("small", "org/model", python=bare_python, startup_timeout_s=30).start()


def test_entroutes_own_interpreter_is_the_default() -> None:
    assert VllmEngine("a", "m").command.count(sys.executable) == 2
