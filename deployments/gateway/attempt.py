"""Measure one attempt at one tier, and write its ledger line.

Promises: every attempt that was begun leaves exactly one line, whatever ends it: an answer, an
error, a timeout or a client that left. Ending is synchronous and never raises, so it can stand in
a `finally` while a task is being cancelled.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import msgspec

from accounts.port import NO_ACCOUNTS, AccountsPort
from core.call import Call, Decision, Usage
from core.ledger_line import (
    NOT_MADE,
    SIDE_KINDS,
    CacheResult,
    Kind,
    LedgerLine,
    Outcome,
    engine_request_id,
    saved_usd_micros,
)
from core.metrics import Metrics
from core.money import Price
from core.ports import Clock
from core.settings.load import Settings, Tier
from deployments.gateway.backends.tier import Replica, TierReplicas
from deployments.gateway.tracing import trace
from deployments.gateway.usage_query import Ask, UsageQuery
from ledger.path.open_attempts import NO_LIST, OpenAttempts
from ledger.path.writer import StreamWriter


@dataclass(frozen=True, slots=True)
class Recorder:
    """Where attempts are written down: metrics, ledger, prices and the clock."""

    metrics: Metrics
    ledger: StreamWriter
    clock: Clock
    settings: Settings
    router_version: str
    late: UsageQuery = field(default_factory=UsageQuery)
    open: OpenAttempts = NO_LIST
    accounts: AccountsPort = NO_ACCOUNTS

    def price(self, tier: Tier) -> Price:
        """What the tier costs now."""
        return self.settings.price(tier, self.clock.wall_s())

    @property
    def dearest(self) -> Price:
        """The price of always using the last, largest tier: what savings are counted against."""
        return self.price(self.settings.tiers[-1])


class Attempt:
    """A running attempt. `close` writes it down; later calls change nothing."""

    def __init__(
        self,
        recorder: Recorder,
        call: Call,
        decision: Decision,
        tier: Tier,
        kind: Kind,
        number: int,
    ) -> None:
        self._recorder = recorder
        self._call = call
        self._decision = decision
        self._tier = tier
        self._kind = kind
        self._number = number
        # Of the moment it begins: one that ends after midnight is not repriced on its way.
        self._price, self._dearest = recorder.price(tier), recorder.dearest
        self._started_s = recorder.clock.monotonic_s()
        self._first_s: float | None = None
        self._closed = False
        self._ask: Ask | None = None
        self._written_usd_micros: int | None = None
        self._write_late: Callable[[Usage | None], None] | None = None
        self._span = trace.current().attempt(call, decision, tier, kind, number)
        recorder.accounts.begun(call.call_id)

    @property
    def call(self) -> Call:
        """The call that it is for."""
        return self._call

    @property
    def tier(self) -> Tier:
        """The tier that is tried."""
        return self._tier

    @property
    def number(self) -> int:
        """Which attempt of its call this is, from 0."""
        return self._number

    @property
    def _id(self) -> str:
        return f"{self._call.call_id}:{self._number}"

    @property
    def engine_request_id(self) -> str:
        """The attempt's id inside the engine."""
        return engine_request_id(self._call.request_id, self._call.call_id, self._number)

    def left_s(self, call: Call) -> float:
        """Seconds to the call's deadline, at least a millisecond."""
        passed_s = self._recorder.clock.monotonic_s() - call.arrived_s
        return max(call.deadline_s - passed_s, 0.001)

    def trace_headers(self, replica: str) -> Mapping[str, str]:
        """What its replica is sent, so that the engine's own spans join the request's trace."""
        return self._span.headers(replica)

    def sent_to(self, replicas: TierReplicas, replica: Replica) -> None:
        """From now on that replica's engine may count tokens for it."""
        if self._ask is None:
            self._recorder.open.begin(self._id, self._provisional)
        self._ask = partial(replicas.usage, replica, self.engine_request_id)

    def _provisional(self) -> LedgerLine:
        """What it ends as if this gateway does not live to end it."""
        return self._line(Outcome.ERROR, Usage(), error="gateway_lost", cache="off")

    def first_byte(self) -> None:
        """Note that the first event of a stream has arrived."""
        if self._first_s is None:
            self._first_s = self._recorder.clock.monotonic_s()
            self._span.first_byte()

    def cost_usd_micros(self, usage: Usage) -> int:
        """What `usage` costs on this tier, in micro-USD."""
        return self._price.cost_usd_micros(usage)

    def final_usd_micros(self) -> int:
        """Its line's cost, for a client that is told it now; it has been closed.

        A line that still waits for the engine's count is written as an estimate, so that it says
        what the client is told.
        """
        if self._written_usd_micros is None and self._write_late is not None:
            self._write_late(None)
        return self._written_usd_micros or 0

    def close(
        self,
        outcome: Outcome,
        usage: Usage,
        *,
        error: str | None = None,
        cache: CacheResult = "miss",
        served: bool = True,
        cut: bool | None = None,
        delivered_tokens: int = 0,
        share_usd_micros: int = 0,
    ) -> None:
        """Write the line and the metrics, once; `served` when its answer is the client's.

        `cut` says that `usage` is what had been seen when the engine was left, which anything but
        an answer or a refusal is by default: then the engine is asked for its own count before the
        line is written. `delivered_tokens` of a cut answer reached the client.
        `share_usd_micros` is what an answer costs that was generated for another request, too.
        """
        if self._closed:
            return
        self._closed = True
        self._span.settling()
        if cut is None:
            cut = outcome not in (Outcome.SUCCESS, Outcome.REFUSED)
        served = served and outcome is Outcome.SUCCESS
        if served:
            delivered_tokens = usage.output_tokens
        line = self._line(outcome, usage, error, cache)
        if self._kind in NOT_MADE:
            self._write(msgspec.structs.replace(line, cost_usd_micros=share_usd_micros), served)
        elif cut and self._ask is not None:
            self._write_late = partial(self._write_told, line, served, delivered_tokens)
            self._recorder.late.settle(self._ask, self._write_late)
        else:
            self._write(self._priced(line, usage, delivered_tokens), served)

    def _write_told(
        self, seen: LedgerLine, served: bool, delivered_tokens: int, told: Usage | None
    ) -> None:
        """The line with the engine's own count, or as an estimate from what was seen; once."""
        if self._written_usd_micros is not None:
            return
        known = told is not None and told.total_tokens >= seen.usage.total_tokens
        usage = told if told is not None and known else seen.usage
        line = self._priced(seen, usage, delivered_tokens)
        self._write(msgspec.structs.replace(line, estimated_tokens=not known), served)

    def _priced(self, line: LedgerLine, usage: Usage, delivered_tokens: int) -> LedgerLine:
        undelivered = 0 if self._kind in SIDE_KINDS else usage.output_tokens - delivered_tokens
        return msgspec.structs.replace(
            line, usage=usage, undelivered_tokens=undelivered,
            cost_usd_micros=self.cost_usd_micros(usage),
        )  # fmt: skip

    def _write(self, line: LedgerLine, served: bool) -> None:
        saved = saved_usd_micros(line.usage, line.cost_usd_micros, self._dearest, served=served)
        line = msgspec.structs.replace(line, saved_usd_micros=saved)
        self._written_usd_micros = line.cost_usd_micros
        self._recorder.ledger.record(line)
        self._recorder.open.end(self._id)
        self._recorder.accounts.spent(line)
        self._count(line)
        self._span.settled(line, served=served)

    def _line(
        self, outcome: Outcome, usage: Usage, error: str | None, cache: CacheResult
    ) -> LedgerLine:
        call, clock = self._call, self._recorder.clock
        now_s = clock.monotonic_s()
        ttft_s = None if self._first_s is None else self._first_s - call.arrived_s
        after_first = usage.output_tokens - 1
        tpot_s = None
        if self._first_s is not None and after_first > 0 and self._kind not in NOT_MADE:
            tpot_s = (now_s - self._first_s) / after_first
        return LedgerLine(
            call_id=call.call_id,
            request_id=call.request_id,
            attempt=self._number,
            kind=Kind.CANCELLED if outcome is Outcome.CANCELLED else self._kind,
            tenant=call.tenant,
            endpoint=call.endpoint.value,
            requested=call.requested,
            tier=self._tier.name,
            model=self._tier.model,
            key=call.key,
            team=call.team,
            tags=call.tags,
            route_code=self._decision.code,
            route_reason=self._decision.reason,
            difficulty=self._decision.difficulty,
            router_version=self._router_version(),
            model_version=self._tier.version,
            prompt_version=call.prompt_version,
            lane=call.lane,
            price_version=self._price.version,
            usage=usage,
            stream=call.stream,
            queue_s=self._started_s - call.arrived_s,
            ttft_s=ttft_s,
            tpot_s=tpot_s,
            total_s=now_s - call.arrived_s,
            outcome=outcome,
            error_code=error,
            cache=cache,
            created_s=clock.wall_s(),
        )

    def _router_version(self) -> str:
        """Name the weights that scored the call and the experiment's arm that decided."""
        arm = self._decision.arm
        version = self._decision.version or self._recorder.router_version
        return f"{version}/{arm}" if arm else version

    def _count(self, line: LedgerLine) -> None:
        metrics, tier = self._recorder.metrics, line.tier
        metrics.attempts.labels(tier, line.kind.value, line.outcome.value).inc()
        made = Usage() if self._kind in NOT_MADE else line.usage
        for kind, tokens in (
            ("fresh_input", made.fresh_input_tokens),
            ("cached_input", made.cached_input_tokens),
            ("output", made.output_tokens),
        ):
            if tokens:
                metrics.tokens.labels(tier, kind).inc(tokens)
        if self._kind not in NOT_MADE:  # a share is in the cost of the request that it shares
            metrics.cost_usd.labels(tier).inc(line.cost_usd_micros / 1e6)
        baseline = line.saved_usd_micros + line.cost_usd_micros
        if baseline > 0:
            metrics.baseline_usd.labels(tier).inc(baseline / 1e6)
        metrics.total_s.labels(tier, line.lane.value).observe(line.total_s)
        if line.ttft_s is not None:
            metrics.ttft_s.labels(tier, line.lane.value).observe(line.ttft_s)
        if line.tpot_s is not None:
            metrics.tpot_s.labels(tier).observe(line.tpot_s)
