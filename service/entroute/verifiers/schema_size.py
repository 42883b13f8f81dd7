"""How much work a JSON Schema can make, told before it is compiled.

References multiply: 30 subschemas that each name the next one twice are a billion checks. They
are unrolled here, so only those that can be followed by reading are taken.
"""

import json
from collections.abc import Iterator
from typing import Any

from entroute.errors import InvalidRequest

MAX_BYTES = 65_536
MAX_UNROLLED = 5_000
"""Parts of a schema, each counted as often as it is referred to."""

_MOVES_BASE = frozenset(
    {"$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor"}
)


def unrolled_size(schema: dict[str, Any]) -> int:
    """Return how many parts a schema has once its references are followed, at least 1.

    A reference must be `#` or `#/...`; one to what is being unrolled counts once, since the
    library checks a part of an answer against it once.

    Raises:
        InvalidRequest: It is too large or refers in another way.
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
