"""Redis behind TLS, near and far."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.redis_link.asking import answers, answers_soon, link_to, opened
from tests.redis_proxy import Certificates, Proxy, certificates, redis_proxy
from tests.redis_server import RedisServer


@pytest.fixture
def tls(tmp_path: Path) -> Certificates:
    return certificates(tmp_path)


@pytest.fixture
async def proxy(redis: RedisServer, tls: Certificates) -> AsyncIterator[Proxy]:
    async with redis_proxy(redis.url.removeprefix("unix://"), tls.server) as own:
        yield own


def address(proxy: Proxy, options: str) -> str:
    return f"rediss://127.0.0.1:{proxy.port}/0?{options}"


async def test_a_redis_behind_tls_answers(proxy: Proxy, tls: Certificates) -> None:
    async with link_to(address(proxy, f"ssl_ca_certs={tls.ca_file}"), 5.0) as link:
        assert await answers(link, "tls:k")


@pytest.mark.parametrize("options", ["", "ssl_ca_certs={other}"])
async def test_a_certificate_of_another_authority_is_refused_and_told_so(
    proxy: Proxy, tmp_path: Path, options: str
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    told = options.format(other=certificates(other).ca_file)
    async with link_to(
        address(proxy, told) if told else address(proxy, "ssl_cert_reqs=required")
    ) as link:
        with capture_logs() as logs:
            await opened(link)
        assert logs[0]["reason"] == "not reachable: SSLCertVerificationError"


async def test_a_certificate_need_not_be_checked(proxy: Proxy) -> None:
    async with link_to(address(proxy, "ssl_cert_reqs=none"), 5.0) as link:
        assert await answers(link, "tls:k")


async def test_a_missing_file_is_an_unavailable_redis(proxy: Proxy) -> None:
    async with link_to(address(proxy, "ssl_ca_certs=/nonexistent/ca.pem")) as link:
        with capture_logs() as logs:
            await opened(link)
        assert logs[0]["reason"] == "not reachable: FileNotFoundError"


async def test_connecting_may_take_longer_than_a_call(proxy: Proxy, tls: Certificates) -> None:
    proxy.connect_delay_s = 0.6
    url = address(proxy, f"ssl_ca_certs={tls.ca_file}")
    async with link_to(url, budget_s=0.3, connect_timeout_s=5.0) as link:
        assert not await answers(link, "tls:k")
        assert await answers_soon(link, "tls:k")
        assert all([await answers(link, "tls:k") for _ in range(20)])


async def test_a_redis_that_is_too_far_for_its_budget_stays_down(proxy: Proxy) -> None:
    proxy.answer_delay_s = 0.5
    async with link_to(address(proxy, "ssl_cert_reqs=none"), 0.2, 10.0) as link:
        await opened(link)
        assert not await answers_soon(link, "tls:k", within_s=3.0)
        proxy.answer_delay_s = 0.0
        assert await answers_soon(link, "tls:k")
