"""How keys are shown: never with what they are known by."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from entroute.tenants.keys_records import KeyEntry


def key_table(entries: Sequence[KeyEntry], now: datetime) -> Table:
    """Return all keys, a line each."""
    table = Table()
    table.add_column("id", no_wrap=True)
    for column in ("name", "tenant", "group", "may use", "limits", "expires", "note"):
        table.add_column(column, overflow="fold")
    for entry in entries:
        cells = (
            entry.key_id,
            entry.name,
            entry.tenant,
            entry.group,
            _rights(entry),
            _limits(entry),
            _expiry(entry, now),
            entry.note,
        )
        table.add_row(*(Text(cell) for cell in cells))
    return table


def shown(entry: KeyEntry) -> dict[str, Any]:
    """Return one key as plain data, without hashes."""
    data = {"id": entry.key_id, **entry.dump()}
    del data["sha256"]
    for old in data.get("previous", ()):
        del old["sha256"]
    return data


def _rights(entry: KeyEntry) -> str:
    parts = ["admin"] if entry.admin else []
    if entry.priority != "normal":
        parts.append(f"priority: {entry.priority}")
    for kind, names in (("tiers", entry.tiers), ("strategies", entry.strategies)):
        if names is not None:
            parts.append(f"{kind}: {', '.join(sorted(names)) or 'none'}")
    return "; ".join(parts) or "all"


def _limits(entry: KeyEntry) -> str:
    given = {
        **entry.limits.model_dump(exclude_none=True),
        **entry.budget.model_dump(exclude_none=True),
    }
    return "\n".join(f"{name}: {value:g}" for name, value in given.items())


def _expiry(entry: KeyEntry, now: datetime) -> str:
    good = [old.expires for old in entry.previous if old.expires > now]
    lines = [f"old key until {_time(max(good))}"] if good else []
    if entry.expires is not None:
        state = "expired" if entry.expires <= now else ""
        lines.insert(0, f"{state} {_time(entry.expires)}".strip())
    return "\n".join(lines)


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M")
