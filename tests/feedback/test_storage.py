"""Labels in a file: they outlive the process, and a damaged file costs no more than itself."""

import asyncio
import logging
from pathlib import Path

import orjson
import pytest

from entroute.feedback.feedback import Feedback, Origin
from entroute.feedback.storage import FileKeeper
from tests.feedback.traffic import a_feedback, a_learner, decided_trace, seeded


def feedback_in(path: Path, profile: str = "profile", save_every_s: float = 60.0) -> Feedback:
    learner = a_learner()
    keeper = FileKeeper(path, profile, learner, save_every_s)
    return a_feedback(keeper, learner=learner, origin=Origin(profile), capacity=1000)


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def content_of(path: Path) -> bytes:
    return path.read_bytes()


async def told(feedback: Feedback, number: int, share: float = 0.3) -> None:
    rng = seeded(1)
    for place in range(number):
        request_id = f"r-{place}"
        feedback.record(decided_trace(request_id))
        await feedback.label(request_id, "a", float(rng.random() < share))


async def test_what_was_learned_outlives_the_process(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    before = feedback_in(path)
    await before.start()
    await told(before, 100, 0.0)
    assert before.drifted
    await before.close()
    after = feedback_in(path)
    await after.start()
    assert after.corrected("p", 0.7) == pytest.approx(before.corrected("p", 0.7), abs=0.02)
    assert after.measures() == before.measures()
    assert after.drifted
    assert after.drift_evidence == pytest.approx(before.drift_evidence)
    await after.close()
    assert names(tmp_path) == ["labels.json"]


async def test_labels_are_written_while_the_process_runs(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    feedback = feedback_in(path, save_every_s=0.01)
    await feedback.start()
    await told(feedback, 3)
    for _ in range(500):
        if path.exists():
            break
        await asyncio.sleep(0.01)
    assert orjson.loads(content_of(path))["version"] == 1
    await feedback.close()


async def test_nothing_is_written_without_labels(tmp_path: Path) -> None:
    feedback = feedback_in(tmp_path / "labels.json")
    await feedback.start()
    feedback.record(decided_trace())
    await feedback.close()
    assert names(tmp_path) == []


async def written(path: Path) -> bytes:
    feedback = feedback_in(path)
    await feedback.start()
    await told(feedback, 20)
    await feedback.close()
    return content_of(path)


@pytest.mark.parametrize("damage", ["cut off", "empty", "another version", "no probability"])
async def test_a_damaged_file_is_set_aside_with_a_warning(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "labels.json"
    whole = await written(path)
    content = {
        "cut off": whole[: len(whole) // 2],
        "empty": b"",
        "another version": whole.replace(b'"version":1', b'"version":7'),
        "no probability": whole.replace(b'"propensity":1.0', b'"propensity":0.0', 1),
    }[damage]
    assert content != whole
    path.write_bytes(content)
    feedback = feedback_in(path)
    with caplog.at_level(logging.WARNING):
        await feedback.start()
    assert "labels.json.bad" in caplog.text
    assert feedback.measures().labels == 0
    assert (tmp_path / "labels.json.bad").read_bytes() == content
    await told(feedback, 20)
    await feedback.close()
    assert len(path.read_bytes()) == len(whole)


async def test_a_write_that_was_cut_off_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    whole = await written(path)
    (tmp_path / "labels.json.part").write_bytes(whole[:100])
    feedback = feedback_in(path)
    await feedback.start()
    assert feedback.measures().labels == 20
    await feedback.close()


async def test_labels_about_another_profile_are_not_learned(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    await written(path)
    feedback = feedback_in(path, profile="newer")
    await feedback.start()
    assert feedback.measures().labels == 0
    assert feedback.corrected("p", 0.7) == 0.7
    await feedback.close()


async def test_a_folder_that_is_gone_costs_a_counter_and_no_label(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    feedback = feedback_in(folder / "labels.json")
    await feedback.start()
    folder.rmdir()
    await told(feedback, 2)
    await feedback.close()
    assert feedback.counts["accepted"] == 2
    assert feedback.store_failures == 1
    assert "labels are not kept" in caplog.text
