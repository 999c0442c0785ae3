"""What moves a workload's cost, and by how much."""

from dataclasses import replace
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from core.settings.prices import ApiVersion, HostedVersion
from ledger.cost.model import cost
from ledger.cost.sensitivity import levers
from ledger.cost.tornado import tornado
from tests.ledger.cost.workloads import (
    HOSTS,
    NOW_S,
    RATES,
    SHARES,
    TABLE,
    hosted,
    workload,
)


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
