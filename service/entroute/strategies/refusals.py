"""What several strategies cannot honour, each said once."""

from entroute.evidence import Refusal
from entroute.protocols import Run, Sandbox


def refuse_choices(run: Run) -> Refusal | None:
    """Refuse several choices: the strategy picks one answer."""
    return Refusal("n", "it returns one chosen answer") if run.request.n > 1 else None


def refuse_cold(run: Run) -> Refusal | None:
    """Refuse temperature 0, at which all samples are one."""
    cold = run.request.temperature == 0
    return Refusal("temperature", "at 0 all samples are the same") if cold else None


def refuse_pin(run: Run) -> Refusal | None:
    """Refuse a pinned tier: the strategy may leave it."""
    pinned = run.pinned is not None
    return Refusal("model", "it moves between tiers; ask for 'auto'") if pinned else None


def refuse_tools(run: Run) -> Refusal | None:
    """Refuse tools, with which engines send no log-probabilities or take no partial answer."""
    return Refusal("tools", "it works on plain text") if run.request.has_tools else None


def refuse_verifier(run: Run) -> Refusal | None:
    """Refuse a verifier where there is nothing for it to judge."""
    given = run.verifier is not None
    return Refusal("entroute.verifier", "it has no use for a verifier") if given else None


def need_verifier(run: Run) -> Refusal | None:
    """Refuse a request that brings no verifier."""
    missing = run.verifier is None
    return Refusal("entroute.verifier", "it needs one to judge samples by") if missing else None


def refuse_comparing(run: Run) -> Refusal | None:
    """Refuse a verifier that compares candidates: its score of a single one says nothing."""
    given = run.verifier
    if given is None or not given.compares:
        return None
    return Refusal(
        "entroute.verifier",
        f"'{given.name}' compares samples; it takes one that judges each sample on its own",
    )


def need_sandbox(sandbox: Sandbox | None) -> Refusal | None:
    """Refuse to run programs where the operator has switched no sandbox on."""
    off = sandbox is None
    return Refusal("entroute.strategy", "this server has switched no sandbox on") if off else None
