"""What a text lets one expect: P(right) by tier, class of the task, length of an answer.

Linear models over tf-idf weighted words and standardised cheap features, fitted by
`entroute.evaluation.text_fit`; here they are only applied, in plain Python: about half a
millisecond for 400 words, 1.2 ms for prose at the cap and 2.5 where every character is a token.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp, log, sqrt
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from entroute.profile.features import CHEAP, Features, extract
from entroute.profile.linear import sigmoid

CLIP = 3.0
"""Standard deviations beyond which a cheap feature counts no more."""

_SHOWN = 8
_LONGEST_ANSWER = 1e6


class _Value(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Head(_Value):
    """One linear model.

    Attributes:
        intercept: At a mean text without known words.
        terms: Weight by place in the vocabulary.
        cheap: Weight by place in `entroute.profile.features.CHEAP`.
    """

    intercept: float
    terms: tuple[float, ...]
    cheap: tuple[float, ...]

    def value(self, vector: "Vector") -> float:
        """Return the weighted sum, without bound."""
        terms = self.terms
        return (
            self.intercept
            + sum(terms[place] * weight for place, weight in vector.terms)
            + sum(map(_product, self.cheap, vector.cheap))
        )


class Classes(_Value):
    """Softmax over classes of tasks, on the words that tell them apart.

    Attributes:
        names: The classes.
        vocabulary: Places of the words that count, in the model's vocabulary.
        heads: One a class; `Head.terms` runs parallel to `vocabulary`.
    """

    names: tuple[str, ...]
    vocabulary: tuple[int, ...]
    heads: tuple[Head, ...]


class Familiarity(_Value):
    """What texts that the fit has not seen, of its own kind, looked like.

    Attributes:
        least_known: Least share of words that are in the vocabulary, [0, 1].
        most_odd: Greatest mean square of the standardised cheap features.
    """

    least_known: float
    most_odd: float


@dataclass(frozen=True, slots=True)
class Vector:
    """A text in the model's space.

    Attributes:
        terms: (place in the vocabulary, tf-idf weight); a text of known terms only has length 1.
        cheap: Standardised cheap features, clipped at `CLIP`.
        known: Share of its words that are in the vocabulary, [0, 1]; 0 without words.
        odd: Mean square of the standardised cheap features, before clipping; 1 is ordinary.
    """

    terms: tuple[tuple[int, float], ...]
    cheap: tuple[float, ...]
    known: float
    odd: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is expected of one text.

    Attributes:
        p_right: Calibrated probability of a right answer by tier, cheapest tier first.
        gain: P(right) of the dear tier minus that of the cheap one, in [-1, 1]; None with one tier.
        task: Likeliest class of the task, None where the model tells none apart.
        output_tokens: Mean completion tokens of one answer, None where the model was not fitted
            for it.
        off_distribution: Whether the text is unlike those of the fit: predict nothing from it.
        features: Strongest first: (name, contribution to the logit of the first tier's failure).
    """

    p_right: Mapping[str, float]
    gain: float | None
    task: str | None
    output_tokens: float | None
    off_distribution: bool
    features: tuple[tuple[str, float], ...] = field(default=())


class Space(_Value):
    """From features to vectors.

    Attributes:
        vocabulary: Known words and pairs of neighbours.
        idf: Inverse document frequency of each.
        unknown_idf: Of a term that is in no vocabulary: it weighs in the length of a vector only,
            so that a strange text leans on its cheap features.
        mean: Of each cheap feature.
        deviation: Of each cheap feature, greater than 0.
    """

    vocabulary: tuple[str, ...]
    idf: tuple[float, ...]
    unknown_idf: float
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    _places: dict[str, int] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.idf) != len(self.vocabulary):
            raise ValueError("idf: give one number a word of the vocabulary")
        if len(self.mean) != len(CHEAP) or len(self.deviation) != len(CHEAP):
            raise ValueError(f"mean, deviation: this version has {len(CHEAP)} cheap features")
        if min(self.deviation) <= 0:
            raise ValueError("deviation: must be above 0")
        return self

    def model_post_init(self, context: Any, /) -> None:
        """Index the vocabulary."""
        self._places.update((term, place) for place, term in enumerate(self.vocabulary))

    def vector(self, features: Features) -> Vector:
        """Return features in this space.

        Terms weigh (1 + ln count) x idf, divided by the length of the vector of all terms.
        """
        places, idf, unknown = self._places, self.idf, self.unknown_idf
        known: list[tuple[int, float]] = []
        squares = 0.0
        for term, count in features.terms().items():
            place = places.get(term)
            weight = 1.0 if count == 1 else 1.0 + log(count)
            weight *= unknown if place is None else idf[place]
            squares += weight * weight
            if place is not None:
                known.append((place, weight))
        length = sqrt(squares) or 1.0
        scaled = [
            (value - mean) / deviation
            for value, mean, deviation in zip(
                features.cheap, self.mean, self.deviation, strict=True
            )
        ]
        words = [word for word in features.words if word[0].isalpha()]
        return Vector(
            tuple((place, weight / length) for place, weight in known),
            tuple(max(-CLIP, min(CLIP, value)) for value in scaled),
            sum(word in places for word in words) / max(1, len(words)),
            sum(value * value for value in scaled) / len(scaled),
        )


