"""Run one attempt on a replica: open it, then return the answer or relay its stream.

Promises: until a `Reply` is returned the client has seen nothing, so the caller may try elsewhere;
a stream that breaks later ends with an error event and never silently; leaving, at any point,
closes the connection to the engine, which aborts the work there.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

import orjson

from core.call import Call, Decision, Lane, Usage
from core.errors import BadRequest, DeadlineExceeded, EngineFailed, HansomError
from core.ledger_line import CacheResult, Outcome
from core.settings.load import Tier
from deployments.gateway.attempt import Attempt
from deployments.gateway.backends import lane
from deployments.gateway.backends.exchange import Exchange
from deployments.gateway.backends.prefix_index import NO_PROMPT, Prompt
from deployments.gateway.backends.refusal import read as read_refusal
from deployments.gateway.backends.refusal import refusal
from deployments.gateway.backends.tier import Replica, TierReplicas
from deployments.gateway.reply import Reply, closing_object, headers
from router.policy.terms import RoutingCode
from wire.relay import Blocks, SseRelay, error_event, parse_usage
from wire.whole import assemble

_FULL = 503
_FULL_AGAIN_S = {Lane.INTERACTIVE: 0.1, Lane.BATCH: 1.0}

Store = Callable[[str, Attempt, bytes, Usage], None]
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Miss:
    """A look-up that found nothing, or none at all; under which key the answer may be stored."""

    result: CacheResult
    store_key: str | None
    max_age_s: float | None = None

    @property
    def shareable(self) -> bool:
        """Others who ask the same now may have the same answer."""
        return self.result == "miss" and self.store_key is not None


@dataclass(frozen=True, slots=True)
class GenerationPlan:
    """A call on its way with its prompt, and what was decided.

    `earlier` is called when its answer is complete: it settles the attempts that were given up for
    it, if they are not yet, and returns the cost of their lines in micro-USD. `witness` is told
    what became of it.
    """

    call: Call
    decision: Decision
    miss: Miss
    earlier: Callable[[], int] = field(default=lambda: 0)
    witness: "ShareListener | None" = None
    prompt: Prompt = NO_PROMPT


Whole = Callable[[GenerationPlan, Attempt, bytes], Result]
Begun = Callable[[GenerationPlan, Attempt, Exchange], Awaitable[Reply | Result]]


class ShareListener(Protocol):
    """Receives the source and the cost of a shared generation."""

    def opened(self, decision: Decision) -> None:
        """The answer's first bytes are there."""

    def settled(self, usage: Usage, cost_usd_micros: int) -> None:
        """The answer is complete; the cost is that of all its attempts."""


class ReplicaFailed(Exception):
    """This replica could not answer; another one may. `cause` is for the client if none does.

    `gone` when it could not be reached, as one that has just been taken away.
    """

    def __init__(self, replica_id: str, cause: HansomError, *, gone: bool = False) -> None:
        super().__init__(cause.message)
        self.replica_id = replica_id
        self.cause = cause
        self.gone = gone


def fallen_back(ride: GenerationPlan, tier: str, refused: BadRequest | None) -> GenerationPlan:
    """The same ride with a reason that says which tier failed, or refused, and which stands in."""
    decision = ride.decision
    what = "failed" if refused is None else f"refused ({refused.code})"
    code = RoutingCode.FALLBACK if refused is None else RoutingCode.REFUSED
    reason = f"{decision.reason}; {decision.tier} {what}: {tier} instead"
    return replace(ride, decision=replace(decision, tier=tier, code=code.value, reason=reason))


async def generate(
    ride: GenerationPlan,
    attempt: Attempt,
    replicas: TierReplicas,
    skip: frozenset[str],
    whole: Whole[Result],
    begun: Begun[Result],
) -> Reply | Result:
    """Answer `ride` on a replica not in `skip`.

    `whole` says what becomes of a plain answer and closes its attempt; `begun` says what becomes of
    a stream, whose attempt is closed when the stream ends. Raises `ReplicaFailed` when another
    replica may do better, else the `HansomError` for the client, with the attempt closed.
    """
    upstream: Exchange | None = None
    chosen = ""
    try:
        held = ride.call.lane is Lane.BATCH  # it waits for room, as a held one does
        while True:
            if ride.call.lane is Lane.BATCH:
                await replicas.batch.wait(attempt.left_s(ride.call))
            body = _engine_body(ride.call, attempt.tier)
            replica, waited = await replicas.find(skip, ride.prompt, attempt.left_s(ride.call))
            chosen, held = replica.id, held or waited
            upstream = await _sent(ride, attempt, replicas, replica, body)
            if not (held and upstream.status == _FULL):
                break
            # Other gateways' calls were first; one that was held is not refused for that.
            upstream.close()
            await asyncio.sleep(_FULL_AGAIN_S[ride.call.lane])
        if upstream.status != 200:
            raise await refusal(ride.call, replicas, replica, upstream)
        if ride.call.stream:
            return await begun(ride, attempt, upstream)
        answer = await upstream.read()
        upstream.close()
        return whole(ride, attempt, answer)
    except BaseException as error:
        if upstream is not None:
            upstream.close()
        close_failed(attempt, error)
        told = _told(error, ride.call, attempt.tier.name, chosen)
        if told is error:
            raise
        raise told from error


