"""A verifier down or unsure: it abstains, and votes or confidence choose in its place."""

from pathlib import Path
from typing import Any

import pytest

from entroute.embedded.engine import free_port
from loadtest.fleet import Group
from tests.fault_sites import site, text_of

ANSWERS = ["51", "51", "48", "51"]
GROUPS = [Group("small", 1, {"answers": ANSWERS}), Group("large", 1, {"answer": "Score: 10"})]
JUDGE = {"kind": "judge", "tier": "large"}
REWARD = {"kind": "reward", "name": "gold"}


def best(verifier: dict[str, Any]) -> dict[str, Any]:
    return {"strategy": "best_of_n", "verifier": verifier, "explain": True}


def rewards() -> dict[str, Any]:
    """Return a reward model that nobody serves."""
    url = f"http://127.0.0.1:{free_port()}/score"
    return {"rewards": [{"name": "gold", "url": url, "timeout_s": 5}]}


@pytest.mark.parametrize("fault", ["killed", "failing", "rambling", "nobody"])
async def test_the_vote_chooses_where_the_verifier_cannot(tmp_path: Path, fault: str) -> None:
    async with site(tmp_path, GROUPS, rewards()) as there:
        judge = there.workers("large")[0]
        if fault == "killed":
            await judge.kill()
        elif fault == "failing":
            await judge.rescript(failure={"kind": "status", "status": 500})
        elif fault == "rambling":
            await judge.rescript(answer="I would rather not say.")
        verifier = REWARD if fault == "nobody" else JUDGE
        answer = await there.ask("small", entroute=best(verifier))
        assert answer.status_code == 200, answer.text
        assert text_of(answer) == "51"
        assert answer.headers["x-entroute-degraded"] == "verifier"
        abstained = await there.metric(
            "entroute_verifier_abstained_total", verifier=verifier["kind"]
        )
        assert abstained >= 2


async def test_a_verifier_that_comes_back_is_believed_again(tmp_path: Path) -> None:
    async with site(tmp_path, GROUPS, rewards()) as there:
        judge = there.workers("large")[0]
        await judge.kill()
        answer = await there.ask("small", entroute=best(JUDGE))
        assert answer.headers["x-entroute-degraded"] == "verifier"
        await judge.start()
        await there.until_up("large", 1)
        answer = await there.ask("small", entroute=best(JUDGE))
        assert "x-entroute-degraded" not in answer.headers
