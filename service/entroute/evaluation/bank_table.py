"""What a bank says at a glance: how good and how long each tier's answers are, task by task."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from rich.table import Table

from entroute.evaluation.samples import Sample


@dataclass(slots=True)
class TaskRow:
    """One tier's samples of one task in one form.

    Attributes:
        task: The benchmark.
        form: How it was asked.
        tier: Who answered.
        prompts: Ids of its prompts.
        samples: Samples, those of hard trials included.
        judged: Samples that are right or wrong, those of hard trials left out.
        right: Of these the right ones.
        tokens: Tokens of all samples.
        seconds: Seconds of all samples, at the load of the recording.
    """

    task: str
    form: str
    tier: str
    prompts: set[str] = field(default_factory=set)
    samples: int = 0
    judged: int = 0
    right: int = 0
    tokens: int = 0
    seconds: float = 0.0

    @property
    def accuracy(self) -> float | None:
        """Share of right ones in [0, 1], None where nothing is judged."""
        return self.right / self.judged if self.judged else None


def task_rows(samples: Iterable[Sample]) -> list[TaskRow]:
    """Return a row for each task, form and tier, in the order of their first samples."""
    rows: dict[tuple[str, str, str], TaskRow] = {}
    for sample in samples:
        key = (sample.task, sample.form, sample.tier)
        row = rows.setdefault(key, TaskRow(*key))
        row.prompts.add(sample.prompt)
        row.samples += 1
        row.tokens += sample.completion_tokens
        row.seconds += sample.latency_s
        if sample.right is not None and not sample.extra:
            row.judged += 1
            row.right += sample.right
    return list(rows.values())


def rendered(rows: Iterable[TaskRow]) -> Table:
    """Return the rows as a table for a terminal; tokens and seconds are means a sample."""
    table = Table("task", "form", "tier")
    for column in ("prompts", "samples", "accuracy", "tokens", "seconds"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            row.task,
            row.form,
            row.tier,
            str(len(row.prompts)),
            str(row.samples),
            "-" if row.accuracy is None else f"{row.accuracy:.3f}",
            f"{row.tokens / row.samples:.0f}",
            f"{row.seconds / row.samples:.1f}",
        )
    return table
