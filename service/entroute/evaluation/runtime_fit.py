"""How long a worker takes for an answer, from the times in a bank."""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import nnls

from entroute.errors import ConfigurationError
from entroute.evaluation.samples import Sample
from entroute.profile.plans import Runtime

FEWEST = 20
_KEPT = 0.9  # of the rows: a worker that stood still for a while says nothing of its pace


def fit_runtime(samples: Sequence[Sample], batch: float) -> Runtime:
    """Fit latency = a prompt_tokens + b completion_tokens, a and b not negative.

    A worker that answers `batch` requests at once spends a batch-th of each one's time on it.

    Args:
        samples: Of one tier.
        batch: Requests that were in flight, at least 1.

    Raises:
        ConfigurationError: There are too few samples, or they took no time.

    Source: the idealised runtime T(p, o) = T_prompt(p) + (o - 1) beta of 2305.02440.
    """
    if len(samples) < FEWEST:
        raise ConfigurationError(
            f"the runtime of a tier needs {FEWEST} samples, the bank holds {len(samples)}"
        )
    x = np.array([[s.prompt_tokens, s.completion_tokens] for s in samples], dtype=float)
    y = np.array([s.latency_s for s in samples])
    (prompt, token), _ = nnls(x, y)
    rest = np.abs(y - x @ np.array([prompt, token]))
    kept = rest <= np.quantile(rest, _KEPT)
    (prompt, token), _ = nnls(x[kept], y[kept])
    if token <= 0:
        raise ConfigurationError("the bank's times do not grow with the length of answers")
    return Runtime(
        prompt_s=float(prompt) / batch,
        token_s=float(token) / batch,
        stream_token_s=float(token),
        batch=batch,
    )
