"""Hold a stream's first tokens, judge their log-probabilities, and release or escalate it.

Promises: the client sees nothing of a stream before its prefix is judged, then every event once and
in order. Log-probabilities that it did not ask for are in no event, nor in what the cache keeps.
While a dearer tier is asked the held stream is read on: it can still be released, and what it made
is paid for. Order and verdict are the pipeline's.
Not covered: what a prefix says. Checks of the text want a whole answer, and are made of one that
ends within the prefix (`HeldAnswer.doubt`). Of a stream in which nothing can be judged (a call of a
tool, text without log-probabilities) nothing is held longer than it takes to see that.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson

from core.call import Call, Usage
from core.errors import HansomError
from core.ledger_line import Outcome
from core.settings.load import Settings
from deployments.gateway.attempt import Attempt
from deployments.gateway.backends.exchange import Exchange
from deployments.gateway.backends.generate import (
    Begun,
    GenerationPlan,
    Store,
    close_failed,
    fed,
    new_relay,
    open_stream,
    pass_on,
)
from deployments.gateway.cascade.held_answer import HeldAnswer, dearer, logprobs_of, wants_logprobs
from deployments.gateway.reply import Reply
from wire.relay import Blocks, payload, split
from wire.whole import DONE, assemble

_TEXTS = ("content", "reasoning", "reasoning_content", "refusal")


@dataclass(slots=True)
class _Choice:
    """How far one choice has come; `unjudged` when its tokens will not be judged."""

    tokens: int = 0
    ended: bool = False
    unjudged: bool = False

    def note(self, part: dict[str, Any]) -> None:
        """Take one event's share of it."""
        delta = part.get("delta") or {}
        text = part.get("text") or any(delta.get(name) for name in _TEXTS)
        logprobs = logprobs_of(part)
        self.tokens += len(logprobs or ())
        self.ended = self.ended or part.get("finish_reason") is not None
        blind = bool(text) and logprobs is None
        self.unjudged = self.unjudged or blind or bool(delta.get("tool_calls"))


class WholeEvents:
    """An engine's stream in whole events; `blind` takes log-probabilities out of what is shown."""

    def __init__(self, upstream: Blocks, *, blind: bool) -> None:
        self._upstream = upstream
        self._blind = blind
        self._tail = b""

    async def events(self) -> bytes:
        """The next events as the engine sent them; empty at the end."""
        while block := await self._upstream.block():
            data = self._tail + block
            cut = data.rfind(b"\n\n") + 2
            if cut > 1:
                self._tail = data[cut:]
                return data[:cut]
            self._tail = data
        return b""

    def shown(self, events: bytes) -> bytes:
        """What the client may see of them. Raises `ValueError` for events of another form."""
        if not self._blind or b'"logprobs":{' not in events:
            return events
        return b"".join(_without_logprobs(event) for event in split(events))

    async def block(self) -> bytes:
        """The next events as the client may see them; empty at the end."""
        return self.shown(await self.events())

    def close(self) -> None:
        """Leave the engine, which ends its work."""
        self._upstream.close()


