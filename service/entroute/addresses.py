"""Addresses of other servers, and the keys to them, as configuration gives them."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, SecretStr


def http_url(url: str) -> str:
    """Return an HTTP address without its last slash.

    Addresses are printed and logged, so they must hold no secret.

    Raises:
        ValueError: It is no HTTP address, or holds a user, a password, a query or a fragment.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://")
    if "@" in url:  # behind the first slash, too: a password may hold one
        raise ValueError("must not hold a user or password; give the key as api_key")
    if "?" in url or "#" in url:
        raise ValueError("must not hold a query or fragment; give the key as api_key")
    try:
        parts = urlsplit(url)
        reachable = bool(parts.hostname) and parts.port != 0
    except ValueError:  # half an IPv6 address, or a port that is no number
        reachable = False
    if not reachable:
        raise ValueError("must name a host, and a port from 1 to 65535 where it names one")
    return url.rstrip("/")


HttpUrl = Annotated[str, AfterValidator(http_url)]
"""An HTTP address that may be shown to anyone."""


def _sendable(key: SecretStr) -> SecretStr:
    """Return a key that a header can carry: clients quote one that it cannot in their errors.

    Raises:
        ValueError: It cannot; the message never quotes it.
    """
    text = key.get_secret_value()
    if not (text.isascii() and text.isprintable()) or text != text.strip():
        raise ValueError("must be printable ASCII, with no space or line break around it")
    return key


BearerKey = Annotated[SecretStr, AfterValidator(_sendable)]
"""A key that is sent as `Authorization: Bearer KEY`."""
