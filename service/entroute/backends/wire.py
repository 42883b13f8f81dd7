"""OpenAI's wire format as workers speak it: calls to bodies, answers to values.

What differs between vLLM and llama.cpp's server is settled here: null contents in first and last
chunks, legacy and chat-shaped log-probabilities of text completions, usage in every chunk or only
in the last.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from entroute.backends.shapes import (
    check_fields,
    checked_entry,
    indexed,
    text,
    tokens,
    with_whole_calls,
)
from entroute.errors import WorkerProtocolError
from entroute.folding import merge_extra
from entroute.spending import Usage
from entroute.types import (
    EMPTY,
    Call,
    ChatRequest,
    Completion,
    Delta,
    TokenLogprob,
)

Json = Mapping[str, Any]

CHAT_PATH = "/chat/completions"
TEXT_PATH = "/completions"
VLLM = "vllm"
"""What vLLM says owns its models."""

LLAMACPP = "llamacpp"
"""What llama.cpp's server says owns its models; it counts tokens in `timings`, not in `usage`."""

CONTINUING = frozenset({VLLM, LLAMACPP})
"""Engines that go on with a partial answer, streamed without repeating it."""

_IMPOSSIBLE = -9999.0  # what OpenAI writes for a log-probability of minus infinity
_MESSAGE_KNOWN = frozenset({"role", "content"})
_CHOICE_KNOWN = frozenset({"index", "delta", "message", "text", "logprobs", "finish_reason"})


def path_of(call: Call) -> str:
    """Return the path below the worker's base URL."""
    return CHAT_PATH if call.request.prompt is None else TEXT_PATH


def body_of(call: Call, model: str, *, stream: bool, engine: str = "") -> dict[str, Any]:
    """Return the request body of one call: one choice, usage in every chunk where it is told."""
    request = call.request
    body: dict[str, Any] = {**request.extra, "model": model}
    if request.prompt is None:
        body.update(_conversation(call, engine))
    else:
        body["prompt"] = request.prompt
        body.update(_around(request))
    if call.max_tokens is not None:
        body["max_tokens"] = call.max_tokens
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.seed is not None:
        body["seed"] = request.seed + call.sample
    if request.logprobs or call.top_logprobs is not None:
        k = max(request.top_logprobs, call.top_logprobs or 0)
        body.update(
            {"logprobs": True, "top_logprobs": k} if request.prompt is None else {"logprobs": k}
        )
    if stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True, "continuous_usage_stats": True}
        if engine == LLAMACPP:
            body["timings_per_token"] = True
    return body


def _around(request: ChatRequest) -> Json:
    """Return what a text completion asks beside its prompt, of workers that can do it."""
    around: dict[str, Any] = {} if request.suffix is None else {"suffix": request.suffix}
    return {**around, "echo": True} if request.reads_prompt else around


def _conversation(call: Call, engine: str) -> Json:
    """Return the messages, ending in the answer so far where the worker goes on with one.

    llama.cpp's server goes on by itself with a last message of the assistant's; unstreamed it
    would repeat it, so that a partial answer may only be streamed.
    """
    if not call.partial:
        return {"messages": call.request.messages}
    so_far = {"role": "assistant", "content": call.partial}
    messages = (*call.request.messages, so_far)
    if engine == LLAMACPP:
        return {"messages": messages}
    return {"messages": messages, "continue_final_message": True, "add_generation_prompt": False}


def usage_of(payload: Json | None) -> Usage | None:
    """Return a worker's usage as one call's, or None where there is none."""
    if not payload:
        return None
    details = payload.get("prompt_tokens_details") or EMPTY
    return _usage(
        payload.get("prompt_tokens"),
        details.get("cached_tokens"),
        payload.get("completion_tokens"),
    )


def counted(timings: Json | None) -> Usage | None:
    """Return llama.cpp's running count as usage: its prompt_n leaves cached tokens out."""
    if not timings:
        return None
    cached = float(timings.get("cache_n") or 0)
    read = float(timings.get("prompt_n") or 0)
    return _usage(cached + read, cached, timings.get("predicted_n"))


def _usage(prompt: Any, cached: Any, completion: Any) -> Usage:
    """Return one call's usage; counters only rise, so what no count can be is brought in range."""
    read = tokens(prompt)
    return Usage(
        prompt_tokens=read,
        cached_tokens=min(read, tokens(cached)),
        completion_tokens=tokens(completion),
        calls=1,
    )


def logprobs_of(choice: Json) -> tuple[TokenLogprob, ...]:
    """Return a choice's log-probabilities in chat shape, whichever shape they came in.

    None of them where any is no number: an answer is worth more than its log-probabilities.
    """
    logprobs = choice.get("logprobs")
    if not logprobs:
        return ()
    try:
        return tuple(checked_entry(entry) for entry in _chat_shaped(logprobs))
    except (AttributeError, KeyError, TypeError, ValueError):
        return ()


