"""One prompt's sampled answers: what stopping rules and agreement cascades draw from."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """The samples of one prompt under one configuration.

    Attributes:
        prompt: Its id; rows that share it are dependent.
        task: The benchmark it belongs to, empty if unsaid.
        model: Who answered, empty if unsaid.
        configuration: How it was asked, as far as the row says.
        answers: The answer class of each sample, None for an unparsable one; at least one.
        correct: Whether each sample is right.
        texts: Text of each class from 0, empty where the row gives none; may be cut.
    """

    prompt: str
    task: str
    model: str
    configuration: str
    answers: tuple[int | None, ...]
    correct: tuple[bool, ...]
    texts: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str | None, ...]:
        """Each sample's answer as text, None if unparsable: what other rows can be compared by."""
        return tuple(
            None
            if answer is None
            else self.texts[answer]
            if answer < len(self.texts)
            else f"class {answer}"
            for answer in self.answers
        )
