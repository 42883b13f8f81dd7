"""A key ring tells who asks by the header that holds the key."""

import pytest

from entroute.api.auth import KeyRing
from entroute.errors import AuthenticationFailed
from entroute.tenants.keys import KeyCopy, digest_of, new_secret
from entroute.types import Principal
from tests.keys import GivenKeys, an_entry
from tests.scripted import FakeClock

SECRET = new_secret("0123456789ab")


async def refused(ring: KeyRing, header: str | None) -> AuthenticationFailed:
    with pytest.raises(AuthenticationFailed) as raised:
        await ring.principal(header)
    return raised.value


async def test_everyone_is_anonymous_where_no_key_is_asked_for():
    assert await KeyRing(None, FakeClock()).principal("Bearer whatever") == Principal()


@pytest.mark.parametrize("header", [f"Bearer {SECRET}", f"bearer   {SECRET} "])
async def test_a_key_stands_for_its_principal(header: str):
    principal = Principal("acme", key="0123456789ab", group="batch", admin=True)
    assert await KeyRing(GivenKeys({SECRET: principal}), FakeClock()).principal(header) == principal


@pytest.mark.parametrize("header", [None, "", SECRET, f"Basic {SECRET}", f"Token {SECRET}"])
async def test_nothing_but_a_bearer_header_is_read(header: str | None):
    ring = KeyRing(GivenKeys({SECRET: Principal()}), FakeClock())
    assert "No API key was given" in (await refused(ring, header)).message


@pytest.mark.parametrize(
    "secret",
    [
        new_secret("0123456789ab"),  # another one of the same id
        SECRET[:-1],
        SECRET + "x",
        SECRET.upper(),
        "er-",
        "x",
        "",
        digest_of(SECRET),
        "ü" * 1000,
    ],
    ids=range(9),
)
async def test_unknown_and_malformed_keys_are_refused_by_the_same_words(secret: str):
    ring = KeyRing(GivenKeys({SECRET: Principal()}), FakeClock())
    error = await refused(ring, f"Bearer {secret}")
    assert (error.message, error.code) == ("The API key is not known here.", None)


async def test_a_key_is_good_until_it_expires():
    clock = FakeClock()

    class Expiring(GivenKeys):
        def __init__(self) -> None:
            entry = an_entry(SECRET, expires=clock.now + 10)
            self._copy = KeyCopy.of([entry.held()])

    ring = KeyRing(Expiring(), clock)
    clock.advance(9.5)
    assert (await ring.principal(f"Bearer {SECRET}")).tenant == "t"
    clock.advance(0.5)
    error = await refused(ring, f"Bearer {SECRET}")
    assert error.code == "api_key_expired"
