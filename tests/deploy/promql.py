"""What an expression of PromQL names: metrics, labels, label values. Nothing is evaluated here.

The labels of every part of an expression are inferred from below, so that `by (model)` over a
metric whose label is `model_name` is found, and not only a matcher of it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from promql_parser import (
    AggModifierType,
    AggregateExpr,
    BinaryExpr,
    Call,
    Expr,
    LabelModifierType,
    MatchOp,
    MatrixSelector,
    ParenExpr,
    StringLiteral,
    SubqueryExpr,
    UnaryExpr,
    VectorMatchCardinality,
    VectorSelector,
    parse,
    transform,
    walk,
)

TARGET = frozenset({"job", "instance", "namespace", "pod", "service", "container", "endpoint"})
"""Labels that Prometheus gives to whatever it scrapes, some of them with the operator only."""

_COMPARISONS = frozenset({"==", "!=", ">", "<", ">=", "<="})
_SETS = frozenset({"and", "unless"})
_OFFSET = re.compile(r"\s+offset\s+-?\d+\w+")
_WORDS = re.compile(r"[\w.|-]+")

Labels = frozenset[str]


@dataclass(frozen=True, slots=True)
class Series:
    """What is known of a series.

    Attributes:
        labels: Its labels, those of its target left out.
        values: Every value of some of them.
    """

    labels: Labels
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


Vocabulary = Mapping[str, Series]
"""Every series that there may be, by name."""


def selectors(expression: str) -> list[VectorSelector]:
    """Return every selector of an expression.

    Raises:
        ValueError: It cannot be parsed.
    """
    found: list[VectorSelector] = []

    def visit(part: Expr) -> None:
        if isinstance(part, VectorSelector):
            found.append(part)

    walk(parse(expression), visit)
    return found


def names(expression: str) -> list[str]:
    """Return the name of every series that an expression selects."""
    return [name for selector in selectors(expression) for name in named(selector)]


def named(selector: VectorSelector) -> list[str]:
    """Return the names that a selector asks for: those of `{__name__=~"a|b"}` are two."""
    if selector.name is not None:
        return [selector.name]
    matchers = [each for each in selector.matchers.matchers if each.name == "__name__"]
    return [name for each in matchers for name in each.value.split("|")]


def faults(expression: str, vocabulary: Vocabulary) -> list[str]:
    """Return what is wrong with the names in an expression, in words; nothing if all is well."""
    try:
        tree = parse(expression)
    except ValueError as error:
        return [f"it cannot be parsed: {error}"]
    reading = _Reading(vocabulary)
    reading.labels(tree)
    return reading.faults


def result_labels(expression: str, vocabulary: Vocabulary) -> Labels:
    """Return the labels that the result of an expression may have.

    Raises:
        ValueError: It cannot be parsed.
    """
    return _Reading(vocabulary).labels(parse(expression))


def observed(expression: str) -> str:
    """Return what an alert looks at, in place of when it fires.

    Comparisons give way to their left side, `and` and `unless` to theirs, offsets to now.

    Raises:
        ValueError: It cannot be parsed.
    """

    def left(part: Expr) -> Expr | None:
        if not isinstance(part, BinaryExpr) or str(part.op) not in _COMPARISONS | _SETS:
            return None
        left: Expr = part.lhs
        return left

    return transform(parse(_OFFSET.sub("", expression)), None, left).prettify()


def selected(expression: str) -> list[str]:
    """Return every selector of an expression as an expression of its own, offsets left out."""
    return [str(selector) for selector in selectors(_OFFSET.sub("", expression))]


class _Reading:
    """Reads one expression from below.

    Attributes:
        faults: What is wrong, so far.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._known = vocabulary
        self.faults: list[str] = []

    def labels(self, part: Expr) -> Labels:
        """Return the labels that the value of a part may have."""
        found: Labels = frozenset()
        match part:
            case VectorSelector():
                found = self._selected(part)
            case MatrixSelector():
                found = self._selected(part.vector_selector)
            case SubqueryExpr() | ParenExpr() | UnaryExpr():
                found = self.labels(part.expr)
            case Call():
                found = self._called(part)
            case AggregateExpr():
                found = self._aggregated(part)
            case BinaryExpr():
                found = self._joined(part)
            case _:  # a number or a text
                pass
        return found

    def _selected(self, selector: VectorSelector) -> Labels:
        all_labels: Labels = frozenset()
        found = named(selector)
        if not found:
            self.faults.append(f"{selector} names no metric")
        for name in found:
            series = self._known.get(name)
            if series is None:
                self.faults.append(f"nothing exports {name}")
                continue
            all_labels |= series.labels | TARGET
            for matcher in selector.matchers.matchers:
                if matcher.name == "__name__":
                    continue
                if matcher.name not in series.labels | TARGET:
                    self.faults.append(f"{name} has no label {matcher.name}")
                for value in _values(matcher.op, matcher.value):
                    if value not in series.values.get(matcher.name, (value,)):
                        self.faults.append(f"{name}'s {matcher.name} is never {value!r}")
        return all_labels

    def _called(self, call: Call) -> Labels:
        inner = [self.labels(each) for each in call.args]
        below = frozenset[str]().union(*inner)
        match call.func.name:
            case "histogram_quantile":
                self._want(below, ["le"], "histogram_quantile")
                return below - {"le"}
            case "label_replace" | "label_join":
                texts = [each.val for each in call.args if isinstance(each, StringLiteral)]
                sources = texts[2:3] if call.func.name == "label_replace" else texts[2:]
                self._want(below, list(filter(None, sources)), call.func.name)
                return below | set(texts[:1])
            case "vector" | "scalar" | "time":
                return frozenset()
            case _:
                return below

    def _aggregated(self, part: AggregateExpr) -> Labels:
        below = self.labels(part.expr)
        chosen = str(part.op) in {"topk", "bottomk"}
        added = {part.param.val} if isinstance(part.param, StringLiteral) else set()
        if part.modifier is None:
            return below if chosen else frozenset(added)
        self._want(below, part.modifier.labels, f"{part.op} by or without")
        if chosen:
            return below
        named_labels = frozenset(part.modifier.labels)
        kept = part.modifier.type == AggModifierType.By
        return (named_labels if kept else below - named_labels) | added

    def _joined(self, part: BinaryExpr) -> Labels:
        left, right = self.labels(part.lhs), self.labels(part.rhs)
        modifier, operator = part.modifier, str(part.op)
        matching = None if modifier is None else modifier.matching
        included = matching is not None and matching.type == LabelModifierType.Include
        if matching is not None and included:
            self._want(left, matching.labels, f"{operator} on, left of it,")
            self._want(right, matching.labels, f"{operator} on, right of it,")
        if operator == "or":
            return left | right
        if operator in _SETS | _COMPARISONS and not _many_to_one(part):
            return left or right
        if _many_to_one(part) and modifier is not None:
            many, one = (left, right) if _left_is_many(part) else (right, left)
            self._want(one, modifier.group_labels or [], "group_left or group_right")
            return many | set(modifier.group_labels or ())
        if matching is not None and included:
            return frozenset(matching.labels)
        return left | right

    def _want(self, labels: Labels, wanted: list[str], where: str) -> None:
        self.faults += [
            f"{where} asks for the label {label}, which is not in what it works on"
            for label in wanted
            if label not in labels
        ]


def _left_is_many(part: BinaryExpr) -> bool:
    return part.modifier is not None and part.modifier.card == VectorMatchCardinality.ManyToOne


def _many_to_one(part: BinaryExpr) -> bool:
    one_sided = (VectorMatchCardinality.ManyToOne, VectorMatchCardinality.OneToMany)
    return part.modifier is not None and part.modifier.card in one_sided


def _values(operator: MatchOp, text: str) -> Iterator[str]:
    """Yield the values that a matcher spells out; a pattern that is no list of words has none."""
    if operator in (MatchOp.Equal, MatchOp.NotEqual):
        yield from filter(None, [text])
    elif _WORDS.fullmatch(text) and "." not in text:
        yield from text.split("|")