class TextModel(_Value):
    """Everything that is predicted from a text; plain numbers that live in a profile.

    Attributes:
        space: Words and scales.
        tiers: Logit of P(right), calibrated, by tier, cheapest first.
        classes: Classes of tasks, None where the fit saw but one.
        output_tokens: Natural log of an answer's mean completion tokens, None where unknown.
        familiarity: Where the model knows nothing.
        prompts: How many it was fitted on.
    """

    space: Space
    tiers: Mapping[str, Head] = Field(min_length=1)
    classes: Classes | None = None
    output_tokens: Head | None = None
    familiarity: Familiarity
    prompts: int = Field(ge=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        heads = [*self.tiers.values(), *([self.output_tokens] if self.output_tokens else [])]
        if any(len(head.terms) != len(self.space.vocabulary) for head in heads):
            raise ValueError("tiers, output_tokens: give one weight a word of the vocabulary")
        heads += self.classes.heads if self.classes else ()
        if any(len(head.cheap) != len(CHEAP) for head in heads):
            raise ValueError(f"cheap: this version has {len(CHEAP)} cheap features")
        return self

    def predict(self, text: str) -> Prediction:
        """Predict from a whole conversation's text.

        Reads its first and last 3,000 characters only. The gain is the difference of the last
        tier's and the first tier's P(right): it routes better than the weak tier's failure does.
        """
        return self.predict_features(extract(text))

    def predict_features(self, features: Features) -> Prediction:
        """Predict from features that are extracted already. See `predict`."""
        vector = self.space.vector(features)
        p_right = {name: sigmoid(head.value(vector)) for name, head in self.tiers.items()}
        ladder = tuple(p_right.values())
        strange = (
            not features.words
            or vector.known < self.familiarity.least_known
            or vector.odd > self.familiarity.most_odd
        )
        return Prediction(
            p_right=p_right,
            gain=ladder[-1] - ladder[0] if len(ladder) > 1 else None,
            task=self._task(vector),
            output_tokens=self._length(vector),
            off_distribution=strange,
            features=self._contributions(vector),
        )

    def _task(self, vector: Vector) -> str | None:
        if self.classes is None:
            return None
        weights = dict(vector.terms)
        seen = [
            (place, weights[term])
            for place, term in enumerate(self.classes.vocabulary)
            if term in weights
        ]
        narrow = Vector(tuple(seen), vector.cheap, vector.known, vector.odd)
        scores = [head.value(narrow) for head in self.classes.heads]
        return self.classes.names[scores.index(max(scores))]

    def _length(self, vector: Vector) -> float | None:
        if self.output_tokens is None:
            return None
        return exp(min(self.output_tokens.value(vector), log(_LONGEST_ANSWER)))

    def _contributions(self, vector: Vector) -> tuple[tuple[str, float], ...]:
        head = next(iter(self.tiers.values()))
        vocabulary = self.space.vocabulary
        parts = [(vocabulary[place], -head.terms[place] * w) for place, w in vector.terms]
        cheap = zip(CHEAP, head.cheap, vector.cheap, strict=True)
        parts += [(name, -weight * value) for name, weight, value in cheap]
        parts.sort(key=_strength)
        return tuple(part for part in parts[:_SHOWN] if part[1])


def _product(a: float, b: float) -> float:
    return a * b


def _strength(part: tuple[str, float]) -> tuple[float, str]:
    return -abs(part[1]), part[0]
