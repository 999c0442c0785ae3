"""Which budgets are watched, and over which windows."""

import pytest

from core.settings.accounts import AccountsSettings
from ledger.alerts.budgets import Budgets, SpendBudget, burn_windows

DAY_S = 86_400.0


def test_a_month_is_watched_over_the_hours_that_the_workbook_names():
    (long_s, short_s), (slow_s, confirm_s) = burn_windows(30 * DAY_S, 900.0)
    assert (long_s, short_s) == pytest.approx((3600, 300))
    assert (slow_s, confirm_s) == pytest.approx((6 * 3600, 1800))


def test_a_day_is_watched_over_no_less_than_is_asked_for():
    assert burn_windows(DAY_S, 900.0) == ((900.0, 300.0), (900.0, 300.0))


def test_budgets_in_usd_of_a_day_or_longer_are_taken_from_the_settings():
    accounts = AccountsSettings.model_validate(
        {
            "default": {"budgets": [{"usd": 5, "window": "week"}]},
            "tenants": {
                "acme": {
                    "budgets": [
                        {"usd": "2.5", "window": "day"},
                        {"usd": 100, "window": "month", "kind": "soft"},
                        {"usd": 1, "window": "hour"},
                        {"tokens": 1000, "window": "day"},
                    ]
                },
                "free": {},
            },
        }
    )
    budgets = Budgets.of(accounts)
    assert budgets.each(["acme", "other"]) == [
        ("acme", SpendBudget(2.5, DAY_S)),
        ("acme", SpendBudget(100.0, 30 * DAY_S)),
        ("other", SpendBudget(5.0, 7 * DAY_S)),
    ]
    assert budgets.lengths_s == {DAY_S, 7 * DAY_S, 30 * DAY_S}
