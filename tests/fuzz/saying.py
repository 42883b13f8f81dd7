"""What workers say when they are well, for fuzzers to spoil."""

from typing import Any

LOGPROBS: dict[str, Any] = {
    "content": [
        {
            "token": "Hi",
            "logprob": -0.1,
            "bytes": [72, 105],
            "top_logprobs": [{"token": "Hi", "logprob": -0.1, "bytes": [72, 105]}],
        }
    ]
}
OLD_LOGPROBS: dict[str, Any] = {
    "tokens": ["Hi"],
    "token_logprobs": [-0.1],
    "top_logprobs": [{"Hi": -0.1, "Ho": -2.5}],
    "text_offset": [0],
}
USAGE: dict[str, Any] = {
    "prompt_tokens": 7,
    "completion_tokens": 1,
    "total_tokens": 8,
    "prompt_tokens_details": {"cached_tokens": 2},
}
TOOL: dict[str, Any] = {
    "index": 0,
    "id": "call_1",
    "type": "function",
    "function": {"name": "f", "arguments": "{}"},
}
_HEAD: dict[str, Any] = {"id": "c-1", "created": 1, "model": "qwen-small"}

COMPLETION: dict[str, Any] = {
    **_HEAD,
    "object": "chat.completion",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "Hi",
                "refusal": None,
                "reasoning_content": "hm",
                "tool_calls": [{key: TOOL[key] for key in ("id", "type", "function")}],
            },
            "logprobs": LOGPROBS,
            "finish_reason": "stop",
        }
    ],
    "usage": USAGE,
}
TEXT: dict[str, Any] = {
    **_HEAD,
    "object": "text_completion",
    "choices": [{"index": 0, "text": "Hi", "logprobs": OLD_LOGPROBS, "finish_reason": "stop"}],
    "usage": USAGE,
}
EMBEDDINGS: dict[str, Any] = {
    "object": "list",
    "model": "minilm",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -0.5]}],
    "usage": {"prompt_tokens": 2, "total_tokens": 2},
}


def chunk(delta: dict[str, Any], *, reason: str | None = None, **facts: Any) -> dict[str, Any]:
    """Return one chunk of a streamed chat."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason, **facts}
    return {
        **_HEAD,
        "object": "chat.completion.chunk",
        "choices": [choice],
        "usage": USAGE,
        "timings": {"cache_n": 1, "prompt_n": 6, "predicted_n": 1},
    }


CHUNKS: list[dict[str, Any]] = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "Hi"}, logprobs=LOGPROBS),
    chunk({"reasoning_content": "hm", "refusal": None}),
    chunk({"tool_calls": [TOOL]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": "1"}}]}),
    chunk({}, reason="stop", stop_reason=None),
]
"""One whole stream."""
