"""The alerts' settings: defaults for everything, and bad values are refused."""

import pytest
from pydantic import ValidationError

from core.settings.alerts import AlertSettings
from ledger.alerts.states import Rule


def test_all_seven_rules_are_on_and_bear_the_names_of_the_rules():
    rules = AlertSettings().rules
    assert set(type(rules).model_fields) == set(Rule)
    assert all(getattr(rules, rule).enabled for rule in Rule)


@pytest.mark.parametrize(
    "given",
    [
        {"webhook_url": "hooks.example.com/x"},
        {"clear": 0},
        {"clear": 1.1},
        {"every_s": 0},
        {"rules": {"spend_rate": {"usd_per_hour": -1}}},
        {"rules": {"retry_storm": {"least_attempts": 0}}},
        {"rules": {"no_such_rule": {}}},
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, object]):
    with pytest.raises(ValidationError):
        AlertSettings.model_validate(given)
