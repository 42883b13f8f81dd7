"""Workers found by one name."""

import asyncio
import socket
from collections.abc import Callable

import pytest

from entroute.backends.discovery.dns import DnsDiscovery, DnsFinding, resolved
from entroute.backends.discovery.finding import Found
from entroute.errors import DiscoveryFailed

SOON = DnsDiscovery(host="vllm.models.svc", port=8000, every_s=0.001, timeout_s=0.05)


def scripted(*answers: list[str] | Exception) -> Callable[[str, int], "asyncio.Future[list[str]]"]:
    """Return a resolver that gives these answers in turn."""
    left = list(answers)

    def resolve(_host: str, _port: int) -> "asyncio.Future[list[str]]":
        future: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
        answer = left.pop(0)
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
        return future

    return resolve


async def test_every_address_is_a_worker_and_each_look_up_tells_anew() -> None:
    answers = (["10.0.0.1", "10.0.0.2", "10.0.0.1"], ["10.0.0.2", "fd00::3"])
    found = DnsFinding(SOON, scripted(*answers)).found()
    expected = [
        {"http://10.0.0.1:8000/v1", "http://10.0.0.2:8000/v1"},
        {"http://10.0.0.2:8000/v1", "http://[fd00::3]:8000/v1"},
    ]
    assert [await anext(found) for _ in range(2)] == expected
    await found.aclose()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        ([], "has no address"),
        (UnicodeError("label too long"), "label too long"),
    ],
)
async def test_a_name_that_is_not_known_is_a_failure_which_names_it(
    answer: list[str] | Exception, reason: str
) -> None:
    found = DnsFinding(SOON, scripted(answer)).found()
    with pytest.raises(DiscoveryFailed, match=f"vllm.models.svc: .*{reason}"):
        await anext(found)


async def test_a_resolver_that_hangs_is_a_failure_in_time() -> None:
    async def hang(_host: str, _port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    found = DnsFinding(SOON, hang).found()
    with pytest.raises(DiscoveryFailed, match=r"no answer in 0\.05 s"):
        await anext(found)


async def test_the_system_resolver_is_asked() -> None:
    assert "127.0.0.1" in await resolved("localhost", 80)
    how = DnsDiscovery(host="localhost", port=80)
    found = how.build().found()
    urls: Found = await anext(found)
    assert "http://127.0.0.1:80/v1" in urls
    await found.aclose()
