"""Gates: what a model's confidence is worth, and from where on it may be trusted alone."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev

import numpy as np
from scipy.stats import beta
from sklearn.linear_model import LogisticRegression

from entroute.confidence import tail_confidence
from entroute.evaluation.samples import Sample
from entroute.profile.points import Points
from entroute.profile.profile import GateFit
from entroute.strategies.cascade import CascadeConfig
from entroute.strategies.gating import Gate
from entroute.strategies.reasc import SignalProfile

FEWEST = 40
"""Samples that a signal's calibration needs."""

LEVELS = 40
"""Thresholds that risk control walks down."""

_STRICTEST = 0.25  # of the prompts: on fewer, a single error of a good gate ends the test at once
_KNOTS = 9


@dataclass(frozen=True, slots=True)
class Signalled:
    """One sample's signal and whether it was right."""

    prompt: str
    first: bool
    value: float
    right: bool


@dataclass(frozen=True, slots=True)
class Risk:
    """What a gate may risk: error of accepted answers, and the chance that this fails."""

    alpha: float = 0.1
    delta: float = 0.1

    @property
    def fewest(self) -> int:
        """Accepted prompts below which not even no error at all is proof enough."""
        return int(np.ceil(np.log(self.delta) / np.log1p(-self.alpha)))


@dataclass(frozen=True, slots=True)
class Gates:
    """All gates of one bank.

    Attributes:
        points: Calibration of the cascade's gate, by (tier, answer form).
        signals: Each model's confidence over whole answers, for reasc.
        fits: What risk control found.
    """

    points: Mapping[tuple[str, str], Points]
    signals: tuple[SignalProfile, ...]
    fits: tuple[GateFit, ...]


def fit_gates(
    samples: Iterable[Sample],
    forms: Mapping[str, str],
    models: Mapping[str, str],
    risk: Risk,
    rng: np.random.Generator,
) -> Gates:
    """Fit every gate on one half of the prompts and test it on the other.

    Args:
        samples: Graded, of the prompts in `forms`, as clients ask them.
        forms: Answer form by prompt id.
        models: Model by tier.
        risk: What a gate may risk.
        rng: Splits the prompts.
    """
    prompts = sorted(forms)
    fitted = {prompts[i] for i in rng.permutation(len(prompts))[: len(prompts) // 2]}
    windows, tails = _signals(samples, forms)
    points, fits = {}, []
    for (tier, form), seen in sorted(windows.items()):
        curve = calibrated([s for s in seen if s.prompt in fitted])
        if curve:
            points[tier, form] = curve
        tested = [s for s in seen if s.prompt not in fitted]
        fits.append(risk_controlled(tested, risk, (tier, form, "cascade")))
    signals = []
    for tier, seen in sorted(tails.items()):
        tested = [s for s in seen if s.prompt not in fitted]
        found = risk_controlled(tested, risk, (tier, "answers", "reasc"))
        fits.append(found)
        profile = _profile(models[tier], [s.value for s in seen], found.threshold)
        if profile is not None:
            signals.append(profile)
    return Gates(points, tuple(signals), tuple(fits))


def _signals(
    samples: Iterable[Sample], forms: Mapping[str, str]
) -> tuple[dict[tuple[str, str], list[Signalled]], dict[str, list[Signalled]]]:
    """Return the cascade's signal by (tier, form), and reasc's by tier, code left out."""
    windows: dict[tuple[str, str], list[Signalled]] = defaultdict(list)
    tails: dict[str, list[Signalled]] = defaultdict(list)
    first = Gate(CascadeConfig().smoothing, 0.0)
    size = CascadeConfig().window
    for sample in samples:
        if sample.prompt not in forms or sample.right is None or sample.extra:
            continue
        form, tokens = forms[sample.prompt], sample.token_logprobs
        at_start = first.value(tokens[:size])
        if at_start is not None:
            windows[sample.tier, form].append(_signalled(sample, at_start))
        tail = tail_confidence(tokens)
        if tail is not None and form != "code":
            tails[sample.tier].append(_signalled(sample, tail))
    return windows, tails


def _profile(
    model: str, values: Sequence[float], accept_above: float | None
) -> SignalProfile | None:
    """Return what reasc knows of a model, None of too few samples or of such as are all alike."""
    if len(values) < FEWEST or pstdev(values) == 0:
        return None
    return SignalProfile(
        model=model, mean=fmean(values), deviation=pstdev(values), accept_above=accept_above
    )


def _signalled(sample: Sample, value: float) -> Signalled:
    return Signalled(sample.prompt, sample.index == 0, value, bool(sample.right))


def calibrated(seen: Sequence[Signalled]) -> Points:
    """Return the piecewise-linear map from a signal to P(right), empty where there is none.

    A logistic fit at a few quantiles of the signal: below 1,000 prompts an isotonic one would
    follow the noise. Empty, too, where confidence does not rise with being right.
    """
    right = np.array([s.right for s in seen])
    if len(seen) < FEWEST or right.all() or not right.any():
        return ()
    values = np.array([[s.value] for s in seen])
    model = LogisticRegression(C=100.0).fit(values, right)
    if model.coef_[0, 0] <= 0:
        return ()
    knots = np.unique(np.quantile(values, np.linspace(0.01, 0.99, _KNOTS)).round(4))
    chances = model.predict_proba(knots.reshape(-1, 1))[:, 1]
    points = tuple((float(k), round(float(p), 4)) for k, p in zip(knots, chances, strict=True))
    return points if len(points) > 1 and points[0][0] >= 0 and points[-1][0] <= 1 else ()


def risk_controlled(seen: Sequence[Signalled], risk: Risk, what: tuple[str, str, str]) -> GateFit:
    """Return the most permissive threshold whose accepted answers err at most at alpha.

    From the threshold that accepts a quarter of the prompts, and enough of them to prove
    anything, down to ever more permissive ones, until the Clopper-Pearson bound of the error
    first exceeds alpha: testing in a fixed sequence needs no correction. One sample a prompt, so
    that draws are independent.

    Args:
        seen: Prompts that the signal's fit has not seen.
        risk: alpha and delta.
        what: Tier, answer form and strategy, for the record.

    Source: risk control by fixed-sequence testing, as UCCI (2605.18796).
    """
    ordered = sorted((s for s in seen if s.first), key=lambda s: -s.value)
    threshold, accepted, wrong = None, 0, 0
    strictest = max(risk.fewest, round(_STRICTEST * len(ordered)))
    steps = np.unique(np.linspace(strictest, len(ordered), LEVELS).round().astype(int))
    for count in steps[steps <= len(ordered)] if len(ordered) >= risk.fewest else ():
        cut = ordered[count - 1].value
        taken = [s for s in ordered if s.value >= cut]
        errors = sum(not s.right for s in taken)
        if error_bound(errors, len(taken), risk.delta) > risk.alpha:
            break
        threshold, accepted, wrong = cut, len(taken), errors
    tier, form, strategy = what
    return GateFit(
        tier=tier,
        form=form,
        strategy=strategy,
        alpha=risk.alpha,
        delta=risk.delta,
        threshold=threshold,
        accepted=accepted,
        wrong=wrong,
        prompts=len(ordered),
    )


def error_bound(errors: int, trials: int, delta: float) -> float:
    """Return the upper bound of an error rate that fails with probability delta at most.

    Source: Clopper and Pearson (1934).
    """
    return 1.0 if errors >= trials else float(beta.ppf(1 - delta, errors + 1, trials - errors))
