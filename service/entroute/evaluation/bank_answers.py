"""A bank as rows of sampled answers, so that stopping rules can be replayed on it."""

from collections import defaultdict
from pathlib import Path

from entroute.evaluation.answer_rows import AnswerRow
from entroute.evaluation.bank import read_bank
from entroute.evaluation.samples import Sample


def is_bank(first_line: bytes) -> bool:
    """Whether a file's first line is a bank's header."""
    return b'"schema"' in first_line and b"entroute-bank" in first_line


def bank_rows(path: Path) -> list[AnswerRow]:
    """Return one row a prompt, form and tier; draws added for hard prompts are left out.

    Answers that nothing could judge are left out, too. A summary will do.

    Raises:
        ConfigurationError: As `read_bank`.
    """
    groups: dict[tuple[str, str, str], list[Sample]] = defaultdict(list)
    for sample in read_bank(path):
        if sample.right is not None and not sample.extra:
            groups[sample.tier, sample.prompt, sample.form].append(sample)
    return [_row(sorted(samples, key=lambda s: s.index)) for samples in groups.values()]


def _row(samples: list[Sample]) -> AnswerRow:
    texts = list(dict.fromkeys(s.answer for s in samples if s.answer is not None))
    first = samples[0]
    return AnswerRow(
        prompt=first.prompt,
        task=first.task,
        model=first.tier,
        configuration=first.form,
        answers=tuple(None if s.answer is None else texts.index(s.answer) for s in samples),
        correct=tuple(bool(s.right) for s in samples),
        texts=tuple(texts),
    )
