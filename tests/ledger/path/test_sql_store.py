import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlalchemy import URL

from core.call import Lane, Usage
from core.ledger_line import Kind, LedgerLine, Outcome
from core.settings.load import LedgerSettings
from ledger.path.sql_store import SqlStore, database_url, sqlite_url
from ledger.reports.queries import figures
from ledger.reports.report import summarise
from tests.ledger.lines import line


def full_line() -> LedgerLine:
    return line(
        "full",
        3,
        kind=Kind.ESCALATION,
        key="k",
        team="t",
        tags=("a", "b"),
        route_reason="because",
        model_version="v/none",
        prompt_version="7",
        lane=Lane.BATCH,
        undelivered_tokens=2**40,
        difficulty=0.25,
        route_code="hard",
        stream=True,
        queue_s=0.1,
        ttft_s=0.2,
        tpot_s=0.01,
        outcome=Outcome.TIMEOUT,
        error_code="deadline",
        cost_usd_micros=2**60,
        estimated_tokens=True,
    )


def test_a_line_comes_back_as_it_was(store: SqlStore) -> None:
    assert store.insert([line(1), full_line()]) == 2
    assert [item.line for item in store.tail(9)] == [line(1), full_line()]


def test_an_identity_is_kept_once_within_and_across_inserts(store: SqlStore) -> None:
    assert store.insert([]) == 0
    assert store.insert([line(1), line(1), line(1, 1)]) == 2
    assert store.insert([line(1, cost_usd_micros=99), line(2)]) == 1
    assert [item.line.cost_usd_micros for item in store.tail(9)] == [10, 10, 10]


def test_a_batch_of_any_size_is_one_commit(store: SqlStore) -> None:
    assert store.insert([line(at) for at in range(5000)]) == 5000
    assert store.insert([line(at) for at in range(2500, 7500)]) == 2500


def test_a_model_name_with_nul_does_not_stop_the_drain(store: SqlStore) -> None:
    store.insert([line(1, requested="a\0b")])
    assert store.tail(1)[0].line.requested == "a\ufffdb"


def test_threads_may_insert_the_same_lines_at_once(store: SqlStore) -> None:
    batches = [[line(at) for at in range(start, start + 200)] for start in (0, 100, 0, 100)]
    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(store.insert, batches)) == 300


def test_the_tail_goes_on_where_it_was(store: SqlStore) -> None:
    store.insert([line(at) for at in range(10)])
    last = store.tail(3)
    assert [item.line.request_id for item in last] == ["r7", "r8", "r9"]
    assert store.tail(3, after=last[-1].seq) == []
    store.insert([line(10)])
    assert [item.line for item in store.tail(3, after=last[-1].seq)] == [line(10)]


def test_what_one_process_stored_another_finds(store: SqlStore, database: URL) -> None:
    store.insert([line(1)])
    store.close()
    again = SqlStore(database)
    assert again.insert([line(1)]) == 0
    again.close()


def test_columns_without_any_value_and_of_any_width_are_inserted(store: SqlStore) -> None:
    assert store.insert([line(1, ttft_s=None, error_code=None)]) == 1
    odd = '{"a",NULL}\\ \'é\U0001f600'
    wide = line(2, ttft_s=0.5, usage=Usage(2**40, 0, 1), key=odd, team="NULL", route_reason=" ")
    assert store.insert([line(3, ttft_s=None, usage=Usage(1, 2, 3)), wide]) == 2
    assert [item.line for item in store.tail(2)][1] == wide


def test_a_new_file_is_opened_once_another_has_set_it_up(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as threads:
        other = sqlite3.connect(tmp_path / "new.db", check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        opening = threads.submit(SqlStore, f"sqlite:///{tmp_path}/new.db")
        with pytest.raises(TimeoutError):
            opening.result(0.2)
        other.rollback()
        other.close()
        opening.result(10).close()


def test_other_databases_are_refused() -> None:
    with pytest.raises(ValueError, match="mysql"):
        SqlStore("mysql://localhost/ledger")


def test_the_settings_name_a_file_under_the_home_folder_or_a_server(tmp_path: Path) -> None:
    assert database_url(LedgerSettings(), tmp_path) == sqlite_url(tmp_path / "ledger.sqlite3")
    named = LedgerSettings(database_url="postgresql://hansom@db.internal/ledger")
    assert database_url(named, tmp_path).host == "db.internal"
    with pytest.raises(ValidationError, match="database_url"):
        LedgerSettings(database_url="mysql://db.internal/ledger")


def test_older_lines_are_deleted_in_batches_and_the_newest_line_stays(store: SqlStore) -> None:
    store.insert([line(at, created_s=float(at)) for at in range(10)])
    assert store.delete_older(6.0, 4) == 4
    assert [item.line.created_s for item in store.tail(99)] == [4.0, 5.0, 6.0, 7.0, 8.0, 9.0]
    assert [store.delete_older(6.0, 4) for _ in range(2)] == [2, 0]
    assert store.delete_older(99.0, 4) == 3
    last = store.tail(1)[0]
    assert (last.line.created_s, store.delete_older(99.0, 4)) == (9.0, 0)
    store.insert([line("next")])
    assert [item.line.call_id for item in store.tail(9, after=last.seq)] == ["cnext"]


def test_a_requests_outcome_is_that_of_its_last_answering_attempt(store: SqlStore) -> None:
    store.insert(
        [
            line(1, 0, outcome=Outcome.ERROR, cost_usd_micros=3, saved_usd_micros=-3),
            line(1, 1, kind=Kind.FALLBACK, tier="large", total_s=2.0),
            line(1, 2, kind=Kind.SHADOW, tier="large", outcome=Outcome.ERROR),
            line(2, 0, kind=Kind.CACHE_HIT, cache="exact", cost_usd_micros=0, total_s=0.5),
            line(3, 0, kind=Kind.CLASSIFIER),
            line(4, 0, kind=Kind.EMBEDDING, endpoint="embeddings"),
        ]
    )
    report = summarise(figures(store))
    assert (report.requests, report.attempts) == (3, 6)
    assert report.by_outcome == {"success": 3}
    assert report.by_cache == {"exact": 1, "miss": 2}
    assert report.by_tier["large"].requests == 1
    assert report.by_tier["large"].attempts == 2
    assert report.usage == Usage(500, 100, 150)
    assert report.replayed == Usage(100, 20, 30)
    assert report.cost_usd_micros == 3 + 10 + 10 + 0 + 10 + 10


def test_percentiles_are_of_successful_requests_by_nearest_rank(store: SqlStore) -> None:
    store.insert([line(at, total_s=float(at), ttft_s=at / 10) for at in range(1, 101)])
    store.insert([line("slow", total_s=9e9, outcome=Outcome.ERROR), line("whole", total_s=50.0)])
    found = figures(store)
    assert (found.ttft.p50_s, found.ttft.p95_s) == (5.0, 9.5)
    assert (found.total.p50_s, found.total.p95_s) == (50.0, 95.0)


def test_one_request_is_its_own_percentiles_and_none_has_none(store: SqlStore) -> None:
    assert figures(store).total.p50_s is None
    store.insert([line(1)])
    assert (figures(store).total.p50_s, figures(store).total.p95_s) == (1.5, 1.5)


def test_since_leaves_out_older_lines(store: SqlStore) -> None:
    store.insert([line(1, created_s=10.0), line(2, created_s=20.0), line(3, created_s=30.0)])
    report = summarise(figures(store, since_s=20.0))
    assert (report.since_s, report.requests, report.cost_usd_micros) == (20.0, 2, 20)