class HeldStream:
    """A stream of which the client has seen nothing, and the open attempt behind it.

    `seen` is what had come when enough was there to judge, as an answer of its own; `whole` says
    that it is all of the answer. `broken` says that the stream failed later, before its release.
    """

    seen: HeldAnswer

    def __init__(self, ride: GenerationPlan, attempt: Attempt, source: WholeEvents) -> None:
        self.attempt = attempt
        self.whole = False
        self.broken = False
        self._ride = ride
        self._source = source
        self._relay = new_relay(ride, attempt)
        self._shown: list[bytes] = []
        self._choices: dict[int, _Choice] = {}
        self._held_tokens = 0

    @property
    def usage(self) -> Usage:
        """Tokens so far."""
        return self._relay.usage

    @property
    def passed(self) -> str:
        """Why it is released when nothing speaks against it."""
        if self.whole:
            return self.seen.passed
        doubt = self.seen.token_doubt()
        if doubt is None:
            return "its first tokens cannot be judged"
        return f"its first {self._held_tokens} tokens passed (doubt {doubt:.3f})"

    def against(self, limit: float) -> str:
        """What speaks against its first tokens, in words; empty when nothing does."""
        doubt = self.seen.token_doubt()
        if doubt is None or doubt < limit:
            return ""
        return f"doubt {doubt:.3f} in its first {self._held_tokens} tokens"

    async def hold(self, tokens: int) -> None:
        """Read until each choice that has begun has `tokens` tokens, or the answer has ended.

        Raises what `generate` makes a failed replica of.
        """
        raw: list[bytes] = []
        while not (self._relay.finished or self._enough(tokens)):
            raw.append(await self._read())
        self.whole = self._relay.finished
        self.seen = HeldAnswer(self._ride, self.attempt, orjson.dumps(assemble([*raw, DONE])))
        self._held_tokens = max((each.tokens for each in self._choices.values()), default=0)

    @asynccontextmanager
    async def read_on(self) -> AsyncIterator[None]:
        """Read on in the background, for as long as another tier is asked."""
        reading = asyncio.create_task(self._read_on())
        try:
            yield
        finally:
            reading.cancel()
            await asyncio.wait([reading])

    async def release(self, words: str, store: Store) -> Reply:
        """All that is held and then the rest, with `words` in the reason."""
        ride, first = self.seen.because(words), b"".join(self._shown)
        return await pass_on(ride, self.attempt, self._source, self._relay, first, store)

    def give_up(self) -> None:
        """Stop the engine and settle the attempt as one that was not given."""
        self.stop()
        cache, usage = self._ride.miss.result, self.usage
        self.attempt.close(Outcome.SUCCESS, usage, cache=cache, served=False, cut=not self.whole)

    def cost_usd_micros(self) -> int:
        """Give it up, if it is not yet; what its line says that it cost."""
        self.give_up()
        return self.attempt.final_usd_micros()

    def stop(self) -> None:
        """Leave the engine, which ends its work."""
        self._source.close()

    async def _read(self) -> bytes:
        """The next events as the engine sent them; what may be shown is kept."""
        events = await self._source.events()
        for event in split(events):
            self._note(event)
        self._shown.append(fed(self._relay, self._source.shown(events), self.attempt.tier.name))
        return events

    def _note(self, event: bytes) -> None:
        if not event.startswith(b"data: {"):
            return
        for part in _choices(payload(event)):
            try:
                self._choices.setdefault(part["index"], _Choice()).note(part)
            except (LookupError, TypeError, AttributeError) as error:
                raise ValueError(f"an event of another form: {error!r}") from error

    def _enough(self, tokens: int) -> bool:
        """Whether no running choice has to be waited for; one without a token has not begun."""
        running = [
            choice
            for choice in self._choices.values()
            if not choice.ended and (choice.tokens or choice.unjudged)
        ]
        return bool(running) and all(
            choice.unjudged or choice.tokens >= tokens for choice in running
        )

    async def _read_on(self) -> None:
        try:
            while not self._relay.finished:
                await self._read()
        except (ConnectionError, TimeoutError, ValueError, HansomError) as error:
            self.broken = True
            close_failed(self.attempt, error, self.usage)


def may_watch(call: Call) -> bool:
    """Whether a stream's log-probabilities are those of its answer: an echo's are the prompt's."""
    return not call.asked.echo


def watching(asked: Call, settings: Settings, store: Store) -> Begun[HeldStream]:
    """What becomes of a stream of `asked`: held, on a tier that another one is above."""
    blind = not wants_logprobs(asked)
    tokens = settings.router.cascade.prefix_tokens

    async def begun(
        ride: GenerationPlan, attempt: Attempt, upstream: Exchange
    ) -> Reply | HeldStream:
        source = WholeEvents(upstream, blind=blind)
        if not dearer(settings, ride.decision, attempt.tier.name):
            return await open_stream(ride, attempt, source, store)
        held = HeldStream(ride, attempt, source)
        try:
            await held.hold(tokens)
        except BaseException as error:  # what was made so far is paid for
            close_failed(attempt, error, held.usage)
            raise
        return held

    return begun


def _choices(body: dict[str, object]) -> list[dict[str, Any]]:
    """An event's choices, none in one of usage; raises `ValueError` for another form."""
    found = body.get("choices") or []
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError("an event's choices must be a list of objects")
    return found


def _without_logprobs(event: bytes) -> bytes:
    """The event as if they had never been asked for."""
    if b'"logprobs":{' not in event:
        return event
    body = payload(event)
    for choice in _choices(body):
        choice["logprobs"] = None
    return b"data: " + orjson.dumps(body) + b"\n\n"
