"""`docs/alerts.md` has every alert rule with its default limit, window, hold and sample."""

import json
import re

from core.settings.alerts import AlertRules
from deployments.ledger.alerts import message
from ledger.alerts.states import Alert, AlertState, Phase, Rule
from tests.docs import pages

PAGE = "docs/alerts.md"
_LIMITS = {
    Rule.SPEND_RATE: "usd_per_hour", Rule.COST_PER_SUCCESS: "ratio", Rule.HIT_RATE_FALL: "points",
    Rule.ROUTE_MIX_DRIFT: "divergence", Rule.TTFT_P95: "seconds",
}  # fmt: skip


def minutes(cell: str) -> float:
    """`15 min`, `1 h` or `at once` in seconds."""
    if cell == "at once":
        return 0.0
    number, unit = cell.split()
    return float(number) * {"min": 60, "h": 3600}[unit]


def test_every_rule_is_told_with_its_defaults_and_none_that_is_gone():
    rows, rules = pages.rows(PAGE, "rule"), AlertRules()
    assert set(rows) == set(Rule)
    for name, (_, limit, window, hold, sample) in rows.items():
        rule = getattr(rules, name)
        assert minutes(hold) == rule.for_s
        if name in _LIMITS:
            assert float(limit.split()[0]) == getattr(rule, _LIMITS[Rule(name)])
        if window != "below":
            assert minutes(window) == rule.window_s
        number, unit = sample.split()
        assert int(number) == getattr(rule, f"least_{unit}")
    assert rows["retry_storm"][1] == f"{rules.retry_storm.share:.0%}".replace("%", " %")
    burn = rules.budget_burn
    assert rows["budget_burn"][1] == f"{burn.fast_burn:g} and {burn.slow_burn:g}"


def test_the_message_that_is_shown_has_the_fields_that_are_sent():
    (block,) = re.findall(r"```json\n(.*?)```", pages.text(PAGE), re.S)
    told = json.loads(block)
    (one,) = told["alerts"]
    alert = Alert(
        Rule(one["rule"]), one["subject"], one["since_s"], one["value"], one["threshold"],
        one["words"],
    )  # fmt: skip
    assert message([AlertState(alert, Phase.FIRING)]) == told
