import asyncio

from tests.sandbox.boxes import bubblewrap, processes, until_gone


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
