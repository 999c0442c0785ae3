"""The decomposition is exact, antisymmetric, and puts a lone change where it belongs."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import HansomError
from ledger.reports.diff import ASIDE, EXTRA, FIRST, DiffCell, Factor, Side, compare

ROLES_AND_TIERS = [(role, tier) for role in (FIRST, EXTRA, ASIDE) for tier in ("small", "large")]


@st.composite
def cells(draw: st.DrawFn, lines: int) -> DiffCell:
    counts = draw(st.tuples(*[st.integers(0, 10**6)] * 3))
    rates = draw(st.tuples(*[st.fractions(0, 20, max_denominator=1000)] * 3))
    costs = tuple(count * rate for count, rate in zip(counts, rates, strict=True))
    return DiffCell(
        lines, counts, (costs[0], costs[1], costs[2]), Fraction(draw(st.integers(0, 9)))
    )


@st.composite
def sides(draw: st.DrawFn) -> Side:
    """Any counts that a ledger can have: tiers and roles may be missing."""
    some = draw(st.lists(st.sampled_from(ROLES_AND_TIERS), unique=True))
    made = {part: draw(cells(draw(st.integers(1, 500)))) for part in some}
    worked = sum(cell.lines for (role, _), cell in made.items() if role == FIRST)
    if not worked:
        made = {part: cell for part, cell in made.items() if part[0] == ASIDE}
    requests = worked + draw(st.integers(1, 500))
    successes = draw(st.integers(1, requests))
    shared = Fraction(draw(st.integers(-1000, 1000)))
    return Side("side", requests, successes, worked, made, shared)


@settings(max_examples=60, deadline=None)
@given(sides(), sides())
def test_effects_sum_to_the_difference_without_a_remainder(before: Side, after: Side) -> None:
    found = compare(before, after)
    assert sum(found.effects_usd_micros.values()) == found.change_usd_micros
    assert found.change_usd_micros == after.per_answer_usd_micros - before.per_answer_usd_micros


@settings(max_examples=30, deadline=None)
@given(sides(), sides())
def test_swapping_the_sides_negates_every_effect(before: Side, after: Side) -> None:
    one, other = compare(before, after), compare(after, before)
    for factor in Factor:
        assert one.effects_usd_micros[factor] == -other.effects_usd_micros[factor]


@settings(max_examples=20, deadline=None)
@given(sides())
def test_a_side_beside_itself_has_no_effects(side: Side) -> None:
    assert not any(compare(side, side).effects_usd_micros.values())


def cell(lines: int, tokens: tuple[int, int, int], rates: tuple[int, int, int]) -> DiffCell:
    fresh, cached, output = (
        Fraction(lines * count * rate) for count, rate in zip(tokens, rates, strict=True)
    )
    return DiffCell(
        lines, (lines * tokens[0], lines * tokens[1], lines * tokens[2]), (fresh, cached, output)
    )


def side(
    *,
    per_line: tuple[int, int, int] = (400, 100, 150),
    rates: tuple[int, int, int] = (3, 1, 9),
    small: int = 60,
    large: int = 20,
    hits: int = 20,
    extra: int = 8,
    checks: int = 10,
    failures: int = 5,
) -> Side:
    dear = (rates[0] * 10, rates[1] * 10, rates[2] * 10)
    requests = small + large + hits
    return Side(
        "side",
        requests,
        requests - failures,
        small + large,
        {
            (FIRST, "small"): cell(small, per_line, rates),
            (FIRST, "large"): cell(large, per_line, dear),
            (EXTRA, "large"): cell(extra, per_line, dear),
            (ASIDE, "small"): cell(checks, per_line, rates),
        },
    )


@pytest.mark.parametrize(
    ("factor", "after"),
    [
        (Factor.PRICE, side(rates=(4, 1, 9))),
        (Factor.PRICE, side(rates=(3, 1, 5))),
        (Factor.INPUT, side(per_line=(800, 100, 150))),
        (Factor.INPUT, side(per_line=(400, 10, 150))),
        (Factor.OUTPUT, side(per_line=(400, 100, 60))),
        (Factor.MIX, side(small=30, large=50)),
        # A third of the requests from the cache, the rest in the same proportions.
        (Factor.CACHE, side(small=30, large=10, hits=60, extra=4)),
        (Factor.ATTEMPTS, side(extra=30)),
        (Factor.CHECKS, side(checks=90)),
        (Factor.FAILURES, side(failures=50)),
    ],
)
def test_a_change_in_one_factor_is_that_factors_alone(factor: Factor, after: Side) -> None:
    found = compare(side(), after)
    assert found.change_usd_micros != 0
    assert found.effects_usd_micros[factor] == found.change_usd_micros
    others = [effect for name, effect in found.effects_usd_micros.items() if name is not factor]
    assert not any(others)


def test_effects_have_the_sign_of_what_they_do_to_the_cost() -> None:
    worse = side(rates=(4, 1, 9), per_line=(400, 100, 200), extra=20, failures=20)
    effects = compare(side(), worse).effects_usd_micros
    for factor in (Factor.PRICE, Factor.OUTPUT, Factor.ATTEMPTS, Factor.FAILURES):
        assert effects[factor] > 0


def test_a_tier_that_only_one_side_has_is_a_change_of_the_mix() -> None:
    before = side(large=0, small=80)
    before = replace(
        before, cells={part: own for part, own in before.cells.items() if own.lines > 0}
    )
    found = compare(before, side())
    assert found.effects_usd_micros[Factor.MIX] == found.change_usd_micros


def test_a_side_without_an_answer_has_no_cost_of_one() -> None:
    with pytest.raises(HansomError, match="side has no successful answer"):
        compare(side(), side(failures=100))
