"""Real sandboxes for tests, and a look at the processes that they leave."""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import uvicorn
from pydantic import SecretStr
from starlette.applications import Starlette

from entroute.sandbox import BubblewrapConfig, BubblewrapSandbox, RemoteConfig
from entroute.sandbox.limits import MIB
from entroute.sandbox.remote import RemoteSandbox
from entroute.sandbox.server import create_server

MEMORY_MIB = 400 + os.getpid() % 100
"""An unusual limit: it stands in the command lines of this run's sandboxes and of no others."""

KEY = SecretStr("sandbox-key")


def config(**fields: Any) -> BubblewrapConfig:
    """Return a small configuration whose processes `processes` finds."""
    return BubblewrapConfig(**{"memory_mib": MEMORY_MIB, "workers": 2, "warm": 1, **fields})


@contextlib.asynccontextmanager
async def bubblewrap(**fields: Any) -> AsyncIterator[BubblewrapSandbox]:
    """Lend a started sandbox."""
    sandbox = config(**fields).build()
    await sandbox.start()
    try:
        yield sandbox
    finally:
        await sandbox.close()


@contextlib.asynccontextmanager
async def served(application: Starlette) -> AsyncIterator[str]:
    """Serve an application on a free port and lend its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(
            uvicorn.Config(application, ws="none", log_level="error", lifespan="on")
        )
        serving = asyncio.ensure_future(server.serve(sockets=[listener]))
        while not server.started:
            assert not serving.done()
            await asyncio.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


@contextlib.asynccontextmanager
async def remote(**fields: Any) -> AsyncIterator[RemoteSandbox]:
    """Lend a client of a server over bubblewrap."""
    async with served(create_server(config(**fields).build(), api_key=KEY)) as url:
        sandbox = RemoteConfig(url=url, api_key=KEY).build()
        await sandbox.start()
        try:
            yield sandbox
        finally:
            await sandbox.close()


def processes() -> list[int]:
    """Return the pids of every process of this run's sandboxes, seen from the host."""
    mark = f'"RLIMIT_AS": {MEMORY_MIB * MIB}'.encode()
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and mark in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def children() -> list[str]:
    """Return this process's own children that are, or as zombies were, bwraps, by pid and state."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if not folder.name.isdigit():
                continue
            name, rest = (folder / "stat").read_text().rsplit(")", 1)
            state, parent = rest.split()[:2]
            if name.endswith("(bwrap") and int(parent) == os.getpid():
                found.append(f"{folder.name} {state}")
    return found


async def until_gone(pids: list[int], *, within_s: float = 5.0) -> bool:
    """Whether none of the processes is left after a while."""
    give_up = time.monotonic() + within_s
    while left := set(pids) & set(processes()):
        if time.monotonic() > give_up:
            return not left
        await asyncio.sleep(0.01)
    return True
