"""When predictions no longer hold: a sequential test whose false-alarm rate holds at all times.

Hypothesis: every label's expectation lies within a tolerance e of its prediction, whatever came
before. A bettor stakes a share l of its capital on a direction h of the residual y - p:

    capital_t = (capital_{t-1} + pi_t) (1 + l (h (y_t - p_t) - e |h|)),  pi_t = u_{t-1} - u_t

with h one of 1 and 2p - 1 (all predictions are off; high and low ones are off in opposite ways)
and their negatives. pi_t is fresh capital for bets that begin at label t, out of what is unspent,
u_t = 1 / (1 + ln(1 + t)): a change is found after ten thousand calm labels too. E_t = u_t + mean
over the bets is a nonnegative supermartingale that starts at 1, so P(E_t >= 1/d for any t) <= d.

Source: betting e-processes, Waudby-Smith and Ramdas (2010.09686), section 4; Ville's inequality
(1939); mixtures over starting times, Shin, Ramdas and Rinaldo (2203.03532), section 3.
"""

from collections import deque
from dataclasses import dataclass, field
from math import log, sqrt
from statistics import fmean, stdev

from entroute.feedback.measures import Scored

_STAKES = (0.1, 0.2, 0.4, 0.8)
_BETS = 4 * len(_STAKES)
_MOST_CAPITAL = 1e200
_CALM = 50
_ONE_SIDED_95 = 1.645


def directions(p: float) -> tuple[float, float, float, float]:
    """Return the ways in which a prediction may be off, each in [-1, 1]."""
    tilt = 2 * p - 1
    return (1.0, -1.0, tilt, -tilt)


@dataclass(slots=True)
class EProcess:
    """Evidence against predictions.

    Attributes:
        tolerance: How far expectation and prediction may differ, in [0, 0.2].
        labels: Labels seen.
        capitals: What each bet has won so far.
    """

    tolerance: float
    labels: int = 0
    capitals: list[float] = field(default_factory=lambda: [0.0] * _BETS)

    @property
    def evidence(self) -> float:
        """The e-value: 1 at the start, at least 1/d with probability d at most while all holds."""
        return _unspent(self.labels) + sum(self.capitals) / _BETS

    def see(self, p: float, y: float) -> None:
        """Bet on one label `y` whose prediction `p` was made without it."""
        fresh = _unspent(self.labels) - _unspent(self.labels + 1)
        self.labels += 1
        residual = y - p
        place = 0
        for direction in directions(p):
            won = direction * residual - self.tolerance * abs(direction)
            for stake in _STAKES:
                capital = (self.capitals[place] + fresh) * (1 + stake * won)
                self.capitals[place] = min(capital, _MOST_CAPITAL)
                place += 1


def _unspent(labels: int) -> float:
    return 1 / (1 + log(1 + labels))


class Drift:
    """Raises an alarm when predictions no longer hold, and takes it back when they do again.

    The alarm stays until the predictions, corrected by what was learned since, are shown to hold:
    over the labels since the alarm the one-sided 95% bound of the mean residual, and of the
    residual tilted by 2p - 1, is below twice the tolerance. That takes evidence, not its absence:
    at a tolerance of .05 some 130 labels whose mean is within .03. The test then begins anew, so
    its false-alarm rate is one of each stretch between alarms.

    Args:
        false_alarms: d, probability of an alarm while all predictions hold, in (0, 1).
        tolerance: How far expectation and prediction may differ, in [0, 0.2].
        window: Labels since an alarm that are looked back on.
    """

    def __init__(self, false_alarms: float, tolerance: float, window: int) -> None:
        self._least = 1 / false_alarms
        self._tolerance = tolerance
        self._since: deque[Scored] = deque(maxlen=window)
        self._test = EProcess(tolerance)
        self._alarm = False

    @property
    def alarm(self) -> bool:
        """Whether predictions are not to be believed now."""
        return self._alarm

    @property
    def log_evidence(self) -> float:
        """Natural logarithm of the e-value; an alarm at ln(1 / d)."""
        return log(self._test.evidence)

    @property
    def test(self) -> EProcess:
        """The test in progress."""
        return self._test

    @property
    def since(self) -> tuple[Scored, ...]:
        """Labels since the alarm, oldest first."""
        return tuple(self._since)

    def see(self, p: float, y: float) -> None:
        """Take one label `y` whose prediction `p` was made without it."""
        if self._alarm:
            self._since.append(Scored(p, y))
            if self._holds_again():
                self._alarm, self._test = False, EProcess(self._tolerance)
                self._since.clear()
            return
        self._test.see(p, y)
        self._alarm = self._test.evidence >= self._least

    def resume(self, test: EProcess, *, alarm: bool, since: tuple[Scored, ...]) -> None:
        """Go on where another process left off."""
        self._test = EProcess(self._tolerance, test.labels, list(test.capitals))
        self._alarm = alarm
        self._since.extend(since)

    def _holds_again(self) -> bool:
        if len(self._since) < min(_CALM, self._since.maxlen or _CALM):
            return False
        plain = [one.y - one.p for one in self._since]
        tilted = [(2 * one.p - 1) * (one.y - one.p) for one in self._since]
        return all(_bound(values) < 2 * self._tolerance for values in (plain, tilted))


def _bound(values: list[float]) -> float:
    """Return the one-sided 95% bound of the absolute mean."""
    return abs(fmean(values)) + _ONE_SIDED_95 * stdev(values) / sqrt(len(values))
