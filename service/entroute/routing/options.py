"""Plans as options of one request: their order, and how `explain` tells of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from entroute.decisions import Basis, RankedPlan
from entroute.ledger import Ledger
from entroute.profile.plans import Plan


@dataclass(frozen=True, slots=True)
class Option:
    """A plan for one request.

    Attributes:
        plan: The plan.
        profile_p: Probability of a right answer as the profile has it, in [0, 1].
        p: The same, corrected by labels of traffic.
        cost: Expected cost; unit: one mean answer of the largest tier.
        usd: The same in US dollars.
        p95_s: 95th percentile of its latency, in seconds.
    """

    plan: Plan
    profile_p: float
    p: float
    cost: float
    usd: float
    p95_s: float


@dataclass(frozen=True, slots=True)
class Audit:
    """Whether chance decides, so that labels tell of plans that were not the best.

    Attributes:
        share: Share of requests whose plan chance draws, in [0, 1).
        drawn: Whether this is one of them.
        alone: Whether only audits get a plan, because the profile is not believed.
    """

    share: float
    drawn: bool
    alone: bool

    def propensity(self, plans: int, *, best: bool) -> float:
        """Return the probability with which a plan came to be chosen, in (0, 1].

        Args:
            plans: How many there were.
            best: Whether it is the one that is taken without an audit.
        """
        if not self.share:
            return 1.0
        by_chance = self.share / plans
        return by_chance + (1 - self.share) if best and not self.alone else by_chance


def ranked_by(options: Sequence[Option], quality: float | None, price: float) -> list[Option]:
    """Return options, best first; ties go to the cheaper one.

    Args:
        options: At least one.
        quality: Target probability of a right answer in [0, 1], or None.
        price: Probability of a right answer that a unit of cost must be worth, without a target.
    """
    if quality is None:
        return sorted(options, key=lambda o: (price * o.cost - o.p, o.cost))
    good = sorted((o for o in options if o.p >= quality), key=lambda o: (o.cost, -o.p))
    return good + sorted((o for o in options if o.p < quality), key=lambda o: (-o.p, o.cost))


def reason_of(chosen: Option, basis: Basis, target: float, price: float) -> str:
    """Return why an option was chosen, in words of its own: they are logged."""
    promise = f"P(right) {chosen.p:.2f} at {chosen.cost:.2f} large answers"
    if basis == "audit":
        how = "drawn by chance, to audit the profile"
    elif basis == "predicted":
        how = f"best at {price:.3g} a large answer"
    elif chosen.p >= target:
        how = f"cheapest that reaches {target:g}"
    else:
        how = f"most promising, {target:g} is out of reach"
    return f"plan '{chosen.plan.name}': {promise}, {how}"


def under_load(ranked: Sequence[Option], ledger: Ledger) -> list[Option]:
    """Return options with the best one first that load leaves enough calls for.

    Where it does so for none, the one that lacks the fewest is first. The ledger notes it where
    that is another than without load.
    """

    def lacking(option: Option) -> int:
        return max(0, option.plan.worst_calls - ledger.calls_under_load(option.plan.tier, 1))

    first = min(ranked, key=lacking)
    if first is not ranked[0]:
        ledger.shed.note()
    return [first, *(option for option in ranked if option is not first)]


def in_words(option: Option) -> str:
    """Return an option in a few words."""
    return f"{option.plan.name}: P(right) {option.p:.2f} at {option.cost:.2f}"


def shown(option: Option, price: float, *, chosen: bool) -> RankedPlan:
    """Return an option as `explain` shows it."""
    return RankedPlan(
        option.plan.name,
        option.plan.tier,
        option.plan.kind,
        option.p,
        option.cost,
        option.usd,
        f"worth {option.p - price * option.cost:.3f}",
        chosen,
    )
