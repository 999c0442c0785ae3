"""What the cost model asks of the table agrees with the lines that were put there."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from core.call import Usage
from core.ledger_line import Kind, LedgerLine
from ledger.cost.usage_query import ModelUse, metered, observe
from ledger.path.sql_store import SqlStore, sqlite_url
from ledger.reports.cost_share import gpu_seconds
from ledger.reports.reprice import Metered
from tests.ledger.lines import line

T0_S = 1_700_000_000.0
LINES = [
    line(1, queue_s=0.5, created_s=T0_S),
    line(2, kind=Kind.ANSWER, queue_s=0.0, created_s=T0_S + 10),
    line(2, 1, kind=Kind.ESCALATION, tier="large", model="big", created_s=T0_S + 20, tenant="zoo"),
    line(3, kind=Kind.CACHE_HIT, cache="exact", created_s=T0_S + 30),
    line(4, kind=Kind.JOINED, cache="flight", created_s=T0_S + 40),
    line(1, 7, kind=Kind.CREDIT, created_s=T0_S + 40, cost_usd_micros=-5),
    line(5, kind=Kind.CANCELLED, cache="flight", created_s=T0_S + 50),
    line(6, kind=Kind.EMBEDDING, tier="embedder", model="minilm", created_s=T0_S + 60),
    line(3, 1, kind=Kind.SHADOW, created_s=T0_S + 70),
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    opened = SqlStore(sqlite_url(tmp_path / "ledger.sqlite3"))
    yield opened
    opened.close()


def test_the_load_is_requests_attempts_and_tokens(store: SqlStore) -> None:
    store.insert(LINES)
    seen = observe(store, None, T0_S + 86_400)
    assert seen is not None
    assert (seen.requests, seen.answered, seen.attempts) == (5, 2, 4)
    assert seen.models == (
        ModelUse("large", "big", 1, Usage(100, 20, 30)),
        ModelUse("small", "qwen", 3, Usage(300, 60, 90)),
    )
    assert seen.requests_per_day == 5
    assert seen.hit_rate == Fraction(2, 5)
    assert seen.retries == Fraction(1, 3)
    assert seen.requests * (1 - seen.hit_rate) * (1 + seen.retries) == seen.attempts


def test_the_time_that_engines_were_held_is_as_the_lines_say(store: SqlStore) -> None:
    store.insert(LINES)
    seen = observe(store, None, T0_S + 100)
    assert seen is not None
    for tier in ("small", "large"):
        of_lines = {who: held for who, held in gpu_seconds(LINES, tier).items() if held}
        assert seen.held_s[tier] == pytest.approx(of_lines)
    assert set(seen.held_s) == {"small", "large"}


def test_a_span_begins_no_earlier_than_the_ledger(store: SqlStore) -> None:
    store.insert(LINES)
    seen = observe(store, T0_S - 1e6, T0_S + 100)
    assert seen is not None
    assert seen.span_s == 100


def test_what_was_before_the_span_is_left_out(store: SqlStore) -> None:
    store.insert(LINES)
    seen = observe(store, T0_S + 15, T0_S + 100)
    assert seen is not None
    assert seen.span_s == 85
    assert {use.model: use.attempts for use in seen.models} == {"big": 1, "qwen": 1}


def test_a_ledger_without_attempts_has_no_load(store: SqlStore) -> None:
    assert observe(store, None, T0_S) is None
    store.insert([line(1, kind=Kind.CACHE_HIT, cache="exact", created_s=T0_S)])
    assert observe(store, None, T0_S + 1) is None


def test_when_every_request_was_answered_again_the_attempts_still_count(store: SqlStore) -> None:
    hit = line(1, kind=Kind.CACHE_HIT, cache="semantic", created_s=T0_S)
    store.insert([hit, line(1, 1, kind=Kind.SHADOW, created_s=T0_S)])
    seen = observe(store, None, T0_S + 1)
    assert seen is not None
    assert seen.requests * (1 - seen.hit_rate) * (1 + seen.retries) == 1


def test_what_engines_made_is_streamed_as_the_lines_have_it(store: SqlStore) -> None:
    store.insert(LINES)
    given_again = (Kind.CACHE_HIT, Kind.JOINED, Kind.CREDIT)

    def expected(lines: list[LedgerLine]) -> list[Metered]:
        return [Metered.of(one) for one in lines if one.kind not in given_again]

    assert list(metered(store, None, None)) == expected(LINES)
    span = [one for one in LINES if T0_S + 20 <= one.created_s < T0_S + 70]
    assert list(metered(store, T0_S + 20, T0_S + 70)) == expected(span)
