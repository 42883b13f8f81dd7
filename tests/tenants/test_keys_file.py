"""Keys in a file: read again when it changes, and not at all when it is bad."""

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from entroute.errors import ConfigurationError
from entroute.tenants.keys import digest_of
from entroute.tenants.keys_file import FileKeys, Known, read_key_file
from tests.keys import write_key_file
from tests.scripted import FakeClock

KNOWN = Known(["small", "large"], ["single"])
SECRET = "er-very-secret"


def held(keys: FileKeys) -> dict[str, bool]:
    return {secret: keys.find(digest_of(secret)) is not None for secret in ("one", "two")}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_key_file(tmp_path / "keys.yaml", {"one": {"tenant": "a"}})


Change = Callable[[Path], None]


def write(path: Path, text: str) -> None:
    path.write_text(text)


def remove(path: Path) -> None:
    path.unlink()


def in_place(path: Path) -> None:
    write_key_file(path, {"two": {"tenant": "a"}})


def replaced(path: Path) -> None:
    new = write_key_file(path.with_name("new"), {"two": {"tenant": "a"}})
    times = path.stat()
    os.utime(new, ns=(times.st_atime_ns, times.st_mtime_ns))
    new.replace(path)


@pytest.mark.parametrize("change", [in_place, replaced])
async def test_a_changed_file_is_read_again(path: Path, change: Change):
    keys = FileKeys(path, KNOWN, FakeClock())
    assert held(keys) == {"one": True, "two": False}
    change(path)
    await keys.look()
    assert held(keys) == {"one": False, "two": True}
    assert keys.reloads == {"loaded": 2, "failed": 0, "garbage": 0}


async def test_a_link_that_leads_elsewhere_is_followed(tmp_path: Path):
    # As Kubernetes mounts a secret: keys.yaml -> ..data/keys.yaml, and ..data changes.
    for name, secret in (("v1", "one"), ("v2", "two")):
        (tmp_path / name).mkdir()
        write_key_file(tmp_path / name / "keys.yaml", {secret: {"tenant": "a"}})
    (tmp_path / "..data").symlink_to("v1")
    (tmp_path / "keys.yaml").symlink_to("..data/keys.yaml")
    keys = FileKeys(tmp_path / "keys.yaml", KNOWN, FakeClock())
    (tmp_path / "..data_tmp").symlink_to("v2")
    (tmp_path / "..data_tmp").replace(tmp_path / "..data")
    await keys.look()
    assert held(keys) == {"one": False, "two": True}


async def test_a_key_works_as_soon_as_it_is_in_the_file(path: Path):
    keys = FileKeys(path, KNOWN, FakeClock())
    in_place(path)
    found = await asyncio.gather(*(keys.find_again(digest_of("two")) for _ in range(5)))
    assert None not in found
    assert keys.reloads["loaded"] == 2


async def test_an_unchanged_file_is_not_read(path: Path):
    keys = FileKeys(path, KNOWN, FakeClock())
    for _ in range(3):
        await keys.look()
    assert keys.reloads["loaded"] == 1


BAD = {
    "not valid YAML": f"keys: [{SECRET}",
    "a date that is none": f"keys: [{{name: {SECRET}, expires: 2027-13-45}}]",
    "too deep": "[" * 5000,
    "no keys": f"{SECRET}: 1",
    "a wrong hash": f"keys: [{{name: a, tenant: b, sha256: {SECRET}}}]",
    "an unknown tier": f"keys: [{{name: a, tenant: b, sha256: '{'0' * 64}', tiers: [huge]}}]",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
async def test_a_bad_new_file_changes_nothing_and_is_said_once(
    path: Path, text: str, caplog: pytest.LogCaptureFixture
):
    clock = FakeClock()
    keys = FileKeys(path, KNOWN, clock)
    write(path, text)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            await keys.look()
            clock.advance(1)
    assert held(keys) == {"one": True, "two": False}
    (line,) = [record.getMessage() for record in caplog.records]
    assert str(path) in line
    assert SECRET not in line.replace(f"{path}: {SECRET}:", "")  # an unknown field has a name
    assert keys.reloads["failed"] == 1
    assert keys.age_s == 3


async def test_a_file_that_is_gone_changes_nothing_and_one_that_is_back_counts(path: Path):
    clock = FakeClock()
    keys = FileKeys(path, KNOWN, clock)
    remove(path)
    clock.advance(5)
    await keys.look()
    assert held(keys)["one"]
    assert (keys.reloads["failed"], keys.age_s) == (1, 5)
    in_place(path)
    await keys.look()
    assert held(keys) == {"one": False, "two": True}
    assert keys.age_s == 0


async def test_a_repaired_file_counts(path: Path):
    keys = FileKeys(path, KNOWN, FakeClock())
    write(path, "keys: [")
    await keys.look()
    in_place(path)
    await keys.look()
    assert held(keys)["two"]


async def until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


async def watched(keys: FileKeys, what: Callable[[], Awaitable[None]]) -> None:
    await keys.start()
    try:
        await what()
    finally:
        await keys.close()


async def test_a_started_source_looks_by_itself(path: Path):
    keys = FileKeys(path, KNOWN, time.monotonic)

    async def change() -> None:
        in_place(path)
        await until(lambda: held(keys)["two"])

    await watched(keys, change)


async def test_one_bad_look_does_not_end_all_looking(path: Path):
    class Failing(FileKeys):
        async def look(self) -> None:
            if self.reloads["failed"] == 0 and held(self)["one"] and self._task is not None:
                raise ZeroDivisionError(SECRET)
            await super().look()

    keys = Failing(path, KNOWN, time.monotonic)

    async def change() -> None:
        await until(lambda: keys.reloads["failed"] == 1)
        in_place(path)
        await until(lambda: held(keys)["two"])

    await watched(keys, change)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({}, {"id": digest_of("one")[:12]}, "its id is also that of"),
        (
            {"previous": [{"sha256": digest_of("two"), "expires": "2027-01-01"}]},
            {},
            "its key is also that of",
        ),
    ],
)
def test_twins_are_refused(path: Path, first, second, message: str):
    keys = {"one": {"tenant": "a", **first}, "two": {"tenant": "a", **second}}
    with pytest.raises(ConfigurationError, match=message):
        read_key_file(write_key_file(path, keys))


def test_an_empty_list_is_a_file_that_lets_nobody_in(path: Path):
    path.write_text("keys: []")
    assert FileKeys(path, KNOWN, FakeClock()).count == 0


def test_a_file_of_before_ids_reads_unchanged(path: Path):
    path.write_text(f"""
keys:
  - name: mobile app
    sha256: {digest_of("one")}
    tenant: mobile
    tiers: [small]
    strategies: [single]
    budget: {{max_calls: 2, max_generated_tokens: 100, deadline_ms: 1000, max_cost_usd: 0.5}}
""")
    key = FileKeys(path, KNOWN, FakeClock()).find(digest_of("one"))
    assert key is not None
    assert key.principal.key == digest_of("one")[:12]
    assert key.principal.limits.max_generated_tokens == 100
