"""What operators type: durations, dates, names."""

import re
from datetime import UTC, datetime, timedelta

from entroute.errors import ConfigurationError

_SPAN = re.compile(r"(\d{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def span(text: str, option: str) -> timedelta:
    """Return a duration such as 90d, 24h, 30m, 10s, 2w, or 0.

    Raises:
        ConfigurationError: It is none; the message names the option.
    """
    if text == "0":
        return timedelta()
    match = _SPAN.fullmatch(text)
    if match is None:
        raise ConfigurationError(f"{option}: not a duration; write 90d, 24h, 30m or 0")
    return timedelta(**{_UNITS[match.group(2)]: int(match.group(1))})


def moment(text: str, now: datetime, option: str) -> datetime:
    """Return a date or time in UTC, or the time a duration from now.

    Raises:
        ConfigurationError: It is neither, or is past; the message names the option.
    """
    if _SPAN.fullmatch(text):
        return now + span(text, option)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(
            f"{option}: neither a date nor a duration; write 2027-12-31, 2027-12-31T18:00Z or 90d"
        ) from None
    found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    if found <= now:
        raise ConfigurationError(f"{option}: {found.isoformat()} is past")
    return found


def names(text: str | None) -> list[str] | None:
    """Return the names in a list separated by commas, None for no list."""
    if text is None:
        return None
    return [name.strip() for name in text.split(",") if name.strip()]
