"""Before requests are taken: the port is ours at once, and Ctrl-C ends what is slow."""

import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from entroute.errors import ConfigurationError
from entroute.serving import listening
from tests.gateway_process import child_environment, command

TIMEOUT_S = 30.0


@pytest.fixture
def silent() -> Iterator[int]:
    """A port of loopback on which somebody takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def interrupted(arguments: list[str], environment: Mapping[str, str]) -> tuple[int, str, float]:
    """Run a command, press Ctrl-C once its child has come; return code, stderr and seconds."""
    process = subprocess.Popen(
        command(arguments),
        env=child_environment(environment),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    try:
        end = time.monotonic() + TIMEOUT_S
        while not children.read_text() and time.monotonic() < end and process.poll() is None:
            time.sleep(0.02)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=TIMEOUT_S)
        return process.returncode, err, time.monotonic() - began
    finally:
        process.kill()


@pytest.mark.parametrize("arguments", [["serve"], ["models", "pull"]])
def test_ctrl_c_while_weights_are_fetched_ends_at_once(
    silent: int, tmp_path: Path, arguments: list[str]
):
    environment = {
        "XDG_CACHE_HOME": str(tmp_path),
        "HF_ENDPOINT": f"http://127.0.0.1:{silent}",
        "ENTROUTE_SERVER__PORT": "0",
    }
    code, err, seconds = interrupted(arguments, environment)
    assert code == 130
    assert "interrupted" in err
    assert "Traceback" not in err
    assert seconds < 5


def test_a_port_is_taken_before_requests_are():
    first = listening("127.0.0.1", 0, "server.")
    with closing(first), pytest.raises(ConfigurationError, match=r"server\.port"):
        listening("127.0.0.1", first.getsockname()[1], "server.")
