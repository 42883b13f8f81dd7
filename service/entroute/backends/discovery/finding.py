"""What every way of finding workers shares: its seam, and how a found address is called."""

from collections.abc import AsyncGenerator
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from entroute.addresses import BearerKey

Found = frozenset[str]
"""Base URLs of the workers that there are now."""


class Finding(Protocol):
    """Tells which workers a tier has."""

    def found(self) -> AsyncGenerator[Found, None]:
        """Yield the workers there are, at once and whenever that may have changed.

        Raises:
            DiscoveryFailed: It cannot be known now; begin again later.
        """
        ...


class Called(BaseModel):
    """How the workers at found addresses are called."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scheme: Literal["http", "https"] = Field(default="http", description="http or https.")
    path: str = Field(
        default="/v1", pattern=r"^(/[A-Za-z0-9._~-]+)*$", description="Path of their OpenAI API."
    )
    api_key: BearerKey | None = Field(
        default=None, description="Bearer key of all; give it by environment, not in the file."
    )

    def url(self, address: str, port: int) -> str:
        """Return the base URL of the worker at an address of IPv4, IPv6 or a name."""
        host = f"[{address}]" if ":" in address else address
        return f"{self.scheme}://{host}:{port}{self.path}"
