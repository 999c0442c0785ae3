"""The sides of a diff are what the lines say, on both databases."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from core.call import Usage
from core.errors import HansomError
from core.ledger_line import Kind, LedgerLine, Outcome
from core.money import Price
from ledger.path.sql_store import SqlStore
from ledger.reports.diff import ASIDE, EXTRA, FIRST, Factor, compare
from ledger.reports.queries_diff import of_spans, of_versions, split
from ledger.reports.rates import Rates
from ledger.reports.span import TimeSpan
from tests.ledger.lines import line

SMALL = Price(Decimal(1), Decimal("0.5"), Decimal(4), "s1")
LARGE = Price(Decimal(10), Decimal(5), Decimal(40), "l1")
PRICES = {"small": SMALL, "large": LARGE}


def priced(request: str, attempt: int, tier: str, usage: Usage, **more: Any) -> LedgerLine:
    price = PRICES[tier]
    fields = {"price_version": price.version, "cost_usd_micros": price.cost_usd_micros(usage)}
    return line(request, attempt, tier=tier, usage=usage, **(fields | more))


def week(version: str, at_s: float, output: int) -> list[LedgerLine]:
    """Three requests: an answer, a cascade with its judge, a hit."""
    made = {"created_s": at_s}
    of_small, of_large = {"model_version": version}, {"model_version": "large-1"}
    return [
        priced(f"{version}a", 0, "small", Usage(100, 10, output), **made, **of_small),
        priced(f"{version}b", 0, "small", Usage(200, 0, output), **made, **of_small),
        priced(f"{version}b", 1000, "small", Usage(300, 0, 1), kind=Kind.CLASSIFIER, **made,
               **of_small),
        priced(f"{version}b", 1, "large", Usage(200, 0, output), kind=Kind.ESCALATION, **made,
               **of_large),
        priced(f"{version}c", 0, "small", Usage(100, 10, output), kind=Kind.CACHE_HIT,
               cache="exact", **(made | of_small), cost_usd_micros=0),
    ]  # fmt: skip


def test_an_escalation_stays_with_the_version_that_was_doubted(store: SqlStore) -> None:
    store.insert([*week("one", 10.0, 50), *week("two", 20.0, 80)])
    before, after = of_versions(store, TimeSpan(), "model-version", ("one", "two"))
    assert (before.requests, before.successes, before.worked) == (3, 3, 2)
    assert {part: cell.lines for part, cell in before.cells.items()} == {
        (FIRST, "small"): 2,
        (EXTRA, "large"): 1,
        (ASIDE, "small"): 1,
    }
    assert before.cells[EXTRA, "large"].tokens == (200, 0, 50)
    costs = [one.cost_usd_micros for one in week("one", 0.0, 50)]
    assert before.cost_usd_micros == sum(costs)
    assert after.cost_usd_micros == sum(one.cost_usd_micros for one in week("two", 0.0, 80))


def test_longer_answers_are_found_to_be_the_cause(store: SqlStore) -> None:
    store.insert([*week("one", 10.0, 50), *week("two", 20.0, 80)])
    spans = ("a", TimeSpan(until_s=15.0)), ("b", TimeSpan(since_s=15.0))
    found = compare(*of_spans(store, *spans))
    assert found.before.name == "a"
    share = found.effects_usd_micros[Factor.OUTPUT] / found.change_usd_micros
    assert float(share) == pytest.approx(1, abs=1e-6), "fitted prices are as good as listed ones"
    listed = compare(*of_spans(store, *spans, lambda tier, _: PRICES[tier]))
    assert listed.effects_usd_micros[Factor.OUTPUT] == listed.change_usd_micros


def test_a_dearer_price_is_found_to_be_the_cause(store: SqlStore) -> None:
    dear = [
        line(
            one.call_id + "dear", one.attempt, kind=one.kind, tier=one.tier, usage=one.usage,
            cost_usd_micros=2 * one.cost_usd_micros, price_version=f"{one.price_version}-dear",
            created_s=20.0, cache=one.cache,
        )
        for one in week("one", 10.0, 50)
    ]  # fmt: skip
    store.insert([*week("one", 10.0, 50), *dear])
    spans = ("a", TimeSpan(until_s=15.0)), ("b", TimeSpan(since_s=15.0))
    found = compare(*of_spans(store, *spans, lambda tier, _: PRICES[tier]))
    assert found.effects_usd_micros[Factor.PRICE] == found.change_usd_micros > 0
    before, after = of_versions(store, TimeSpan(), "price-version", ("s1", "s1-dear"))
    assert after.cost_usd_micros == 2 * before.cost_usd_micros


def test_failures_and_shares_are_in_the_side(store: SqlStore) -> None:
    store.insert(
        [
            line(1, 0, cost_usd_micros=10),
            line(1, 2000, kind=Kind.CREDIT, usage=Usage(), cost_usd_micros=-4),
            line(2, 0, kind=Kind.JOINED, cache="flight", cost_usd_micros=4),
            line(3, 0, outcome=Outcome.ERROR, cost_usd_micros=7),
        ]
    )
    side, _ = of_spans(store, ("a", TimeSpan()), ("b", TimeSpan()))
    assert (side.requests, side.successes, side.worked) == (3, 2, 2)
    assert side.shared_usd_micros == 0
    assert side.cost_usd_micros == 17


def test_a_diff_can_be_of_one_tenant(store: SqlStore) -> None:
    store.insert([line(1, tenant="acme"), line(2, tenant="zeta", cost_usd_micros=99)])
    side, _ = of_spans(store, ("a", TimeSpan(tenant="acme")), ("b", TimeSpan()))
    assert side.cost_usd_micros == 10


def test_a_version_that_is_not_there_is_told_with_those_that_are(store: SqlStore) -> None:
    store.insert([*week("one", 10.0, 50)])
    with pytest.raises(HansomError, match="No request has the model-version 'x': there are 'one'"):
        of_versions(store, TimeSpan(), "model-version", ("one", "x"))
    with pytest.raises(HansomError, match="there are no requests"):
        of_versions(store, TimeSpan(since_s=99.0), "model-version", ("one", "one"))


def test_a_cell_is_split_by_its_rates_and_keeps_its_cost() -> None:
    rate = Rates(Fraction(1), Fraction(1, 2), Fraction(4))
    cell = split(2, (10, 20, 5), 44, rate)
    assert cell.cost_usd_micros == 44
    assert cell.costs_usd_micros == (Fraction(11), Fraction(11), Fraction(22))
    blank = split(1, (0, 0, 0), 3, rate)
    assert (blank.rest_usd_micros, blank.cost_usd_micros) == (3, 3)
