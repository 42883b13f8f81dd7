"""The text of an answer that several calls write, and who wrote which stretch of it."""

from dataclasses import replace

from entroute.evidence import Segment
from entroute.protocols import Run
from entroute.spending import Usage
from entroute.strategies.base import Opened
from entroute.strategies.handover import Stretch, Tail
from entroute.types import ChatRequest, Completion, Delta, TokenLogprob


class Manuscript:
    """An answer as its reader has it.

    Args:
        run: Of the request.

    Attributes:
        opened: The call that writes.
        content: All released text.
        segments: Finished stretches, in order.
        tokens_read: Tokens that the writing call has sent.
    """

    opened: Opened

    def __init__(self, run: Run) -> None:
        self._run = run
        self._started = run.clock()
        self._first_s: float | None = None
        self._logprobs: list[TokenLogprob] = []
        self._delivered = 0  # tokens, in finished segments
        self._tokens = 0  # tokens, in this one
        self._sent: Usage | None = None
        self._first_prompt: Usage | None = None
        self._last: Completion | None = None
        self.content = ""
        self.segments: list[Segment] = []
        self.tokens_read = 0
        self._tail = self._new_tail()

    @property
    def written(self) -> bool:
        """Whether the writing call has a token in the released text."""
        return self._tokens > 0

    @property
    def full(self) -> bool:
        """Whether the client's cap leaves no token to another call."""
        cap = self._run.request.max_tokens
        return cap is not None and self._delivered + self._tokens >= cap

    @property
    def rest_of_request(self) -> ChatRequest:
        """What another call would be asked: the same, for the tokens that are left."""
        request = self._run.request
        if request.max_tokens is None:
            return request
        left = request.max_tokens - self._delivered - self._tokens
        return replace(request, max_tokens=left)

    def begin(self, opened: Opened) -> None:
        """Let another call write."""
        self.opened = opened
        self._tail = self._new_tail()
        self._tokens = self.tokens_read = 0
        self._sent = None

    def add(self, piece: Delta) -> Delta | None:
        """Take a piece; return what may be released of it and of those before it, or None."""
        tokens = self._counted(piece)
        self._tail.add(piece, tokens)
        self.tokens_read += tokens
        self._sent = piece.usage or self._sent
        return self._released(self._tail.ready(), piece)

    def drop(self) -> None:
        """End the writing call's stretch where the text may change hands; forget what it held."""
        self._end(self._tokens)

    def end(self) -> None:
        """Let the released text be the whole answer: nobody can go on with it."""
        tier = self.opened.tier
        self._last = Completion(
            "", "length", Usage(), tier.name, tier.model, call_id=self.opened.call.id
        )

    def finish(self, completion: Completion) -> Delta | None:
        """Take a call's end; return what was still held back, or None."""
        self._last, self._sent = completion, completion.usage
        delta = self._released(self._tail.rest(), Delta(tier=completion.tier))
        counted = completion.usage.completion_tokens
        self._end(self._tokens if completion.usage.partial_calls else counted)
        return delta

    def whole(self) -> tuple[Completion, Completion]:
        """Return the answer as one call would have made it, and the last call's own completion.

        Raises:
            RuntimeError: No call has ended by itself, and the text was not ended either.
        """
        last = self._last
        if last is None:
            raise RuntimeError("a call ended without a completion")
        prompt = self._first_prompt or Usage()
        latency = self._run.clock() - self._started
        completion = replace(
            last,
            content=self.content,
            usage=Usage(prompt.prompt_tokens, prompt.cached_tokens, self._delivered, 1),
            logprobs=tuple(self._logprobs),
            ttft_s=latency if self._first_s is None else self._first_s,
            latency_s=latency,
        )
        return completion, last

    def _counted(self, piece: Delta) -> int:
        """Return a piece's tokens by the worker's count, else by its log-probabilities."""
        if piece.usage is None:
            return len(piece.logprobs) or 1
        before = 0 if self._sent is None else self._sent.completion_tokens
        return max(len(piece.logprobs), piece.usage.completion_tokens - before)

    def _new_tail(self) -> Tail:
        return Tail(in_step=not self._run.request.extra.get("stop"))

    def _released(self, stretch: Stretch, piece: Delta) -> Delta | None:
        self.content += stretch.text
        self._logprobs.extend(stretch.logprobs)
        self._tokens += stretch.tokens
        if not (stretch.text or stretch.logprobs or piece.extra):
            return None
        if self._first_s is None:
            self._first_s = self._run.clock() - self._started
        return replace(piece, content=stretch.text, logprobs=stretch.logprobs)

    def _end(self, tokens: int) -> None:
        """Note the stretch that ends here; only a call's own usage tells what it read."""
        reread = 0
        if self._first_prompt is None:
            self._first_prompt = self._sent
        elif self._sent is not None:
            reread = max(0, self._sent.prompt_tokens - self._first_prompt.prompt_tokens)
        self.segments.append(Segment(self.opened.tier.name, tokens, reread))
        self._delivered += tokens
        self._tokens = 0
