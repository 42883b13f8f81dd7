"""What must hold once a chaos run is over: all well again, reloads counted, nothing in the log."""

from collections.abc import Sequence
from pathlib import Path

from loadtest.chaos_checks import Check
from loadtest.chaos_client import Asked
from loadtest.chaos_faults import Happened
from loadtest.chaos_usage import Series, summed


def all_well(series: Series) -> bool:
    """Whether every worker is up and every breaker closed."""
    up = [value for name, _, value in series if name == "worker_up"]
    breakers = [value for name, _, value in series if name == "worker_breaker_state"]
    return bool(up) and all(up) and not any(breakers)


def check_recovery(final: Sequence[Asked], after: Series) -> Check:
    """Check that all is well again and a last batch is answered."""
    whole = sum(asked.whole for asked in final)
    well = all_well(after)
    return Check(
        "afterwards all workers are up, breakers closed and every request is answered",
        well and whole == len(final) > 0,
        f"{whole} of {len(final)} answered; "
        + ("all workers up, breakers closed" if well else "NOT all workers up, breakers closed"),
        tuple(f"{asked.id}: {asked.code} {asked.error}" for asked in final if not asked.whole),
    )


def check_log(log: Path) -> Check:
    """Check that the gateway's log holds no exception that nobody handled."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    odd = [line for line in lines if "Traceback" in line or "never retrieved" in line]
    return Check(
        "the gateway's log has no traceback",
        not odd,
        f"{len(lines)} lines, {len(odd)} tracebacks",
        tuple(line[:300] for line in odd),
    )


def check_reloads(happened: Sequence[Happened], before: Series, after: Series) -> Check:
    """Check that good configurations took over and bad ones did not.

    Two that come while one is being read are read as one, so there may be fewer than were asked.
    """
    kinds = [one.fault.kind for one in happened]
    good, bad = kinds.count("reload"), kinds.count("reload of a bad file")
    applied, refused = (
        summed(after, "reloads_total", result=result)
        - summed(before, "reloads_total", result=result)
        for result in ("applied", "refused")
    )
    return Check(
        "good configurations took over, bad ones were refused",
        min(good, 1) <= applied <= good and min(bad, 1) <= refused <= bad,
        f"{applied:.0f} of {good} good ones took over, {refused:.0f} of {bad} bad ones refused",
    )
