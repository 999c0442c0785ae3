"""The cost model is exact, and self-hosting is charged for its idle hours and its people."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.money import DAYS_PER_MONTH
from core.settings.prices import ApiVersion, HostedVersion
from ledger.cost.model import ModelPart, Tokens, Workload, api_usd, busy_s, cost, fleet
from tests.ledger.cost.workloads import (
    EXAMPLE,
    HOSTS,
    NOW_S,
    RATES,
    SHARES,
    TABLE,
    api,
    hosted,
    workload,
)


@pytest.mark.parametrize(
    ("model", "usd_per_day"),
    [("gpt-4o", 3250), ("gpt-4o-mini", 195), ("claude-3.5-haiku", 375)],
)
def test_a_million_requests_a_day_cost_what_arithmetic_says(model: str, usd_per_day: int) -> None:
    """The seed notes say $3.25M, $195K and $875."""
    made = cost(workload(TABLE.version_at(model, NOW_S)))
    assert made.usd_per_day == usd_per_day
    assert made.usd_per_request == Fraction(usd_per_day, 1_000_000)
    assert made.usd_per_month == usd_per_day * DAYS_PER_MONTH


def test_a_month_is_thirty_days() -> None:
    assert DAYS_PER_MONTH == 30


def test_each_kind_of_token_has_its_own_price() -> None:
    rates = api(cached_input_usd_per_million_tokens=1, cache_write_usd_per_million_tokens=3)
    tokens = Tokens(Fraction(1000), Fraction(10), Fraction(600), Fraction(300))
    exact = Fraction(100 * 25, 10) + 600 * 1 + 300 * 3 + 10 * 10
    assert api_usd(rates, tokens) == exact / 1_000_000


@given(RATES, SHARES, SHARES, st.integers(1, 10**9))
def test_hits_cost_nothing_and_retries_cost_as_much_as_first_attempts(
    rates: ApiVersion, hits: Fraction, retries: Fraction, requests: int
) -> None:
    plain = workload(rates, requests)
    moved = replace(plain, hit_rate=hits, retries=retries)
    assert cost(moved).usd_per_day == cost(plain).usd_per_day * (1 - hits) * (1 + retries)


@given(RATES, RATES, SHARES)
def test_a_mix_costs_the_weighted_sum_of_its_parts(
    one: ApiVersion, other: ApiVersion, share: Fraction
) -> None:
    parts = (ModelPart("a", one, EXAMPLE, share), ModelPart("b", other, EXAMPLE, 1 - share))
    mixed = cost(Workload(Fraction(100), parts)).usd_per_day
    alone = [cost(workload(rates, 100)).usd_per_day for rates in (one, other)]
    assert mixed == share * alone[0] + (1 - share) * alone[1]


def test_a_fleet_is_whole_replicas_paid_day_and_night() -> None:
    # An attempt is 500/4000 + 200/1500 s = 0.258333 s; 200,000 of them are 51,667 s of the 43,200 s
    # that a replica may work.
    made = fleet(hosted(), EXAMPLE, Fraction(200_000))
    assert (made.replicas, made.gpus) == (2, 8)
    assert made.gpu_hours_paid == 8 * 24
    assert made.gpu_hours_needed == Fraction(200_000 * 4, 3600) * busy_s(hosted(), EXAMPLE)
    assert made.gpu_usd_per_day == 2 * 4 * 4 * 24
    assert made.engineering_usd_per_day == 100
    assert made.usd_per_day == 868
    assert float(made.idle_share) == pytest.approx(1 - 51_667 / (2 * 86_400), rel=1e-4)


@given(HOSTS, st.integers(1, 10**8), st.integers(1, 20))
def test_replicas_carry_the_load_within_the_utilisation_and_none_is_too_many(
    rates: HostedVersion, attempts: int, least: int
) -> None:
    made = fleet(rates, EXAMPLE, Fraction(attempts), least)
    work_s = attempts * busy_s(rates, EXAMPLE)
    room_s = 86_400 * Fraction(rates.utilisation)
    assert made.replicas * room_s >= work_s
    assert made.replicas == least or (made.replicas - 1) * room_s < work_s
    assert 1 - made.idle_share <= Fraction(rates.utilisation)


def test_full_replicas_cost_what_their_token_prices_say() -> None:
    rates = hosted(engineering_usd_per_month=0)
    attempts = Fraction(43_200) / busy_s(rates, EXAMPLE)
    by_tokens = (
        attempts
        * (500 * Fraction(rates.tokens.fresh_input) + 200 * Fraction(rates.tokens.output))
        / 1_000_000
    )
    assert float(by_tokens) == pytest.approx(float(fleet(rates, EXAMPLE, attempts).usd_per_day))


@pytest.mark.parametrize(
    "wrong",
    [
        {"requests_per_day": Fraction(0)},
        {"requests_per_day": Fraction(-1)},
        {"hit_rate": Fraction(2)},
        {"hit_rate": Fraction(-1)},
        {"retries": Fraction(-1)},
        {"parts": (ModelPart("m", api(), EXAMPLE, Fraction(1, 2)),)},
    ],
)
def test_what_no_workload_can_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        replace(workload(api()), **wrong)  # type: ignore[arg-type]


def test_tokens_are_not_negative_and_parts_are_not_more_than_the_whole() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        Tokens(Fraction(-1), Fraction(0))
    with pytest.raises(ValueError, match="more than the input"):
        Tokens(Fraction(10), Fraction(0), Fraction(6), Fraction(5))
