"""A real Alertmanager for tests, and a receiver of what it sends in Slack's format."""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml
from aiohttp import web

from entroute.embedded.engine import free_port

START_S = 60.0
_POLL_S = 0.05

# Debian's package reads its templates from /usr/share/prometheus, where nothing is installed.
_WITH_TEMPLATES = (
    "mount -t tmpfs none /usr/share && mkdir /usr/share/prometheus && "
    'mount --bind "$0" /usr/share/prometheus && exec "$@"'
)


@dataclass(frozen=True, slots=True)
class Notification:
    """One message of Alertmanager's.

    Attributes:
        title: As the configuration's template makes it.
        text: Likewise.
    """

    title: str
    text: str


class Receiver:
    """A webhook that takes Slack's format and keeps what it is sent.

    Attributes:
        url: Where it listens.
        notifications: What came so far, oldest first.
    """

    def __init__(self) -> None:
        self.url = ""
        self.notifications: list[Notification] = []
        self._came = asyncio.Condition()

    async def take(self, request: web.Request) -> web.Response:
        """Keep one message."""
        for attachment in (await request.json())["attachments"]:
            self.notifications.append(Notification(attachment["title"], attachment["text"]))
        async with self._came:
            self._came.notify_all()
        return web.Response(text="ok")

    async def one(self, title: str, within_s: float) -> Notification:
        """Wait for a message with this title, and return the first.

        Raises:
            AssertionError: None came in time; the message says which did.
        """
        try:
            async with asyncio.timeout(within_s), self._came:
                while True:
                    for each in self.notifications:
                        if each.title == title:
                            return each
                    await self._came.wait()
        except TimeoutError:
            titles = [each.title for each in self.notifications]
            raise AssertionError(f"no {title!r} came in {within_s:g} s, but {titles}") from None


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    """Serve a receiver on a free port."""
    received = Receiver()
    app = web.Application()
    app.router.add_post("/", received.take)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        received.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        yield received
    finally:
        await runner.cleanup()


@contextmanager
def alertmanager_server(
    program: Path, folder: Path, configuration: Mapping[str, Any]
) -> Iterator[str]:
    """Run Alertmanager on a free port, its files in `folder`; yield host and port.

    Args:
        program: Its binary, in Debian's package as it was unpacked.
        folder: For its configuration, its log and its data.
        configuration: As in its file.

    Raises:
        RuntimeError: It did not start; the message holds its log.
    """
    config = folder / "alertmanager.yml"
    config.write_text(yaml.safe_dump(dict(configuration), sort_keys=False), encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    log = folder / "alertmanager.log"
    templates = program.parents[1] / "share" / "prometheus"
    command = [
        *("unshare", "--mount", "--map-root-user", "sh", "-c", _WITH_TEMPLATES, str(templates)),
        str(program),
        f"--config.file={config}",
        f"--storage.path={folder / 'alertmanager-data'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    ]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder)
    try:
        _until_ready(address, log, process)
        yield address
    finally:
        process.terminate()
        process.wait()


def _until_ready(address: str, log: Path, process: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + START_S
    while time.monotonic() < give_up and process.poll() is None:
        try:
            if httpx.get(f"http://{address}/-/ready", timeout=5).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(_POLL_S)
    raise RuntimeError(f"Alertmanager is not ready; its log:\n{log.read_text()[-3000:]}")
