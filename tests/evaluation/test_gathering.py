import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from entroute.errors import ConfigurationError
from entroute.evaluation.bank import BankHeader, read_bank, summarised, write_bank
from entroute.evaluation.gathering import FEWEST_OF_A_KIND, gathered
from entroute.evaluation.prompts_file import read_prompts
from entroute.evaluation.samples import Sample
from tests.evaluation.banks import HEADER, MODELS, World, a_bank, rows_of, samples_of
from tests.evaluation.recorded import prompts_at

Change = Callable[[Sample], Sample | None]


def refused(*banks: Path, prompts: Path) -> str:
    with pytest.raises(ConfigurationError) as error:
        gathered(banks, read_prompts(prompts))
    return str(error.value)


def rewritten(path: Path, change: Change, header: BankHeader = HEADER) -> Path:
    """Write a bank anew with some of its samples changed, or left out where None."""
    other = path.with_name("other.jsonl.gz")
    changed = [change(sample) for sample in read_bank(path)]
    write_bank(other, header, [sample for sample in changed if sample is not None])
    return other


def test_a_bank_is_read_prompt_by_prompt(tmp_path: Path) -> None:
    world = World(forms=("number", "choice"))
    bank, prompts = a_bank(tmp_path, world)
    found = gathered([bank], read_prompts(prompts))
    assert found.models == MODELS
    assert found.questions.ids == tuple(f"q{i:03}" for i in range(120))
    assert found.questions.forms[:4] == ("number", "number", "choice", "choice")
    assert len(found.samples) == 120 * 2 * 4
    samples = samples_of(world, read_prompts(prompts))
    mine = [s.right for s in samples if (s.prompt, s.tier) == ("q007", "large")]
    assert found.right["large"][7] == np.mean([bool(right) for right in mine])
    lengths = [s.completion_tokens for s in samples if s.prompt == "q007"]
    assert found.lengths[7] == pytest.approx(np.mean(lengths))
    assert set(found.digests) == {"bank.jsonl.gz"}


def test_draws_that_were_added_for_hard_prompts_move_no_share_and_no_length(tmp_path: Path) -> None:
    bank, prompts = a_bank(tmp_path)
    plain = gathered([bank], read_prompts(prompts))

    def added(sample: Sample) -> Sample | None:
        return replace(sample, index=9, extra=True, right=True, completion_tokens=500)

    more = tmp_path / "more.jsonl.gz"
    write_bank(more, HEADER, [s for x in read_bank(bank) if (s := added(x)) and x.index == 0])
    both = gathered([bank, more], read_prompts(prompts))
    assert (both.right, both.lengths) == (plain.right, plain.lengths)
    assert len(both.samples) == len(plain.samples) + 240


def test_prompts_that_a_tier_has_no_graded_sample_of_are_left_out(tmp_path: Path) -> None:
    bank, prompts = a_bank(tmp_path)

    def change(sample: Sample) -> Sample | None:
        if (sample.prompt, sample.tier) == ("q003", "large"):
            return None
        return replace(sample, right=None) if sample.prompt == "q004" else sample

    found = gathered([rewritten(bank, change)], read_prompts(prompts))
    assert len(found.prompts) == 118
    assert not {"q003", "q004"} & set(found.questions.ids)
    assert {s.prompt for s in found.samples} == set(found.questions.ids)


def test_too_little_is_refused_with_how_much_is_missing(tmp_path: Path) -> None:
    bank, prompts = a_bank(tmp_path, World(count=93))
    assert refused(bank, prompts=prompts) == (
        f"{bank}: 93 prompts ask for an answer of a known form and have a graded sample of every "
        "tier; a profile needs 100, so 7 more: record them with `entroute bank`"
    )


def test_prompts_whose_answers_nothing_can_compare_are_not_enough(tmp_path: Path) -> None:
    world = World(count=110)
    rows = rows_of(world)
    for row in rows[:20]:
        row["question"] = f"Tell me about {row['id']}."
    prompts = prompts_at(tmp_path / "prompts.jsonl", rows)
    bank = tmp_path / "bank.jsonl.gz"
    write_bank(bank, HEADER, samples_of(world, prompts))
    assert "90 prompts ask for an answer of a known form" in refused(bank, prompts=prompts.path)


@pytest.mark.parametrize(("chance", "what"), [((1.0, 1.0), "wrong"), ((0.0, 0.0), "right")])
def test_labels_of_one_kind_are_refused_with_how_many_are_missing(
    tmp_path: Path, chance: tuple[float, float], what: str
) -> None:
    bank, prompts = a_bank(tmp_path, World(chances=((0.95, 0.05), chance)))
    message = refused(bank, prompts=prompts)
    assert f"tier 'large' answers only 0 prompts {what}" in message
    assert f"needs {FEWEST_OF_A_KIND}, so {FEWEST_OF_A_KIND} more" in message


def test_a_summary_is_refused(tmp_path: Path) -> None:
    bank, prompts = a_bank(tmp_path)
    brief = tmp_path / "brief.jsonl.gz"
    summarised(read_bank(bank), brief)
    assert refused(brief, prompts=prompts) == (
        f"{brief}: is a summary: it holds no tokens to replay plans on; give the full bank"
    )


@pytest.mark.parametrize(
    ("what", "header"),
    [
        ("temperature", replace(HEADER, temperature=1.0)),
        ("engine", replace(HEADER, engine="another")),
        ("tiers", replace(HEADER, tiers={"small": "small-model", "large": "huge-model"})),
    ],
)
def test_banks_that_do_not_belong_together_are_refused(
    tmp_path: Path, what: str, header: BankHeader
) -> None:
    bank, prompts = a_bank(tmp_path)
    other = rewritten(bank, lambda s: replace(s, index=s.index + 4), header)
    message = refused(bank, other, prompts=prompts)
    assert message.startswith(f"{other}: {what} is ")
    assert message.endswith("calibrate them apart")


def test_banks_that_belong_together_are_read_as_one(tmp_path: Path) -> None:
    bank, prompts = a_bank(tmp_path)
    other = rewritten(bank, lambda s: replace(s, index=s.index + 4))
    assert len(gathered([bank, other], read_prompts(prompts)).samples) == 2 * 120 * 2 * 4


def test_a_bank_that_is_given_twice_is_refused(tmp_path: Path) -> None:
    bank, prompts = a_bank(tmp_path)
    assert refused(bank, bank, prompts=prompts) == (
        f"{bank}: sample 0 of 'q000' (reasoning) by 'small' is in another bank, too; give each "
        "bank once"
    )


def test_prompts_that_ask_something_else_are_refused(tmp_path: Path) -> None:
    bank, _ = a_bank(tmp_path)
    rows = rows_of(World())
    rows[5]["question"] += " Please."
    prompts = prompts_at(tmp_path / "others.jsonl", rows)
    assert refused(bank, prompts=prompts.path).startswith(
        f"{prompts.path}: 'q005' (reasoning) asks something else than the bank"
    )


@pytest.mark.parametrize("keep", [0.5, 0.999])
def test_a_bank_that_was_cut_off_in_mid_write_is_refused(tmp_path: Path, keep: float) -> None:
    bank, prompts = a_bank(tmp_path)
    whole = bank.read_bytes()
    bank.write_bytes(whole[: int(len(whole) * keep)])
    assert "cut off" in refused(bank, prompts=prompts)
    text = tmp_path / "bank.jsonl"
    text.write_bytes(gzip.decompress(whole)[: int(len(gzip.decompress(whole)) * keep)])
    assert "cut off in mid-write" in refused(text, prompts=prompts)
