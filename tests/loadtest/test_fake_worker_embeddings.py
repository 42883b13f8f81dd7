"""The fake worker's embeddings are the same everywhere, and fail as they are told to."""

import math
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from loadtest.embedding import unit_vector
from loadtest.spawn import FakeWorker


async def test_vectors_are_made_of_what_is_embedded(worker: FakeWorker, sdk: AsyncOpenAI):
    answer = await sdk.embeddings.create(model="small", input=["a dog", "a cat", "a dog"])
    dog, cat, again = [item.embedding for item in answer.data]
    assert dog == again == unit_vector("a dog", 16)
    assert dog != cat
    assert math.hypot(*dog) == pytest.approx(1, abs=1e-6)
    assert answer.usage.prompt_tokens == 6
    assert len(await worker.requests()) == 1


async def test_their_length_and_usage_are_scripted(worker: FakeWorker, sdk: AsyncOpenAI):
    await worker.script(vectors={"dimensions": 3, "usage": False})
    asked: dict[str, Any] = {"model": "small", "input": [1, 2]}
    answer = await sdk.embeddings.create(**asked)
    shorter = await sdk.embeddings.create(**asked, dimensions=2)
    assert [len(each.data[0].embedding) for each in (answer, shorter)] == [3, 2]
    assert "usage" not in answer.model_dump(exclude_unset=True)


async def test_they_fail_as_answers_do(worker: FakeWorker, sdk: AsyncOpenAI):
    await worker.script(failure={"kind": "status", "status": 503, "times": 1})
    with pytest.raises(openai.InternalServerError):
        await sdk.embeddings.create(model="small", input="x")
    with pytest.raises(openai.NotFoundError):
        await sdk.embeddings.create(model="other", input="x")
    with pytest.raises(openai.BadRequestError):
        await sdk.embeddings.create(model="small", input=[])
    with pytest.raises(ValueError, match=r"vectors\.size is unknown"):
        await worker.script(vectors={"size": 3})


async def test_an_echo_with_log_probabilities_has_those_of_the_prompt(
    worker: FakeWorker, sdk: AsyncOpenAI
):
    await worker.script(answer=" eight legs.")
    answer = await sdk.completions.create(
        model="small", prompt="A spider has", echo=True, logprobs=1, max_tokens=1
    )
    told = answer.choices[0].model_dump()["logprobs"]
    assert told["tokens"] == ["A", " spider", " has", " eight"]
    assert told["text_offset"] == [0, 1, 8, 12]
    assert [logprob is None for logprob in told["token_logprobs"]] == [True, False, False, False]
    assert told["top_logprobs"][0] is None
