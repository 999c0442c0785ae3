"""Budgets for the burn-rate rule, and the windows that it reads.

Promises: pure. A month counts as 30 days: how fast a budget burns needs its length, not its dates.
Not covered: budgets in tokens, those of teams, tags and single keys, and those of an hour or a
minute, which are rate limits and spent before anybody could act. Refusing what is over a budget
is admission's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from core.money import USD_MICROS_PER_USD
from core.settings.accounts import AccountsSettings, Rules, Window

_DAY_S = 86_400.0
_WINDOW_S = {Window.DAY: _DAY_S, Window.WEEK: 7 * _DAY_S, Window.MONTH: 30 * _DAY_S}
# 1 hour and 6 hours of 30 days, and a twelfth of each.
_FAST_PART = 1 / 720
_SLOW_PART = 1 / 120
_SHORT_PART = 1 / 12


@dataclass(frozen=True, slots=True)
class SpendBudget:
    """`usd` that may be spent in `window_s`."""

    usd: float
    window_s: float


@dataclass(frozen=True, slots=True)
class Budgets:
    """The budgets of each tenant by name, and of every other tenant."""

    named: Mapping[str, tuple[SpendBudget, ...]] = field(default_factory=dict)
    others: tuple[SpendBudget, ...] = ()

    @classmethod
    def of(cls, accounts: AccountsSettings) -> "Budgets":
        """Those of the settings that are in USD, for a day or longer."""
        named = {name: _usd_budgets(rules) for name, rules in accounts.tenants.items()}
        return cls(named, _usd_budgets(accounts.default))

    def each(self, tenants: Iterable[str]) -> list[tuple[str, SpendBudget]]:
        """Every budget with its tenant; `tenants` are those that are seen, named or not."""
        known = sorted(self.named.keys() | set(tenants))
        return [(name, one) for name in known for one in self.named.get(name, self.others)]

    @property
    def lengths_s(self) -> set[float]:
        """The lengths of all budgets' windows."""
        own = (budget for budgets in self.named.values() for budget in budgets)
        return {budget.window_s for budget in (*own, *self.others)}


NO_BUDGETS = Budgets()


def burn_windows(budget_s: float, least_s: float) -> tuple[tuple[float, float], ...]:
    """The (long, short) windows in seconds of the fast and of the slow rule for one budget.

    Those of the two paging rules that "The Site Reliability Workbook", chapter 5, "Alerting on
    SLOs" (sre.google/workbook/alerting-on-slos) recommends: 1 hour and 6 hours of 30 days, each
    confirmed by a twelfth of it, so that the alert ends soon after the burning does. They scale
    with the budget's own window, but no long one is below `least_s`, no short one below a third
    of it. Its third rule, 1 times over 3 days, is left out: a budget of money may be used up.
    """
    longs = (max(part * budget_s, least_s) for part in (_FAST_PART, _SLOW_PART))
    return tuple((long_s, max(long_s * _SHORT_PART, least_s / 3)) for long_s in longs)


def _usd_budgets(rules: Rules) -> tuple[SpendBudget, ...]:
    return tuple(
        SpendBudget(one.limit / USD_MICROS_PER_USD, _WINDOW_S[Window(one.window)])
        for one in rules.budgets
        if one.usd is not None and one.window in _WINDOW_S
    )
