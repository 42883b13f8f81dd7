"""Fits the text model: thousands of labelled prompts in seconds, the same from the same rows.

One recipe for all uses, chosen by 5-fold cross-validation in docs/log.md: words and pairs of words
by tf-idf beside weakly penalised cheap features, one logistic model a tier, the gain as the
difference of their probabilities.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.feature_selection import chi2
from sklearn.linear_model import LogisticRegression, Ridge

from entroute.errors import ConfigurationError
from entroute.profile.features import CHEAP, Features
from entroute.profile.text_model import Classes, Familiarity, Head, Space, TextModel, Vector

MIN_PROMPTS = 20
"""Below, nothing is fitted."""

_STRENGTH = 0.7  # inverse penalty of the tiers' logistic models
_PENALTY = 10.0  # of the ridge models of length and class
_CHEAP_SCALE = 0.05  # of the cheap features against words: the smaller, the more they are shrunk
_MIN_DOCUMENTS = 2
_TERMS_PER_PROMPT, _LEAST_TERMS, _MOST_TERMS = 4, 2_000, 20_000
_CLASS_TERMS = 300
_LEAST_OF_CLASS = 5
_LEAST_OF_KIND = 2
_RARE = 0.5  # percent of prompts of the fit's own kind that each sign calls strange
_LEEWAY = 1.5  # a conversation looks less even than the single prompts that fits see
_CONSTANT, _UNSEEN_DEVIATION = 0.01, 0.25
_DECIMALS = 5

Matrix = Any  # scipy.sparse.csr_matrix: scipy has no types
Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Labelled:
    """One prompt and what came of it.

    Attributes:
        features: Of the whole conversation's text.
        right: Share of right answers by tier, in [0, 1].
        task: Class of the task, or None.
        output_tokens: Mean completion tokens of an answer, or None.
    """

    features: Features
    right: Mapping[str, float]
    task: str | None = None
    output_tokens: float | None = None


def fit_text_model(
    rows: Sequence[Labelled], tiers: Sequence[str], *, seed: int = 0, folds: int = 5
) -> TextModel:
    """Fit everything that is predicted from a text.

    Args:
        rows: Prompts, each once.
        tiers: Tiers to predict, cheapest first; every row has a label of each.
        seed: Of the folds that calibration is cross-fitted on.
        folds: How many those are.

    Raises:
        ConfigurationError: There are too few prompts, or a tier has labels of one kind only.
    """
    if len(rows) < MIN_PROMPTS:
        raise ConfigurationError(
            f"learning from text takes at least {MIN_PROMPTS} labelled prompts, "
            f"here are {len(rows)}: label {MIN_PROMPTS - len(rows)} more"
        )
    space, documents = _space([row.features for row in rows])
    vectors = [space.vector(row.features) for row in rows]
    matrix = _matrix(vectors, len(space.vocabulary))
    heads = {}
    for tier in tiers:
        right = np.array([row.right[tier] for row in rows], dtype=float)
        heads[tier] = _tier(matrix, right, _spread(right, folds, seed), tier)
    return TextModel(
        space=space,
        tiers=heads,
        classes=_classes(matrix, [row.task for row in rows]),
        output_tokens=_length(matrix, [row.output_tokens for row in rows]),
        familiarity=_familiarity(rows, vectors, documents),
        prompts=len(rows),
    )


# --- words and scales --------------------------------------------------------------------------


def _space(texts: Sequence[Features]) -> tuple[Space, Counter[str]]:
    documents: Counter[str] = Counter()
    for text in texts:
        documents.update(text.terms().keys())
    room = min(max(_TERMS_PER_PROMPT * len(texts), _LEAST_TERMS), _MOST_TERMS)
    common = [(-count, term) for term, count in documents.items() if count >= _MIN_DOCUMENTS]
    vocabulary = sorted(term for _, term in sorted(common)[:room])
    cheap = np.array([text.cheap for text in texts])
    deviation = cheap.std(axis=0)

    def idf(count: int) -> float:
        return round(log((1 + len(texts)) / (1 + count)) + 1, _DECIMALS)

    space = Space(
        vocabulary=tuple(vocabulary),
        idf=tuple(idf(documents[term]) for term in vocabulary),
        unknown_idf=idf(1),
        mean=_rounded(cheap.mean(axis=0)),
        # A feature that never varied says nothing, and must not explode where it does.
        deviation=tuple(v if v >= _CONSTANT else _UNSEEN_DEVIATION for v in _rounded(deviation)),
    )
    return space, documents


def _matrix(vectors: Sequence[Vector], terms: int) -> Matrix:
    places = [place for vector in vectors for place, _ in vector.terms]
    weights = [weight for vector in vectors for _, weight in vector.terms]
    ends = np.cumsum([0, *(len(vector.terms) for vector in vectors)])
    words = sparse.csr_matrix((weights, places, ends), shape=(len(vectors), terms))
    cheap = sparse.csr_matrix(np.array([vector.cheap for vector in vectors]) * _CHEAP_SCALE)
    return sparse.hstack([words, cheap]).tocsr()


def _familiarity(
    rows: Sequence[Labelled], vectors: Sequence[Vector], documents: Mapping[str, int]
) -> Familiarity:
    """Each prompt's own words count only where another prompt has them often enough, too."""
    known = []
    for row in rows:
        words = [word for word in row.features.words if word[0].isalpha()]
        often = sum(documents[word] > _MIN_DOCUMENTS for word in words)
        known.append(often / max(1, len(words)))
    return Familiarity(
        least_known=round(float(np.percentile(known, _RARE)), _DECIMALS),
        most_odd=round(
            _LEEWAY * float(np.percentile([v.odd for v in vectors], 100 - _RARE)), _DECIMALS
        ),
    )


