"""What labels teach: corrections, calibration over the last ones, and whether predictions hold."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from entroute.feedback.drift import Drift, EProcess
from entroute.feedback.labels import Label, Window
from entroute.feedback.measures import Measures, Scored, measured
from entroute.feedback.recalibration import MOST_WEIGHT, Recalibration

_GROWTH = 20
"""A fit is renewed when its labels have grown, or turned over, by one in twenty."""


@dataclass(frozen=True, slots=True)
class Learned:
    """All that is worth keeping, as plain values.

    Attributes:
        labels: Every label of the windows, in the order they came.
        tested: Labels that the test in progress has seen.
        capitals: Its capitals.
        alarm: Whether predictions are not to be believed.
        since: Predictions and labels since the alarm.
    """

    labels: tuple[Label, ...] = ()
    tested: int = 0
    capitals: tuple[float, ...] = ()
    alarm: bool = False
    since: tuple[Scored, ...] = ()


class Learner:
    """Learns from labels one by one; the same labels in the same order teach the same.

    Args:
        window: Labels looked back on, a plan and over all plans.
        false_alarms: Probability of a drift alarm while predictions hold.
        tolerance: How far labels and predictions may differ on average before it is drift.
        most_weight: Clip of 1 / propensity.
        told: Called with the new state when the drift alarm is raised or taken back.
    """

    def __init__(
        self,
        window: int,
        false_alarms: float,
        tolerance: float,
        *,
        most_weight: float = MOST_WEIGHT,
        told: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._most = window
        self._most_weight = most_weight
        self._drifting = (false_alarms, tolerance, window)
        self._told = told
        self.forget()

    def forget(self) -> None:
        """Begin anew, as if there had been no label."""
        self._window = Window(self._most)
        self._recalibration = Recalibration(self._most_weight)
        self._drift = Drift(*self._drifting)
        self._new: dict[str, int] = {}  # labels since its last fit, by plan; "" for all plans
        self._scored: tuple[Label, ...] = ()

    @property
    def drift(self) -> Drift:
        """The drift test."""
        return self._drift

    @property
    def latest(self) -> float | None:
        """Seconds since the epoch of the newest label, None without one."""
        return self._scored[-1].at if self._scored else None

    def corrected(self, plan: str, p: float) -> float:
        """Return a plan's P(right) as labels correct it; `p` itself while there are none."""
        return self._recalibration.of(plan).corrected(p)

    def measures(self) -> Measures:
        """Return the calibration of what decisions said, over the last labels of all plans."""
        return measured([Scored(label.served, label.value) for label in self._scored])

    def learn(self, label: Label) -> None:
        """Learn from a label; nothing from one that is known already.

        Drift is tested on the prediction as corrected by earlier labels alone, and on the first
        label of an answer alone: a bet that is decided cannot be taken back.
        """
        held = self._window.find(label)
        if held == label or (held is None and label.replaces):
            return
        if held is None:
            before = self._drift.alarm
            self._drift.see(self.corrected(label.plan, label.predicted), label.value)
            if self._drift.alarm != before:
                self._told(self._drift.alarm)
        self._window.add(label)
        self._scored = self._window.recent
        self._refit_if_due("", self._scored)
        self._refit_if_due(label.plan, self._window.of(label.plan))

    def kept(self) -> Learned:
        """Return what another process can go on from."""
        test = self._drift.test
        return Learned(
            self._window.held(),
            test.labels,
            tuple(test.capitals),
            self._drift.alarm,
            self._drift.since,
        )

    def resume(self, learned: Learned) -> None:
        """Go on from what another process kept."""
        for label in learned.labels:
            self._window.add(label)
        self._scored = self._window.recent
        if len(learned.capitals) == len(self._drift.test.capitals):
            test = EProcess(0.0, learned.tested, list(learned.capitals))
            self._drift.resume(test, alarm=learned.alarm, since=learned.since)
        self._recalibration.fit_shared(self._scored)
        for plan in self._window.plans:
            self._recalibration.fit_plan(plan, self._window.of(plan))

    def _refit_if_due(self, plan: str, labels: Sequence[Label]) -> None:
        self._new[plan] = self._new.get(plan, 0) + 1
        if self._new[plan] * _GROWTH < len(labels):
            return
        self._new[plan] = 0
        if plan:
            self._recalibration.fit_plan(plan, labels)
            return
        self._recalibration.fit_shared(labels)
        self._recalibration.keep_only(self._window.plans)
        self._new = {name: self._new.get(name, 0) for name in ("", *self._window.plans)}
