"""Gateways whose configuration is loaded again while they run."""

import asyncio
import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.gateway_process import Served

WITHIN_S = 30.0
_OUTCOMES = ("configuration reloaded", "reload refused", "reload failed", "reload ignored")


def outcomes(log: Path) -> list[str]:
    """Return what was said of every reload."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return [line["event"] for line in lines if str(line["event"]).startswith(_OUTCOMES)]


def write(gateway: Served, settings: Mapping[str, Any] | str) -> None:
    """Replace the file that a gateway was started with, at once."""
    text = settings if isinstance(settings, str) else yaml.safe_dump(dict(settings))
    new = gateway.log.with_name("new.yaml")
    new.write_text(text, encoding="utf-8")
    new.replace(gateway.log.with_name("gateway.yaml"))


async def reloaded(gateway: Served, settings: Mapping[str, Any] | str | None = None) -> str:
    """Load a configuration, if one is given a new one, and return what was said of it."""
    if settings is not None:
        write(gateway, settings)
    before = len(outcomes(gateway.log))
    gateway.process.send_signal(signal.SIGHUP)
    async with asyncio.timeout(WITHIN_S):
        while len(said := outcomes(gateway.log)) == before:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)
    assert len(said) == before + 1
    return said[-1]
