"""An answer that changes hands while it is written, whatever the rule of when.

The pen goes from tier to tier. A hand-over cancels the call that writes and has another tier go
on with the answer so far, which costs reading it again (a prefix cache makes that cheap). What
was released is never retracted and never written twice.
"""

from collections.abc import Callable
from contextlib import aclosing

from entroute.evidence import Outcome, Refusal
from entroute.protocols import OutcomeStream, Run, Tier
from entroute.strategies.base import outcome_of
from entroute.strategies.pen import Pen, Rule, Wish
from entroute.strategies.refusals import (
    refuse_choices,
    refuse_pin,
    refuse_tools,
    refuse_verifier,
)
from entroute.types import Delta

_FORMS = frozenset({"grammar", "json_schema", "structured_outputs"})
_MISSING = "it needs two tiers whose workers can go on with a partial answer"


class Switching:
    """Moves one answer between tiers that can go on with it.

    Before a hand-over the writer is heard once more, and what it says is dropped: a token that
    ended the answer (an end of text, a stop string) cannot be told from another by itself.

    Args:
        name: As clients and metrics know it.
        rule: Makes the rule of one run.
        max_hand_overs: Most hand-overs of one answer, at least 1; a smaller tier gets the pen
            only where one is left to take it back, so that the larger one finishes.

    Source: Entropy Adaptive Decoding (2502.06833), with calls in place of steps of a decoder.
    """

    def __init__(self, name: str, rule: Callable[[Run], Rule], max_hand_overs: int) -> None:
        self.name = name
        self._rule = rule
        self._max_hand_overs = max_hand_overs

    def supports(self, run: Run) -> Refusal | None:
        """Refuse what is no one plain answer of a chat, and tiers that cannot go on with one."""
        return (
            refuse_pin(run)
            or refuse_choices(run)
            or refuse_tools(run)
            or refuse_verifier(run)
            or _refuse_text(run)
            or _refuse_form(run)
            or _refuse_tiers(run)
        )

    async def run(self, run: Run) -> Outcome:
        """Answer at once by the streamed rule: workers continue streams only."""
        return await outcome_of(self.stream(run))

    async def stream(self, run: Run) -> OutcomeStream:
        """Release text as it is made, whoever writes it. See `Streams.stream`."""
        pen = Pen(run, self._rule(run), self._max_hand_overs)
        opened = await pen.open()
        while True:
            wish: Wish | None = None
            target: Tier | None = None
            async with aclosing(opened.pieces()) as pieces:
                async for piece in pieces:
                    going_on = isinstance(piece, Delta)  # the writer has not ended
                    if target is not None and going_on and pen.affords(target):
                        break
                    delta = pen.take(piece)
                    if delta is not None:
                        yield delta
                    wish = pen.wish(piece)
                    target = None if wish is None else pen.target(wish)
            if wish is None or target is None:
                break
            taken_over = await pen.hand_over(wish, target)
            if taken_over is None:
                break
            opened = taken_over
        yield pen.outcome(self.name)


def _refuse_tiers(run: Run) -> Refusal | None:
    able = [tier for tier in run.tiers if tier.continues and tier.fits(run.request)]
    return Refusal("entroute.strategy", _MISSING) if len(able) < 2 else None  # noqa: PLR2004


def _refuse_text(run: Run) -> Refusal | None:
    """Refuse text completions, and chats whose last word is the assistant's already."""
    if run.request.prompt is not None:
        return Refusal("prompt", "it works on chats")
    last = run.request.messages[-1] if run.request.messages else {}
    if last.get("role") == "assistant":
        return Refusal("messages", "the last one must not be the assistant's")
    return None


def _refuse_form(run: Run) -> Refusal | None:
    """Refuse a grammar of any kind: an engine would begin it anew in the middle of the answer."""
    for name, value in run.request.extra.items():
        plain = name == "response_format" and value == {"type": "text"}
        constrains = name in _FORMS or name == "response_format" or name.startswith("guided_")
        if constrains and not plain:
            return Refusal(name, "the answer's form cannot be kept across two workers")
    return None
