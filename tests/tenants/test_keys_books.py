"""Keys are changed whole or not at all, and two who change them at once lose nothing."""

import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis

from entroute.errors import ConfigurationError
from entroute.tenants.keys_books import FileBook, KeyBook, RedisBook
from entroute.tenants.keys_edits import added, replaced, revoked
from entroute.tenants.keys_redis import HASH
from tests.gateway_process import child_environment, command
from tests.keys import an_entry, write_key_file
from tests.redis_groups import redis_cluster
from tests.redis_server import RedisServer, redis_server

Open = Callable[[], KeyBook]


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(params=["file", "redis"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    if request.param == "file":
        return lambda: FileBook(tmp_path / "keys.yaml")
    server: RedisServer = request.getfixturevalue("server")
    return lambda: RedisBook(server.url)


def names(book: KeyBook) -> list[str]:
    return sorted(entry.name for entry in book.entries())


def add(book: KeyBook, name: str) -> None:
    book.change(lambda old: added(old, an_entry(name, name=name)))


def test_what_is_changed_is_read_again(opened: Open):
    book = opened()
    for name in ("one", "two", "three"):
        add(book, name)
    book.change(lambda old: revoked(old, "two"))
    changed = next(e for e in book.entries() if e.name == "one").model_copy(
        update={"tenant": "other", "sha256": "f" * 64, "id": "0123456789ab"}
    )
    book.change(lambda old: [changed, *(e for e in old if e.name != "one")])
    assert names(opened()) == ["one", "three"]
    assert changed in opened().entries()


def test_an_edit_that_refuses_changes_nothing(opened: Open):
    add(opened(), "one")
    with pytest.raises(ConfigurationError, match="--name"):
        add(opened(), "one")
    assert names(opened()) == ["one"]


def test_many_at_once_lose_no_key(opened: Open):
    wanted = [f"key {number}" for number in range(12)]
    threads = [threading.Thread(target=add, args=(opened(), name)) for name in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(opened()) == sorted(wanted)


def test_two_commands_at_once_lose_no_key(tmp_path: Path):
    path = tmp_path / "keys.yaml"
    processes = [
        subprocess.Popen(
            command(["keys", "create", "--file", str(path), "--name", f"key {number}"]),
            env=child_environment({}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for number in range(4)
    ]
    assert [process.wait(120) for process in processes] == [0] * 4
    assert names(FileBook(path)) == [f"key {number}" for number in range(4)]


def test_a_file_is_for_its_owner_alone(tmp_path: Path):
    path = write_key_file(tmp_path / "keys.yaml", {"one": {"tenant": "a"}})
    path.chmod(0o644)
    add(FileBook(path), "two")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_link_stays_one(tmp_path: Path):
    path = write_key_file(tmp_path / "real.yaml", {"one": {"tenant": "a"}})
    (tmp_path / "keys.yaml").symlink_to("real.yaml")
    add(FileBook(tmp_path / "keys.yaml"), "two")
    assert (tmp_path / "keys.yaml").is_symlink()
    assert len(FileBook(path).entries()) == 2


def test_nothing_is_left_beside_the_file_but_its_lock(tmp_path: Path):
    add(FileBook(tmp_path / "keys.yaml"), "one")
    with pytest.raises(ConfigurationError):
        add(FileBook(tmp_path / "keys.yaml"), "one")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["keys.yaml", "keys.yaml.lock"]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path):
    with pytest.raises(ConfigurationError, match=r"none/keys\.yaml: No such file"):
        add(FileBook(tmp_path / "none" / "keys.yaml"), "one")


def test_a_bad_file_is_not_overwritten(tmp_path: Path):
    path = tmp_path / "keys.yaml"
    path.write_text("keys: [")
    with pytest.raises(ConfigurationError, match="not valid YAML"):
        add(FileBook(path), "one")
    assert path.read_text() == "keys: ["


def test_a_comment_that_gets_lost_is_said(tmp_path: Path):
    path = write_key_file(tmp_path / "keys.yaml", {"one": {"tenant": "a"}})
    path.write_text(path.read_text().replace("tenant: a", "tenant: a  # the first"))
    book = FileBook(path)
    assert book.change(lambda old: added(old, an_entry("two", name="two"))) == ()
    first = book.entries()[0]
    (told,) = book.change(lambda old: replaced(old, first.model_copy(update={"note": "n"})))
    assert "comments" in told


def test_records_that_cannot_be_read_are_left_alone_and_told(server: RedisServer):
    with Redis.from_url(server.url) as raw:
        raw.hset(HASH, "a" * 64, "garbage")
    (told,) = RedisBook(server.url).change(lambda old: added(old, an_entry("one", name="one")))
    assert "a" * 12 in told
    assert names(RedisBook(server.url)) == ["one"]


def test_keys_are_changed_on_a_cluster_too():
    with redis_cluster() as cluster:
        for name in ("one", "two"):
            add(RedisBook(cluster.url), name)
        RedisBook(cluster.url).change(lambda old: revoked(old, "one"))
        assert names(RedisBook(cluster.url)) == ["two"]
