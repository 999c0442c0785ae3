"""Which limits a call has, and what refusals and warnings say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.keys import new_key
from accounts.limits import (
    Amount,
    Limit,
    LimitRefusal,
    LimitState,
    Payer,
    applicable,
    budget_left,
    is_without_key,
    limits_of,
    soft_exceeded,
    soft_words,
)
from core.settings.accounts import AccountsSettings, BudgetLimit, Measure, Rules, Window

NOW_S = 1_795_190_400.0
DAY = Limit("tenant", "acme", Measure.USD, Window.DAY, hard=10_000_000, soft=8_000_000)


def budget(words: str, kind: str = "hard") -> BudgetLimit:
    return BudgetLimit.read(words, "hard" if kind == "hard" else "soft")


def fields(limits: tuple[Limit, ...]) -> list[str]:
    return [one.field for one in limits]


def test_budgets_of_one_measure_and_window_are_one_counter_with_the_smallest_bounds() -> None:
    rules = Rules(
        budgets=(
            budget("10 USD/day"), budget("7 USD/day"), budget("5 USD/day", "soft"),
            budget("6 USD/day", "soft"), budget("900 tokens/minute"), budget("9 USD/month"),
        ),
        tokens_per_minute=1000, requests_per_minute=3, concurrency=2,
    )  # fmt: skip
    told = {(one.measure, one.window): (one.hard, one.soft) for one in limits_of(rules, "key", "k")}
    assert told == {
        (Measure.USD, Window.DAY): (7_000_000, 5_000_000),
        (Measure.USD, Window.MONTH): (9_000_000, None),
        (Measure.TOKENS, Window.MINUTE): (900, None),
        (Measure.REQUESTS, Window.MINUTE): (3, None),
        (Measure.CONCURRENCY, None): (2, None),
    }


def test_a_call_has_the_limits_of_its_key_tags_team_and_tenant() -> None:
    one = Rules(concurrency=1)
    key, _ = new_key("acme", NOW_S, rules=Rules(requests_per_minute=5))
    settings = AccountsSettings(
        default=Rules(concurrency=9), tenants={"acme": one}, teams={"red": one, "acme/blue": one},
        tags={"web": one},
    )  # fmt: skip
    payer = Payer("acme", key.id, "red", ("app", "web"), key)
    assert fields(applicable(settings, payer)) == [
        f"requests:minute:key:{key.id}", "concurrency:now:tag:web", "concurrency:now:team:red",
        "concurrency:now:tenant:acme",
    ]  # fmt: skip
    blue = Payer("acme", "k", "blue")
    assert fields(applicable(settings, blue)) == [
        "concurrency:now:team:blue", "concurrency:now:tenant:acme",
    ]  # fmt: skip
    assert applicable(settings, Payer("other", "k", "blue"))[0].hard == 9  # another's blue team


def test_a_teams_own_rules_outweigh_those_of_teams_of_its_name() -> None:
    settings = AccountsSettings(
        teams={"red": Rules(concurrency=1), "acme/red": Rules(concurrency=7)}
    )
    assert applicable(settings, Payer("acme", "k", "red"))[0].hard == 7
    assert applicable(settings, Payer("other", "k", "red"))[0].hard == 1


def test_only_whom_nobody_named_is_a_stranger() -> None:
    key, _ = new_key("bought", NOW_S)
    settings = AccountsSettings(tenants={"acme": Rules()})
    assert is_without_key(settings, Payer("key-0123", "key-0123"))
    assert not is_without_key(settings, Payer("acme", "acme"))
    assert not is_without_key(settings, Payer("bought", key.id, record=key))


NAMES = st.text(max_size=8)


@given(NAMES, NAMES, st.sampled_from(Window), st.sampled_from(Window))
def test_no_two_limits_share_a_counter(one: str, other: str, at: Window, then: Window) -> None:
    found = {
        Limit(kind, name, measure, window).field
        for kind in ("key", "tag", "team", "tenant")
        for name in {one, other}
        for measure in Measure
        for window in {at, then, None}
    }
    assert len(found) == 16 * len({one, other}) * len({at, then, None})


def test_a_refusal_says_which_limit_how_much_and_when_it_resets() -> None:
    refusal = LimitRefusal(LimitState(DAY, 9_500_000, 300_000, NOW_S + 3600), 250_000)
    assert refusal.words == (
        "The limit of 10.000000 USD a day of tenant acme is reached: 9.500000 USD spent, 0.300000 "
        "USD reserved by open requests, and this request may take up to 0.250000 USD. It resets "
        "at 2026-11-20T17:00:00Z."
    )
    assert refusal.code == "budget_exceeded"


@pytest.mark.parametrize(
    ("measure", "window", "code"),
    [
        (Measure.USD, Window.MINUTE, "budget_exceeded"),
        (Measure.TOKENS, Window.HOUR, "budget_exceeded"),
        (Measure.TOKENS, Window.MINUTE, "rate_limited"),
        (Measure.REQUESTS, Window.MINUTE, "rate_limited"),
        (Measure.CONCURRENCY, None, "rate_limited"),
    ],
)
def test_money_is_a_budget_and_what_a_minute_helps_is_a_rate(
    measure: Measure, window: Window | None, code: str
) -> None:
    limit = Limit("key", "k", measure, window, hard=1)
    assert LimitRefusal(LimitState(limit, 1, 0, NOW_S), 1).code == code


def test_a_client_is_told_to_wait_for_the_window_unless_open_requests_may_make_room() -> None:
    spent = LimitRefusal(LimitState(DAY, 9_900_000, 0, NOW_S + 3599.5), 250_000)
    assert (spent.only_reserved, spent.retry_after_s(NOW_S)) == (False, 3600)
    assert spent.retry_after_s(NOW_S + 9999) == 1
    held = LimitRefusal(LimitState(DAY, 9_000_000, 900_000, NOW_S + 3600), 250_000)
    assert (held.only_reserved, held.retry_after_s(NOW_S)) == (True, 1)
    places = Limit("key", "k", Measure.CONCURRENCY, None, hard=2)
    full = LimitRefusal(LimitState(places, 0, 2, None), 1)
    assert (full.only_reserved, full.retry_after_s(NOW_S)) == (True, 1)
    assert full.words == (
        "2 open requests of key k are allowed, and 2 are open. It resets when one of them ends."
    )


def test_a_call_that_could_never_fit_is_told_what_to_do() -> None:
    assert (
        "set a smaller max_tokens" in LimitRefusal(LimitState(DAY, 0, 0, NOW_S), 10_000_001).words
    )
    assert "max_tokens" not in LimitRefusal(LimitState(DAY, 1, 0, NOW_S), 10_000_000).words


def test_a_soft_budget_warns_as_soon_as_the_worst_case_goes_beyond_it() -> None:
    standing = LimitState(DAY, 7_000_000, 500_000, NOW_S)
    assert soft_exceeded([standing], Amount(500_000)) == []
    assert soft_exceeded([standing], Amount(500_001)) == [standing]
    assert soft_words([standing]) == (
        "soft-exceeded; 8.000000 USD a day of tenant acme, 7.000000 USD spent"
    )


def test_the_router_is_told_the_share_of_the_tightest_hard_usd_budget() -> None:
    month = Limit("key", "k", Measure.USD, Window.MONTH, hard=100)
    soft = Limit("key", "k", Measure.USD, Window.DAY, soft=1)
    tokens = Limit("key", "k", Measure.TOKENS, Window.DAY, hard=1)
    standings = [
        LimitState(DAY, 5_000_000, 0, None), LimitState(month, 60, 15, None),
        LimitState(soft, 9, 0, None), LimitState(tokens, 1, 0, None),
    ]  # fmt: skip
    assert budget_left(standings) == 0.25
    assert budget_left(standings[2:]) is None
    assert budget_left([LimitState(month, 130, 0, None)]) == 0.0


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(0, 10**12))
def test_room_is_what_is_neither_spent_nor_reserved(spent: int, held: int, asked: int) -> None:
    standing = LimitState(DAY, spent, held, None)
    assert standing.over(asked, 10**12) is (spent + held + asked > 10**12)
    assert not standing.over(asked, None)
