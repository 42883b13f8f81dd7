from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from entroute.evaluation.episode_grading import graded
from entroute.evaluation.episodes import (
    Episode,
    PlanSpec,
    Replay,
    asked_once,
    form_of,
    replayed,
)
from entroute.evaluation.menu import plan_menu
from entroute.evaluation.prompts_file import BankPrompt, PromptsFile
from entroute.evaluation.replaying import recorded_sandbox
from entroute.evaluation.samples import Sample
from entroute.evaluation.trying import tried
from entroute.evaluation.virtual_time import run_virtually
from entroute.profile.plans import Runtime
from entroute.sandbox import BubblewrapConfig
from entroute.strategies.programs import PROGRAM_LINE
from tests.evaluation.banks import MODELS, World, a_sample, rows_of, samples_of
from tests.evaluation.recorded import prompts_at
from tests.fakes import FakeSandbox, executed

RUNTIMES = {
    "small": Runtime(prompt_s=0.001, token_s=0.02, stream_token_s=0.1, batch=5),
    "large": Runtime(prompt_s=0.002, token_s=0.06, stream_token_s=0.3, batch=5),
}
GATE = {("small", "number"): ((0.3, 0.1), (0.99, 0.9))}
SPECS = {spec.name: spec for spec in plan_menu(list(MODELS), GATE, (), votes_above=4)}
WORLD = World(count=12, sure=True)


@pytest.fixture
def prompts(tmp_path: Path) -> PromptsFile:
    return prompts_at(tmp_path / "prompts.jsonl", rows_of(WORLD))


def played(
    samples: Sequence[Sample],
    prompts: PromptsFile,
    *plans: str,
    repeats: int = 3,
    seed: int = 0,
) -> list[Episode]:
    """Replay plans, programs run here and now."""

    def specs_of(_: BankPrompt) -> list[PlanSpec]:
        return [SPECS[plan] for plan in plans]

    asked = asked_once(prompts.prompts)
    replay = Replay(samples, asked, MODELS, RUNTIMES, repeats, seed)
    return run_virtually(replayed(replay, specs_of, FakeSandbox(executed), lambda *_: None))


def by_repeat(episodes: Sequence[Episode], plan: str) -> dict[tuple[str, int], Episode]:
    return {(e.prompt, e.repeat): e for e in episodes if e.plan == plan}


def test_a_single_answer_is_a_sample_and_costs_what_it_holds(prompts: PromptsFile) -> None:
    samples = samples_of(WORLD, prompts)
    episodes = played(samples, prompts, "small x1")
    assert len(episodes) == 12 * 3
    lengths = defaultdict[tuple[str, str, str], set[int]](set)
    for s in samples:
        lengths[s.prompt, s.tier, s.text].add(len(s.tokens))
    for episode in episodes:
        (spent,) = episode.spent.values()
        assert spent.completion_tokens in lengths[episode.prompt, "small", episode.text]
        assert (spent.calls, spent.prompt_tokens, episode.failures) == (1, 10, 0)
        assert episode.latency_s == pytest.approx(10 * 0.001 + spent.completion_tokens * 0.1)


def test_over_many_permutations_every_draw_comes_as_often(prompts: PromptsFile) -> None:
    samples = [
        replace(s, text=f"{s.text} {s.index}")
        for s in samples_of(WORLD, prompts)
        if s.prompt == "q000"
    ]
    asked = replace(prompts, prompts=prompts.prompts[:1])
    episodes = played(samples, asked, "small x1", repeats=400)
    counts = Counter(episode.text.split()[-1] for episode in episodes)
    assert set(counts) == {"0", "1", "2", "3"}
    assert max(counts.values()) < 140


def test_a_permutation_is_the_same_for_all_plans(prompts: PromptsFile) -> None:
    samples = [replace(s, text=f"{s.text} {s.index}") for s in samples_of(WORLD, prompts)]
    plans = ("large x1", "small gate -> large number", "small x1")
    episodes = played(samples, prompts, *plans)
    single, gated = by_repeat(episodes, "large x1"), by_repeat(episodes, plans[1])
    first = by_repeat(episodes, "small x1")
    escalated = [key for key, episode in gated.items() if "large" in episode.spent]
    assert 6 <= len(escalated) <= 30
    for key, episode in gated.items():
        alone = single[key] if key in escalated else first[key]
        assert episode.text == alone.text
        assert "small" in episode.spent


def test_plans_that_are_added_do_not_change_the_others(prompts: PromptsFile) -> None:
    samples = samples_of(WORLD, prompts)
    alone = played(samples, prompts, "large votes <=4")
    among = played(samples, prompts, "small x1", "large x1", "large votes <=4")
    voted = [e for e in among if e.plan == "large votes <=4"]
    assert [replace(e, latency_s=0) for e in voted] == [replace(e, latency_s=0) for e in alone]
    assert [e.latency_s for e in voted] == pytest.approx([e.latency_s for e in alone])


def test_the_seed_decides_everything(prompts: PromptsFile) -> None:
    samples = samples_of(WORLD, prompts)
    one = played(samples, prompts, "small votes <=4 -> large", seed=1)
    assert one == played(samples, prompts, "small votes <=4 -> large", seed=1)
    assert one != played(samples, prompts, "small votes <=4 -> large", seed=2)


def test_a_prompt_with_too_few_draws_is_left_out_whatever_would_have_come_of_it(
    prompts: PromptsFile,
) -> None:
    samples = [
        s for s in samples_of(WORLD, prompts) if (s.prompt, s.tier, s.index) != ("q003", "large", 3)
    ]
    votes = played(samples, prompts, "large votes <=4")
    assert {e.prompt for e in votes} == {f"q{i:03}" for i in range(12)} - {"q003"}
    assert not any(e.failures for e in votes)
    single = played(samples, prompts, "large x1")
    assert {e.prompt for e in single} == {f"q{i:03}" for i in range(12)}