async def _sent(
    ride: GenerationPlan, attempt: Attempt, replicas: TierReplicas, replica: Replica, body: bytes
) -> Exchange:
    """The request on its way to a replica, up to the head of the answer."""
    call = ride.call
    attempt.sent_to(replicas, replica)
    sent = {
        "content-type": "application/json",
        "x-request-id": attempt.engine_request_id,
        **lane.marks(call.lane),
        **attempt.trace_headers(replica.id),
    }
    path = f"/v1/{call.endpoint.value}"
    left_s = attempt.left_s(call)
    return await replicas.post(replica, path, body, sent, left_s, call.lane, ride.prompt)


def close_failed(attempt: Attempt, error: BaseException, usage: Usage = Usage()) -> None:  # noqa: B008
    """Close an attempt that the client has seen nothing of, for what ended it."""
    if isinstance(error, asyncio.CancelledError):
        attempt.close(Outcome.CANCELLED, usage)
    elif isinstance(error, ConnectionError):
        attempt.close(Outcome.ERROR, usage, error="engine_unreachable")
    elif isinstance(error, ValueError):
        attempt.close(Outcome.ERROR, usage, error="engine_nonsense")
    elif isinstance(error, TimeoutError):
        attempt.close(Outcome.TIMEOUT, usage, error="deadline_exceeded")
    elif isinstance(error, BadRequest):
        attempt.close(Outcome.REFUSED, usage, error=error.code or "bad_request")
    else:
        code = error.code if isinstance(error, HansomError) else None
        attempt.close(Outcome.ERROR, usage, error=code or type(error).__name__)


def _told(error: BaseException, call: Call, tier: str, replica: str) -> BaseException:
    """What the caller is told of what ended an attempt; `error` itself when that is all."""
    if isinstance(error, ConnectionError):
        return ReplicaFailed(
            replica,
            EngineFailed(f"Tier {tier!r} did not answer ({type(error).__name__}). Try again."),
            gone=True,
        )
    if isinstance(error, ValueError):
        return ReplicaFailed(
            replica, EngineFailed(f"Tier {tier!r} did not answer in OpenAI's form ({error}).")
        )
    if isinstance(error, TimeoutError):
        return deadline_exceeded(call)
    if isinstance(error, HansomError) and not isinstance(error, BadRequest) and replica:
        return ReplicaFailed(replica, error)
    return error


def deadline_exceeded(call: Call) -> DeadlineExceeded:
    """The error for a call whose time is up."""
    return DeadlineExceeded(
        f"No complete answer within {call.deadline_s:g} s (limits.request_timeout_s).",
        code="deadline_exceeded",
    )


def _engine_body(call: Call, tier: Tier) -> bytes:
    """The client's body for the engine: model, lane, and usage told as the stream runs."""
    body = lane.queued(call.body, call.lane) | {"model": tier.model} | output_cap(call, tier)
    if call.stream:
        body["stream_options"] = {"include_usage": True, "continuous_usage_stats": True}
    return orjson.dumps(body)


def output_cap(call: Call, tier: Tier) -> dict[str, int]:
    """The field that keeps a chat without an output limit within what was reserved for it."""
    cap = call.output_caps.get(tier.name)
    return {} if cap is None else {"max_completion_tokens": cap}


def settle(ride: GenerationPlan, attempt: Attempt, body: bytes, store: Store) -> Reply:
    """Close the attempt with a plain answer that the client gets; raises `ValueError`."""
    usage = parse_usage(orjson.loads(body).get("usage"))
    attempt.close(Outcome.SUCCESS, usage, cache=ride.miss.result)
    if ride.miss.store_key:
        store(ride.miss.store_key, attempt, body, usage)
    cost, cache = attempt.cost_usd_micros(usage) + ride.earlier(), ride.miss.result
    if ride.witness is not None:
        ride.witness.opened(ride.decision)
        ride.witness.settled(usage, cost)
    sent = headers(ride.call, ride.decision, attempt.tier, cache=cache, cost_usd_micros=cost)
    return Reply(200, body, sent)


