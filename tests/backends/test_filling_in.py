"""Prompt and suffix become the one prompt of a model's own tokens, and nothing else changes."""

from dataclasses import replace

import pytest

from entroute.backends import wire
from entroute.backends.filling_in import FillingIn
from entroute.ledger import prompt_bound
from entroute.types import Call, ChatRequest, FillInMiddle
from tests.builders import a_call, a_request, read
from tests.scripted import FakeBackend

TOKENS = FillInMiddle("<P>", "<S>", "<M>")
ASKED = ChatRequest("small", prompt="def f():\n", suffix="\n# end", echo=True, max_tokens=9)


async def sent(call: Call, *, stream: bool) -> Call:
    """Return what the backend gets of a call."""
    backend = FakeBackend()
    filling = FillingIn(backend, TOKENS)
    if stream:
        await read(filling.stream(call))
    else:
        await filling.complete(call)
    return backend.calls[0]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_suffix_becomes_part_of_the_prompt(*, stream: bool):
    call = a_call(ASKED)
    filled = replace(ASKED, prompt="<P>def f():\n<S>\n# end<M>", suffix=None)
    assert await sent(call, stream=stream) == replace(call, request=filled)


@pytest.mark.parametrize("request_", [replace(ASKED, suffix=None), a_request()])
@pytest.mark.parametrize("stream", [True, False])
async def test_other_requests_pass_untouched(request_: ChatRequest, *, stream: bool):
    call = a_call(request_)
    assert await sent(call, stream=stream) is call


async def test_leaving_a_stream_cancels_it():
    backend = FakeBackend()
    stream = FillingIn(backend, TOKENS).stream(a_call(ASKED))
    await anext(stream)
    await stream.aclose()
    assert backend.running == 0


def body(**facts: object) -> dict[str, object]:
    return wire.body_of(a_call(replace(ASKED, **facts)), "m", stream=False)  # type: ignore[arg-type]


def test_workers_are_asked_for_an_echo_only_where_the_edge_cannot():
    assert "echo" not in body()
    assert "echo" not in body(echo=False, logprobs=True)
    assert body(logprobs=True)["echo"] is True
    assert body(max_tokens=0)["echo"] is True


def test_a_suffix_is_paid_for():
    assert prompt_bound(ASKED) >= prompt_bound(replace(ASKED, suffix=None)) + len("\n# end")
