"""API keys from a file, hashed; and the principal that a request's key stands for."""

from collections.abc import Mapping, Sequence
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
        return cls({entry.sha256: entry.principal() for entry in _entries(path)})

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


def check_key_file(path: Path, tiers: Sequence[str], strategies: Sequence[str]) -> None:
    """Refuse a key file that cannot be used with these tiers and strategies.

    Raises:
        ConfigurationError: It cannot be read or is wrong, or an entry of it names a tier or a
            strategy that does not exist; the message names the entry.
    """
    for place, entry in enumerate(_entries(path)):
        for field, named, known in (
            ("tiers", entry.tiers, tiers),
            ("strategies", entry.strategies, strategies),
        ):
            unknown = sorted((named or frozenset()).difference(known))
            if unknown:
                raise ConfigurationError(
                    f"auth.keys_file: {path}: keys.{place} ('{entry.name}'): {field}: "
                    f"{', '.join(unknown)} not configured; known: {', '.join(known)}"
                )


def _entries(path: Path) -> list[KeyEntry]:
    """Return a key file's entries, no key twice."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        entries = KeyFile.model_validate(data).keys
    except OSError as error:
        raise ConfigurationError(f"auth.keys_file: {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError):
        # Not chained: the parser's words hold the line.
        raise ConfigurationError(f"auth.keys_file: {path}: not valid YAML") from None
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"auth.keys_file: {path}: {place}: {first['msg']}") from None
    seen: dict[str, str] = {}
    for number, entry in enumerate(entries):
        if entry.sha256 in seen:
            raise ConfigurationError(
                f"auth.keys_file: {path}: keys.{number} ('{entry.name}'): its key is also that of "
                f"'{seen[entry.sha256]}'; give every holder a key of its own"
            )
        seen[entry.sha256] = entry.name
    return entries
