"""Addresses of other servers, as configuration gives them."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator


def http_url(url: str) -> str:
    """Return an HTTP address without its last slash.

    Addresses are printed and logged, so they must hold no secret.

    Raises:
        ValueError: It is no HTTP address, or holds a user, a password, a query or a fragment.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://")
    if "@" in url.split("/")[2]:
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
