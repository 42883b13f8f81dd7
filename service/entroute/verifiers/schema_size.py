"""How much work a JSON Schema can make, told before it is compiled.

References multiply: 30 subschemas that each name the next one twice are a billion checks. They
are unrolled here, so only those that can be followed by reading are taken. Recursion multiplies
once more at every level of an answer where it branches, so there it is refused.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from entroute.errors import InvalidRequest

MAX_BYTES = 65_536
MAX_UNROLLED = 5_000
"""Parts of a schema, each counted as often as it is referred to."""

_APART = frozenset(
    {"properties", "additionalProperties", "items", "prefixItems", "additionalItems"}
)
"""Keywords whose subschemas share no part of an answer."""

_IN_PLACE = frozenset({"$ref", "allOf", "anyOf", "oneOf", "not", "if", "then", "else"}) | {
    "dependentSchemas",
    "dependencies",
}
"""Keywords whose subschemas judge the very part that their schema judges."""

_DEEPER = frozenset({"contains", "propertyNames", "unevaluatedItems", "unevaluatedProperties"})
_MAPS = frozenset({"properties", "patternProperties", "dependentSchemas", "dependencies"})
_MOVES_BASE = frozenset(
    {"$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor"}
)


def unrolled_size(schema: dict[str, Any]) -> int:
    """Return how many parts a schema has once its references are followed, at least 1.

    A reference must be `#` or `#/...`; one to what is being unrolled counts once, since the
    library checks a part of an answer against it once.

    Raises:
        InvalidRequest: It is too large, refers in another way, or its recursion branches.
    """
    try:
        size = len(json.dumps(schema, ensure_ascii=False))
    except (ValueError, TypeError, RecursionError) as error:
        raise _refused(f"it cannot be written as JSON ({error})") from error
    if size > MAX_BYTES:
        raise _refused(f"it has {size} characters and may have {MAX_BYTES}")
    if "draft-04" in str(schema.get("$schema")):
        raise _refused("draft-04, whose 'id' moves references, is not taken; name a later one")
    parts = 0
    try:
        for _ in _unrolled(schema, schema, ()):
            parts += 1
            if parts > MAX_UNROLLED:
                raise _refused(
                    f"it unrolls to more than {MAX_UNROLLED} parts; refer to fewer subschemas"
                )
    except RecursionError as error:
        raise _refused("it is nested too deeply") from error
    _refuse_branching(schema)
    return parts


def _unrolled(node: Any, root: dict[str, Any], path: tuple[str, ...]) -> Iterator[None]:
    """Yield once for every part of a schema, following references that are not open."""
    yield None
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for child in children:
        yield from _unrolled(child, root, path)
    if not isinstance(node, dict):
        return
    if node is not root and any(isinstance(node.get(key), str) for key in _MOVES_BASE):
        raise _refused("$id, anchors and dynamic references are not taken below its root")
    target = node.get("$ref")
    if isinstance(target, str) and target not in path:
        yield from _unrolled(_found(target, root), root, (*path, target))


# --- recursion -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Edge:
    """A schema that another one hands a part of an answer to.

    Attributes:
        keyword: Under which it stands there.
        target: Its identity.
    """

    keyword: str
    target: int


_Graph = Mapping[int, list[_Edge]]


def _refuse_branching(root: dict[str, Any]) -> None:
    """Refuse schemas that judge one part of an answer more than once a level of recursion.

    A schema on a cycle may hand its part on once, or parts of it that have nothing in common: then
    every schema on the cycle judges every part once, however deep the answer is.

    Raises:
        InvalidRequest: There is such a schema.
    """
    graph = _graph(root)
    endless = {n: [e for e in edges if e.keyword in _IN_PLACE] for n, edges in graph.items()}
    if _leading_to_cycles(endless):
        raise _refused("it refers to itself without going deeper into the answer")
    recursing = _leading_to_cycles(graph)
    for node in recursing & _leading_to_cycles(_reversed(graph)):
        keywords = [edge.keyword for edge in graph[node] if edge.target in recursing]
        seen_twice = any(edge.keyword.startswith("unevaluated") for edge in graph[node])
        if seen_twice or (len(keywords) > 1 and not _APART.issuperset(keywords)):
            raise _refused(
                "it recurses more than once into one part of an answer, under "
                f"{', '.join(sorted({*keywords}))}; recurse in one place, or in different "
                "properties or items"
            )


def _graph(root: dict[str, Any]) -> _Graph:
    """Return every schema that an answer can meet, by identity, and those that it hands on to."""
    graph: dict[int, list[_Edge]] = {}
    left: list[Any] = [root]
    while left:
        schema = left.pop()
        if not isinstance(schema, dict) or id(schema) in graph:
            continue
        below = list(_below(schema, root))
        graph[id(schema)] = [_Edge(key, id(child)) for key, child in below]
        left += [child for _, child in below]
    return graph


def _below(schema: dict[str, Any], root: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in schema.items():
        if key == "$ref" and isinstance(value, str):
            yield key, _found(value, root)
        elif key in _MAPS and isinstance(value, dict):
            yield from ((key, child) for child in value.values())
        elif key in _APART | _IN_PLACE | _DEEPER:
            yield from ((key, child) for child in (value if isinstance(value, list) else [value]))


def _reversed(graph: _Graph) -> _Graph:
    back: dict[int, list[_Edge]] = {node: [] for node in graph}
    for node, edges in graph.items():
        for edge in edges:
            if edge.target in back:
                back[edge.target].append(_Edge(edge.keyword, node))
    return back


def _leading_to_cycles(graph: _Graph) -> set[int]:
    """Return the schemas from which a cycle can be reached: what is left without dead ends."""
    back = _reversed(graph)
    open_edges = {
        node: sum(edge.target in graph for edge in edges) for node, edges in graph.items()
    }
    ends = [node for node, count in open_edges.items() if not count]
    while ends:
        for edge in back[ends.pop()]:
            open_edges[edge.target] -= 1
            if not open_edges[edge.target]:
                ends.append(edge.target)
    return {node for node, count in open_edges.items() if count}


def _found(pointer: str, root: dict[str, Any]) -> Any:
    """Return the part of a schema that a reference names."""
    if pointer != "#" and not pointer.startswith("#/"):
        raise _refused(f"$ref {pointer[:100]!r} leads outside it; write '#/$defs/name'")
    node: Any = root
    for step in pointer[2:].split("/") if pointer != "#" else ():
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(node, list) and name.isdecimal() and int(name) < len(node):
            node = node[int(name)]
        elif isinstance(node, dict) and name in node:
            node = node[name]
        else:
            raise _refused(f"$ref {pointer[:100]!r} names nothing in it")
    return node


def _refused(why: str) -> InvalidRequest:
    return InvalidRequest(
        f"json_schema cannot be used: {why}.", param="entroute.verifier.json_schema"
    )
