"""Report a replica's load of the last seconds to the autoscaler, from growing totals.

Promises: rates and waits are of the last `WINDOW_S`, from two samples of the same totals; None
where nothing ended in them.
"""

import time
from collections import deque
from dataclasses import dataclass

from autoscale.live.observe import LoadReport
from deployments.tier.slo_count import SloCount
from deployments.tier.usage_meter import UsageMeter

WINDOW_S = 5.0


@dataclass(frozen=True, slots=True)
class Totals:
    """Since the engine began: tokens, and seconds waited for first tokens and for later ones."""

    prefilled_tokens: float = 0.0
    cached_tokens: float = 0.0
    made_tokens: float = 0.0
    preemptions: float = 0.0
    ttft_s: float = 0.0
    first_tokens: float = 0.0
    tpot_s: float = 0.0
    later_tokens: float = 0.0


@dataclass(frozen=True, slots=True)
class Queue:
    """An engine's requests now; of them those of the batch lane.

    `batch_input_tokens` are prompt tokens of all its open requests, less cached ones. `mixed` is
    whether its waits are in `Totals.ttft_s` beside those of others.
    """

    running: int = 0
    waiting: int = 0
    waiting_tokens: int = 0
    kv_use_ratio: float | None = None
    batch_running: int = 0
    batch_waiting: int = 0
    batch_input_tokens: int = 0
    mixed: bool = False


class LoadReporter:
    """Makes one engine's reports; ask it a few times a second.

    Batch calls wait by intent. Where their waits cannot be told from others' no TTFT is told, as a
    long one asks for replicas.
    """

    def __init__(self, meter: UsageMeter, kept: SloCount) -> None:
        self._meter = meter
        self._kept = kept
        self._samples: deque[tuple[float, Totals]] = deque()
        self._mixed_s = float("-inf")

    def report(self, queue: Queue, totals: Totals) -> LoadReport:
        """One report. What is not prefilled yet has arrived, too."""
        now_s = time.monotonic()
        before_s, before = self._since(now_s, totals)
        seconds = now_s - before_s
        meter = self._meter
        first_tokens = totals.first_tokens - before.first_tokens
        if queue.mixed:
            self._mixed_s = now_s
        if now_s - self._mixed_s <= WINDOW_S:
            first_tokens = 0.0
        return LoadReport(
            at_s=time.time(),
            running=queue.running,
            waiting=queue.waiting,
            waiting_tokens=queue.waiting_tokens,
            kv_use_ratio=queue.kv_use_ratio,
            preemptions=int(totals.preemptions),
            input_tokens_per_s=_by(totals.prefilled_tokens - before.prefilled_tokens, seconds),
            output_tokens_per_s=_by(totals.made_tokens - before.made_tokens, seconds),
            ttft_s=_mean(totals.ttft_s - before.ttft_s, first_tokens),
            tpot_s=_mean(totals.tpot_s - before.tpot_s, totals.later_tokens - before.later_tokens),
            batch_running=queue.batch_running,
            batch_waiting=queue.batch_waiting,
            arrived=meter.arrived,
            input_tokens=int(totals.prefilled_tokens) + queue.waiting_tokens,
            cached_tokens=int(totals.cached_tokens),
            finished=meter.finished,
            output_tokens=meter.output_tokens,
            batch_arrived=meter.batch_arrived,
            batch_input_tokens=meter.batch_input_tokens + queue.batch_input_tokens,
            judged=self._kept.judged,
            missed=self._kept.missed,
        )

    def _since(self, now_s: float, totals: Totals) -> tuple[float, Totals]:
        """The oldest sample that is not older than the window, or the one before this."""
        samples = self._samples
        samples.append((now_s, totals))
        while len(samples) > 2 and now_s - samples[0][0] > WINDOW_S:
            samples.popleft()
        return samples[0]


def _by(tokens: float, seconds: float) -> float:
    return max(0.0, tokens) / seconds if seconds > 0 else 0.0


def _mean(seconds: float, count: float) -> float | None:
    return max(0.0, seconds) / count if count > 0 else None
