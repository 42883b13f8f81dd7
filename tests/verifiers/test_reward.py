import asyncio
import contextlib
import gzip
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from math import exp
from typing import Any

import httpx
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr, ValidationError
from structlog.testing import capture_logs

from entroute.errors import InvalidRequest
from entroute.evidence import Verdict
from entroute.types import ChatRequest
from entroute.verifiers import build_verifier
from entroute.verifiers.reward_endpoint import RewardClient, RewardEndpoint
from tests.builders import a_budget, a_completion, a_request, a_run, a_tier
from tests.fakes import verifier_parts

Reply = Callable[[dict[str, Any]], Any]


@dataclass
class RewardServer:
    """A reward model that answers by a function of what it is sent.

    Attributes:
        url: Where it listens.
        reply: Makes the answer: JSON, or a response.
        bodies: What it was sent, in order.
        headers: The headers sent along.
    """

    url: str = ""
    reply: Reply = field(default=lambda _: {})
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    async def serve(self, request: web.Request) -> web.Response:
        """Answer one request."""
        self.bodies.append(await request.json())
        self.headers.append(dict(request.headers))
        made = self.reply(self.bodies[-1])
        if isinstance(made, Awaitable):
            made = await made
        return made if isinstance(made, web.Response) else web.json_response(made)


@pytest_asyncio.fixture
async def server() -> AsyncIterator[RewardServer]:
    made = RewardServer()
    app = web.Application()
    app.router.add_post("/{path:.*}", made.serve)
    async with TestServer(app) as listening:
        made.url = str(listening.make_url("/")).rstrip("/")
        yield made


@pytest_asyncio.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as made:
        yield made


async def judged(
    client: httpx.AsyncClient,
    url: str,
    texts: Sequence[str] = ("a", "b"),
    request: ChatRequest | None = None,
    **facts: Any,
) -> tuple[Verdict, ...]:
    endpoint = RewardEndpoint(name="rm", url=url, **facts)
    parts = replace(verifier_parts(), rewards={"rm": RewardClient(endpoint, client)})
    verifier = build_verifier({"kind": "reward", "name": "rm"}, parts)
    asked = request or a_request("How many?")
    return await verifier.score(asked, [a_completion(text) for text in texts])


def values(verdicts: Sequence[Verdict]) -> list[float | None]:
    return [None if verdict.abstained else verdict.score for verdict in verdicts]


async def test_the_plain_format_sends_distinct_answers_once(
    server: RewardServer, client: httpx.AsyncClient
) -> None:
    server.reply = lambda _: {"scores": [0.25, 1]}
    verdicts = await judged(client, server.url, ("a", "b", "a", " "), format="plain")
    assert values(verdicts) == [0.25, 1, 0.25, None]
    assert verdicts[3].reason == "the candidate is empty"
    assert server.bodies == [{"prompt": "How many?", "answers": ["a", "b"]}]


async def test_logits_become_scores(server: RewardServer, client: httpx.AsyncClient) -> None:
    server.reply = lambda _: {"scores": [0, -2, 1e6, -1e6]}
    verdicts = await judged(client, server.url, "abcd", format="plain", scale="logit")
    assert values(verdicts) == pytest.approx([0.5, 1 / (1 + exp(2)), 1, 0])


async def test_a_cross_encoder_scores_all_pairs_in_the_order_of_their_indices(
    server: RewardServer, client: httpx.AsyncClient
) -> None:
    server.reply = lambda _: {"data": [{"index": 1, "score": 0.1}, {"index": 0, "score": 0.9}]}
    verdicts = await judged(client, f"{server.url}/score", model="rm-1")
    assert values(verdicts) == [0.9, 0.1]
    assert server.bodies == [
        {"text_1": "How many?", "text_2": ["a", "b"], "use_activation": True, "model": "rm-1"}
    ]


async def test_a_reward_model_reads_the_conversation_with_each_answer(
    server: RewardServer, client: httpx.AsyncClient
) -> None:
    def reply(body: dict[str, Any]) -> dict[str, Any]:
        return {"data": [{"index": 0, "data": [{"a": 3.0, "b": 0.0}[answer_in(body)]]}]}

    server.reply = reply
    verdicts = await judged(client, f"{server.url}/pooling", scale="logit")
    assert values(verdicts) == pytest.approx([1 / (1 + exp(-3)), 0.5])
    assert server.bodies[0]["messages"][0] == {"role": "user", "content": "How many?"}
    assert server.bodies[0]["use_activation"] is False


def answer_in(body: dict[str, Any]) -> str:
    turn = body["messages"][-1]
    assert turn["role"] == "assistant"
    return str(turn["content"])


