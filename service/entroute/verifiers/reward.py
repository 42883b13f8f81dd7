"""`reward`: a reward model that the operator has configured scores the answers."""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from entroute.errors import InvalidRequest
from entroute.evidence import Verdict
from entroute.protocols import Run
from entroute.types import ChatRequest, Completion
from entroute.verifiers.judging import abstained, out_of_order, quoted, text_of
from entroute.verifiers.parts import VerifierParts
from entroute.verifiers.reward_endpoint import RewardClient


class RewardConfig(BaseModel):
    """Score by a reward model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["reward"] = "reward"
    name: str = Field(
        min_length=1, max_length=64, description="Name of an endpoint that the operator configured."
    )

    def build(self, parts: VerifierParts) -> "Reward":
        """Return the verifier.

        Raises:
            InvalidRequest: There is no endpoint of that name.
        """
        client = parts.rewards.get(self.name)
        if client is None:
            known = ", ".join(sorted(parts.rewards)) or "none"
            raise InvalidRequest(
                f"No reward model is named '{quoted(self.name)}'. Known reward models: {known}.",
                param="entroute.verifier.name",
            )
        return Reward(parts.run, client, self.name)


class Reward:
    """Scores by an outcome reward, or by a process's least step, in [0, 1].

    Identical answers are sent once. Abstains on all where the endpoint is dead, too slow or
    answers nonsense; its work is the operator's and is on no ledger.

    Args:
        run: The request, for its deadline.
        client: Asks the endpoint.
        endpoint: Its name.
    """

    name = "reward"
    top_logprobs: int | None = None
    compares = False
    calls = 0

    def __init__(self, run: Run, client: RewardClient, endpoint: str) -> None:
        self._run = run
        self._client = client
        self._endpoint = endpoint

    async def score(
        self, request: ChatRequest, candidates: Sequence[Completion]
    ) -> tuple[Verdict, ...]:
        """Send all distinct answers. See `Verifier.score`."""
        texts = [text_of(candidate) for candidate in candidates]
        distinct = [text for text in dict.fromkeys(texts) if text.strip()]
        verdicts = dict.fromkeys(texts, abstained("the candidate is empty"))
        if distinct:
            verdicts |= await self._judged(request, distinct)
        return tuple(verdicts[text] for text in texts)

    async def _judged(self, request: ChatRequest, texts: Sequence[str]) -> dict[str, Verdict]:
        left = self._run.ledger.budget.deadline - self._run.clock()
        try:
            with self._run.trace.outside("reward", endpoint=self._endpoint) as step:
                scores = await self._client.scores(request, texts, left, step.headers)
        except ValueError as error:
            reason = f"reward model '{self._endpoint}': {quoted(str(error))}"
            return dict.fromkeys(texts, out_of_order(reason))
        reason = f"reward model '{self._endpoint}'"
        return {text: Verdict(score, reason) for text, score in zip(texts, scores, strict=True)}
