"""The accounts' settings: what can be written, and what cannot."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.settings.accounts import AccountsSettings, BudgetLimit, Measure, Window


@pytest.mark.parametrize(
    ("words", "measure", "limit", "window"),
    [
        ("10 USD/day", Measure.USD, 10_000_000, "day"),
        ("0.000001 usd / minute", Measure.USD, 1, "minute"),
        ("2,000,000 tokens/month", Measure.TOKENS, 2_000_000, "month"),
        ("1_000 token/Week", Measure.TOKENS, 1000, "week"),
    ],
)
def test_a_budget_is_read_from_words(words: str, measure: Measure, limit: int, window: str) -> None:
    for kind in ("hard", "soft"):
        found = BudgetLimit.read(words, kind)
        assert (found.measure, found.limit, found.window) == (measure, limit, window)
        assert found.kind == kind


@pytest.mark.parametrize(
    "words",
    ["", "10", "USD/day", "10 EUR/day", "10 USD/year", "-1 USD/day", "10 USD", "1/2 USD/day"],
)
def test_other_words_are_refused_and_told_how(words: str) -> None:
    with pytest.raises(ValueError, match="10 USD/day"):
        BudgetLimit.read(words, "hard")


@pytest.mark.parametrize(
    ("given_", "problem"),
    [
        ({"window": "day"}, "either `usd` or `tokens`"),
        ({"window": "day", "usd": 1, "tokens": 1}, "either `usd` or `tokens`"),
        ({"window": "day", "usd": "0.0000001"}, "six decimals"),
        ({"window": "day", "usd": 0}, "greater than 0"),
        ({"window": "year", "usd": 1}, "'month'"),
        ({"window": "day", "tokens": 1.5}, "integer"),
        ({"window": "day", "usd": 1, "kind": "firm"}, "'soft'"),
    ],
)
def test_a_budget_that_could_not_be_checked_cannot_be_made(
    given_: dict[str, object], problem: str
) -> None:
    with pytest.raises(ValidationError, match=problem):
        BudgetLimit.model_validate(given_)


@given(st.integers(1, 10**15))
def test_money_becomes_micro_usd_without_a_rest(micros: int) -> None:
    words = f"{micros // 10**6}.{micros % 10**6:06d} USD/month"
    assert BudgetLimit.read(words, "hard").limit == micros


def test_without_a_word_nobody_needs_a_key_and_nothing_is_limited() -> None:
    settings = AccountsSettings()
    assert (settings.keys, settings.on_redis_failure) == ("optional", "serve")
    assert not settings.default.budgets
    assert {one.value for one in Window} == {"minute", "hour", "day", "week", "month"}