async def test_a_text_completion_is_read_as_a_conversation(
    server: RewardServer, client: httpx.AsyncClient
) -> None:
    server.reply = lambda _: {"data": [{"index": 0, "data": [0.5]}]}
    request = ChatRequest("auto", prompt="2 + 2 =")
    assert values(await judged(client, f"{server.url}/pooling", ("4",), request)) == [0.5]
    assert [turn["content"] for turn in server.bodies[0]["messages"]] == ["2 + 2 =", "4"]


async def test_a_process_model_scores_by_its_least_step(
    server: RewardServer, client: httpx.AsyncClient
) -> None:
    steps = [[0.1, 0.9], [0.7, 0.3], [0.2, 0.8]]
    server.reply = lambda _: {"data": [{"index": 0, "data": steps}]}
    url = f"{server.url}/pooling"
    assert values(await judged(client, url, ("one\n\ntwo\n",), step_tag="<s>")) == [0.3]
    assert answer_in(server.bodies[0]) == "one<s>two<s>"


async def test_the_key_is_sent_and_never_shown(
    server: RewardServer, client: httpx.AsyncClient
) -> None:
    server.reply = lambda _: web.Response(status=401, text="who are you")
    verdicts = await judged(client, server.url, format="plain", api_key=SecretStr("hunter2"))
    assert server.headers[0]["Authorization"] == "Bearer hunter2"
    assert verdicts[0].reason == "reward model 'rm': status 401"
    server.reply = lambda _: web.Response(status=400, text="the key hunter2 is wrong")
    with capture_logs() as logged:
        await judged(client, server.url, format="plain", api_key=SecretStr("hunter2"))
    assert [(line["event"], line["said"]) for line in logged] == [
        ("reward_refused", "the key [api_key] is wrong")
    ]
    shown = repr(RewardEndpoint(name="rm", url="http://x/score", api_key=SecretStr("hunter2")))
    assert "hunter2" not in shown


@pytest.mark.parametrize(
    ("path", "facts", "body"),
    [
        ("", {"format": "plain"}, {"scores": [0.1]}),
        ("", {"format": "plain"}, {"scores": [0.1, "x"]}),
        ("", {"format": "plain"}, {"scores": [0.1, True]}),
        ("", {"format": "plain"}, {"scores": [0.1, 1.5]}),
        ("", {"format": "plain"}, {"scores": [0.1, 10**400]}),
        ("", {"format": "plain"}, {"scores": None}),
        ("", {"format": "plain"}, [0.1, 0.2]),
        ("/score", {}, {"data": [{"score": 0.1}, {"score": 0.2}]}),
        ("/score", {}, {"data": [0.1, 0.2]}),
        ("/pooling", {}, {"data": [{"index": 0, "data": []}]}),
        ("/pooling", {}, {"data": [{"index": 0, "data": [[]]}]}),
        ("/pooling", {}, {"data": [{"index": 0, "data": "AAAA"}]}),
        ("/pooling", {}, {"data": []}),
        ("/pooling", {}, {}),
    ],
)
async def test_nonsense_is_an_abstention(
    server: RewardServer,
    client: httpx.AsyncClient,
    path: str,
    facts: dict[str, Any],
    body: Any,
) -> None:
    server.reply = lambda _: body
    assert values(await judged(client, server.url + path, **facts)) == [None, None]


@pytest.mark.parametrize("text", ["no json", '{"scores": [NaN, 1]}', "[" * 100_000, ""])
@pytest.mark.parametrize("path", ["/score", "/pooling"])
async def test_what_is_no_json_is_an_abstention(
    server: RewardServer, client: httpx.AsyncClient, text: str, path: str
) -> None:
    server.reply = lambda _: web.Response(text=text)
    assert values(await judged(client, server.url + path)) == [None, None]


SCORES = b'{"scores": [1, 1]}'


@pytest.mark.parametrize(
    ("body", "headers"),
    [(b" " * 9 * 2**20 + SCORES, {}), (gzip.compress(SCORES), {"Content-Encoding": "gzip"})],
    ids=["large", "packed"],
)
async def test_an_answer_too_large_or_packed_is_an_abstention(
    server: RewardServer, client: httpx.AsyncClient, body: bytes, headers: dict[str, str]
) -> None:
    server.reply = lambda _: web.Response(body=body, headers=headers)
    verdicts = await judged(client, server.url, format="plain")
    assert [(v.abstained, v.failed) for v in verdicts] == [(True, True)] * 2
    assert server.headers[0]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("status", [200, 400, 500])
