import asyncio

from entroute.errors import SandboxUnavailable
from entroute.sandbox.command import find_bwrap
from entroute.sandbox.interpreter import find_interpreter
from entroute.sandbox.spawning import Spawner
from tests.sandbox.boxes import bubblewrap, config, processes, until_gone


async def test_a_run_that_is_cancelled_while_its_sandbox_starts_ends_at_once() -> None:
    async with bubblewrap(warm=0) as sandbox:
        for delay_ms in range(25):
            running = asyncio.create_task(sandbox.run("pass"))
            await asyncio.sleep(delay_ms / 2000)
            running.cancel()
            done, _ = await asyncio.wait({running}, timeout=5)
            assert done, f"cancelled after {delay_ms / 2} ms it never ended"
        assert (await sandbox.run("print(1)")).stdout == "1\n"
    assert await until_gone(processes())


async def test_a_sandbox_that_never_became_ready_in_time_leaves_nothing() -> None:
    """Killed at any moment of its start: also before the kernel ties its processes together."""
    limits = config().limits()
    for delay_ms in range(40):
        spawner = Spawner(find_bwrap(None), find_interpreter(), limits, start_s=delay_ms / 4000)
        try:
            child = await asyncio.wait_for(spawner.spawn(), 10)
        except SandboxUnavailable:
            continue
        await child.gone()
    assert await until_gone(processes())
