"""Workers told of by an API server, over TLS."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme

from entroute.backends.discovery.finding import Found
from entroute.backends.discovery.kubernetes import KubernetesDiscovery
from entroute.errors import DiscoveryFailed
from tests.builders import until
from tests.kubernetes_api import TOKEN, Api, a_slice, endpoint, kubernetes_api

ONE = "http://10.0.0.1:8000/v1"
PATIENCE_S = 20.0
TWO = "http://10.0.0.2:8000/v1"


@asynccontextmanager
async def cluster(folder: Path) -> AsyncIterator[tuple[Api, KubernetesDiscovery]]:
    """Serve an API over TLS; give it and the settings of a pod in its cluster."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(folder / "ca.crt")
    (folder / "token").write_text(TOKEN + "\n")
    (folder / "namespace").write_text("models")
    async with kubernetes_api(context) as api:
        yield api, settings(folder, api)


def settings(folder: Path, api: Api, **changes: Any) -> KubernetesDiscovery:
    files = {"token_file": folder / "token", "ca_file": folder / "ca.crt"}
    return KubernetesDiscovery.model_validate(
        {"kind": "kubernetes", "service": "vllm", "api": api.url, **files, **changes}
    )


def searching(how: KubernetesDiscovery) -> aclosing[AsyncGenerator[Found, None]]:
    return aclosing(how.build().found())


async def next_of(found: AsyncGenerator[Found, None], api: Api, change: Any) -> Found:
    """Return what is found after a change that is made while the API is being watched."""
    begun = len(api.watches)
    task = asyncio.ensure_future(anext(found))
    await until(lambda: api.watching > 0 or len(api.watches) > begun)
    change()
    async with asyncio.timeout(PATIENCE_S):
        return await task


async def test_the_list_comes_first_then_every_change(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (api, how), searching(how) as found:
        api.put(a_slice("a", 8000, endpoint("10.0.0.1", ready=True)))
        assert await anext(found) == {ONE}
        two = a_slice("b", 8000, endpoint("10.0.0.2"))
        assert await next_of(found, api, lambda: api.put(two)) == {ONE, TWO}
        assert await next_of(found, api, lambda: api.delete("a")) == {TWO}
        assert api.lists == 1


async def test_a_watch_that_ends_or_is_too_old_begins_with_a_new_list(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (api, how), searching(how) as found:
        assert await anext(found) == frozenset()
        api.put(a_slice("a", 8000, endpoint("10.0.0.1")))  # before the watch: the list has it
        for again in (api.hang_up, api.expire):
            assert await next_of(found, api, again) == {ONE}
        assert api.lists == 3


async def test_a_token_that_is_renewed_is_read_anew(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (api, how), searching(how) as found:
        await anext(found)
        api.token = "renewed"
        (tmp_path / "token").write_text("renewed")
        assert await next_of(found, api, api.hang_up) == frozenset()


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, "needs list and watch on endpointslices"),
        (403, "needs list and watch on endpointslices"),
        (500, "answered 500"),
    ],
)
async def test_a_refusal_says_what_is_missing(tmp_path: Path, status: int, reason: str) -> None:
    async with cluster(tmp_path) as (api, how), searching(how) as found:
        api.answer = status
        with pytest.raises(DiscoveryFailed, match=reason) as failure:
            await anext(found)
        assert TOKEN not in str(failure.value)


async def test_another_authority_s_server_is_not_believed(tmp_path: Path) -> None:
    async with cluster(tmp_path) as (api, _):
        trustme.CA().cert_pem.write_to_path(tmp_path / "other.crt")
        how = settings(tmp_path, api, ca_file=tmp_path / "other.crt")
        async with searching(how) as found:
            with pytest.raises(DiscoveryFailed, match="CERTIFICATE_VERIFY_FAILED"):
                await anext(found)


@pytest.mark.parametrize("missing", ["token", "namespace", "ca.crt"])
async def test_outside_a_pod_the_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    async with cluster(tmp_path) as (_, how), searching(how) as found:
        (tmp_path / missing).unlink()
        with pytest.raises(DiscoveryFailed, match=missing):
            await anext(found)
