"""Changes a key file's text where its entries change, so that comments elsewhere stay."""

from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from entroute.errors import ConfigurationError
from entroute.tenants.keys_file import parse_keys
from entroute.tenants.keys_records import KeyEntry


def changed_text(text: str, old: Sequence[KeyEntry], new: Sequence[KeyEntry], path: str) -> str:
    """Return the text of a file with other entries.

    The text is spliced if it reads as the new entries then, else written anew.

    Args:
        text: What the file holds, "" for nothing yet.
        old: Its entries.
        new: The entries it shall have: each old one as it is, replaced by one of the same id, or
            left out; more may follow.
        path: Its name.
    """
    try:
        spliced = "".join(_spliced(text, old, new))
        if parse_keys(spliced, path) == list(new):
            return spliced
    except (ConfigurationError, yaml.YAMLError, LookupError):
        pass  # a layout that lines cannot be cut from: flow style, anchors, several on one line
    return _yaml({"keys": [entry.dump() for entry in new]})


def _spliced(text: str, old: Sequence[KeyEntry], new: Sequence[KeyEntry]) -> Iterator[str]:
    """Yield the lines that stay, and those of changed and new entries in their places."""
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    items = _items(text)
    indent = " " * items[0].start_mark.column
    indent = indent[: -len("- ")]
    wanted = {entry.key_id: entry for entry in new}
    at = 0
    for entry, item in zip(old, items, strict=True):
        start, end = item.start_mark.line, _end(item)
        yield from lines[at:start]
        replacement = wanted.pop(entry.key_id, None)
        if replacement == entry:
            yield from lines[start:end]
        elif replacement is not None:
            yield _written(replacement, indent)
        at = end
    for entry in wanted.values():
        yield _written(entry, indent)
    yield from lines[at:]


def _items(text: str) -> Sequence[yaml.Node]:
    """Return the nodes of the entries.

    Raises:
        LookupError: There are none.
    """
    root = yaml.compose(text, yaml.SafeLoader)
    for name, value in root.value if isinstance(root, yaml.MappingNode) else ():
        if name.value == "keys" and isinstance(value, yaml.SequenceNode) and value.value:
            return list(value.value)
    raise LookupError("keys")


def _end(node: yaml.Node) -> int:
    """Return the number of the first line behind a node; comments that follow it are not its."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style:
        inner = [part for each in node.value for part in (each if type(each) is tuple else (each,))]
        return max(_end(part) for part in inner)
    mark = node.end_mark
    return int(mark.line) + (1 if mark.column else 0)


def _written(entry: KeyEntry, indent: str) -> str:
    return "".join(indent + line for line in _yaml([entry.dump()]).splitlines(keepends=True))


def _yaml(data: Any) -> str:
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, default_flow_style=False)
    if yaml.safe_load(text) == data:
        return text
    # The emitter folds some breaks of Unicode (U+0085) that the parser then reads as spaces.
    return yaml.safe_dump(data, sort_keys=False, default_flow_style=False)
