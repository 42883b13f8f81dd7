"""Finding the Python that a candidate wrote, and running it in the sandbox with a report."""

import ast
import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from entroute.code import MAX_SOURCE, PRIVATE_OUT, code_blocks, defining
from entroute.errors import InvalidRequest
from entroute.execution import Execution, Repeat
from entroute.protocols import Run, Sandbox
from entroute.verifiers.parts import VerifierParts

NOT_RUN = "the sandbox cannot run it"
"""Why verifiers abstain without one; where it is and what it said is the operator's business."""

CUT = "the report on it was cut short: the program wrote more than the sandbox keeps"
"""Why a program has no verdict that ran to its end and whose report is not whole."""


def needed_sandbox(parts: VerifierParts, kind: str) -> Sandbox:
    """Return the sandbox.

    Raises:
        InvalidRequest: The operator has switched none on.
    """
    if parts.sandbox is None:
        raise InvalidRequest(
            f"The verifier '{kind}' runs programs, and this server has no sandbox; its operator "
            "must switch the sandbox on.",
            param="entroute.verifier.kind",
        )
    return parts.sandbox


def functions(tree: ast.Module) -> dict[str, ast.FunctionDef]:
    """Return the functions that a module defines at its top, the last of each name."""
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def code_of(text: str, names: Sequence[str] = ()) -> str:
    """Return a candidate's code.

    The last fenced block that defines one of `names`, else the longest block, else the whole text.
    """
    blocks = [textwrap.dedent(block) for block in code_blocks(text)]
    found = defining(blocks, names)
    return found[-1] if found else max(blocks, key=len, default=text[-MAX_SOURCE:])


@dataclass(frozen=True, slots=True)
class Report:
    """What a program reported before it ended.

    Attributes:
        lines: The JSON it reported, in order.
        execution: How it ended.
    """

    lines: tuple[dict[str, Any], ...]
    execution: Execution


async def reported(
    sandbox: Sandbox, run: Run, program: str, facts: dict[str, Any], wall_s: float
) -> Report:
    """Run a program that calls `report(json)` and reads `FACTS`; return what it reported.

    Reports stand on lines that begin with a random word, so that what a candidate prints is not
    taken for one, on a descriptor of their own: what is written to descriptor 1 is lost. A
    candidate that reads its own process's memory can still forge one: a sandbox keeps it from
    harm, not from lies.

    Raises:
        SandboxUnavailable: Nothing could be run.
    """
    nonce = f"{run.rng.getrandbits(128):032x}"
    source = _HARNESS.format(nonce=nonce, facts=json.dumps(json.dumps(facts))) + program
    repeat = Repeat.of(run.principal.tenant, run.options.cache, nonce)
    with run.trace.outside("sandbox") as step:
        execution = await sandbox.run(source, wall_s=wall_s, repeat=repeat)
        step.note(status=execution.status)
    found = [line[32:] for line in execution.stdout.split("\n") if line.startswith(nonce)]
    return Report(tuple(_read(found)), execution)


def _read(lines: Sequence[str]) -> list[dict[str, Any]]:
    """Return the reports up to one that is not whole: output is cut where it grows too long.

    Half a surrogate pair, which no answer can carry, becomes a question mark.
    """
    read = []
    for line in lines:
        try:
            said = json.dumps(json.loads(line), ensure_ascii=False)
            value = json.loads(said.encode(errors="replace"))
        except (ValueError, RecursionError):
            break
        if not isinstance(value, dict):
            break
        read.append(value)
    return read


_HARNESS = (
    PRIVATE_OUT
    + """\
import io, json, sys

FACTS = json.loads({facts})

class Silent(io.TextIOBase):
    def write(self, text):
        return len(text)

def report(value, out=_private_out(), nonce={nonce!r}, dumps=json.dumps):
    out.write("\\n" + nonce + dumps(value) + "\\n")
    out.flush()

def describe(error, name, source, dumps=json.dumps):
    line, lines, trace = "", source.split("\\n"), error.__traceback__
    while trace is not None:
        number = trace.tb_lineno or 0
        if trace.tb_frame.f_code.co_filename == name and 0 < number <= len(lines):
            line = lines[number - 1].strip()
        trace = trace.tb_next
    words = type(error).__name__ + ": " + (str(error) or line)
    words = words.rstrip(": ")[:300]
    return words if len(dumps(words)) <= 600 else words[:50]
"""
)
