"""A reload may bring another profile: labels about the one before teach nothing of it."""

from pathlib import Path

import orjson

from entroute.feedback.feedback import Feedback, Origin
from entroute.feedback.storage import FileKeeper
from tests.feedback.test_sharing import eventually, gateway, prefix
from tests.feedback.traffic import a_feedback, a_learner, decided_trace
from tests.redis_server import RedisServer

__all__ = ["prefix"]


async def told(feedback: Feedback, number: int, first: int = 0) -> None:
    for place in range(first, first + number):
        feedback.record(decided_trace(f"r-{place}"))
        await feedback.label(f"r-{place}", "a", 0.0)


async def test_what_was_learned_is_forgotten_with_its_profile() -> None:
    feedback = a_feedback(learner=a_learner())
    await told(feedback, 100)
    assert feedback.drifted
    feedback.follow(Origin("another"))
    assert feedback.corrected("p", 0.7) == 0.7
    assert (feedback.drifted, feedback.measures().labels) == (False, 0)
    assert feedback.counts["accepted"] == 100
    await told(feedback, 50, first=100)
    assert feedback.corrected("p", 0.7) < 0.5


async def test_the_same_profile_forgets_nothing() -> None:
    feedback = a_feedback(learner=a_learner())
    await told(feedback, 50)
    before = feedback.corrected("p", 0.7)
    feedback.follow(Origin("profile", 5.0))
    assert feedback.corrected("p", 0.7) == before < 0.5


async def test_a_label_of_an_answer_of_the_profile_before_teaches_nothing() -> None:
    feedback = a_feedback(learner=a_learner())
    feedback.record(decided_trace("early"))
    feedback.follow(Origin("another"))
    assert (await feedback.label("early", "a", 0.0)).result == "no_plan"
    assert feedback.measures().labels == 0


async def test_the_file_holds_labels_about_the_new_profile_alone(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    learner = a_learner()
    feedback = a_feedback(FileKeeper(path, "profile", learner), learner=learner, capacity=1000)
    await feedback.start()
    await told(feedback, 5)
    feedback.follow(Origin("another"))
    await told(feedback, 2, first=5)
    await feedback.close()
    row = orjson.loads(path.read_bytes())
    assert row["profile"] == "another"
    assert len(row["learned"]["labels"]) == 2


async def test_gateways_share_labels_about_the_same_profile_alone(
    redis: RedisServer, prefix: str
) -> None:
    async with (
        gateway(redis.url, prefix, profile="old") as one,
        gateway(redis.url, prefix, profile="new") as other,
    ):
        await told(other, 10)

        async def learned() -> bool:
            return one.measures().labels == 10

        await told(one, 3, first=10)
        one.follow(Origin("new"))
        assert await eventually(learned)
        assert other.measures().labels == 10
