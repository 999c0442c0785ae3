"""Settings of alerts: the webhook, and when each of the seven rules fires.

Promises: every rule has a default that needs no thought before the first day, a least sample below
which it is silent, and a switch. Without a webhook the rules are still evaluated: `hansom alerts`
and `hansom_alerts_firing` tell what they find.
Not covered: evaluating them (`ledger.alerts.rules`) and keeping their state
(`ledger.alerts.states`).
"""

from pydantic import Field

from core.settings.base import Frozen


class SpendRate(Frozen):
    """Fires when spending, in USD an hour over `window_s`, reaches a limit."""

    enabled: bool = True
    usd_per_hour: float = Field(10.0, gt=0)
    tenant_usd_per_hour: float | None = Field(None, gt=0)
    window_s: float = Field(900.0, gt=0)
    for_s: float = Field(300.0, ge=0)
    least_requests: int = Field(20, ge=1)


class BudgetBurn(Frozen):
    """Fires when a budget is spent so many times faster than it would just last.

    The windows follow from the budget's own: see `ledger.alerts.rules.burn_windows`.
    """

    enabled: bool = True
    fast_burn: float = Field(14.4, gt=0)
    slow_burn: float = Field(6.0, gt=0)
    least_window_s: float = Field(900.0, gt=0)
    for_s: float = Field(0.0, ge=0)
    least_requests: int = Field(20, ge=1)


class CostPerSuccess(Frozen):
    """Fires when a successful request costs `usd`, or `ratio` times what it did before."""

    enabled: bool = True
    usd: float | None = Field(None, gt=0)
    ratio: float | None = Field(2.0, gt=0)
    window_s: float = Field(3600.0, gt=0)
    baseline_s: float = Field(86_400.0, gt=0)
    for_s: float = Field(600.0, ge=0)
    least_requests: int = Field(50, ge=1)


class HitRateFall(Frozen):
    """Fires when the cache's hit rate is so many percentage points lower than before."""

    enabled: bool = True
    points: float = Field(15.0, gt=0)
    window_s: float = Field(3600.0, gt=0)
    baseline_s: float = Field(86_400.0, gt=0)
    for_s: float = Field(600.0, ge=0)
    least_requests: int = Field(200, ge=1)


class RouteMixDrift(Frozen):
    """Fires when the tiers' shares are so many bits (Jensen-Shannon) away from before."""

    enabled: bool = True
    divergence: float = Field(0.05, gt=0)
    window_s: float = Field(3600.0, gt=0)
    baseline_s: float = Field(86_400.0, gt=0)
    for_s: float = Field(600.0, ge=0)
    least_requests: int = Field(200, ge=1)


class RetryStorm(Frozen):
    """Fires when so large a share of the attempts repeats a failed one."""

    enabled: bool = True
    share: float = Field(0.1, gt=0)
    window_s: float = Field(300.0, gt=0)
    for_s: float = Field(120.0, ge=0)
    least_attempts: int = Field(50, ge=1)


class TtftP95(Frozen):
    """Fires when a tier's 95th percentile of the time to the first token reaches `seconds`."""

    enabled: bool = True
    seconds: float = Field(5.0, gt=0)
    window_s: float = Field(600.0, gt=0)
    for_s: float = Field(300.0, ge=0)
    least_streams: int = Field(50, ge=1)


class AlertRules(Frozen):
    """The seven rules."""

    spend_rate: SpendRate = SpendRate()
    budget_burn: BudgetBurn = BudgetBurn()
    cost_per_success: CostPerSuccess = CostPerSuccess()
    hit_rate_fall: HitRateFall = HitRateFall()
    route_mix_drift: RouteMixDrift = RouteMixDrift()
    retry_storm: RetryStorm = RetryStorm()
    ttft_p95: TtftP95 = TtftP95()


class AlertSettings(Frozen):
    """When the rules are looked at, and who is told.

    `clear` is the share of a threshold below which a firing alert must lie to be resolved;
    `repeat_s` is how often an alert that still fires is told again.
    """

    webhook_url: str | None = Field(None, pattern=r"^https?://\S+$")
    webhook_headers: dict[str, str] = Field(default_factory=dict)
    webhook_timeout_s: float = Field(10.0, gt=0)
    every_s: float = Field(60.0, gt=0)
    repeat_s: float = Field(14_400.0, gt=0)
    clear: float = Field(0.9, gt=0, le=1)
    rules: AlertRules = AlertRules()