async def open_stream(
    ride: GenerationPlan, attempt: Attempt, upstream: Blocks, store: Store
) -> Reply:
    """Wait for the first events, so that an engine that fails before them can be replaced."""
    relay = new_relay(ride, attempt)
    first = b""
    while not first and not relay.finished:
        first = fed(relay, await upstream.block(), attempt.tier.name)
    return await pass_on(ride, attempt, upstream, relay, first, store)


def new_relay(ride: GenerationPlan, attempt: Attempt) -> SseRelay:
    """The relay of one attempt's stream to the client."""
    call = ride.call

    def closing(usage: Usage) -> dict[str, object]:
        cost = attempt.cost_usd_micros(usage) + ride.earlier()
        if ride.witness is not None:
            ride.witness.settled(usage, cost)
        return closing_object(call, attempt.tier, cache=ride.miss.result, cost_usd_micros=cost)

    return SseRelay(
        want_usage=call.include_usage, keep=bool(ride.miss.store_key), closing=closing,
        asked=call.asked,
    )  # fmt: skip


def fed(relay: SseRelay, block: bytes, tier: str) -> bytes:
    """Feed the relay the next block, while nothing has gone to the client; what may go there.

    Raises `EngineFailed` for a stream that ended, or that carries an error. vLLM checks some fields
    only after it has sent a stream's status: such an error is the client's, as without a stream.
    """
    if not block:
        raise EngineFailed("The engine closed the stream before its first token.")
    events = relay.feed(block)
    if relay.failure is not None:
        status = relay.failure.get("code")
        if isinstance(status, int) and 400 <= status < 500:
            raise read_refusal(status, orjson.dumps({"error": relay.failure}), tier)
        raise EngineFailed(str(relay.failure.get("message") or "The engine failed."))
    return events


async def pass_on(
    ride: GenerationPlan,
    attempt: Attempt,
    upstream: Blocks,
    relay: SseRelay,
    first: bytes,
    store: Store,
) -> Reply:
    """The reply that begins with the events `first` and goes on as the engine does."""
    attempt.first_byte()
    if ride.witness is not None:
        ride.witness.opened(ride.decision)
    body = _relay(ride, attempt, upstream, relay, first, store)
    await anext(body)  # closing a generator that never began would settle nothing
    return Reply(200, body, headers(ride.call, ride.decision, attempt.tier, cache=ride.miss.result))


async def _relay(
    ride: GenerationPlan,
    attempt: Attempt,
    upstream: Blocks,
    relay: SseRelay,
    first: bytes,
    store: Store,
) -> AsyncGenerator[bytes, None]:
    """Pass the stream on to its end, and settle however it ends."""
    outcome = Outcome.CANCELLED
    fault: HansomError | None = None
    try:
        yield b""  # taken by `pass_on`
        yield first
        try:
            while block := await upstream.block():
                if events := relay.feed(block):
                    yield events
            outcome, fault = Outcome.ERROR, _broken(attempt.tier.name)
        except (ConnectionError, ValueError):
            outcome, fault = Outcome.ERROR, _broken(attempt.tier.name)
        except TimeoutError:
            outcome, fault = Outcome.TIMEOUT, deadline_exceeded(ride.call)
        if fault and not relay.finished:
            yield error_event(fault)
    finally:
        if relay.complete:  # also for a client that hangs up on the last event
            outcome, fault = Outcome.SUCCESS, None
        error = fault.code if fault else None
        usage = relay.usage
        attempt.close(
            outcome, usage, error=error, cache=ride.miss.result,
            delivered_tokens=usage.output_tokens,
        )  # fmt: skip
        if relay.complete and ride.miss.store_key:
            _keep(ride.miss.store_key, attempt, relay, store)
        upstream.close()


def _keep(key: str, attempt: Attempt, relay: SseRelay, store: Store) -> None:
    """Store a complete stream; one that cannot be put together is not kept."""
    with suppress(ValueError):
        store(key, attempt, orjson.dumps(assemble(relay.kept)), relay.usage)


def _broken(tier: str) -> EngineFailed:
    return EngineFailed(
        f"The stream of tier {tier!r} broke after its first token; what came before is all "
        "there is. Send the request again.",
        code="stream_broken",
    )
