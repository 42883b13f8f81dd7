"""Draw the dashboards of docs/dashboards: `python -m tests.deploy.pictures [--minutes 3]`.

Plays the stage with all its faults, then sound traffic in waves, and has the preview ask the
stage's Prometheus. Exits 1 where a panel fails or shows nothing.
"""

import argparse
import asyncio
import math
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable
from contextlib import suppress
from functools import partial
from pathlib import Path

import httpx

from deploy.dashboards.preview import Empty, preview
from deploy.dashboards.preview_answers import Span
from tests.deploy.stage import Stage, stage
from tests.deploy.stage_faults import Scene
from tests.deploy.stage_traffic import DOUBT, SPLIT, SUM, sound_traffic
from tests.deploy.tools import fetched
from tests.gateway_process import ROOT

OUT = ROOT / "docs" / "dashboards"
QUESTIONS = (SUM, SUM, SPLIT, DOUBT, "Tell me about the sea.")
STREAMED = 0.7
"""Share of the questions that are streamed."""

WAVE_S = 90.0
"""Seconds from one busy time to the next."""

ROUND_S = 20.0
"""Seconds from one round of everything to the next."""


def shown(there: Stage, end: float, points: int = 120) -> Span:
    """Return the span from the stage's first traffic on; rates are taken over 20 s or 3 steps."""
    step_s = max(1.0, round((end - there.began) / points))
    return Span(there.began, end, step_s, max(20.0, 3 * step_s))


async def waves(scene: Scene, minutes: float) -> None:
    """Ask both gateways for so long, more and less in turn."""
    chance = random.Random(7)  # noqa: S311 - the same pictures each time, as far as time allows
    began = time.monotonic()
    async with asyncio.TaskGroup() as asked:
        while (gone := time.monotonic() - began) < 60 * minutes:
            if gone % ROUND_S < 1:
                asked.create_task(_asked(sound_traffic(scene.client)))
            busy = 0.5 + 0.5 * math.sin(2 * math.pi * gone / WAVE_S)
            for client in (scene.client, scene.other):
                for _ in range(1 + int(4 * busy * chance.random())):
                    text, stream = chance.choice(QUESTIONS), chance.random() < STREAMED
                    asked.create_task(_asked(client.ask(text, stream=stream)))
            await asyncio.sleep(1)


async def _asked(question: Awaitable[object]) -> None:
    """Ask; on a busy machine a client may give up, and the picture shows it."""
    with suppress(httpx.HTTPError):
        await question


def drawn(minutes: float) -> list[Empty]:
    """Play, draw, keep the pictures; return the panels that show nothing."""
    tools = fetched(lambda line: print(line, file=sys.stderr))  # noqa: T201
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        encores = [partial(waves, minutes=minutes)]
        with stage(folder, tools.prometheus, encores=encores) as there:
            span = shown(there, there.ended - 2)
            with httpx.Client(base_url=there.prometheus.url) as http:
                empty = list(preview(http, span, folder / "pages"))
        OUT.mkdir(parents=True, exist_ok=True)
        for picture in (folder / "pages").glob("*.png"):
            shutil.copy(picture, OUT / picture.name)
    return empty


def main() -> int:
    """Draw; return 1 where a panel shows nothing."""
    parser = argparse.ArgumentParser(prog="python -m tests.deploy.pictures")
    parser.add_argument("--minutes", type=float, default=3, help="of traffic after the faults")
    empty = drawn(parser.parse_args().minutes)
    for each in empty:
        print(f"{each.dashboard}: {each.panel}: {each.problem}", file=sys.stderr)  # noqa: T201
    return int(bool(empty))


if __name__ == "__main__":
    sys.exit(main())
