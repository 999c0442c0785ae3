"""The cost model is exact, and self-hosting is charged for its idle hours and its people."""

from dataclasses import replace
from fractions import Fraction
from math import ceil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.ledger_line import Kind
from core.money import DAYS_PER_MONTH
from core.settings.prices import ApiVersion, HostedVersion, load_prices
from ledger.cost.break_even import break_even
from ledger.cost.model import ModelPart, Tokens, Workload, api_usd, busy_s, cost, fleet
from ledger.cost.sensitivity import levers
from ledger.cost.tornado import tornado
from ledger.reports.cost_share import NOBODY, gpu_seconds, shares
from tests.ledger.lines import line

TABLE = load_prices(Path(__file__).parents[3] / "config" / "prices.yaml")
NOW_S = 1_735_600_000.0  # 2024-12-30
EXAMPLE = Tokens(Fraction(500), Fraction(200))


def api(fresh: object = "2.5", output: object = "10", **more: object) -> ApiVersion:
    return ApiVersion.model_validate(
        {
            "from": "2024-01-01",
            "source": "test",
            "input_usd_per_million_tokens": fresh,
            "output_usd_per_million_tokens": output,
        }
        | more
    )


def hosted(**changes: object) -> HostedVersion:
    return HostedVersion.model_validate(
        {
            "from": "2024-01-01",
            "source": "test",
            "gpu_usd_per_hour": 4,
            "gpus": 4,
            "prefill_tokens_per_s": 4000,
            "decode_tokens_per_s": 1500,
            "throughput_source": "test",
            "utilisation": "0.5",
            "engineering_usd_per_month": 3000,  # 100 a day
        }
        | changes
    )


def workload(rates: ApiVersion | HostedVersion, requests: int = 1_000_000) -> Workload:
    return Workload(Fraction(requests), (ModelPart("m", rates, EXAMPLE),))


RATES = st.builds(api, st.decimals("0.01", 100, places=2), st.decimals("0.01", 100, places=2))
HOSTS = st.builds(
    lambda gpu, gpus, speed, used, paid: hosted(
        gpu_usd_per_hour=gpu,
        gpus=gpus,
        prefill_tokens_per_s=speed * 3,
        decode_tokens_per_s=speed,
        utilisation=used,
        engineering_usd_per_month=paid,
    ),
    st.decimals(0, 20, places=2),
    st.integers(1, 8),
    st.integers(10, 20_000),
    st.decimals("0.05", 1, places=2),
    st.integers(0, 50_000),
)
SHARES = st.fractions(0, 1, max_denominator=100)


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


# Break-even.


def hosted_usd(rates: HostedVersion, attempts: Fraction, least: int) -> Fraction:
    return fleet(rates, EXAMPLE, attempts, least).usd_per_day


@given(RATES, HOSTS, st.integers(1, 4), st.fractions(0, 1, max_denominator=1000))
def test_below_the_break_even_the_api_is_cheaper_and_at_it_both_cost_the_same(
    rates: ApiVersion, host: HostedVersion, least: int, below: Fraction
) -> None:
    even = break_even(rates, host, EXAMPLE, least)
    each = api_usd(rates, EXAMPLE)
    if even.attempts_per_day is None:
        for attempts in (1, 1000, 10**6, 10**9):
            volume = (1 + below) * attempts
            assert hosted_usd(host, volume, least) > each * volume
        return
    at = even.attempts_per_day
    assert hosted_usd(host, at, least) == each * at == even.usd_per_day
    assert fleet(host, EXAMPLE, at, least).replicas == even.replicas
    assert even.tokens_per_day == 700 * at
    if below < 1 and at:
        assert hosted_usd(host, at * below, least) > each * at * below


@given(RATES, HOSTS, st.integers(1, 4), st.fractions(0, 1000, max_denominator=1000))
def test_above_the_lasting_break_even_the_api_is_never_cheaper_again(
    rates: ApiVersion, host: HostedVersion, least: int, above: Fraction
) -> None:
    even = break_even(rates, host, EXAMPLE, least)
    lasting = even.for_good_attempts_per_day
    if lasting is None or even.attempts_per_day is None:
        return
    each, room = api_usd(rates, EXAMPLE), 43_200 * 2 * Fraction(host.utilisation)
    assert lasting >= even.attempts_per_day
    for volume in (lasting, lasting * (1 + above), lasting + above * room):
        assert hosted_usd(host, volume, least) <= each * volume


@given(RATES, HOSTS, st.decimals("0", "10", places=2), st.integers(0, 10_000))
def test_a_dearer_api_never_raises_it_and_dearer_hosting_never_lowers_it(
    rates: ApiVersion, host: HostedVersion, more: object, engineering: int
) -> None:
    def volume(one: ApiVersion, other: HostedVersion) -> Fraction | float:
        at = break_even(one, other, EXAMPLE).attempts_per_day
        return float("inf") if at is None else at

    now = volume(rates, host)
    dearer_api = api(rates.input_usd_per_million_tokens + more, rates.output_usd_per_million_tokens)  # type: ignore[operator]
    assert volume(dearer_api, host) <= now
    dearer = {"gpu_usd_per_hour": host.gpu_usd_per_hour + more}  # type: ignore[operator]
    assert volume(rates, host.model_copy(update=dearer)) >= now
    paid = {"engineering_usd_per_month": host.engineering_usd_per_month + engineering}
    assert volume(rates, host.model_copy(update=paid)) >= now


