"""PromQL of the panels: each function returns one expression.

Every series of the gateway is filtered by the variable `job`, every series of vLLM by
`model_name`. Counters are summed over replicas after `rate`, quantiles are taken of summed
buckets, and gauges that every replica reports of the same thing are never summed.
"""

from typing import Literal

Over = Literal["min", "max", "sum", "avg", "count"]

JOB = 'job=~"$job"'
TIER = 'tier=~"$tier"'
GROUP = 'group=~"$group"'
MODEL = 'model_name=~"$model_name"'


def ours(name: str, *matchers: str) -> str:
    """Return a selector of one of the gateway's metrics, `name` without its prefix."""
    return f"entroute_{name}{{{','.join((JOB, *matchers))}}}"


def vllm(name: str, *matchers: str) -> str:
    """Return a selector of one of vLLM's metrics, `name` without its prefix."""
    return f"vllm:{name}{{{','.join((MODEL, *matchers))}}}"


def over(how: Over, expression: str, *by: str) -> str:
    """Return `expression` aggregated over replicas, and over all labels but `by`."""
    return f"{how} by ({', '.join(by)}) ({expression})" if by else f"{how}({expression})"


def rate(selector: str, *by: str) -> str:
    """Return a counter's growth a second, summed over replicas."""
    return over("sum", f"rate({selector}[$__rate_interval])", *by)


def grown(selector: str, *by: str) -> str:
    """Return a counter's growth over the time that is shown, summed over replicas."""
    return over("sum", f"increase({selector}[$__range])", *by)


def share(part: str, whole: str) -> str:
    """Return `part / whole`, both by the same labels: 0 where only `part` is missing.

    Nothing comes where the whole is 0 or its metric is missing.
    """
    return f"(({part}) or 0 * ({whole})) / (({whole}) > 0)"


def both(one: str, other: str) -> str:
    """Return the sum of two counts by the same labels, either of which may be missing."""
    return f"(({one}) or 0 * ({other})) + (({other}) or 0 * ({one}))"


def part_of(parts: str, whole: str) -> str:
    """Return each of `parts` over a `whole` without labels, nothing where that is 0."""
    return f"({parts}) / on () group_left () (({whole}) > 0)"


def quantile(q: float, histogram: str, *by: str) -> str:
    """Return quantiles of a histogram, given as its selector with `_bucket`, in its unit."""
    return f"histogram_quantile({q:g}, {rate(histogram, 'le', *by)})"


def mean(name: str, *by: str, matchers: tuple[str, ...] = ()) -> str:
    """Return the mean of what one of the gateway's histograms saw, in its unit."""
    total, count = (rate(ours(f"{name}_{end}", *matchers), *by) for end in ("sum", "count"))
    return f"{total} / ({count} > 0)"


def mean_shown(name: str, *by: str) -> str:
    """Return the same over the time that is shown."""
    total, count = (grown(ours(f"{name}_{end}"), *by) for end in ("sum", "count"))
    return f"{total} / ({count} > 0)"


def recorded(name: str) -> str:
    """Return a selector of a recorded series, `name` without its prefix."""
    return f"entroute:{name}{{{JOB}}}"


def objective(name: str) -> str:
    """Return an objective of `files/rules/objectives.yaml` as a scalar; it is of no release."""
    return f"scalar(max(entroute:objective:{name}))"
