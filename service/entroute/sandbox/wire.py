"""What a sandbox's client and server say to each other."""

import json

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from entroute.execution import Execution

MAX_WALL_S = 600.0

EXECUTION: TypeAdapter[Execution] = TypeAdapter(Execution)
"""Reads and writes an execution as JSON."""


class RunRequest(BaseModel):
    """Body of `POST /run`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = Field(description="Python source.")
    stdin: str = Field("", description="What the program finds on stdin.")
    wall_s: float = Field(
        10.0,
        gt=0,
        le=MAX_WALL_S,
        description="Seconds it has; the server may cut them.",
    )


def encode_request(source: str, stdin: str, wall_s: float) -> bytes:
    """Return the body of a request; half surrogates, which JSON's readers refuse, become `?`."""
    texts = {"source": source, "stdin": stdin}
    clean = {name: text.encode(errors="replace").decode() for name, text in texts.items()}
    body = {**clean, "wall_s": min(wall_s, MAX_WALL_S)}
    return json.dumps(body, ensure_ascii=False).encode()
