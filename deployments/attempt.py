"""One attempt at one tier: what it measures, and the ledger line it ends as.

Promises: every attempt that was begun leaves exactly one line, whatever ends it: an answer, an
error, a timeout or a client that left. Ending is synchronous and never raises, so it can stand in
a `finally` while a task is being cancelled.
"""

from dataclasses import dataclass

from core.call import Call, Decision, Usage
from core.metrics import Metrics
from core.money import Price
from core.ports import Clock
from core.settings import Settings, Tier
from ledger.line import CacheResult, Kind, LedgerLine, Outcome, saved_usd_micros
from ledger.writer import StreamWriter

# What no engine made for this line.
NOT_MADE = (Kind.CACHE_HIT, Kind.JOINED, Kind.CREDIT)


@dataclass(frozen=True, slots=True)
class Books:
    """Where attempts are written down: metrics, ledger, prices and the clock."""

    metrics: Metrics
    ledger: StreamWriter
    clock: Clock
    settings: Settings
    router_version: str

    @property
    def dearest(self) -> Price:
        """The price of always using the last, largest tier: what savings are counted against."""
        return self.settings.tiers[-1].price.price()


class Attempt:
    """A running attempt. `close` writes it down; later calls change nothing."""

    def __init__(
        self, books: Books, call: Call, decision: Decision, tier: Tier, kind: Kind, number: int
    ) -> None:
        self._books = books
        self._call = call
        self._decision = decision
        self._tier = tier
        self._kind = kind
        self._number = number
        self._started_s = books.clock.monotonic_s()
        self._first_s: float | None = None
        self._closed = False

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
    def engine_request_id(self) -> str:
        """The id inside the engine, which may not see a client's own id twice at once."""
        return f"{self._call.request_id}-{self._call.call_id[-8:]}-{self._number}"

    def left_s(self, call: Call) -> float:
        """Seconds to the call's deadline, at least a millisecond."""
        passed_s = self._books.clock.monotonic_s() - call.arrived_s
        return max(call.deadline_s - passed_s, 0.001)

    def first_byte(self) -> None:
        """Note that the first event of a stream has arrived."""
        if self._first_s is None:
            self._first_s = self._books.clock.monotonic_s()

    def cost_usd_micros(self, usage: Usage) -> int:
        """What `usage` costs on this tier, in micro-USD."""
        return self._tier.price.price().cost_usd_micros(usage)

    def close(
        self,
        outcome: Outcome,
        usage: Usage,
        *,
        error: str | None = None,
        cache: CacheResult = "miss",
        served: bool = True,
        share_usd_micros: int = 0,
    ) -> None:
        """Write the line and the metrics, once; `served` when its answer is the client's.

        `share_usd_micros` is what an answer costs that was generated for another request, too.
        """
        if self._closed:
            return
        self._closed = True
        cost = share_usd_micros if self._kind in NOT_MADE else self.cost_usd_micros(usage)
        line = self._line(outcome, usage, cost, error, cache, served)
        self._books.ledger.record(line)
        self._count(line)

    def _line(
        self,
        outcome: Outcome,
        usage: Usage,
        cost: int,
        error: str | None,
        cache: CacheResult,
        served: bool,
    ) -> LedgerLine:
        call, clock = self._call, self._books.clock
        now_s = clock.monotonic_s()
        ttft_s = None if self._first_s is None else self._first_s - call.arrived_s
        after_first = usage.output_tokens - 1
        tpot_s = None
        if self._first_s is not None and after_first > 0 and self._kind not in NOT_MADE:
            tpot_s = (now_s - self._first_s) / after_first
        served = served and outcome is Outcome.SUCCESS
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
            price_version=self._tier.price.version,
            usage=usage,
            cost_usd_micros=cost,
            saved_usd_micros=saved_usd_micros(usage, cost, self._books.dearest, served=served),
            stream=call.stream,
            queue_s=self._started_s - call.arrived_s,
            ttft_s=ttft_s,
            tpot_s=tpot_s,
            total_s=now_s - call.arrived_s,
            outcome=outcome,
            error_code=error,
            cache=cache,
            estimated_tokens=self._unknown_tokens(outcome),
            created_s=clock.wall_s(),
        )

    def _router_version(self) -> str:
        """Of the weights that scored, and the experiment's arm that decided."""
        arm = self._decision.arm
        version = self._decision.version or self._books.router_version
        return f"{version}/{arm}" if arm else version

    def _unknown_tokens(self, outcome: Outcome) -> bool:
        """Whether the engine was cut off before it told its tokens.

        A plain answer tells them at its end only, and with several choices a stream tells them a
        choice at a time.
        """
        cut = outcome in (Outcome.CANCELLED, Outcome.TIMEOUT)
        choices = self._call.body.get("n")
        return cut and (not self._call.stream or choices not in (None, 1))

    def _count(self, line: LedgerLine) -> None:
        metrics, tier = self._books.metrics, line.tier
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
        metrics.total_s.labels(tier).observe(line.total_s)
        if line.ttft_s is not None:
            metrics.ttft_s.labels(tier).observe(line.ttft_s)
        if line.tpot_s is not None:
            metrics.tpot_s.labels(tier).observe(line.tpot_s)
