"""Settings of a tier's scaling: how its replicas follow the load.

The defaults are one fixed setting for all kinds of traffic; `docs/autoscaling.md` has what they
reach on the traces. What the words mean in the decision is told in `autoscale.policy.decide`.
"""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from core.settings.base import Frozen

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

LATE_SHARE = 0.8
"""How much of its TTFT SLO a call waits before it counts as late; the rest is for its prefill."""
OVERDUE_S = 60.0
"""After so long a late call goes first again."""

CLOCK_PATTERN = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"


class Slo(Frozen):
    """What a request may wait: TTFT, plus `ttft_factor` times its own ideal prefill; and TPOT."""

    ttft_s: float = Field(2.0, gt=0)
    ttft_factor: float = Field(0.0, ge=0)
    tpot_s: float = Field(0.1, gt=0)

    def allowed_s(self, prompt_tokens: int, prefill_tokens_per_s: float) -> float:
        """Seconds that the first token of a prompt may take."""
        return self.ttft_s + self.ttft_factor * prompt_tokens / prefill_tokens_per_s

    def late_after_s(self, prompt_tokens: int, prefill_tokens_per_s: float) -> float:
        """Seconds in a queue after which a call is late."""
        return LATE_SHARE * self.allowed_s(prompt_tokens, prefill_tokens_per_s)


class KnownPeak(Frozen):
    """A time of the week with a floor under the replicas; they are asked for before it begins.

    No `days` mean every day. A peak whose `until` is not after its `start` ends on the next day.
    """

    days: tuple[Weekday, ...] = ()
    start: str = Field(pattern=CLOCK_PATTERN)
    until: str = Field(pattern=CLOCK_PATTERN)
    replicas: int = Field(ge=1)


class BatchScaling(Frozen):
    """The batch lane: it waits `delay_s` before it counts, and is to be worked off in `drain_s`.

    It takes the room that interactive calls leave up to `utilisation`; only then replicas are added
    for it.
    """

    delay_s: float = Field(300.0, ge=0)
    drain_s: float = Field(3600.0, gt=0)
    utilisation: float = Field(0.95, gt=0, le=1)


class Scaling(Frozen):
    """How the replicas of one tier follow its load; the bounds are the tier's `replicas`.

    With `late_last` calls that can keep the SLO go before those that are late. Known peaks are in
    local time, `utc_offset_h` ahead of UTC.
    """

    slo: Slo = Slo()
    late_last: bool = True
    target_attainment: float = Field(0.99, ge=0.5, lt=1)
    utilisation: float = Field(0.85, gt=0, le=1)
    kv_ceiling: float = Field(0.6, gt=0, le=1)
    drain_s: float = Field(20.0, gt=0)
    surge_ratio: float = Field(0.5, ge=0)
    rate_window_s: float = Field(60.0, gt=0)
    forecast_quantile: float | None = Field(0.93, gt=0, lt=1)
    forecast_utilisation: float = Field(0.9, gt=0, le=1)
    hysteresis_replicas: float = Field(0.1, ge=0, lt=1)
    up_step_ratio: float = Field(0.5, gt=0)
    up_step_replicas: int = Field(2, ge=1)
    up_period_s: float = Field(5.0, ge=0)
    hold_s: float = Field(600.0, ge=0)
    burst_ratio: float = Field(3.0, gt=1)
    burst_hold_s: float = Field(600.0, ge=0)
    down_step_ratio: float = Field(0.2, gt=0, le=1)
    down_period_s: float = Field(30.0, ge=0)
    idle_s: float = Field(900.0, gt=0)
    stale_s: float = Field(10.0, gt=0)
    risk_floor: int = Field(0, ge=0)
    max_usd_per_hour: float | None = Field(None, gt=0)
    batch: BatchScaling = BatchScaling()
    known_peaks: tuple[KnownPeak, ...] = ()
    utc_offset_h: float = Field(0.0, ge=-12, le=14)


class Cluster(Frozen):
    """What all tiers together may use: `max_gpus` GPUs, None for as many as their own bounds ask.

    Counted are the GPUs of replicas that are to be there.
    """

    max_gpus: int | None = Field(None, ge=1)

    def check_floors(self, floors: Mapping[str, tuple[int, int]]) -> None:
        """Raise ValueError where tiers' fewest replicas times their GPUs do not fit in."""
        needed = sum(replicas * gpus for replicas, gpus in floors.values())
        if self.max_gpus is not None and needed > self.max_gpus:
            told = ", ".join(f"{name} {n} x {gpus}" for name, (n, gpus) in floors.items())
            raise ValueError(
                f"cluster.max_gpus ({self.max_gpus}) is below the GPUs that the tiers' fewest "
                f"replicas take, {needed}: {told} (replicas.min or scaling.risk_floor, times "
                "accelerator.per_replica)"
            )
