"""Workers behind one name: every address that the system's resolver gives for it."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Literal

from pydantic import Field

from entroute.backends.discovery.finding import Called, Found
from entroute.errors import DiscoveryFailed

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Addresses of a host."""


class DnsDiscovery(Called):
    """One worker an address of a name, such as a headless service's."""

    kind: Literal["dns"] = "dns"
    host: str = Field(
        min_length=1,
        max_length=253,
        pattern=r"^[A-Za-z0-9_.-]+$",
        description="Name that every worker's address is looked up by.",
    )
    port: int = Field(ge=1, le=65535, description="Port of all workers.")
    every_s: float = Field(default=5.0, gt=0, description="Seconds between look-ups.")
    timeout_s: float = Field(default=5.0, gt=0, description="Seconds that one may take.")

    @property
    def place(self) -> str:
        """What is asked, in words."""
        return f"{self.host}:{self.port}"

    def build(self) -> "DnsFinding":
        """Return what finds them."""
        return DnsFinding(self, resolved)


async def resolved(host: str, port: int) -> list[str]:
    """Return a host's addresses as the system's resolver knows them.

    Raises:
        OSError: It knows none.
    """
    loop = asyncio.get_running_loop()
    answers = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in answers]


class DnsFinding:
    """Looks a name up again and again. See `Finding`.

    A name that is unknown for a moment empties no tier: its workers are asked for their health,
    and the last known ones stay until there are others.

    Args:
        settings: Which name.
        resolve: Looks it up.
    """

    def __init__(self, settings: DnsDiscovery, resolve: Resolve) -> None:
        self._settings = settings
        self._resolve = resolve

    async def found(self) -> AsyncGenerator[Found, None]:
        """Yield the workers at each look-up."""
        while True:
            yield await self._found()
            await asyncio.sleep(self._settings.every_s)

    async def _found(self) -> Found:
        how = self._settings
        try:
            async with asyncio.timeout(how.timeout_s):
                addresses = await self._resolve(how.host, how.port)
        except TimeoutError:
            raise DiscoveryFailed(f"{how.host}: no answer in {how.timeout_s:g} s") from None
        except (OSError, UnicodeError) as error:
            raise DiscoveryFailed(f"{how.host}: {error}") from error
        if not addresses:
            raise DiscoveryFailed(f"{how.host}: has no address")
        return frozenset(how.url(address, how.port) for address in addresses)