# --- heads -------------------------------------------------------------------------------------


def _tier(matrix: Matrix, right: Numbers, fold: NDArray[np.int64], tier: str) -> Head:
    """Fit logit P(right), its slope and intercept calibrated on prompts its fit had not seen.

    Source: Platt (1999); soft labels count as both outcomes in proportion.
    """
    if right.min() < 0 or right.max() > 1:
        raise ConfigurationError(f"labels of '{tier}' must lie in [0, 1]")
    for kind, count in (("right", (right > 0).sum()), ("wrong", (right < 1).sum())):
        if count < _LEAST_OF_KIND:
            raise ConfigurationError(
                f"{count} of {len(right)} answers of '{tier}' are {kind}, at least "
                f"{_LEAST_OF_KIND} must be: add prompts that it gets both ways"
            )
    unseen = np.zeros(len(right))
    for held in (fold == which for which in np.unique(fold)):
        model = _logistic(matrix[~held], right[~held], _STRENGTH)
        unseen[held] = matrix[held] @ model.coef_[0] + model.intercept_[0]
    platt = _logistic(sparse.csr_matrix(unseen[:, None]), right, 1e3)
    slope, shift = max(0.0, float(platt.coef_[0, 0])), float(platt.intercept_[0])
    model = _logistic(matrix, right, _STRENGTH)
    return _head(model.coef_[0] * slope, float(model.intercept_[0]) * slope + shift)


def _spread(right: Numbers, folds: int, seed: int) -> NDArray[np.int64]:
    """Return each prompt's fold; rare labels go to different ones, so that no fit lacks a kind."""
    order = np.lexsort((np.random.default_rng(seed).permutation(len(right)), right))
    fold = np.empty(len(right), dtype=np.int64)
    fold[order] = np.arange(len(right)) % folds
    return fold


def _logistic(matrix: Matrix, right: Numbers, strength: float) -> LogisticRegression:
    yes, no = right > 0, right < 1
    labels = np.r_[np.ones(yes.sum()), np.zeros(no.sum())]
    weights = np.r_[right[yes], 1 - right[no]]
    model = LogisticRegression(C=strength, solver="liblinear", max_iter=1_000)
    return model.fit(sparse.vstack([matrix[yes], matrix[no]]), labels, sample_weight=weights)


def _length(matrix: Matrix, tokens: Sequence[float | None]) -> Head | None:
    """Fit log tokens; exp of it is a mean, not a median.

    Source: smearing, Duan (1983).
    """
    places = [place for place, count in enumerate(tokens) if count is not None]
    if len(places) < MIN_PROMPTS:
        return None
    logs = np.log([max(1.0, tokens[place] or 1.0) for place in places])
    model = Ridge(alpha=_PENALTY, solver="lsqr").fit(matrix[places], logs)
    left = logs - model.predict(matrix[places])
    return _head(model.coef_, float(model.intercept_) + log(float(np.exp(left).mean())))


def _classes(matrix: Matrix, tasks: Sequence[str | None]) -> Classes | None:
    """Fit one least-squares model a class, on the words that chi-square finds telling."""
    counts = Counter(task for task in tasks if task is not None)
    names = sorted(name for name, count in counts.items() if count >= _LEAST_OF_CLASS)
    if len(names) < 2:  # noqa: PLR2004 - one class is no choice
        return None
    rows = [place for place, task in enumerate(tasks) if task in set(names)]
    labels = np.array([tasks[place] for place in rows])
    words, cheap = matrix[rows][:, : -len(CHEAP)], matrix[rows][:, -len(CHEAP) :]
    telling = np.nan_to_num(chi2(words, labels)[0]) if words.shape[1] else np.zeros(0)
    chosen = np.sort(np.argsort(-telling, kind="stable")[:_CLASS_TERMS])
    narrow = sparse.hstack([words[:, chosen], cheap]).toarray()
    wanted = (labels[:, None] == np.array(names)).astype(float)
    model = Ridge(alpha=1.0).fit(narrow, wanted)
    coefficients = np.atleast_2d(model.coef_)
    heads = [_head(c, float(i)) for c, i in zip(coefficients, model.intercept_, strict=True)]
    return Classes(names=tuple(names), vocabulary=tuple(int(i) for i in chosen), heads=tuple(heads))


def _head(weights: Numbers, intercept: float) -> Head:
    return Head(
        intercept=round(intercept, _DECIMALS),
        terms=_rounded(weights[: -len(CHEAP)]),
        cheap=_rounded(weights[-len(CHEAP) :] * _CHEAP_SCALE),
    )


def _rounded(values: Numbers) -> tuple[float, ...]:
    return tuple(round(float(value), _DECIMALS) for value in values)
