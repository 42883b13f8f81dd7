"""A start looks for itself, and says what to do where programs would not be isolated."""

import sys
import time
from pathlib import Path

import pytest
from pydantic import ValidationError

from entroute.errors import ConfigurationError
from entroute.sandbox import BubblewrapConfig
from entroute.sandbox.command import find_bwrap
from tests.sandbox.boxes import bubblewrap, children, config, processes


def executable(path: Path, script: str) -> str:
    """Write a stand-in for bwrap."""
    path.write_text(script)
    path.chmod(0o755)
    return str(path)


async def refusal(configured: BubblewrapConfig) -> str:
    """Return what a start complains of."""
    sandbox = configured.build()
    with pytest.raises(ConfigurationError) as caught:
        await sandbox.start()
    await sandbox.close()
    assert processes() == []
    return str(caught.value)


async def test_without_user_namespaces_it_says_how_to_allow_them(tmp_path: Path) -> None:
    complaint = "bwrap: No permissions to create new namespace"
    bwrap = executable(tmp_path / "bwrap", f"#!/bin/sh\necho '{complaint}' >&2\nexit 1\n")
    message = await refusal(config(bwrap=bwrap))
    assert message.startswith("sandbox: ")
    for part in (complaint, "user.max_user_namespaces", "apparmor", "sandbox.kind to http"):
        assert part in message


async def test_a_bwrap_that_is_not_there_is_named() -> None:
    message = await refusal(config(bwrap="/nowhere/bwrap"))
    assert message.startswith("sandbox.bwrap: /nowhere/bwrap cannot be run")


async def test_one_that_never_gets_ready_is_given_up(tmp_path: Path) -> None:
    bwrap = executable(tmp_path / "bwrap", "#!/bin/sh\nexec sleep 60\n")
    assert "not ready in time" in await refusal(config(bwrap=bwrap, start_s=0.3))


async def test_a_start_takes_seconds_at_most_and_a_run_on_a_warm_one_a_part_of_one() -> None:
    begun = time.monotonic()
    async with bubblewrap(warm=1) as sandbox:
        assert time.monotonic() - begun < 60
        took = []
        for _ in range(5):
            begun = time.monotonic()
            assert (await sandbox.run("pass")).ok
            took.append(time.monotonic() - begun)
        assert min(took) < 5
    assert (processes(), children()) == ([], [])


# Runs the real bwrap less one of its arguments.
CARELESS = """#!{python}
import os, sys
arguments = sys.argv[1:]
arguments.remove({dropped!r})
os.execv({bwrap!r}, ["bwrap", *arguments])
"""


@pytest.mark.parametrize(
    ("dropped", "found"),
    [
        ("--unshare-net", "the net namespace is the host's"),
        ("--unshare-ipc", "the ipc namespace is the host's"),
        ("--unshare-cgroup", "the cgroup namespace is the host's"),
        ("--clearenv", "the environment holds"),
    ],
)
async def test_isolation_that_lacks_a_part_is_refused(
    tmp_path: Path, dropped: str, found: str
) -> None:
    script = CARELESS.format(python=sys.executable, dropped=dropped, bwrap=find_bwrap(None))
    script = script.replace("import os, sys", "import os, sys\nos.environ['SECRET'] = 'x'")
    bwrap = executable(tmp_path / "bwrap", script)
    message = await refusal(config(bwrap=bwrap))
    assert "would not be isolated" in message
    assert found in message


LEAKY = """#!{python}
import os, sys
arguments = sys.argv[1:]
at = arguments.index("--remount-ro")
arguments[at:at] = ["--ro-bind", "/etc", "/etc"]
os.execv({bwrap!r}, ["bwrap", *arguments])
"""


async def test_a_view_of_the_hosts_files_is_refused(tmp_path: Path) -> None:
    script = LEAKY.format(python=sys.executable, bwrap=find_bwrap(None))
    message = await refusal(config(bwrap=executable(tmp_path / "bwrap", script)))
    assert "the root folder holds" in message
    assert "/etc/passwd" in message


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("workers", 0),
        ("warm", -1),
        ("cpu_s", 0),
        ("memory_mib", 1),
        ("start_s", 0),
        ("extra", 1),
        ("output_kib", 31),
        ("max_wall_s", 0.9),
    ],
)
def test_settings_out_of_range_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValidationError, match=field):
        BubblewrapConfig.model_validate({field: value})
