"""What happens to outcome labels: found their answer, learned from, kept."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b

from entroute.errors import ConfigurationError
from entroute.evidence import Trace
from entroute.feedback.decided import Decided, DecidedMemory, Missing, decided_by
from entroute.feedback.labels import LABEL_RESULTS, MOST_CHANGES, LabelResult, label_of
from entroute.feedback.learning import Learner
from entroute.feedback.measures import Measures
from entroute.feedback.storage import Keeper

_LOG = logging.getLogger(__name__)
_DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class Origin:
    """Which profile the predictions come from.

    Attributes:
        name: Names its content, "" when there is no profile.
        made_s: Seconds since the epoch at which it was made, None when not known.
    """

    name: str = ""
    made_s: float | None = None

    @classmethod
    def of(cls, profile: str, made_at: str) -> "Origin":
        """Return the origin of a profile.

        Args:
            profile: Its content.
            made_at: Day or time it was made, ISO 8601; UTC unless it says otherwise.

        Raises:
            ConfigurationError: That is no such time.
        """
        try:
            made = datetime.fromisoformat(made_at)
        except ValueError as error:
            raise ConfigurationError(f"profile: made.at: {error}") from error
        name = blake2b(profile.encode(), digest_size=8).hexdigest()
        return cls(name, (made if made.tzinfo else made.replace(tzinfo=UTC)).timestamp())


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a label.

    Attributes:
        result: accepted, replaced or no_plan: it was taken; else it was not.
        plan: Plan that made the answer, "" where none did.
    """

    result: LabelResult
    plan: str = ""

    @property
    def accepted(self) -> bool:
        """Whether the label was taken."""
        return self.result in {"accepted", "replaced", "no_plan"}


@dataclass(frozen=True, slots=True)
class Rules:
    """How labels are used.

    Attributes:
        ttl_s: Seconds an answer can be labelled; without a label for as long, no audits.
        audit_share: Share of requests whose plan chance draws while labels come, in [0, 1).
        max_age_days: Days after which a profile is stale, None for never.
    """

    ttl_s: float
    audit_share: float
    max_age_days: float | None


class Feedback:
    """Takes labels, and says what they make of the profile's predictions.

    A recorder of traces, and the corrections of the policy.

    Args:
        rules: How labels are used.
        origin: Which profile predicts.
        answers: Recent answers of this process.
        learner: Learns from labels.
        keeper: Keeps them beyond this process.
        wall: Seconds since the epoch.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - composed in one place
        self,
        rules: Rules,
        origin: Origin,
        answers: DecidedMemory,
        learner: Learner,
        keeper: Keeper,
        wall: Callable[[], float],
    ) -> None:
        self._rules = rules
        self._origin = origin
        self._answers = answers
        self._learner = learner
        self._keeper = keeper
        self._wall = wall
        self._counts: dict[str, int] = dict.fromkeys(LABEL_RESULTS, 0)
        self._labelled_at: float | None = None

    async def start(self) -> None:
        """Learn what was kept."""
        await self._keeper.start()

    async def close(self) -> None:
        """Keep what is not kept yet."""
        await self._keeper.close()

    def follow(self, origin: Origin) -> None:
        """Predict by another profile from now on; labels about the one before teach nothing."""
        if origin.name != self._origin.name:
            self._learner.forget()
            self._keeper.follow(origin.name)
        self._origin = origin

    def record(self, trace: Trace) -> None:
        """Remember what a finished request decided, if it was answered."""
        decided = decided_by(trace, self._origin.name, self._wall())
        if decided is not None:
            self._answers.put(decided)
            self._keeper.remember(decided)

    async def label(self, request_id: str, tenant: str, value: float) -> Receipt:
        """Take a label.

        Args:
            request_id: Of the answer.
            tenant: Who labels; must be who was answered.
            value: How right the answer was, in [0, 1].
        """
        found = await self._find(request_id, tenant)
        if not isinstance(found, Decided):
            return self._counted(found)
        changed = found.label not in {None, value}
        if changed and found.changes >= MOST_CHANGES:
            return self._counted("invalid", found.plan)
        label = label_of(found, value, self._wall(), self._origin.name)
        labelled = found.labelled(value)
        self._answers.update(labelled)
        self._labelled_at = self._wall()
        await self._keeper.keep(labelled, label)
        if label is None:
            return self._counted("no_plan", found.plan)
        self._learner.learn(label)
        return self._counted("accepted" if found.label is None else "replaced", found.plan)

    def refused(self) -> None:
        """Count a label that could not be read."""
        self._counted("invalid")

    def corrected(self, plan: str, p: float) -> float:
        """Return a plan's P(right) in [0, 1] as labels correct the profile's `p`."""
        return self._learner.corrected(plan, p)

    @property
    def stale(self) -> str | None:
        """Why the profile can no longer be believed, or None."""
        if self.drifted:
            return "outcome labels show that its predictions no longer hold (drift)"
        made, most = self._origin.made_s, self._rules.max_age_days
        if made is not None and most is not None and self._wall() - made > most * _DAY_S:
            return f"it is older than feedback.max_age_days ({most:g})"
        return None

    @property
    def audit_share(self) -> float:
        """Share of requests whose plan chance draws now; 0 while no labels come.

        Any label counts, also of an answer that teaches nothing: while the profile is stale only
        audited answers teach, and there are none without audits.
        """
        times = (self._learner.latest, self._labelled_at)
        latest = max((at for at in times if at is not None), default=None)
        if latest is None or self._wall() - latest > self._rules.ttl_s:
            return 0.0
        return self._rules.audit_share

    @property
    def counts(self) -> Mapping[str, int]:
        """Labels so far by what became of them."""
        return dict(self._counts)

    @property
    def drifted(self) -> bool:
        """Whether the drift alarm is on."""
        return self._learner.drift.alarm

    @property
    def drift_evidence(self) -> float:
        """Natural logarithm of the drift test's e-value."""
        return self._learner.drift.log_evidence

    @property
    def store_failures(self) -> int:
        """How often labels or answers could not be kept beyond this process."""
        return self._keeper.failures

    def measures(self) -> Measures:
        """Return the calibration of what decisions said, over the last labels."""
        return self._learner.measures()

    async def _find(self, request_id: str, tenant: str) -> Decided | Missing:
        """Return the newest answer of this id that the tenant was given, here or elsewhere."""
        here = self._answers.find(request_id, tenant)
        there = await self._keeper.find(request_id, tenant)
        if not isinstance(here, Decided):
            return there if isinstance(there, Decided) or there == "foreign" else here
        if isinstance(there, Decided) and _later(there, here):
            return there
        return here

    def _counted(self, result: LabelResult, plan: str = "") -> Receipt:
        self._counts[result] += 1
        return Receipt(result, plan)


def _later(one: Decided, other: Decided) -> bool:
    """Whether an answer is newer, or the same with more labels."""
    labelled = (one.label is not None, one.changes) > (other.label is not None, other.changes)
    return one.at > other.at or (one.at == other.at and labelled)


def told(drifted: bool) -> None:  # noqa: FBT001 - the state itself
    """Log that the drift alarm was raised or taken back."""
    if drifted:
        _LOG.warning(
            "drift: outcome labels show that the profile's predictions no longer hold, even "
            "corrected; make a new one with `entroute calibrate`"
        )
    else:
        _LOG.info("drift: the corrected predictions hold again")
