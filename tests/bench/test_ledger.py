"""The parts of `bench.ledger`: what they say they made is what is there."""

import uuid
from pathlib import Path

import pytest
from redis import Redis

from bench import ledger_parts
from bench.ledger_parts import a_line, at, drive, one_by_one
from core.ledger_line import LedgerLine
from ledger.path.sql_store import SqlStore, sqlite_url


def test_percentiles_are_by_nearest_rank() -> None:
    assert [at(percent, [3, 1, 2, 4]) for percent in (50, 75, 99)] == [2, 3, 4]
    assert at(99, []) == 0.0


def test_the_peer_commits_as_many_lines_as_it_tells(tmp_path: Path) -> None:
    url = str(sqlite_url(tmp_path / "ledger.sqlite3"))
    rate = one_by_one(url, 0.3)
    lines = [item.line for item in SqlStore(url).tail(100_000)]
    assert 0.8 * 0.3 * rate <= len(lines) <= rate
    assert lines[0].usage == a_line().usage
    assert lines[0].tags == a_line().tags


@pytest.mark.redis
def test_a_driver_records_every_line_it_makes_or_none(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_parts, "STREAM", uuid.uuid4().hex)
    with Redis.from_url(redis_url) as client:
        quiet = drive(redis_url, tmp_path / "spool", 1000, 0.2, writing=False)
        assert (client.xlen(ledger_parts.STREAM), quiet.record_us) == (0, (0.0, 0.0))
        driven = drive(redis_url, tmp_path / "spool", 1000, 0.2, writing=True)
        entries = client.xrange(ledger_parts.STREAM)
    assert 50 <= driven.lines <= 210
    assert len(entries) == driven.lines
    assert len({LedgerLine.from_bytes(fields[b"line"]).call_id for _, fields in entries}) == len(
        entries
    )
    assert driven.lost == 0
    assert 0 < driven.record_us[0] <= driven.record_us[1]
