import asyncio
import os
import signal
import sys

from entroute.embedded.child import Child
from tests.embedded.test_process import children_of, is_alive, until

SLEEPER = (sys.executable, "-c", "import time; time.sleep(60)")


def leashed(*command: str) -> tuple[str, ...]:
    return (sys.executable, "-P", "-m", "entroute.embedded.leash", *command)


async def test_the_command_ends_when_its_starter_is_killed() -> None:
    script = (
        "import subprocess, sys, time;"
        "c = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, start_new_session=True);"
        "print(c.pid, flush=True); time.sleep(60)"
    )
    starter = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script, *leashed(*SLEEPER)), stdout=asyncio.subprocess.PIPE
    )
    assert starter.stdout is not None
    leash = int(await starter.stdout.readline())
    await until(lambda: len(children_of(leash)) == 1)
    (command,) = children_of(leash)

    os.kill(starter.pid, signal.SIGKILL)
    await starter.wait()

    await until(lambda: not is_alive(command) and not is_alive(leash))


async def test_ending_the_group_ends_command_and_leash() -> None:
    child = await Child.spawn(leashed(*SLEEPER), dict(os.environ))
    await until(lambda: len(children_of(child.pid)) == 1)
    (command,) = children_of(child.pid)

    await child.end(grace_s=5)

    assert not child.alive
    await until(lambda: not is_alive(command))


async def test_exit_status_and_output_pass_through() -> None:
    command = leashed(sys.executable, "-c", "import sys; print('said'); sys.exit(7)")
    child = await Child.spawn(command, dict(os.environ))

    assert await child.ended() == 7
    assert child.tail == "said"
    await child.end(grace_s=1)


async def test_only_the_last_lines_are_kept() -> None:
    script = "[print('line', number) for number in range(100)]"
    child = await Child.spawn((sys.executable, "-c", script), dict(os.environ))

    await child.ended()

    lines = child.tail.splitlines()
    assert lines[0] == "line 80"
    assert lines[-1] == "line 99"
    assert len(lines) == 20
    await child.end(grace_s=1)