def test_draws_that_were_added_for_hard_prompts_are_no_draws(prompts: PromptsFile) -> None:
    samples = samples_of(WORLD, prompts)
    added = [
        replace(s, index=4 + k, extra=True, right=True, text="The answer is 99.")
        for s in samples
        if s.prompt == "q001" and s.index == 0
        for k in range(8)
    ]
    assert played([*samples, *added], prompts, "small x1") == played(samples, prompts, "small x1")
    assert played([*samples, *added], prompts, "small votes <=8 -> large") == []


def test_a_plan_serves_its_answer_forms_alone(tmp_path: Path) -> None:
    world = replace(WORLD, forms=("number", "choice"))
    asked = prompts_at(tmp_path / "prompts.jsonl", rows_of(world))
    episodes = played(samples_of(world, asked), asked, "small gate -> large number", "small x1")
    served = defaultdict(set)
    for episode in episodes:
        served[episode.plan].add(episode.form)
    assert served == {
        "small gate -> large number": {"number"},
        "small x1": {"number", "choice"},
    }


def test_votes_spend_on_every_sample_and_win_over_a_single_one(prompts: PromptsFile) -> None:
    texts = ["The answer is 5.", "The answer is 5.", "The answer is 5.", "The answer is 6."]
    samples = [
        replace(a_sample(texts[i], tier), prompt=p.id, index=i, message=p.request.text)
        for p in prompts.prompts
        for tier in MODELS
        for i in range(4)
    ]
    episodes = played(samples, prompts, "large votes <=4")
    assert {e.text for e in episodes} == {"The answer is 5."}
    for episode in episodes:
        spent = episode.spent["large"]
        assert 2 <= spent.calls <= 4
        assert spent.completion_tokens == 8 * spent.calls


PROGRAM = "```python\nprint(9 * 3)\n```"
CODE = {
    "id": "twice",
    "task": "code",
    "form": "code",
    "question": "Write a Python function twice(x).\nassert twice(3) == 6",
    "check": {"kind": "tests", "tests": ["assert twice(3) == 6", "assert twice(0) == 0"]},
}
GOOD, BAD = (f"```python\ndef twice(x):\n    return {e}\n```" for e in ("2 * x", "x + 4"))


def test_programs_run_in_a_real_sandbox_and_their_answers_are_graded(tmp_path: Path) -> None:
    rows = [
        {
            "id": "boxes",
            "task": "sums",
            "question": "There are 9 boxes of 3 pens. How many pens are there?",
            "check": {"kind": "exact", "answer": "27"},
        },
        CODE,
    ]
    rows.append(
        rows[0] | {"form": "program", "question": f"{rows[0]['question']}\n\n{PROGRAM_LINE}"}
    )
    prompts = prompts_at(tmp_path / "prompts.jsonl", rows)
    samples = [
        replace(
            a_sample(text, tier),
            prompt=prompt.id,
            form=prompt.form,
            message=prompt.request.text,
            index=index,
        )
        for prompt in prompts.prompts
        for tier in MODELS
        for index in range(2)
        for text in [
            PROGRAM
            if prompt.form == "program"
            else {"boxes": "The answer is 26.", "twice": GOOD if tier == "large" else BAD}[
                prompt.id
            ]
        ]
    ]
    plans = ("small program -> large", "small checked <=1 -> large", "small x1")
    asked = asked_once(prompts.prompts)
    assert [prompt.form for prompt in asked] == ["reasoning", "code"]
    assert [form_of(prompt) for prompt in asked] == ["number", "code"]
    replay = Replay(samples, asked, MODELS, RUNTIMES, 1, 0)

    with recorded_sandbox() as sandbox:
        episodes = run_virtually(
            replayed(replay, lambda _: [SPECS[p] for p in plans], sandbox, lambda *_: None)
        )
    found = {
        (e.prompt, e.plan): (e.right, sorted(e.spent))
        for e in graded(episodes, samples, prompts, BubblewrapConfig())
    }
    assert found == {
        ("boxes", "small program -> large"): (True, ["small"]),
        ("boxes", "small x1"): (False, ["small"]),
        ("twice", "small checked <=1 -> large"): (True, ["large", "small"]),
        ("twice", "small x1"): (False, ["small"]),
    }
    assert len(tried(graded(episodes, samples, prompts, BubblewrapConfig()))) == 4


def test_the_banks_own_grades_are_kept(prompts: PromptsFile) -> None:
    """A check would say otherwise: what a bank says was right is not judged anew."""
    samples = [replace(s, right=True) for s in samples_of(WORLD, prompts)]
    episodes = played(samples, prompts, "small x1", repeats=1)
    found = graded(episodes, samples, prompts, BubblewrapConfig())
    assert all(episode.right for episode in found)
    anew = graded(episodes, [], prompts, BubblewrapConfig())
    truth = {(s.prompt, s.text): s.right for s in samples_of(WORLD, prompts)}
    assert [e.right for e in anew] == [truth[e.prompt, e.text] for e in anew]
    assert not all(episode.right for episode in anew)


def test_no_answer_is_a_wrong_one(prompts: PromptsFile) -> None:
    silent = Episode("q000", "number", "p", 0, "", False, {}, 0.0, 0)
    (found,) = graded([silent], [], prompts, BubblewrapConfig())
    assert found.right is False


def test_a_sandbox_of_its_own_loop_is_stopped_again() -> None:
    with recorded_sandbox() as sandbox:
        ran = run_virtually(sandbox.run("print(6 * 7)"))
        home = sandbox._home
    assert (ran.status, ran.stdout.strip()) == ("ok", "42")
    assert home.is_closed()
