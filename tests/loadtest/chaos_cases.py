"""Requests, journals and faults made by hand, for tests of what judges them."""

from dataclasses import replace
from typing import Any

from loadtest.chaos_checks import Check, Evidence, check_errors
from loadtest.chaos_client import Asked
from loadtest.chaos_faults import Happened
from loadtest.chaos_load import Way, Wish
from loadtest.chaos_schedule import Fault
from loadtest.chaos_text import Reading, read_answer
from loadtest.sent import Sent, digest

ERROR = {"code": "upstream_error", "message": "A worker failed to answer."}


def words(worker: str, number: int, start: int, end: int) -> str:
    """Return some tokens of a generation."""
    return " ".join(f"{worker}.{number}.{place}" for place in range(start, end))


def sent(worker: str = "small0r1", number: int = 0, total: int = 5, **facts: Any) -> Sent:
    """Return a generation that ended in order, begun at 100 s, unless told otherwise."""
    told = {
        "prompt": "q1",
        "before": "",
        "text": words(worker, number, 0, total),
        "begun": 100.0,
        "failure": None,
        "finish_reason": "stop",
        "made": total,
        "end": "finished",
        "ended": 110.0,
        **facts,
    }
    return Sent(worker=worker, number=number, total=total, **told)


def going_on(one: Sent, before: str) -> Sent:
    """Return a generation that went on with a text."""
    return replace(one, before=digest(before), text=f" {one.text}")


def asked(text: str, *, stream: bool = True, **facts: Any) -> Asked:
    """Return a request whose answer ended in order, unless told otherwise."""
    wish = Wish(1, 0.0, "q1", 10, 5, Way(1, "auto", stream), deadline_s=60.0)
    told = {
        "took_s": 5.0,
        "status": 200,
        "finish_reason": "stop",
        "stop_reason": "settled",
        "done": stream,
        "usage": {"completion_tokens": 5, "entroute": {"completion_tokens": 5}},
        **facts,
    }
    return Asked(told.pop("wish", wish), "chaos-1", 100.0, text=text, **told)


def cut_off(text: str, **facts: Any) -> Asked:
    """Return a request that ended with an error."""
    return asked(text, **{"finish_reason": None, "done": False, "error": ERROR, **facts})


def reading(one: Asked, *generations: Sent) -> Reading:
    """Read an answer that these generations may be in."""
    return read_answer(one, {(each.worker, each.number): each for each in generations})


def evidence(one: Asked, *generations: Sent, happened: tuple[Happened, ...] = ()) -> Evidence:
    """Return the evidence of a run of one request."""
    return Evidence([one], {(each.worker, each.number): each for each in generations}, happened)


def paused(worker: str, began: float, ended: float) -> Happened:
    """Return a pause of a worker."""
    return Happened(Fault(0.0, ended - began, "paused", worker), began, ended)


def errors_of(found: Evidence) -> Check:
    """Check the errors of a run."""
    return check_errors(found, found.readings())
