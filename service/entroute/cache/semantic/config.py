"""What can be configured of the semantic cache."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

_STRICT = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class LocalEmbedderConfig(BaseModel):
    """all-MiniLM-L6-v2 on this machine's CPU, 23 MB, fetched once."""

    model_config = _STRICT

    kind: Literal["local"] = Field("local", description="Embed in this process.")
    threads: int = Field(1, ge=1, le=64, description="Threads of one batch.")


class SemanticConfig(BaseModel):
    """Answers found by meaning; needs the extra `semantic`."""

    model_config = _STRICT

    enabled: bool = Field(
        default=False,
        description="Answer a question with the kept answer to one that means the same.",
    )
    threshold: float = Field(
        default=0.95,
        gt=0,
        le=1,
        description="Least cosine of two questions' vectors; the guards decide after it. The page "
        "on the semantic cache says what each choice costs.",
    )
    embedder: LocalEmbedderConfig = Field(
        default=LocalEmbedderConfig(), description="What makes vectors of questions."
    )
    embed_timeout_ms: int = Field(
        default=100,
        gt=0,
        description="Milliseconds a look-up waits for its vector; after that it is a miss.",
    )
    max_entries: int = Field(
        default=1000,
        gt=0,
        le=100_000,
        description="Questions kept of one scope: one tenant's with one system prompt, one "
        "sampling and so on. The oldest go first; in a vector set, any.",
    )
    max_scopes: int = Field(
        default=256,
        gt=0,
        description="Scopes that a gateway holds in memory where there is no Redis with vector "
        "sets; the least recently used go first. 1,000 questions take about 2 MB.",
    )