async def test_what_the_endpoint_says_is_not_for_clients(
    server: RewardServer, client: httpx.AsyncClient, status: int
) -> None:
    said = "Traceback /srv/models/secret-path key hunter2"
    server.reply = lambda _: web.Response(status=status, text=said)
    for path in ("/score", "/pooling"):
        for verdict in await judged(client, server.url + path, api_key=SecretStr("hunter2")):
            assert verdict.failed
            assert not any(word in verdict.reason for word in said.split())
            assert (f"status {status}" in verdict.reason) is (status != 200)


async def test_only_a_failure_of_the_endpoint_is_one(
    server: RewardServer, client: httpx.AsyncClient
) -> None:
    server.reply = lambda _: {"scores": [0.5]}
    verdicts = await judged(client, server.url, ("a", " "), format="plain")
    assert [(v.abstained, v.failed) for v in verdicts] == [(False, False), (True, False)]


async def test_an_answer_that_trickles_in_is_given_up(
    server: RewardServer, client: httpx.AsyncClient
) -> None:
    async def trickle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            for _ in range(1000):
                await response.write(b" ")
                await asyncio.sleep(0.1)
        return response

    app = web.Application()
    app.router.add_post("/", trickle)
    async with TestServer(app) as listening:
        begun = time.monotonic()
        verdicts = await judged(client, str(listening.make_url("/")), format="plain", timeout_s=0.5)
        assert time.monotonic() - begun < 60
    assert {verdict.reason for verdict in verdicts} == {"reward model 'rm': no answer within 0.5 s"}
    assert all(verdict.failed for verdict in verdicts)


async def test_a_slow_endpoint_is_an_abstention(
    server: RewardServer, client: httpx.AsyncClient
) -> None:
    server.reply = lambda _: asyncio.sleep(30, {})
    verdicts = await judged(client, server.url, format="plain", timeout_s=0.1)
    assert values(verdicts) == [None, None]
    assert verdicts[0].reason == "reward model 'rm': no answer within 0.1 s"


async def test_it_waits_no_longer_than_the_request(
    server: RewardServer, client: httpx.AsyncClient
) -> None:
    server.reply = lambda _: {"scores": [1]}
    endpoint = RewardClient(RewardEndpoint(name="rm", url=server.url, format="plain"), client)
    run = a_run(a_tier("small"), budget=a_budget(deadline=99.0))
    parts = replace(verifier_parts(run=run), rewards={"rm": endpoint})
    verifier = build_verifier({"kind": "reward", "name": "rm"}, parts)
    (verdict,) = await verifier.score(a_request(), [a_completion("a")])
    assert verdict.reason == "reward model 'rm': no answer within 0 s"


async def test_a_dead_endpoint_is_an_abstention(
    unused_tcp_port: int, client: httpx.AsyncClient
) -> None:
    for path in ("/score", "/pooling"):
        verdicts = await judged(client, f"http://127.0.0.1:{unused_tcp_port}{path}")
        assert values(verdicts) == [None, None]
        assert "ConnectError" in verdicts[0].reason
        assert all(verdict.failed for verdict in verdicts)


def test_a_name_that_is_not_known_is_refused_with_those_that_are() -> None:
    endpoint = RewardEndpoint(name="rm", url="http://127.0.0.1:1/score")
    parts = replace(verifier_parts(), rewards={"rm": RewardClient(endpoint, httpx.AsyncClient())})
    with pytest.raises(InvalidRequest, match="Known reward models: rm") as caught:
        build_verifier({"kind": "reward", "name": "other"}, parts)
    assert caught.value.param == "entroute.verifier.name"
    with pytest.raises(InvalidRequest, match="Known reward models: none"):
        build_verifier({"kind": "reward", "name": "other"}, verifier_parts())


def test_clients_cannot_give_a_url() -> None:
    option = {"kind": "reward", "name": "rm", "url": "http://127.0.0.1:1/"}
    with pytest.raises(InvalidRequest) as caught:
        build_verifier(option, verifier_parts())
    assert caught.value.param == "entroute.verifier.url"


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"url": "ftp://x/score"}, "http"),
        ({"url": "http:///score"}, "host"),
        ({"url": "http://a:b@x/score"}, "api_key"),
        ({"url": "http://x/v1"}, "/pooling or /score"),
        ({"url": "http://x/score", "timeout_s": 0}, "greater than 0"),
        ({"url": "http://x/score", "name": ""}, "pattern"),
    ],
)
def test_an_endpoint_that_cannot_be_is_refused(facts: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        RewardEndpoint(**{"name": "rm", **facts})
