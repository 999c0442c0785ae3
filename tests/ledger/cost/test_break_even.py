"""Where self-hosting becomes cheaper than an API, by brute force and as laws."""

from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.settings.prices import ApiVersion, HostedVersion
from ledger.cost.break_even import break_even
from ledger.cost.model import Tokens, api_usd, fleet
from tests.ledger.cost.workloads import EXAMPLE, HOSTS, NOW_S, RATES, TABLE, api, hosted


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
