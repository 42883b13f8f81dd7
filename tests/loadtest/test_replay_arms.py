"""What the arms of a replay know of a model before it answers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from entroute.evaluation.bank import Sample
from loadtest.grading_cache import Grades
from loadtest.replay import Replay, profiles_of
from loadtest.replay_arms import profile_of
from loadtest.tasks import Prompt
from tests.loadtest.banks import number, sample
from tests.loadtest.puzzles import sums


def surely(prompt: Prompt, *, right: int, wrong: int) -> list[Sample]:
    """Return samples, the surest first: the right ones, then the wrong ones."""
    texts = [number(int(prompt.row["answer"]))] * right + [number(99)] * wrong
    return [sample(prompt, text, top=(-0.1, -9.0 + 0.1 * i)) for i, text in enumerate(texts)]


def test_a_folds_profile_does_not_know_its_own_prompts(tmp_path: Path) -> None:
    prompts = sums(4)
    samples = [s for prompt in prompts for s in surely(prompt, right=12, wrong=4)]
    even = [s for s in samples if s.prompt in {"g0", "g2"}]
    odd = [s for s in samples if s.prompt in {"g1", "g3"}]
    grades = Grades(tmp_path / "grades.json")

    def profiles(bank: list[Sample]) -> list[Any]:
        return profiles_of(Replay(bank, prompts, (), 1, 0), grades)

    both = profiles(samples)
    assert [len(profile) for profile in both] == [1, 1]
    # Prompts of even places are in fold 0: its profile is the one that the others alone give.
    assert profiles(odd) == [both[0], []]
    assert profiles(even) == [[], both[1]]
    # Whatever becomes of fold 0's own samples, its profile stays, and the other fold's moves.
    tops = [((-0.1, -5.0 + 0.1 * i),) * 8 for i in range(len(even))]
    changed = [replace(s, text=number(98), top=top) for s, top in zip(even, tops, strict=True)]
    again = profiles([*changed, *odd])
    assert again[0] == both[0]
    assert again[1] != both[1]


def test_samples_of_other_tiers_forms_and_prompts_are_not_in_a_profile(tmp_path: Path) -> None:
    prompts = sums(2)
    samples = [s for prompt in prompts for s in surely(prompt, right=20, wrong=4)]
    foreign = [replace(s, tier="large") for s in samples]
    foreign += [replace(s, form="program") for s in samples]
    foreign += [replace(s, prompt="unknown") for s in samples]
    grades = Grades(tmp_path / "grades.json")
    with_foreign = profiles_of(Replay([*foreign, *samples], prompts, (), 1, 0), grades)
    assert with_foreign == profiles_of(Replay(samples, prompts, (), 1, 0), grades)


def test_a_gate_opens_where_enough_sure_samples_are_right() -> None:
    prompt = sums(1)[0]
    samples = surely(prompt, right=24, wrong=12)
    right = {(s.prompt, s.text): s.text == number(0) for s in samples}
    (profile,) = profile_of(samples, right, model="small-model", accuracy=0.8)
    # 24 right of 30 are the last 80 %: the gate admits six wrong ones.
    (least,) = profile_of(samples[:30], right, model="small-model", accuracy=0.8)
    assert profile.accept_above == least.accept_above is not None
    (shut,) = profile_of(samples[24:] * 2, right, model="small-model", accuracy=0.8)
    assert shut.accept_above is None
    assert profile_of(samples[:19], right, model="small-model", accuracy=0.8) == []


def test_samples_of_one_confidence_open_the_gate_together_or_not_at_all() -> None:
    prompt = sums(1)[0]
    alike = [sample(prompt, text, top=(-0.1, -5.0)) for text in [number(0)] * 20 + [number(9)] * 20]
    surer = [sample(prompt, number(0), top=(-0.1, -8.0)) for _ in range(4)]
    right = {("g0", number(0)): True, ("g0", number(9)): False}
    (profile,) = profile_of([*surer, *alike], right, model="small-model", accuracy=0.8)
    assert profile.accept_above is None
    assert profile_of(alike, right, model="small-model", accuracy=0.8) == []
