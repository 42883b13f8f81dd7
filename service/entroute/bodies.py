"""Reading what others send, no more of it than is sensible, and not our own secrets."""

from base64 import b64encode
from typing import Any
from urllib.parse import quote

import httpx

AS_IT_IS = {"accept-encoding": "identity"}
"""Header that asks for a body that is not packed: a small one unpacks to a huge one."""

DEEPEST = 200
"""Levels of JSON that are taken: orjson reads 1024 and writes 254, some of which the walk adds."""

_CHUNK = 65_536


def too_deep(text: bytes, value: Any) -> bool:
    """Say whether JSON, given with what it was parsed to, is nested deeper than `DEEPEST`."""
    return text.count(b"{") + text.count(b"[") > DEEPEST and _deeper(value, DEEPEST)


def _deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_deeper(one, levels - 1) for one in inner)


async def read_body(response: httpx.Response, most: int) -> bytes:
    """Return the body of a response that is being streamed.

    Args:
        response: Asked for with `AS_IT_IS`.
        most: Bytes that it may have.

    Raises:
        ValueError: It has more.
        HTTPError: The connection failed.
    """
    read = bytearray()
    async for chunk in response.aiter_raw(_CHUNK):
        read += chunk
        if len(read) > most:
            raise ValueError("the answer is too large")
    return bytes(read)


class Concealing:
    """Takes a secret out of others' words: a server may repeat the key that it was sent.

    Args:
        secret: What must not be told, "" for nothing.
    """

    def __init__(self, secret: str) -> None:
        raw, sent = secret.encode(), f"Bearer {secret}".encode()
        forms = {raw, quote(secret, safe="").encode(), b64encode(raw), b64encode(sent)}
        # The longest first: a form may be a part of another one.
        self._forms = sorted(forms, key=len, reverse=True) if secret else []

    def bytes(self, said: bytes) -> bytes:
        """Return what was said, without the secret."""
        for form in self._forms:
            said = said.replace(form, b"[api_key]")
        return said

    def text(self, said: str) -> str:
        """Return what was said, without the secret."""
        return self.bytes(said.encode(errors="replace")).decode(errors="replace")
