"""What earlier runs of a prompt have made, for tests of what begins with it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from entroute.types import Call, ChatRequest, Completion
from tests.builders import a_completion
from tests.scripted import coin


@dataclass
class FakeEarlier:
    """Has samples of one request (tier, index, text), with log-probabilities for whoever asks."""

    request: ChatRequest
    kept: Sequence[tuple[str, int, str]]
    noted: list[Call] = field(default_factory=list)

    def find(self, tier: str, call: Call, ahead: int = 0) -> Completion | None:
        """Look the sample up."""
        for name, sample, text in self.kept:
            if (name, sample) == (tier, call.sample + ahead) and call.request is self.request:
                tokens = tuple(coin(0.9, word) for word in re.findall(r"\S+\s*", text))
                wanted = call.top_logprobs is not None
                return a_completion(
                    text, tier=tier, resumed=True, logprobs=tokens if wanted else ()
                )
        return None

    def note(self, tier: str, call: Call, completion: Completion) -> None:
        """Note a call that a worker has answered."""
        self.noted.append(call)
