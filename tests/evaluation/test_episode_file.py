import gzip
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from entroute.errors import ConfigurationError
from entroute.evaluation.episode_file import read_episodes, write_episodes
from entroute.evaluation.episodes import Spent
from tests.evaluation.test_plan_fit import EPISODE

MADE = {"bank.jsonl.gz": "0" * 32, "manner": "(4, 0)"}
EPISODES = [
    replace(EPISODE, text="", repeat=index, right=[True, False, None][index]) for index in range(3)
]


def test_what_was_kept_is_read_again_without_its_texts(tmp_path: Path) -> None:
    path = tmp_path / "episodes.gz"
    write_episodes(path, MADE, [replace(e, text="long") for e in EPISODES])
    assert read_episodes(path, MADE) == EPISODES
    found = read_episodes(path, MADE)
    assert found is not None
    assert found[0].spent["small"] == Spent(1, 10, 20)
    assert [p.name for p in tmp_path.iterdir()] == ["episodes.gz"]


def test_the_same_episodes_make_the_same_file(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    write_episodes(one, MADE, EPISODES)
    write_episodes(other, MADE, EPISODES)
    assert one.read_bytes() == other.read_bytes()


def test_what_was_made_of_something_else_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "episodes.gz"
    assert read_episodes(path, MADE) is None
    write_episodes(path, MADE, EPISODES)
    assert read_episodes(path, MADE | {"manner": "(4, 1)"}) is None
    assert read_episodes(path, {}) is None


@pytest.mark.parametrize("keep", [0, 1, 10, 60, -9, -1])
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "episodes.gz"
    write_episodes(path, MADE, EPISODES)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ConfigurationError, match=r"episodes.gz: cut off or no episodes.*remove it"):
        read_episodes(path, MADE)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "episodes.gz"
    write_episodes(path, MADE, EPISODES)
    data = bytearray(path.read_bytes())
    for place in range(14, 40):
        data[place] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(ConfigurationError, match="cut off or no episodes"):
        read_episodes(path, MADE)


@pytest.mark.parametrize("content", [b"[]", b"{}", b"nonsense"])
def test_another_file_is_refused_or_not_used(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "episodes.gz"
    path.write_bytes(gzip.compress(content))
    if content == b"{}":
        assert read_episodes(path, MADE) is None
        return
    with pytest.raises(ConfigurationError, match="no episodes"):
        read_episodes(path, MADE)


def test_a_row_that_is_no_episode_is_refused_by_its_place(tmp_path: Path) -> None:
    path = tmp_path / "episodes.gz"
    write_episodes(path, MADE, EPISODES)
    data = orjson.loads(gzip.decompress(path.read_bytes()))
    del data["episodes"][1]["plan"]
    path.write_bytes(gzip.compress(orjson.dumps(data)))
    with pytest.raises(ConfigurationError, match=r"\(1, 'plan'\): .*remove it"):
        read_episodes(path, MADE)
    del data["episodes"]
    path.write_bytes(gzip.compress(orjson.dumps(data)))
    with pytest.raises(ConfigurationError, match="remove it"):
        read_episodes(path, MADE)
