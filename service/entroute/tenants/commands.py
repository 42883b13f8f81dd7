"""`entroute keys create | list | show | usage | rotate | revoke`: keys in a file or in Redis."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from pydantic import ValidationError
from rich.console import Console

from entroute.errors import ConfigurationError
from entroute.tenants.commands_table import key_table, shown
from entroute.tenants.commands_usage import month_of, usage_table, used
from entroute.tenants.commands_values import moment, names, span
from entroute.tenants.keys import digest_of, new_id, new_secret
from entroute.tenants.keys_books import Edit
from entroute.tenants.keys_edits import added, found, replaced, revoked, rotated
from entroute.tenants.keys_place import KeyPlace, place
from entroute.tenants.keys_records import KeyEntry

keys = typer.Typer(help="API keys: who may ask, for what, how much.", no_args_is_help=True)

FileOption = Annotated[Path | None, typer.Option("--file", "-f", help="YAML file of keys.")]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="Configuration whose keys are meant.")
]
RedisOption = Annotated[
    str | None,
    typer.Option(
        envvar="ENTROUTE_REDIS__URL",
        show_envvar=True,
        help="Redis that holds the keys, without --file and --config. It may hold a password, so "
        "give it in the environment.",
    ),
]
Who = Annotated[str, typer.Argument(metavar="KEY", help="Id or name of a key.")]
Whole = Annotated[int | None, typer.Option(min=1)]
Amount = Annotated[float | None, typer.Option(min=0)]


@keys.command()
def create(  # noqa: PLR0913, PLR0917 - an option a field
    context: typer.Context,
    name: Annotated[str, typer.Option(help="For people; no other key may have it.")],
    tenant: Annotated[
        str | None, typer.Option(help="Whose answers and accounts; the name if left out.")
    ] = None,
    group: Annotated[str, typer.Option(help="Name under which metrics show it.")] = "",
    tiers: Annotated[str | None, typer.Option(help="Allowed tiers, by commas; all.")] = None,
    strategies: Annotated[str | None, typer.Option(help="Allowed strategies; all.")] = None,
    expires: Annotated[str | None, typer.Option(help="A date, or 90d; never.")] = None,
    priority: Annotated[
        str, typer.Option(help="low, normal or high: the most its requests may ask for.")
    ] = "normal",
    admin: Annotated[bool, typer.Option("--admin", help="May ask about other keys.")] = False,
    note: Annotated[str, typer.Option(help="For people.")] = "",
    requests_per_minute: Whole = None,
    tokens_per_minute: Whole = None,
    cost_per_minute_usd: Amount = None,
    requests_per_month: Whole = None,
    tokens_per_month: Whole = None,
    cost_per_month_usd: Amount = None,
    max_calls: Whole = None,
    max_generated_tokens: Whole = None,
    deadline_ms: Amount = None,
    max_cost_usd: Amount = None,
    file: FileOption = None,
    config: ConfigOption = None,
    redis_url: RedisOption = None,
) -> None:
    """Make a key and print it, once: only its hash is kept. All else is said on stderr."""
    where = place(file, config, redis_url, context.obj)
    now = datetime.now(UTC).replace(microsecond=0)
    facts = {
        "name": name,
        "tenant": name if tenant is None else tenant,
        "group": group,
        "tiers": names(tiers),
        "strategies": names(strategies),
        "expires": None if expires is None else moment(expires, now, "--expires"),
        "priority": priority,
        "admin": admin,
        "note": note,
        "created": now,
        "limits": {
            "requests_per_minute": requests_per_minute,
            "tokens_per_minute": tokens_per_minute,
            "cost_per_minute_usd": cost_per_minute_usd,
            "requests_per_month": requests_per_month,
            "tokens_per_month": tokens_per_month,
            "cost_per_month_usd": cost_per_month_usd,
        },
        "budget": {
            "max_calls": max_calls,
            "max_generated_tokens": max_generated_tokens,
            "deadline_ms": deadline_ms,
            "max_cost_usd": max_cost_usd,
        },
    }
    secret = new_secret(new_id())
    entry = _entry(facts, secret, where)
    _change(where, lambda entries: added(entries, entry))
    _hand_over(secret, f"made {entry.key_id} ({name})")


@keys.command("list")
def list_keys(
    context: typer.Context,
    file: FileOption = None,
    config: ConfigOption = None,
    redis_url: RedisOption = None,
) -> None:
    """List all keys, without what they are known by."""
    entries = place(file, config, redis_url, context.obj).book().entries()
    Console().print(key_table(entries, datetime.now(UTC)))


@keys.command()
def show(
    context: typer.Context,
    who: Who,
    file: FileOption = None,
    config: ConfigOption = None,
    redis_url: RedisOption = None,
) -> None:
    """Show one key, without what it is known by."""
    entry = found(place(file, config, redis_url, context.obj).book().entries(), who)
    typer.echo(yaml.safe_dump(shown(entry), sort_keys=False, allow_unicode=True), nl=False)


@keys.command()
def rotate(  # noqa: PLR0913, PLR0917 - an option a field
    context: typer.Context,
    who: Who,
    grace: Annotated[str, typer.Option(help="How long the old one stays good: 24h.")] = "0",
    file: FileOption = None,
    config: ConfigOption = None,
    redis_url: RedisOption = None,
) -> None:
    """Make a new secret for a key and print it, once; id, rights and usage stay."""
    where = place(file, config, redis_url, context.obj)
    stays = span(grace, "--grace")
    entry = found(where.book().entries(), who)
    secret = new_secret(entry.key_id)
    now = datetime.now(UTC).replace(microsecond=0)
    _change(
        where,
        lambda entries: replaced(
            entries, rotated(found(entries, entry.key_id), digest_of(secret), now, stays)
        ),
    )
    until = f"; the old one is good until {(now + stays).isoformat()}" if stays else ""
    _hand_over(secret, f"rotated {entry.key_id} ({entry.name}){until}")


@keys.command()
def usage(  # noqa: PLR0913, PLR0917 - an option a field
    context: typer.Context,
    who: Who,
    month: Annotated[str | None, typer.Option(help="Such as 2026-11; the current one.")] = None,
    file: FileOption = None,
    config: ConfigOption = None,
    redis_url: RedisOption = None,
) -> None:
    """Show what a key has used in a month, by tier and purpose, over all gateways."""
    where = place(file, config, redis_url, context.obj)
    which = month_of(month, datetime.now(UTC))
    entry = found(where.book().entries(), who)
    tally = used(where.redis_url or redis_url or "", entry.key_id, which)
    Console().print(usage_table(tally, f"{entry.key_id} ({entry.name}) in {which}"))


@keys.command()
def revoke(
    context: typer.Context,
    who: Who,
    file: FileOption = None,
    config: ConfigOption = None,
    redis_url: RedisOption = None,
) -> None:
    """Take a key away: gateways refuse it within seconds."""
    where = place(file, config, redis_url, context.obj)
    entry = found(where.book().entries(), who)
    _change(where, lambda entries: revoked(entries, entry.key_id))
    _say(f"revoked {entry.key_id} ({entry.name})")


def _entry(facts: dict[str, Any], secret: str, where: KeyPlace) -> KeyEntry:
    """Return the record of a new key.

    Raises:
        ConfigurationError: A field is wrong, or names what does not exist.
    """
    identity = {"id": secret.split("-")[1], "sha256": digest_of(secret)}
    try:
        entry = KeyEntry.model_validate({**facts, **identity})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        option = str(first["loc"][-1]).replace("_", "-")
        raise ConfigurationError(f"--{option}: {first['msg']}") from None
    if where.known is not None and (unknown := where.known.unknown(entry)) is not None:
        raise ConfigurationError(f"--{unknown}")
    return entry


def _change(where: KeyPlace, edit: Edit) -> None:
    for line in where.book().change(edit):
        _say(line)


def _hand_over(secret: str, what: str) -> None:
    """Print a secret, alone, so that `KEY=$(...)` takes it, and what was done beside it."""
    _say(f"{what}; this is the only time it is shown")
    typer.echo(secret)


def _say(line: str) -> None:
    typer.echo(f"entroute: {line}", err=True)
