"""Who asks: the principal that a request's API key stands for."""

from collections.abc import Callable

from entroute.errors import AuthenticationFailed
from entroute.tenants.keys import Key, KeySource, digest_of
from entroute.types import Principal

_BEARER = "bearer "


class KeyRing:
    """Finds the principal of a request.

    Args:
        source: Where keys are looked up; None lets everyone in as one anonymous tenant.
        now: Unix seconds.
    """

    def __init__(self, source: KeySource | None, now: Callable[[], float]) -> None:
        self._source = source
        self._now = now

    async def principal(self, authorization: str | None) -> Principal:
        """Return who asks, by the value of the request's `Authorization`.

        Raises:
            AuthenticationFailed: There is no key, or it is unknown or expired.
            KeysUnavailable: No keys could be read yet.
        """
        if self._source is None:
            return Principal()
        if not authorization or not authorization.lower().startswith(_BEARER):
            raise AuthenticationFailed(
                "No API key was given. Send it as 'Authorization: Bearer KEY'."
            )
        key = await self._found(self._source, authorization[len(_BEARER) :].strip())
        if self._now() >= key.expires:
            raise AuthenticationFailed("The API key has expired.", code="api_key_expired")
        return key.principal

    async def _found(self, source: KeySource, secret: str) -> Key:
        digest = digest_of(secret)
        key = source.find(digest)
        if key is None and secret:
            key = await source.find_again(digest)
        if key is None:
            # The same words whatever the key looks like: nobody learns what real ones look like.
            raise AuthenticationFailed("The API key is not known here.")
        return key
