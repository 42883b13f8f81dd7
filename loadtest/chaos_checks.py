"""What must hold after a chaos run; every check says what it saw and whether it holds."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loadtest.chaos_client import Asked
from loadtest.chaos_faults import Happened
from loadtest.chaos_text import Reading, SentBy, read_answer, tokens_of
from loadtest.sent import Sent

_CUT = frozenset({"reset", "close", "malformed", "truncated", "killed"})
_SLOW = frozenset({"stall", "trickle"})


@dataclass(frozen=True, slots=True)
class Check:
    """One claim, whether it holds, what was counted, and what speaks against it."""

    claim: str
    holds: bool
    seen: str
    against: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a run left: its requests, what workers sent, what was broken."""

    asked: Sequence[Asked]
    sent: SentBy
    happened: Sequence[Happened]

    def readings(self) -> dict[str, Reading]:
        """Return every answer taken apart, by request id."""
        return {asked.id: read_answer(asked, self.sent) for asked in self.asked}


def check_text(evidence: Evidence, readings: Mapping[str, Reading]) -> Check:
    """Check that delivered text is what workers sent, from the beginning, once, unmixed."""
    wrong = [f"{name}: {reading.wrong}" for name, reading in readings.items() if reading.wrong]
    tokens = sum(tokens_of(asked.text) for asked in evidence.asked)
    whole = sum(asked.whole for asked in evidence.asked)
    several = sum(len(reading.stretches) > 1 for reading in readings.values())
    return Check(
        "text is an exact prefix of what its workers sent, all of it where it ended in order",
        not wrong,
        f"{len(evidence.asked)} requests, {whole} whole answers, {several} of several workers, "
        f"{tokens} tokens; {len(wrong)} wrong",
        tuple(wrong),
    )


def check_ends(evidence: Evidence) -> Check:
    """Check that every answer ends in order, with an error told, or because its client left."""
    wrong = [problem for asked in evidence.asked for problem in _end_of(asked)]
    streams = [asked for asked in evidence.asked if asked.wish.way.stream]
    told = sum(asked.error is not None and asked.status == 200 for asked in streams)
    return Check(
        "every stream ends with a finish reason and [DONE], or with an error event",
        not wrong,
        f"{len(streams)} streams: {sum(asked.whole for asked in streams)} in order, {told} with an "
        f"error event, {sum(asked.left for asked in streams)} left by their clients",
        tuple(wrong),
    )


def _end_of(asked: Asked) -> list[str]:
    problems = [f"{asked.id}: {odd}" for odd in asked.odd]
    if asked.left:
        return problems
    if asked.broken:
        problems.append(f"{asked.id}: {asked.broken}")
    elif asked.error is not None and (asked.done or asked.finish_reason):
        problems.append(f"{asked.id}: an error and an end in order")
    elif asked.error is None and not asked.whole:
        problems.append(f"{asked.id}: it stopped without an end")
    return problems


def check_errors(evidence: Evidence, readings: Mapping[str, Reading]) -> Check:
    """Check that clients see no error but those of streams that broke under them.

    Excused is the error of a streamed answer of which text was delivered, where the generation of
    that text was cut by its worker (killed, reset, closed, malformed, truncated), or stalled,
    dribbled or was paused while the request was open. Not counted are deadlines that clients set.
    """
    failed = [asked for asked in evidence.asked if asked.failed]
    hurried = [asked for asked in failed if _own_deadline(asked)]
    errors = [asked for asked in failed if not _own_deadline(asked)]
    excused = [a for a in errors if _excused(a, readings[a.id], evidence.happened)]
    known = {asked.id for asked in excused}
    caught_up = [
        a for a in excused if not _faulty(readings[a.id].stretches[-1].sent, evidence.happened)
    ]
    cut = _cut_streams(evidence) + len(caught_up)
    codes = Counter(asked.code for asked in errors)
    told = ", ".join(f"{count} {code}" for code, count in codes.most_common()) or "none"
    return Check(
        "errors are those of streams that were cut off in their middle",
        len(known) == len(errors) and len(errors) <= cut,
        f"{len(errors)} errors ({told}) for {cut} generations that faults cut off, {len(excused)} "
        f"excused; besides, {len(hurried)} at deadlines that clients set",
        tuple(_described(asked) for asked in errors if asked.id not in known),
    )


def _own_deadline(asked: Asked) -> bool:
    """Whether the client's own deadline passed, and it was told so."""
    return asked.hurried and asked.code == "deadline_exceeded"


def _excused(asked: Asked, reading: Reading, happened: Sequence[Happened]) -> bool:
    if not (asked.wish.way.stream and asked.error is not None and reading.stretches):
        return False
    sent = reading.stretches[-1].sent
    # A paused worker that goes on may write its last tokens to a connection that has been left.
    return _faulty(sent, happened) or _paused(sent, happened)


def _faulty(sent: Sent, happened: Sequence[Happened]) -> bool:
    """Whether a fault broke a generation off, or held it up."""
    if sent.end in _CUT:
        return True
    return sent.end != "finished" and (sent.failure in _SLOW or _paused(sent, happened))


def _paused(sent: Sent, happened: Sequence[Happened]) -> bool:
    worker = sent.worker.rpartition("r")[0]
    return any(
        one.fault.kind == "paused"
        and one.fault.target == worker
        and one.began < sent.ended
        and sent.begun < one.ended
        for one in happened
    )


def _cut_streams(evidence: Evidence) -> int:
    return sum(_faulty(sent, evidence.happened) for sent in evidence.sent.values())


def _described(asked: Asked) -> str:
    way = asked.wish.way
    kind = "stream" if way.stream else "plain"
    body = asked.error or asked.broken or "no end"
    return (
        f"{asked.id} at {asked.begun:.1f} after {asked.took_s:.2f} s: {kind} {way.model} "
        f"{way.options.get('strategy', '')} status {asked.status}, {tokens_of(asked.text)} tokens: "
        f"{body}"
    )


def check_deadlines(evidence: Evidence, grace_s: float) -> Check:
    """Check that no request outlives its deadline by more than a grace."""
    over = {asked.id: asked.took_s - asked.wish.deadline_s for asked in evidence.asked}
    worst = max(over.values(), default=0.0)
    late = [f"{name}: {by:.2f} s over" for name, by in over.items() if by > grace_s]
    longest = max((asked.took_s for asked in evidence.asked), default=0.0)
    return Check(
        f"nothing outlives its deadline by more than {grace_s:g} s",
        not late,
        f"the longest took {longest:.1f} s; the worst ended {worst:+.2f} s from its deadline",
        tuple(late),
    )
