"""API keys: secrets, records, and what a record stands for."""

import re
from datetime import UTC, datetime, timedelta
from math import inf

import pytest
from pydantic import ValidationError

from entroute.errors import ConfigurationError
from entroute.tenants.keys import KeyCopy, digest_of, new_id, new_secret
from entroute.tenants.keys_edits import added, found, replaced, revoked, rotated
from entroute.tenants.keys_records import KeyEntry
from tests.keys import an_entry

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


def test_a_secret_tells_its_id_and_is_long():
    key_id = new_id()
    assert re.fullmatch("[0-9a-f]{12}", key_id)
    assert re.fullmatch(f"er-{key_id}-[A-Za-z0-9_-]{{43}}", new_secret(key_id))


def test_no_two_secrets_are_alike():
    assert len({new_secret("0" * 12) for _ in range(1000)}) == 1000


def test_an_entry_without_an_id_has_the_begin_of_its_hash():
    entry = an_entry("hand-made")
    assert entry.key().id == digest_of("hand-made")[:12]
    assert an_entry("hand-made", id="0123456789ab").key().id == "0123456789ab"


def test_a_key_stands_for_its_tenant_rights_and_limits():
    entry = an_entry(
        "k",
        tenant="acme",
        group="batch",
        admin=True,
        tiers=["small"],
        strategies=["single"],
        budget={"max_calls": 3, "deadline_ms": 1500},
        limits={"requests_per_minute": 60, "cost_per_month_usd": 5},
    )
    principal = entry.key().principal
    assert principal.key == entry.key_id
    assert (principal.tenant, principal.group, principal.admin) == ("acme", "batch", True)
    assert principal.tiers == frozenset({"small"})
    assert principal.strategies == frozenset({"single"})
    assert (principal.limits.max_calls, principal.limits.deadline_s) == (3, 1.5)
    assert principal.rates.requests_per_minute == 60
    assert principal.rates.cost_per_month_usd == 5


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": "short"},
        {"id": "0123456789AB"},
        {"group": "Has Spaces"},
        {"group": "x" * 33},
        {"tenant": ""},
        {"tenant": "x" * 65},
        {"sha256": "er-secret"},
        {"expires": "soon"},
        {"limits": {"requests_per_minute": 0}},
        {"limits": {"cost_per_month_usd": float("inf")}},
        {"limits": {"requests_per_hour": 5}},
        {"budget": {"max_calls": "3"}},
        {"key": "er-secret"},
    ],
    ids=str,
)
def test_a_wrong_field_is_refused(wrong):
    with pytest.raises(ValidationError):
        an_entry("k", **wrong)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2027-01-02", datetime(2027, 1, 2, tzinfo=UTC)),
        ("2027-01-02T03:04:05Z", datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2027-01-02T03:00:00+02:00", datetime(2027, 1, 2, 1, tzinfo=UTC)),
        (datetime(2027, 1, 2), datetime(2027, 1, 2, tzinfo=UTC)),  # noqa: DTZ001 - as YAML reads it
    ],
    ids=str,
)
def test_times_are_utc(text, moment):
    entry = an_entry("k", expires=text)
    assert entry.expires == moment
    assert entry.key().expires == moment.timestamp()


def test_a_key_without_an_expiry_never_expires():
    assert an_entry("k").key().expires == inf


def test_what_is_dumped_reads_as_the_same_entry():
    entry = an_entry(
        "k", tiers=["b", "a"], expires="2027-01-02", limits={"tokens_per_minute": 9}, note="n"
    )
    assert KeyEntry.model_validate(entry.dump()) == entry
    assert entry.dump()["tiers"] == ["a", "b"]
    assert "admin" not in entry.dump()


def test_a_rotated_key_has_two_secrets_for_a_while():
    entry = rotated(an_entry("old"), digest_of("new"), NOW, timedelta(hours=1))
    copy = KeyCopy.of([entry.held()])
    new, old = copy.by_digest[digest_of("new")], copy.by_digest[digest_of("old")]
    assert new.id == old.id == digest_of("old")[:12]
    assert new.principal == old.principal
    assert (new.expires, old.expires) == (inf, NOW.timestamp() + 3600)
    assert copy.by_id == {new.id: new}


def test_an_old_secret_never_outlives_its_key():
    entry = rotated(an_entry("old", expires=NOW), digest_of("new"), NOW, timedelta(hours=1))
    assert KeyCopy.of([entry.held()]).by_digest[digest_of("old")].expires == NOW.timestamp()


def test_rotating_again_keeps_what_is_still_good_and_drops_the_rest():
    hour = timedelta(hours=1)
    once = rotated(an_entry("a"), digest_of("b"), NOW, hour)
    twice = rotated(once, digest_of("c"), NOW + hour / 2, hour)
    assert twice.digests == (digest_of("c"), digest_of("a"), digest_of("b"))
    thrice = rotated(twice, digest_of("d"), NOW + hour, hour)
    assert thrice.digests == (digest_of("d"), digest_of("b"), digest_of("c"))


def test_rotating_without_grace_ends_every_older_secret():
    once = rotated(an_entry("a"), digest_of("b"), NOW, timedelta(hours=1))
    assert rotated(once, digest_of("c"), NOW, timedelta()).digests == (digest_of("c"),)


def test_a_key_is_found_by_id_name_or_secret():
    secret = new_secret("0123456789ab")
    entries = [an_entry("x", name="one"), an_entry(secret, name="two", id="0123456789ab")]
    assert found(entries, "one") is entries[0]
    assert found(entries, entries[0].key_id) is entries[0]
    assert found(entries, secret) is entries[1]


@pytest.mark.parametrize("who", ["er-" + "0" * 12 + "-" + "s" * 43, "sk-something-secret"])
def test_what_is_not_found_is_not_quoted(who):
    with pytest.raises(ConfigurationError, match="no key has this id") as raised:
        found([an_entry("x")], who)
    assert who not in str(raised.value)


def test_a_name_of_several_keys_is_refused_with_their_ids():
    twins = [an_entry("x", name="twin"), an_entry("y", name="twin")]
    with pytest.raises(ConfigurationError, match=f"{twins[0].key_id}, {twins[1].key_id}"):
        revoked(twins, "twin")


def test_a_new_key_needs_a_name_of_its_own():
    with pytest.raises(ConfigurationError, match="--name"):
        added([an_entry("x", name="one")], an_entry("y", name="one"))


def test_replacing_and_revoking_leave_the_others_alone():
    one, two, three = (an_entry(name, name=name) for name in ("one", "two", "three"))
    changed = two.model_copy(update={"note": "changed"})
    assert replaced([one, two, three], changed) == [one, changed, three]
    assert revoked([one, two, three], "two") == [one, three]
