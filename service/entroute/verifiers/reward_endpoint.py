"""A reward model behind HTTP: the operator's configuration of it, and its client.

Clients name an endpoint and never give a URL: a gateway that fetches what it is told to reaches
its operator's own network.
"""

import asyncio
import json
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

import httpx
import structlog
from pydantic import BaseModel, ConfigDict, Field, model_validator

from entroute.addresses import BearerKey, HttpUrl
from entroute.bodies import AS_IT_IS, Concealing, read_body
from entroute.spans import NO_HEADERS
from entroute.types import ChatRequest
from entroute.verifiers.judging import quoted

_VLLM_PATHS = ("/pooling", "/score")
_MAX_ANSWER_BYTES = 8 * 1024 * 1024

_log = structlog.get_logger(__name__)


class RewardEndpoint(BaseModel):
    """A reward model that the `reward` verifier may ask."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}$")] = Field(
        description="Name by which requests ask for it."
    )
    url: HttpUrl = Field(
        description="Where to post; for vLLM it ends in `/pooling` (a reward model) or `/score` "
        "(a cross-encoder)."
    )
    api_key: BearerKey | None = Field(
        default=None, description="Bearer key; give it by environment, not in the file."
    )
    model: str | None = Field(default=None, description="Model id sent along, for vLLM.")
    format: Literal["vllm", "plain"] = Field(
        default="vllm",
        description="`plain` posts {prompt, answers: [...]} and reads {scores: [...]}.",
    )
    scale: Literal["unit", "logit"] = Field(
        default="unit",
        description="What it answers: numbers in [0, 1], or any numbers, which the logistic "
        "function maps there.",
    )
    step_tag: str | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        description="Token at which a process reward model scores; put in place of every blank "
        "line and at the end. The least step counts.",
    )
    timeout_s: float = Field(default=30.0, gt=0, description="Seconds until it must have answered.")

    @model_validator(mode="after")
    def _path(self) -> Self:
        if self.format == "vllm" and not self.url.endswith(_VLLM_PATHS):
            raise ValueError("url: for the format vllm it must end in /pooling or /score")
        return self


class RewardClient:
    """Asks one endpoint.

    Args:
        endpoint: Where and how.
        client: Its connections; closed by whoever made it, with `trust_env=False`, lest a proxy of
            the environment is handed the key.
    """

    def __init__(self, endpoint: RewardEndpoint, client: httpx.AsyncClient) -> None:
        self._endpoint = endpoint
        self._client = client

    async def scores(
        self,
        request: ChatRequest,
        answers: Sequence[str],
        limit_s: float,
        extra: Mapping[str, str] = NO_HEADERS,
    ) -> tuple[float, ...]:
        """Return one score an answer, in [0, 1], higher is better, same order.

        Waits for `limit_s` seconds at most, fewer if the endpoint's own timeout is shorter. `extra`
        are headers that are sent along.

        Raises:
            ValueError: The endpoint is dead, too slow or answers nonsense; the words say what.
        """
        limit = max(0.0, min(limit_s, self._endpoint.timeout_s))
        try:
            async with asyncio.timeout(limit):
                said = [self._stepped(answer) for answer in answers]
                raw = await self._raw(request, said, extra)
        except TimeoutError as error:
            raise ValueError(f"no answer within {limit:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ValueError(f"no answer: {type(error).__name__}") from error
        if len(raw) != len(answers):
            raise ValueError(f"{len(raw)} scores for {len(answers)} answers")
        return tuple(self._scaled(value) for value in raw)

    async def _raw(
        self, request: ChatRequest, answers: Sequence[str], extra: Mapping[str, str]
    ) -> list[float]:
        if self._endpoint.format == "plain":
            body = await self._post({"prompt": request.text, "answers": list(answers)}, extra)
            return [_number(score) for score in _list(body.get("scores"))]
        if self._endpoint.url.endswith("/score"):
            body = await self._post({"text_1": request.text, "text_2": list(answers)}, extra)
            return [_number(entry.get("score")) for entry in _entries(body)]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._pooled(request, answer, extra)) for answer in answers]
        return [_either(task.result()) for task in tasks]

    async def _pooled(
        self, request: ChatRequest, answer: str, extra: Mapping[str, str]
    ) -> float | Exception:
        """Return one conversation's reward, or what went wrong: a group would wrap it."""
        turns = request.messages or ({"role": "user", "content": request.text},)
        messages = [*turns, {"role": "assistant", "content": answer}]
        try:
            (entry,) = _entries(await self._post({"messages": messages}, extra))
            return _pooled_value(entry.get("data"))
        except (httpx.HTTPError, ValueError) as error:
            return error

    async def _post(self, body: Mapping[str, Any], extra: Mapping[str, str]) -> Mapping[str, Any]:
        facts: dict[str, Any] = dict(body)
        headers = {**AS_IT_IS, **extra}
        if self._endpoint.format == "vllm":
            facts["use_activation"] = self._endpoint.scale == "unit"
            facts |= {"model": self._endpoint.model} if self._endpoint.model else {}
        if self._endpoint.api_key is not None:
            headers["Authorization"] = f"Bearer {self._endpoint.api_key.get_secret_value()}"
        status, said = await self._answered(facts, headers)
        if status != httpx.codes.OK:
            self._note(status, said.decode(errors="replace"))
            raise ValueError(f"status {status}")
        try:
            answer = json.loads(said)
        except RecursionError as error:
            raise ValueError("the answer is nested too deeply") from error
        except ValueError as error:
            raise ValueError("the answer is no JSON") from error
        return answer if isinstance(answer, dict) else {}

    def _note(self, status: int, said: str) -> None:
        """Log what the endpoint said, less the key: its paths and addresses are not for clients."""
        key = self._endpoint.api_key
        said = Concealing("" if key is None else key.get_secret_value()).text(said)
        name = self._endpoint.name
        _log.warning("reward_refused", endpoint=name, status=status, said=quoted(said))

    async def _answered(
        self, facts: Mapping[str, Any], headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        timeout = self._endpoint.timeout_s
        async with self._client.stream(
            "POST", self._endpoint.url, json=facts, headers=headers, timeout=timeout
        ) as response:
            return response.status_code, await read_body(response, _MAX_ANSWER_BYTES)

    def _stepped(self, answer: str) -> str:
        tag = self._endpoint.step_tag
        return answer if tag is None else answer.strip().replace("\n\n", tag) + tag

    def _scaled(self, value: float) -> float:
        if self._endpoint.scale == "logit":
            return 1 / (1 + math.exp(-max(-700.0, min(700.0, value))))
        if not 0 <= value <= 1:
            raise ValueError(f"the score {value:g} is outside [0, 1]; is its scale logit?")
        return value


def _either(result: float | Exception) -> float:
    if isinstance(result, Exception):
        raise result
    return result


def _entries(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return vLLM's `data` in the order of its indices."""
    entries = _list(body.get("data"))
    if not all(isinstance(e, dict) and isinstance(e.get("index"), int) for e in entries):
        raise ValueError("data holds no indexed entries")
    return sorted(entries, key=lambda entry: int(entry["index"]))


def _pooled_value(data: Any) -> float:
    """Return an outcome's reward, or a process's least step; of several labels the last."""
    rows = _list(data)
    if not rows:
        raise ValueError("the reward is empty")
    if all(isinstance(row, list) for row in rows):
        return min(_number(row[-1] if row else None) for row in rows)
    return _number(rows[-1])


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("a list of scores is missing")  # noqa: TRY004 - one error for nonsense
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a score is no number")  # noqa: TRY004 - one error for nonsense
    try:
        number = float(value)
    except OverflowError as error:
        raise ValueError("a score is too large") from error
    if not math.isfinite(number):
        raise ValueError("a score is no number")
    return number
