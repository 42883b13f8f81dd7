"""Salts that keep the tenants' prefix caches apart on vLLM.

A prefix cache answers faster what it has seen, so that whoever may time it learns what others
asked. vLLM mixes a request's `cache_salt` into the hash of its first block: only requests of
equal salt share.
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from entroute.backends.wire import VLLM

FIELD = "cache_salt"

_CONTEXT = b"entroute tenant"  # at most 16 bytes
_SALT_BYTES = 32  # 256 bits, as vLLM asks for


class TenantSalts:
    """Makes a tenant's salt: the same on all gateways of one key.

    Args:
        key: Secret without which nobody can tell a tenant's salt; "" salts by the name alone.
    """

    def __init__(self, key: str = "") -> None:
        self._key = blake2b(key.encode(), digest_size=64).digest() if key else b""

    def __call__(self, tenant: str) -> str:
        """Return the salt of a tenant, 64 hexadecimal digits."""
        return _digest(tenant.encode(), self._key)


def salted(body: Mapping[str, Any], salt: str, engine: str) -> dict[str, Any]:
    """Return a request body with a tenant's salt, where there is one and the engine knows it.

    A client's own salt, where the operator lets clients send one, separates further: both are
    combined, so that no client can name another tenant's.
    """
    if not salt or engine != VLLM:
        return dict(body)
    own = body.get(FIELD)
    return {**body, FIELD: salt if own is None else _digest(str(own).encode(), salt.encode())}


def _digest(data: bytes, key: bytes) -> str:
    return blake2b(data, digest_size=_SALT_BYTES, key=key, person=_CONTEXT).hexdigest()