def _chat_shaped(logprobs: Json) -> tuple[TokenLogprob, ...]:
    if "tokens" not in logprobs:
        return tuple(logprobs.get("content") or ())
    chosen = logprobs.get("token_logprobs") or ()
    tops = logprobs.get("top_logprobs") or [None] * len(chosen)
    return tuple(
        {
            "token": token,
            "logprob": _IMPOSSIBLE if value is None else value,
            "bytes": list(token.encode()),
            "top_logprobs": [
                {"token": other, "logprob": p, "bytes": list(other.encode())}
                for other, p in sorted((top or {}).items(), key=lambda item: -item[1])
            ],
        }
        for token, value, top in zip(logprobs["tokens"], chosen, tops, strict=False)
    )


@contextmanager
def _openai_shaped() -> Iterator[None]:
    """Turn what a payload of another shape raises into the one error it means."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        detail = f"not OpenAI's wire format: {type(error).__name__} {error}"
        # Not chained: its words are the worker's, from which no key has been taken out.
        raise WorkerProtocolError("?", detail) from None


@_openai_shaped()
def completion_of(payload: Json, call: Call) -> Completion:
    """Return the completion in a body that was not streamed.

    Raises:
        WorkerProtocolError: It has no choice, or is of another shape.
    """
    choices = payload.get("choices")
    if not choices:
        raise WorkerProtocolError("?", "the answer has no choices")
    choice = choices[0]
    message = choice.get("message") or {"content": choice.get("text")}
    extra = _others(message, _MESSAGE_KNOWN)
    check_fields(extra)
    logprobs = logprobs_of(choice)
    return Completion(
        content=text(message.get("content"), "content"),
        finish_reason=text(choice.get("finish_reason"), "finish_reason") or "stop",
        usage=usage_of(payload.get("usage"))
        or Usage(completion_tokens=len(logprobs), calls=1, partial_calls=1),
        model=text(payload.get("model"), "model"),
        extra=with_whole_calls(extra),
        choice_extra=_others(choice, _CHOICE_KNOWN),
        logprobs=logprobs,
        call_id=call.id,
    )


def _others(mapping: Json, known: frozenset[str]) -> Json:
    rest = {k: v for k, v in mapping.items() if k not in known and v is not None and v != []}
    return rest or EMPTY


class Fold:
    """Folds the chunks of one streamed call into its completion.

    Where the worker tells no usage its tokens are counted: log-probabilities, else pieces.

    Args:
        call: What was asked.
        tier: Tier that answers, named in every delta.
    """

    def __init__(self, call: Call, tier: str = "") -> None:
        self._call = call
        self._tier = tier
        self._content: list[str] = []
        self._extra: dict[str, Any] = {}
        self._choice_extra: dict[str, Any] = {}
        self._logprobs: list[TokenLogprob] = []
        self._finish_reason: str | None = None
        self._model = ""
        self._usage: Usage | None = None
        self._counted = 0

    @_openai_shaped()
    def add(self, chunk: Json) -> Delta | None:
        """Take one chunk; return its delta, or None when it holds nothing of the answer.

        Raises:
            WorkerProtocolError: The chunk is an error or not a chunk.
        """
        if not isinstance(chunk, dict) or "error" in chunk:
            raise WorkerProtocolError("?", f"error in mid-stream: {chunk}")
        self._usage = usage_of(chunk.get("usage")) or counted(chunk.get("timings")) or self._usage
        self._model = text(chunk.get("model"), "model") or self._model
        choices = chunk.get("choices")
        if not choices:
            return None
        choice = choices[0]
        reason = text(choice.get("finish_reason"), "finish_reason")
        self._finish_reason = reason or self._finish_reason
        self._choice_extra.update(_others(choice, _CHOICE_KNOWN))
        piece = choice.get("delta") or {"content": choice.get("text")}
        content = text(piece.get("content"), "content")
        extra = _others(piece, _MESSAGE_KNOWN)
        check_fields(extra)
        extra = indexed(extra, len(self._extra.get("tool_calls", ())))
        logprobs = logprobs_of(choice)
        if not (content or extra or logprobs):
            return None
        self._counted += len(logprobs) or 1
        self._content.append(content)
        self._logprobs.extend(logprobs)
        if extra:
            merge_extra(self._extra, extra)
        return Delta(
            content=content, extra=extra, logprobs=logprobs, usage=self._usage, tier=self._tier
        )

    def completion(self) -> Completion:
        """Return the whole.

        Raises:
            WorkerProtocolError: The stream ended without a finish reason.
        """
        if self._finish_reason is None:
            raise WorkerProtocolError("?", "the stream ended without a finish reason")
        return Completion(
            content="".join(self._content),
            finish_reason=self._finish_reason,
            usage=self._usage or Usage(completion_tokens=self._counted, calls=1, partial_calls=1),
            model=self._model,
            extra=self._extra or EMPTY,
            choice_extra=self._choice_extra or EMPTY,
            logprobs=tuple(self._logprobs),
            call_id=self._call.id,
        )
