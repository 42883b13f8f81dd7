"""API keys from a file, hashed; and the principal that a request's key stands for."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from entroute.api.schema import BudgetOption
from entroute.errors import AuthenticationFailed, ConfigurationError
from entroute.types import Principal

_BEARER = "bearer "


class KeyEntry(BaseModel):
    """One API key: who holds it and what it may do."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, description="For people.")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="Hash of the key, in hex.")
    tenant: str = Field(min_length=1, max_length=64, description="Whose answers and accounts.")
    tiers: frozenset[str] | None = Field(
        default=None, description="Allowed tiers, all if left out."
    )
    strategies: frozenset[str] | None = Field(default=None, description="Allowed strategies.")
    budget: BudgetOption = Field(default_factory=BudgetOption, description="Most a request spends.")

    def principal(self) -> Principal:
        """Return who this key stands for."""
        return Principal(self.tenant, self.tiers, self.strategies, self.budget.limits())


class KeyFile(BaseModel):
    """The file."""

    model_config = ConfigDict(extra="forbid")

    keys: list[KeyEntry] = Field(min_length=1)


class KeyRing:
    """Finds the principal of a request.

    Args:
        principals: By the key's SHA-256 in hex; None lets everyone in as one anonymous tenant.
    """

    def __init__(self, principals: Mapping[str, Principal] | None) -> None:
        self._principals = principals

    @classmethod
    def from_file(cls, path: Path) -> "KeyRing":
        """Read a key file.

        Raises:
            ConfigurationError: It cannot be read or is wrong; never quotes its content.
        """
        try:
            data = yaml.safe_load(path.read_text(encoding="utf-8"))
            entries = KeyFile.model_validate(data).keys
        except OSError as error:
            raise ConfigurationError(f"auth.keys_file: {path}: {error.strerror}") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"auth.keys_file: {path}: not valid YAML") from error
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise ConfigurationError(f"auth.keys_file: {path}: {place}: {first['msg']}") from None
        return cls({entry.sha256: entry.principal() for entry in entries})

    def principal(self, authorization: str | None) -> Principal:
        """Return who asks.

        Raises:
            AuthenticationFailed: There is no key, or it is unknown.
        """
        if self._principals is None:
            return Principal()
        if not authorization or not authorization.lower().startswith(_BEARER):
            raise AuthenticationFailed(
                "No API key was given. Send it as 'Authorization: Bearer KEY'."
            )
        key = authorization[len(_BEARER) :].strip()
        principal = self._principals.get(sha256(key.encode()).hexdigest())
        if principal is None:
            raise AuthenticationFailed("The API key is not known here.")
        return principal