def test_at_ten_million_tokens_a_day_the_api_of_the_seed_notes_is_still_cheaper() -> None:
    """They say that self-hosting a 70B model often wins from there on."""
    even = break_even(
        ApiVersion.model_validate(TABLE.version_at("gpt-4o", NOW_S).model_dump(by_alias=True)),
        hosted(engineering_usd_per_month=0),
        EXAMPLE,
    )
    # 384 USD a day over 0.00325 USD an attempt of 700 tokens.
    assert even.tokens_per_day == Fraction(384 * 700 * 100_000, 325)
    assert even.tokens_per_day > 8 * 10_000_000


def test_it_says_below_how_many_gpus_it_never_pays() -> None:
    # A full replica earns 43,200 / 0.258333 * 0.00325 = 543.5 USD a day, 159.5 above its own cost.
    even = break_even(api(), hosted(engineering_usd_per_month=12_000), EXAMPLE)
    assert even.replicas == ceil(12_000 / 30 / 159.48)
    assert even.reason.startswith("never below the capacity of 8 GPUs")
    assert even.gpus == 12


def test_gpus_that_cost_more_than_the_api_when_full_never_break_even() -> None:
    even = break_even(api("0.15", "0.60"), hosted(), EXAMPLE)
    assert even.attempts_per_day is None
    assert even.reason == "never: at 50% utilisation the GPUs alone cost 11.8 times the API"


def test_an_attempt_without_work_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="needs tokens"):
        break_even(api(), hosted(), Tokens(Fraction(0), Fraction(0)))


# Each tenant's share of a bill.


@given(
    st.integers(0, 10**12),
    st.dictionaries(st.text(max_size=3), st.floats(0, 1e6), min_size=1, max_size=12),
)
def test_shares_add_up_to_the_bill_and_none_is_a_micro_usd_off(
    bill: int, held: dict[str, float]
) -> None:
    paid = shares(bill, held)
    assert sum(paid.values()) == bill
    whole = sum(map(Fraction, held.values()))
    if whole:
        for tenant, seconds in held.items():
            assert abs(paid[tenant] - bill * Fraction(seconds) / whole) < 1
            assert seconds or not paid[tenant]
    else:
        assert paid[NOBODY] == bill


def test_the_largest_remainders_get_what_is_left_and_equal_ones_go_by_name() -> None:
    assert shares(100, {"b": 1.0, "a": 1.0, "c": 1.0}) == {"b": 33, "a": 34, "c": 33}
    assert shares(10, {"a": 5.0, "b": 14.0, "c": 1.0}) == {"a": 3, "b": 7, "c": 0}


def test_a_negative_bill_or_time_is_refused() -> None:
    for bill, held in ((-1, {"a": 1.0}), (1, {"a": -1.0})):
        with pytest.raises(ValueError, match="0 or more"):
            shares(bill, held)


def test_gpu_seconds_are_those_in_which_an_engine_worked_for_a_tenant() -> None:
    lines = [
        line(1, tenant="a", queue_s=0.5, total_s=2.0),
        line(2, tenant="a", queue_s=None, total_s=1.0),
        line(3, tenant="b", queue_s=1.0, total_s=4.0, kind=Kind.SHADOW),
        line(4, tenant="b", total_s=9.0, kind=Kind.CACHE_HIT),
        line(5, tenant="b", total_s=9.0, kind=Kind.JOINED),
        line(6, tenant="b", total_s=9.0, kind=Kind.CANCELLED, cache="flight"),
        line(7, tenant="c", total_s=9.0, tier="large"),
    ]
    assert gpu_seconds(lines, "small") == {"a": 2.5, "b": 3.0}


# Levers.


def test_levers_are_sorted_by_what_they_move() -> None:
    base = workload(TABLE.version_at("gpt-4o", NOW_S))
    others = [(name, TABLE.version_at(name, NOW_S)) for name in TABLE.models]
    swings = tornado(base, levers(base, others))
    widths = [swing.width_usd_per_day for swing in swings]
    assert widths == sorted(widths, reverse=True)
    assert {swing.base_usd_per_day for swing in swings} == {3250}
    by_name = {swing.name: swing for swing in swings}
    assert by_name["hit rate"].low_usd_per_day == 3250 * Fraction(7, 10)
    assert by_name["prompt length"].low_usd_per_day == 2500
    assert by_name["route mix"].low_usd_per_day == Fraction(8, 10) * 195 + Fraction(2, 10) * 3250
    assert by_name["model size"].low_usd_per_day == 195
    assert "quantization" not in by_name, "an API's own affair"
    assert all(swing.source for swing in swings)


def test_a_self_hosted_model_has_the_levers_of_its_gpus() -> None:
    base = workload(hosted())
    by_name = {swing.name: swing for swing in tornado(base, levers(base, []))}
    assert {"quantization", "batch size", "utilisation"} <= set(by_name)
    assert "model size" not in by_name, "there is no other"
    int4 = hosted(prefill_tokens_per_s=8000, decode_tokens_per_s=3000)
    assert by_name["quantization"].low_usd_per_day == cost(workload(int4)).usd_per_day
    assert (
        by_name["utilisation"].high_usd_per_day
        == cost(workload(hosted(utilisation="0.2"))).usd_per_day
    )


@given(st.one_of(RATES, HOSTS), SHARES, SHARES, st.integers(1, 10**7))
def test_the_low_end_is_never_dearer_nor_the_high_end_cheaper_than_now(
    rates: ApiVersion | HostedVersion, hits: Fraction, retries: Fraction, requests: int
) -> None:
    base = replace(workload(rates, requests), hit_rate=hits, retries=retries)
    others = [(name, TABLE.version_at(name, NOW_S)) for name in TABLE.models]
    for swing in tornado(base, levers(base, others)):
        assert swing.base_usd_per_day <= swing.high_usd_per_day, swing
        if swing.name != "route mix":  # two fleets can cost more than one: each has its own rest
            assert swing.low_usd_per_day <= swing.base_usd_per_day, swing
