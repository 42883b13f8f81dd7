"""What one generation request is told: its plans, how far it came, and a line in the journal."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from loadtest.asking import Ask
from loadtest.describing import Describer
from loadtest.engine import Engine, Progress
from loadtest.failures import Failure
from loadtest.generation import Plan
from loadtest.sent import End, SentJournal


@dataclass(slots=True)
class Told:
    """One request: what it is told, how much of it was made, how it ended ("left" until then)."""

    plans: list[Plan]
    progress: Progress = field(default_factory=Progress)
    end: End = "left"


class Telling:
    """Lays out answers as the script says, and keeps a journal of those that describe themselves.

    Args:
        describer: Makes them.
        journal: Keeps what is sent.
    """

    def __init__(self, describer: Describer, journal: SentJournal) -> None:
        self._describer = describer
        self._journal = journal

    @contextmanager
    def of(self, ask: Ask, engine: Engine, failure: Failure | None) -> Iterator[Told]:
        """Lay out a request's answers; the journal is told when they begin and end."""
        script, choosing = engine.script, engine.choosing
        if not script.described:
            yield Told(
                ask.plans(
                    script, lambda: choosing.next_answer(ask.last_user_message, tools=ask.tools)
                )
            )
            return
        described = [
            self._describer.described(ask, script, self._ending(ask, engine))
            for _ in range(ask.n * len(ask.prompts))
        ]
        for one in described:
            self._journal.begun(one, failure.kind if failure else None)
        told = Told([one.plan for one in described])
        try:
            yield told
        finally:
            for one in described:  # tokens are shared out evenly: samples take turns
                made = min(len(one.plan.steps), told.progress.made // len(described))
                self._journal.ended(one, made, told.end)

    @staticmethod
    def _ending(ask: Ask, engine: Engine) -> str:
        if not any(rule.contains in ask.last_user_message for rule in engine.script.rules):
            return ""
        return engine.choosing.next_answer(ask.last_user_message, tools=False).text
