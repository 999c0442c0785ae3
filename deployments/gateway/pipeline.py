"""Run a request: look up, route, generate, stream, settle.

Its life in numbered sentences is `docs/path.md`. Promises: a failed tier falls back before the
client has seen a byte, and never after; every attempt leaves one ledger line; nothing of a request
outlives it but the write to the cache, which has an owner and a deadline.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import nullcontext

import orjson

from cache.exact.answers import CachedAnswer, ExactCache
from cache.exact.eligible import AnswerFacts, Directives, eligible, storable
from cache.exact.key import exact_key, owner
from cache.flight.flights import Flights
from core.call import Call, Decision, Usage
from core.errors import (
    BadRequest,
    ContextTooLong,
    EngineFailed,
    HansomError,
    NotSupported,
    Unavailable,
)
from core.ledger_line import CacheResult, Kind, Outcome
from deployments.gateway.attempt import Attempt, Recorder
from deployments.gateway.backends import prefix_index
from deployments.gateway.backends.exchange import Exchange
from deployments.gateway.backends.generate import (
    Begun,
    GenerationPlan,
    Miss,
    ReplicaFailed,
    Result,
    ShareListener,
    Whole,
    fallen_back,
    generate,
    open_stream,
    settle,
)
from deployments.gateway.backends.refusal import refused_by_all
from deployments.gateway.backends.tier import TierReplicas
from deployments.gateway.cascade.held_answer import (
    HeldAnswer,
    dearer,
    escalated,
    to_hold,
    with_logprobs,
)
from deployments.gateway.cascade.held_stream import HeldStream, may_watch, watching
from deployments.gateway.cascade.second_opinion import SecondOpinion
from deployments.gateway.dispatch import Dispatcher
from deployments.gateway.heartbeat import beating
from deployments.gateway.lookup.semantic import Semantic
from deployments.gateway.lookup.single_flight import SingleFlight
from deployments.gateway.reply import Reply, closing_object, headers
from deployments.gateway.tracing import trace
from wire.relay import with_extra
from wire.whole import replay

_REPLICAS_PER_TIER = 2
_HIT_CODES: dict[CacheResult, str] = {"exact": "cache_exact", "semantic": "cache_semantic"}


def _found(found: Reply | Miss) -> trace.Attributes:
    result = found.result if isinstance(found, Miss) else "exact"
    return {"hansom.cache.kind": "exact", "hansom.cache.result": result}


class Pipeline:
    """Turns calls into replies; one per gateway replica.

    `answer_version` names everything outside the body that changes an answer: models, their
    quantization, the router's weights. A new one retires all cached answers.
    """

    def __init__(
        self,
        recorder: Recorder,
        board: Dispatcher,
        cache: ExactCache,
        tiers: dict[str, TierReplicas],
        answer_version: str,
        flights: Flights | None = None,
        semantic: Semantic | None = None,
    ) -> None:
        self._recorder = recorder
        self._board = board
        self._cache = cache
        self._tiers = tiers
        self._sleepers = [tier for tier in tiers.values() if tier.wake_queue is not None]
        self._answer_version = answer_version
        self._look = SecondOpinion(recorder, tiers)
        self._semantic = semantic
        self._flights = flights
        self._sharing = SingleFlight(recorder, flights, self._alone) if flights else None
        self._writes: set[asyncio.Task[bool]] = set()

    @trace.step("lookup", _found)
    async def look_up(self, call: Call, directives: Directives) -> Reply | Miss:
        """The reply from the cache, or what is to be known of the miss."""
        rules = self._recorder.settings.cache.rules(call.tenant, call.domain)
        rule = eligible(call.asked, directives, rules)
        key = self._key(call) if rule.lookup or rule.store else ""
        if rule.lookup and (hit := await self._cache.get(key, directives.max_age_s)):
            self._recorder.metrics.cache.labels("exact").inc()
            return self._given_again(call, hit, "exact", "the same request was answered before")
        result: CacheResult = "miss" if rule.lookup else "off"
        self._recorder.metrics.cache.labels(result).inc()
        return Miss(result, key if rule.store else None, directives.max_age_s)

    async def ride(self, call: Call, miss: Miss) -> Reply:
        """Generate or share a generation; raises `HansomError` for what the client must be told.

        A stream that comes while a tier is being woken may begin with comments.
        """
        if call.stream and any(tier.asleep for tier in self._sleepers):
            every_s = self._recorder.settings.limits.heartbeat_s
            return await beating(self._ride(call, miss), every_s, self._holds)
        return await self._ride(call, miss)

    def _holds(self) -> bool:
        return any(tier.wake_queue is not None and tier.wake_queue.calls for tier in self._sleepers)

    async def _ride(self, call: Call, miss: Miss) -> Reply:
        if self._sharing is not None and miss.shareable:
            return await self._sharing.ride(call, miss)
        return await self._alone(call, miss)

    async def _alone(self, call: Call, miss: Miss, witness: ShareListener | None = None) -> Reply:
        """Give what answered the same in other words, else route and generate."""
        if self._semantic is not None and miss.shareable:
            hit = await self._semantic.look_up(call, miss.max_age_s)
            if hit is not None:
                self._recorder.metrics.cache.labels("semantic").inc()
                return self._given_again(call, hit.answer, "semantic", hit.reason, witness)
        prompt = prefix_index.read(call.body)
        decision = await self._board.decide(call, prompt)
        self._recorder.metrics.routes.labels(decision.tier, decision.code).inc()
        ride = GenerationPlan(call, decision, miss, witness=witness, prompt=prompt)
        first = await self._first(ride)
        return first if isinstance(first, Reply) else await self._settled(ride, first)

    async def close(self) -> None:
        """End what is shared, then wait for cache writes that are still under way."""
        if self._flights is not None:
            await self._flights.close()
        if self._semantic is not None:
            await self._semantic.close()
        await asyncio.gather(*self._writes, return_exceptions=True)

    async def _first(
        self, ride: GenerationPlan, kind: Kind = Kind.ANSWER, number: int = 0
    ) -> Reply | HeldAnswer | HeldStream:
        """The reply of the decided tier, or what of it is held back to be judged."""
        call, cascade = ride.call, self._recorder.settings.router.cascade
        if ride.decision.doubt is not None:
            if not call.stream or cascade.streams == "hold":
                asked = to_hold(ride, logprobs=cascade.logprobs)
                return await self._generate(asked, HeldAnswer, self._stream, kind, number)
            if cascade.streams == "prefix" and may_watch(call):
                begun = watching(call, self._recorder.settings, self._store)
                asked = with_logprobs(ride)
                return await self._generate(asked, self._settle, begun, kind, number)
        return await self._generate(ride, self._settle, self._stream, kind, number)

    async def _settled(self, ride: GenerationPlan, held: HeldAnswer | HeldStream) -> Reply:
        """What becomes of what is held; whatever ends it, its attempt leaves its line."""
        try:
            return await self._judged(ride, held)
        except BaseException as error:
            left = isinstance(error, asyncio.CancelledError)
            outcome, code = (Outcome.CANCELLED, None) if left else (Outcome.ERROR, "judging")
            held.attempt.close(outcome, held.usage, error=code, cache=ride.miss.result)
            if isinstance(held, HeldStream):
                held.stop()
            raise

    async def _judged(self, ride: GenerationPlan, held: HeldAnswer | HeldStream) -> Reply:
        """Keep what is held, or have the next dearer tier answer, whose answer is judged as well.

        A failure there keeps it after all.
        """
        count = self._recorder.metrics.escalations.labels
        tier = held.attempt.tier.name
        upper = dearer(self._recorder.settings, ride.decision, tier)
        against = await self._against(ride, held, upper) if upper else ""
        if not against:
            count(tier, "kept").inc()
            return await self._kept(ride.call, held, held.passed)
        up = escalated(ride, upper, against, held.cost_usd_micros)
        number = held.attempt.number + 1
        try:
            async with held.read_on() if isinstance(held, HeldStream) else nullcontext():
                above = await self._first(up, Kind.ESCALATION, number)
        except HansomError as error:
            if isinstance(held, HeldStream) and held.broken:
                raise
            count(tier, "saved").inc()
            words = (
                f"its answer is doubtful ({against}), but {up.decision.tier} failed ({error.code})"
            )
            return await self._kept(ride.call, held, words)
        held.give_up()
        count(tier, "escalated").inc()
        return above if isinstance(above, Reply) else await self._settled(up, above)

    async def _against(
        self, ride: GenerationPlan, held: HeldAnswer | HeldStream, upper: list[str]
    ) -> str:
        """What speaks against what is held, in words; empty when nothing does.

        The dearer questions are asked only of an answer that passed the cheaper ones.
        """
        cascade, limit = self._recorder.settings.router.cascade, ride.decision.doubt
        assert limit is not None
        if isinstance(held, HeldStream):
            if not held.whole:
                return held.against(limit)
            held = held.seen
        second = None
        doubt = held.doubt()
        if cascade.second_sample and held.text and doubt.value < limit:
            second = await self._look.sample(ride.call, held.attempt.tier, held.attempt.number)
            doubt = held.doubt(second)
        if doubt.value >= limit:
            return doubt.words
        if cascade.perplexity is not None and held.text:
            reader = self._recorder.settings.tier(upper[-1])
            found = await self._look.reading(ride.call, reader, held.text, held.attempt.number)
            if found is not None and found > cascade.perplexity:
                return f"perplexity {found:.1f} to {reader.name}, above {cascade.perplexity:g}"
        return ""

    async def _kept(self, call: Call, held: HeldAnswer | HeldStream, words: str) -> Reply:
        """What is held, plain or as a stream, whichever was asked."""
        if isinstance(held, HeldStream):
            return await held.release(words, self._store)
        ride, body = held.because(words), held.as_asked(call)
        reply = settle(ride, held.attempt, body, self._store)
        if not call.stream:
            return reply
        cost = held.attempt.cost_usd_micros(held.usage) + ride.earlier()
        sent = headers(call, ride.decision, held.attempt.tier, cache=ride.miss.result)
        return Reply(200, self._played(call, held.attempt, body, ride.miss.result, cost), sent)

    def _settle(self, ride: GenerationPlan, attempt: Attempt, body: bytes) -> Reply:
        return settle(ride, attempt, body, self._store)

    async def _stream(self, ride: GenerationPlan, attempt: Attempt, upstream: Exchange) -> Reply:
        return await open_stream(ride, attempt, upstream, self._store)

    async def _generate(
        self,
        ride: GenerationPlan,
        whole: Whole[Result],
        begun: Begun[Result],
        first: Kind = Kind.ANSWER,
        number: int = 0,
    ) -> Reply | Result:
        """Try the decided tier, another replica of it, then the fallbacks.

        A tier that refused is no failure: a later one that failed is what the client is told of. A
        try after one that may have made something needs a reservation of its own.
        """
        failure: HansomError | None = None
        refused: dict[str, BadRequest] = {}
        spent = False
        places = (ride.decision.tier, *ride.decision.fallbacks)
        for place, name in enumerate(places):
            replicas, failed, gone = self._tiers[name], frozenset[str](), False
            for nth in range(_REPLICAS_PER_TIER):
                # A tier whose last replica was just taken away is woken again.
                if failed and not replicas.left(failed) and not (gone and replicas.wake_queue):
                    break
                if spent and not await self._recorder.accounts.reserve_again(ride.call.call_id):
                    assert failure is not None
                    raise failure
                kind = Kind.RETRY if nth else Kind.FALLBACK if place else first
                tier = self._recorder.settings.tier(name)
                if kind is Kind.FALLBACK:
                    ride = fallen_back(ride, name, refused.get(places[place - 1]))
                attempt = Attempt(self._recorder, ride.call, ride.decision, tier, kind, number)
                number += 1
                try:
                    return await generate(ride, attempt, replicas, failed, whole, begun)
                except ReplicaFailed as error:
                    failed |= {error.replica_id}
                    failure, gone = error.cause, error.gone
                    spent = not isinstance(failure, Unavailable)  # which is said before any work
                except Unavailable as error:
                    failure = failure or error
                    break
                except (ContextTooLong, NotSupported) as error:
                    refused[name] = error
                    break
        if failure is None and refused:
            raise refused_by_all(refused)
        raise failure or EngineFailed("No tier could be tried.")

    def _key(self, call: Call) -> str:
        return exact_key(
            call.body,
            endpoint=call.endpoint.value,
            tenant=owner(
                self._recorder.settings.cache.scope,
                tenant=call.tenant,
                team=call.team,
                key=call.key,
            ),
            policy_version=f"{self._answer_version}:{call.risk}:{call.value}:{call.domain}",
        )

    def _given_again(
        self,
        call: Call,
        hit: CachedAnswer,
        cache: CacheResult,
        reason: str,
        witness: ShareListener | None = None,
    ) -> Reply:
        """A stored answer, as a stream or plain, whichever is asked."""
        tier = self._recorder.settings.tier(hit.tier)
        decision = Decision(tier.name, _HIT_CODES[cache], reason)
        attempt = Attempt(self._recorder, call, decision, tier, Kind.CACHE_HIT, 0)
        if witness is not None:
            witness.opened(decision)
            witness.settled(hit.usage, 0)
        sent = headers(call, decision, tier, cache=cache, cost_usd_micros=0)
        if call.stream:
            attempt.first_byte()
        attempt.close(Outcome.SUCCESS, hit.usage, cache=cache)
        if not call.stream:
            return Reply(200, hit.body, sent)
        return Reply(200, self._played(call, attempt, hit.body, cache, 0), sent)

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
        call, settings = attempt.call, self._recorder.settings.cache
        facts = AnswerFacts(200, reasons, len(body))
        if not storable(facts, max_bytes=settings.max_answer_bytes).store:
            return
        if attempt.tier.name in call.output_caps and "length" in reasons:
            return  # cut for this caller's budget, not for those who ask the same
        answer = CachedAnswer(
            body=body,
            tier=attempt.tier.name,
            model=attempt.tier.model,
            usage=usage,
            cost_usd_micros=attempt.cost_usd_micros(usage),
            created_s=self._recorder.clock.wall_s(),
        )
        ttl_s = settings.rules(call.tenant, call.domain).ttl_s
        task = asyncio.create_task(self._cache.put(key, answer, ttl_s, call.cache_tags))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        if self._semantic is not None:
            self._semantic.keep(call, key, body, ttl_s)


async def _once(block: bytes) -> AsyncGenerator[bytes, None]:
    yield block
