"""The request, whole: look up, route, generate, stream, settle.

Its life in numbered sentences is `docs/path.md`. Promises: a failed tier falls back before the
client has seen a byte, and never after; every attempt leaves one ledger line; nothing of a request
outlives it but the write to the cache, which has an owner and a deadline.
"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace

import orjson

from cache.eligible import AnswerFacts, Directives, Eligibility, eligible, storable
from cache.exact import CachedAnswer, ExactCache
from cache.key import exact_key
from cache.replay import replay
from core.call import Call, Decision, Usage
from core.errors import ContextTooLong, EngineFailed, HansomError, Unavailable
from deployments.attempt import Attempt, Books
from deployments.board import Board
from deployments.escalate import Held, dearer, escalated, to_hold
from deployments.generate import Miss, ReplicaFailed, Result, Ride, Whole, generate, settle
from deployments.handles import TierReplicas
from deployments.reply import Reply, closing_object, headers
from deployments.second_look import SecondLook
from deployments.stream import with_extra
from ledger.line import CacheResult, Kind, Outcome

_REPLICAS_PER_TIER = 2
_NO_CACHE = Eligibility(lookup=False, store=False, reason="switched off")


class Pipeline:
    """Turns calls into replies; one per gateway replica.

    `answer_version` names everything outside the body that changes an answer: models, their
    quantization, the router's weights. A new one retires all cached answers.
    """

    def __init__(
        self,
        books: Books,
        board: Board,
        cache: ExactCache,
        tiers: dict[str, TierReplicas],
        answer_version: str,
    ) -> None:
        self._books = books
        self._board = board
        self._cache = cache
        self._tiers = tiers
        self._answer_version = answer_version
        self._cache_on = books.settings.cache.exact
        self._look = SecondLook(books, tiers)
        self._writes: set[asyncio.Task[bool]] = set()

    async def look_up(self, call: Call, directives: Directives) -> Reply | Miss:
        """The reply from the cache, or what is to be known of the miss."""
        rule = eligible(call.body, directives) if self._cache_on else _NO_CACHE
        key = self._key(call) if rule.lookup or rule.store else ""
        if rule.lookup and (hit := await self._cache.get(key)):
            return self._replayed(call, hit)
        result: CacheResult = "miss" if rule.lookup else "off"
        self._books.metrics.cache.labels(result).inc()
        return Miss(result, key if rule.store else None)

    async def ride(self, call: Call, miss: Miss) -> Reply:
        """Route and generate; raises `HansomError` for what the client must be told."""
        decision = await self._board.decide(call)
        self._books.metrics.routes.labels(decision.tier, decision.code).inc()
        ride = Ride(call, decision, miss)
        cascade = self._books.settings.router.cascade
        if decision.doubt is None or (call.stream and not cascade.hold_streams):
            return await self._generate(ride, self._settle)
        held = await self._generate(to_hold(ride, logprobs=cascade.logprobs), Held)
        assert isinstance(held, Held)  # what is to be held is asked for whole
        try:
            return await self._judged(ride, held)
        except BaseException as error:  # whatever ends it, the held attempt leaves its line
            left = isinstance(error, asyncio.CancelledError)
            outcome, code = (Outcome.CANCELLED, None) if left else (Outcome.ERROR, "judging")
            held.attempt.close(outcome, held.usage, error=code, cache=miss.result)
            raise

    async def close(self) -> None:
        """Wait for cache writes that are still under way."""
        await asyncio.gather(*self._writes, return_exceptions=True)

    async def _judged(self, ride: Ride, held: Held) -> Reply:
        """Keep a held answer, or have a dearer tier answer; a failure there keeps it after all."""
        count = self._books.metrics.escalations.labels
        tier, usage = held.attempt.tier.name, held.usage
        upper = dearer(self._books.settings, ride.decision, tier)
        against = await self._against(ride, held, upper) if upper else ""
        if not against:
            count(tier, "kept").inc()
            return self._kept(ride.call, held, "its answer passed the checks")
        spent = held.attempt.cost_usd_micros(usage)
        up = escalated(ride, upper, against, spent)
        number = held.attempt.number + 1
        try:
            reply = await self._generate(up, self._settle, Kind.ESCALATION, number)
        except HansomError as error:
            count(tier, "saved").inc()
            words = (
                f"its answer is doubtful ({against}), but {up.decision.tier} failed ({error.code})"
            )
            return self._kept(ride.call, held, words)
        held.attempt.close(Outcome.SUCCESS, usage, cache=ride.miss.result, served=False)
        count(tier, "escalated").inc()
        return reply

    async def _against(self, ride: Ride, held: Held, upper: list[str]) -> str:
        """What speaks against a held answer, in words; empty when nothing does.

        The dearer questions are asked only of an answer that passed the cheaper ones.
        """
        cascade, limit = self._books.settings.router.cascade, ride.decision.doubt
        assert limit is not None
        second = None
        doubt = held.doubt()
        if cascade.second_sample and held.text and doubt.value < limit:
            second = await self._look.sample(ride.call, held.attempt.tier)
            doubt = held.doubt(second)
        if doubt.value >= limit:
            return doubt.words
        if cascade.perplexity is not None and held.text:
            reader = self._books.settings.tier(upper[-1])
            found = await self._look.reading(ride.call, reader, held.text)
            if found is not None and found > cascade.perplexity:
                return f"perplexity {found:.1f} to {reader.name}, above {cascade.perplexity:g}"
        return ""

    def _kept(self, call: Call, held: Held, words: str) -> Reply:
        """The held answer, plain or as a stream, whichever was asked."""
        ride, body = held.because(words), held.as_asked(call)
        reply = settle(ride, held.attempt, body, self._store)
        if not call.stream:
            return reply
        cost = held.attempt.cost_usd_micros(held.usage)
        sent = headers(call, ride.decision, held.attempt.tier, cache=ride.miss.result)
        return Reply(200, self._played(call, held.attempt, body, ride.miss.result, cost), sent)

    def _settle(self, ride: Ride, attempt: Attempt, body: bytes) -> Reply:
        return settle(ride, attempt, body, self._store)

    async def _generate(
        self, ride: Ride, whole: Whole[Result], first: Kind = Kind.ANSWER, number: int = 0
    ) -> Reply | Result:
        """Try the decided tier, another replica of it, then the fallbacks."""
        failure: HansomError | None = None
        places = (ride.decision.tier, *ride.decision.fallbacks)
        for place, name in enumerate(places):
            replicas, failed = self._tiers[name], frozenset[str]()
            for nth in range(_REPLICAS_PER_TIER):
                if failed and not replicas.left(failed):
                    break
                kind = Kind.RETRY if nth else Kind.FALLBACK if place else first
                tier = self._books.settings.tier(name)
                if kind is Kind.FALLBACK:
                    ride = fallen_back(ride, name)
                attempt = Attempt(self._books, ride.call, ride.decision, tier, kind, number)
                number += 1
                try:
                    return await generate(ride, attempt, replicas, failed, self._store, whole)
                except ReplicaFailed as error:
                    failed |= {error.replica_id}
                    failure = error.cause
                except (Unavailable, ContextTooLong) as error:
                    failure = failure or error
                    break
        raise failure or EngineFailed("No tier could be tried.")

    def _key(self, call: Call) -> str:
        return exact_key(
            call.body,
            endpoint=call.endpoint.value,
            tenant=call.tenant,
            policy_version=f"{self._answer_version}:{call.risk}:{call.value}:{call.domain}",
        )

    def _replayed(self, call: Call, hit: CachedAnswer) -> Reply:
        """A stored answer, as a stream or plain, whichever is asked."""
        self._books.metrics.cache.labels("exact").inc()
        tier = self._books.settings.tier(hit.tier)
        decision = Decision(tier.name, "cache_exact", "the same request was answered before")
        attempt = Attempt(self._books, call, decision, tier, Kind.CACHE_HIT, 0)
        sent = headers(call, decision, tier, cache="exact", cost_usd_micros=0)
        if not call.stream:
            attempt.close(Outcome.SUCCESS, hit.usage, cache="exact")
            return Reply(200, hit.body, sent)
        attempt.first_byte()
        attempt.close(Outcome.SUCCESS, hit.usage, cache="exact")
        return Reply(200, self._played(call, attempt, hit.body, "exact", 0), sent)

    def _played(
        self, call: Call, attempt: Attempt, body: bytes, cache: str, cost_usd_micros: int
    ) -> AsyncGenerator[bytes, None]:
        """A whole answer as a stream with its closing object."""
        extra = closing_object(call, attempt.tier, cache=cache, cost_usd_micros=cost_usd_micros)
        events = list(replay(orjson.loads(body), include_usage=call.include_usage))
        events[-2] = with_extra(events[-2], extra)
        return _once(b"".join(events))

    def _store(self, key: str, attempt: Attempt, body: bytes, usage: Usage) -> None:
        """Write a complete answer to the cache off the critical path."""
        reasons = [choice.get("finish_reason") for choice in orjson.loads(body)["choices"]]
        limit = self._books.settings.cache.max_answer_bytes
        if not storable(AnswerFacts(200, reasons, len(body)), max_bytes=limit).store:
            return
        answer = CachedAnswer(
            body=body,
            tier=attempt.tier.name,
            model=attempt.tier.model,
            usage=usage,
            cost_usd_micros=attempt.cost_usd_micros(usage),
            created_s=self._books.clock.wall_s(),
        )
        task = asyncio.create_task(self._cache.put(key, answer))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)


def fallen_back(ride: Ride, tier: str) -> Ride:
    """The same ride with a reason that says which tier failed and which stands in."""
    decision = ride.decision
    reason = f"{decision.reason}; {decision.tier} failed: {tier} instead"
    return replace(ride, decision=replace(decision, tier=tier, code="fallback", reason=reason))


async def _once(block: bytes) -> AsyncGenerator[bytes, None]:
    yield block
