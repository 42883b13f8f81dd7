"""JSON of every kind, and valid bodies with one thing wrong."""

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

Path = tuple[str | int, ...]

REMOVED: Any = object()
"""What a mutation puts in place of a field that is to be taken out."""


def nested(levels: int) -> list[Any]:
    """Return a list in a list, so many deep."""
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


scalars: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([-1, 0, 1, 2**31, 2**63 - 1, -(2**63), 1.5, -0.0, 1e308, -1e308, 5e-324]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12),
    st.sampled_from(
        ["", "\x00", "a\nb", "\N{SNOWMAN}", "\U0001f600", "auto", "1", "true", "x" * 300]
    ),
)
"""Values that are not made of others; every text can be written as UTF-8."""

anything: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=8,
) | st.integers(1, 400).map(nested)


def paths(value: Any, here: Path = ()) -> Iterator[Path]:
    """Yield the path of every value inside a value."""
    inner: Any = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    for key, child in inner:
        yield (*here, key)
        yield from paths(child, (*here, key))


def put(value: Any, path: Path, new: Any) -> Any:
    """Return a copy of a value with another one, or `REMOVED`, at a path."""
    copied = copy.deepcopy(value)
    target = copied
    for key in path[:-1]:
        target = target[key]
    if new is REMOVED:
        del target[path[-1]]
    else:
        target[path[-1]] = new
    return copied


def mutated(valid: Any) -> st.SearchStrategy[Any]:
    """Return what makes copies of a value with one or two things inside changed or taken out."""
    places = st.sampled_from(list(paths(valid)))
    changes = st.lists(st.tuples(places, anything | st.just(REMOVED)), min_size=1, max_size=2)
    return changes.map(lambda changed: _applied(valid, changed))


def _applied(valid: Any, changes: list[tuple[Path, Any]]) -> Any:
    value = valid
    for path, new in changes:
        if path in set(paths(value)):  # an earlier change may have taken the place away
            value = put(value, path, new)
    return value
