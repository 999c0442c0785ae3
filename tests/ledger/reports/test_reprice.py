"""A past day has that day's price again, attempt by attempt."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.call import Usage
from core.ledger_line import Kind
from core.settings.prices import PriceTable
from ledger.reports.reprice import Metered, reprice
from tests.ledger.lines import line

TABLE = PriceTable.model_validate(
    {
        "models": {
            name: {
                "kind": "api",
                "versions": [
                    {
                        "from": day,
                        "source": "test",
                        "input_usd_per_million_tokens": price,
                        "output_usd_per_million_tokens": 2 * price,
                    }
                    for day, price in (("2024-01-01", cost), ("2024-02-01", 10 * cost))
                ],
            }
            for name, cost in (("qwen", 1), ("other", 7))
        }
    }
)


def at_s(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def metered(begun: str, usage: Usage = Usage(100, 0, 10), **changes: object) -> Metered:  # noqa: B008
    fields = {"tier": "small", "model": "qwen", "cost_usd_micros": 5} | changes
    return Metered(begun_s=at_s(begun), usage=usage, **fields)  # type: ignore[arg-type]


def test_each_day_has_its_own_price_and_a_row() -> None:
    rows = reprice(
        [metered("2024-02-01T00:00"), metered("2024-01-31T23:59:59"), metered("2024-01-31T01:00")],
        TABLE,
    )
    assert [(row.day, row.attempts) for row in rows] == [
        (date(2024, 1, 31), 2),
        (date(2024, 2, 1), 1),
    ]
    assert [row.repriced_usd_micros for row in rows] == [2 * 120, 1200]
    assert [row.recorded_usd_micros for row in rows] == [10, 5]
    assert [row.difference_usd_micros for row in rows] == [230, 1195]
    assert [len(row.versions) for row in rows] == [1, 1]


def test_the_prices_of_another_day_can_be_asked_for() -> None:
    (row,) = reprice([metered("2024-01-05T00:00")], TABLE, as_of_s=at_s("2024-03-01"))
    assert row.repriced_usd_micros == 1200
    assert row.day == date(2024, 1, 5), "the row is still of the day it was"


def test_a_tier_is_priced_by_the_entry_that_its_settings_name() -> None:
    attempts = [metered("2024-01-05T00:00"), metered("2024-01-05T00:00", tier="large")]
    (row,) = reprice(attempts, TABLE, {"large": "other"})
    assert row.repriced_usd_micros == 120 + 840


@pytest.mark.parametrize(
    "one",
    [metered("2023-12-31T23:59:59"), metered("2024-01-05T00:00", model="unknown")],
    ids=["too early", "unknown model"],
)
def test_what_has_no_price_is_counted_and_in_neither_sum(one: Metered) -> None:
    (row,) = reprice([one], TABLE)
    assert (row.attempts, row.unpriced, row.unpriced_usd_micros) == (1, 1, 5)
    assert (row.recorded_usd_micros, row.repriced_usd_micros) == (0, 0)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 59)), max_size=30))
def test_lines_that_were_priced_by_the_table_come_out_as_they_were(
    given_: list[tuple[int, int]],
) -> None:
    """Rounded once for each line: half-micro prices add up differently otherwise."""
    attempts = []
    for tokens, day in given_:
        begun_s = at_s("2024-01-02") + day * 86_400
        usage = Usage(tokens, tokens // 3, tokens // 7)
        cost = TABLE.at("qwen", begun_s).cost_usd_micros(usage)
        attempts.append(Metered("small", "qwen", begun_s, usage, cost))
    assert all(row.difference_usd_micros == 0 for row in reprice(attempts, TABLE))


def test_a_line_has_the_price_of_when_its_attempt_began() -> None:
    """It arrived at 23:59:50, waited 4 s for another tier, and ended after midnight."""
    ended = line(
        1, kind=Kind.FALLBACK, total_s=20.0, queue_s=4.0, created_s=at_s("2024-02-01") + 10
    )
    assert Metered.of(ended).begun_s == at_s("2024-01-31T23:59:54")
    assert Metered.of(line(2, total_s=1.5, queue_s=None)).begun_s == 1_700_000_000.0 - 1.5
