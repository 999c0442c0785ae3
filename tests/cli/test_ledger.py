"""`hansom ledger`: what was spent, read from the database."""

import json
import time
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from typer.testing import CliRunner, Result

from cli.main import app
from core.errors import HansomError
from core.ledger_line import Kind, Outcome
from ledger.path.sql_store import SqlStore, sqlite_url
from tests.deployments.serving import Serving, simulated
from tests.ledger.lines import line


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings beside a home folder that has no ledger yet."""
    monkeypatch.setenv("HANSOM_HOME", str(tmp_path))
    path = tmp_path / "serve.yaml"
    path.write_text(yaml.safe_dump(simulated()))
    return path


@pytest.fixture
def filled(config: Path, tmp_path: Path) -> Path:
    """Two answers, of which one was long ago, a hit and an attempt that failed."""
    now_s = time.time()
    SqlStore(sqlite_url(tmp_path / "ledger.sqlite3")).insert(
        [
            line(1, created_s=now_s - 7200),
            line(2, created_s=now_s, kind=Kind.ANSWER, outcome=Outcome.ERROR, error_code="gone"),
            line(2, 1, created_s=now_s, kind=Kind.FALLBACK, tier="large"),
            line(3, created_s=now_s, kind=Kind.CACHE_HIT, cache="exact", cost_usd_micros=0),
        ]
    )
    return config


def ledger(config: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["ledger", *words, "--config", str(config)])


@pytest.mark.parametrize("words", [("tail",), ("report",)])
def test_before_the_first_start_it_says_how_a_ledger_begins(
    config: Path, words: tuple[str]
) -> None:
    error = ledger(config, *words).exception
    assert isinstance(error, HansomError)
    assert "There is no ledger at" in error.message


def test_the_tail_as_json_is_one_object_a_line_in_order(filled: Path) -> None:
    told = [json.loads(row) for row in ledger(filled, "tail", "--json").stdout.splitlines()]
    assert [(row["request_id"], row["attempt"]) for row in told] == [
        ("r1", 0),
        ("r2", 0),
        ("r2", 1),
        ("r3", 0),
    ]
    assert [row["seq"] for row in told] == [1, 2, 3, 4]
    assert told[0]["usage"] == {
        "fresh_input_tokens": 100,
        "cached_input_tokens": 20,
        "output_tokens": 30,
    }


def test_the_tail_is_as_long_as_it_is_asked_to_be(filled: Path) -> None:
    told = ledger(filled, "tail", "--json", "-n", "2").stdout.splitlines()
    assert [json.loads(row)["seq"] for row in told] == [3, 4]


def test_the_tail_in_a_terminal_says_how_each_attempt_ended(filled: Path) -> None:
    told = ledger(filled, "tail").stdout
    assert "gone" in told
    assert "cache_hit" in told
    assert told.count("0.000010") == 3, "80 columns never cut an amount"


def test_the_report_as_json_adds_up(filled: Path) -> None:
    told = json.loads(ledger(filled, "report", "--json").stdout)
    assert (told["requests"], told["attempts"], told["cache_hits"]) == (3, 4, 1)
    assert told["by_outcome"] == {"success": 3}
    assert told["cost_usd"] == "0.000030"
    assert told["always_large_usd_micros"] == told["cost_usd_micros"] + told["saved_usd_micros"]


def test_the_report_can_leave_out_what_was_long_ago(filled: Path) -> None:
    told = json.loads(ledger(filled, "report", "--hours", "1", "--json").stdout)
    assert (told["requests"], told["attempts"]) == (2, 3)


def test_the_report_in_a_terminal_names_cost_savings_and_tiers(filled: Path) -> None:
    told = ledger(filled, "report").stdout
    for word in ("requests", "0.000030 USD", "always-large", "TTFT p50 / p95", "small", "large"):
        assert word in told


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_what_was_served_is_in_the_report_and_the_tail(
    hansom: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HANSOM_HOME", str(hansom.home))

    def report() -> dict[str, Any]:
        return dict(json.loads(ledger(hansom.config, "report", "--json").stdout))

    first, *sent = [uuid.uuid4().hex for _ in range(6)]
    before: dict[str, Any] = {}
    for id_ in (first, *sent):
        httpx.post(
            f"{hansom.url}/v1/chat/completions",
            json={
                "model": "large",
                "max_tokens": 3,
                "messages": [{"role": "user", "content": "a"}],
            },
            headers={"x-request-id": id_},
            timeout=30,
        )
        hansom.lines(id_)
        # With the first one's line, those of whoever used the server before are in the table, too.
        before = before or report()
    after = report()
    assert after["requests"] == before["requests"] + 5
    rows = ledger(hansom.config, "tail", "--json", "-n", "5").stdout.splitlines()
    told = [json.loads(row) for row in rows]
    assert [row["request_id"] for row in told] == sent
    assert {(row["tier"], row["usage"]["output_tokens"]) for row in told} == {("large", 3)}
