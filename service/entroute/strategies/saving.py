"""What stopping early saved."""

from entroute.protocols import Run
from entroute.strategies.drawing import Draw


def saved_tokens(run: Run, draw: Draw) -> dict[str, int]:
    """Estimate the completion tokens that stopping early saved, by reason.

    A sample that was cut off would have gone on to the mean length of the finished ones, and so
    would each sample that the rule allowed and nobody began.
    """
    if draw.stop not in {"settled", "confident", "verified"} or not draw.done:
        return {}
    mean = sum(sample.usage.completion_tokens for sample in draw.done) / len(draw.done)
    ended = {sample.call_id for sample in draw.done} | draw.failed | draw.unread
    open_calls = {call.id for call in draw.calls} - ended
    sent = [
        charge.usage.completion_tokens
        for charge in run.ledger.charges
        if charge.call_id in open_calls
    ]
    cancelled = sum(max(0.0, mean - tokens) for tokens in sent)
    undrawn = mean * (draw.most - len(draw.calls))
    saved = {"cancelled": round(cancelled), "undrawn": round(undrawn)}
    return {reason: tokens for reason, tokens in saved.items() if tokens}
