"""Which database `hansom ledger` opens, and what it says when that cannot be."""

import json
from pathlib import Path

import pytest
import yaml
from sqlalchemy import URL, text
from typer.testing import CliRunner

from cli.main import app
from core.errors import HansomError
from ledger.path.schema import VERSION_TABLE
from ledger.path.sql_store import SqlStore, sqlite_url
from tests.deployments.serving import simulated
from tests.ledger.lines import line


def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **ledger: object) -> tuple[int, str]:
    monkeypatch.setenv("HANSOM_HOME", str(tmp_path))
    config = tmp_path / "settings.yaml"
    config.write_text(yaml.safe_dump(simulated(ledger=ledger)))
    done = CliRunner().invoke(app, ["ledger", "report", "--json", "--config", str(config)])
    if done.exception is not None:
        assert isinstance(done.exception, HansomError)  # `cli.main.run` prints it without a trace
        return done.exit_code, done.exception.message
    return done.exit_code, done.output


@pytest.mark.postgres
def test_it_reads_the_server_that_the_settings_name(
    postgres_url: URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqlStore(postgres_url)
    store.insert([line(1), line(2)])
    store.close()
    url = str(postgres_url).replace("postgresql+psycopg://", "postgresql://")
    code, printed = report(tmp_path, monkeypatch, database_url=url)
    assert code == 0
    assert json.loads(printed)["requests"] == 2


def test_a_server_that_is_away_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"postgresql://hansom:secret@/ledger?host={tmp_path}"
    code, printed = report(tmp_path, monkeypatch, database_url=url)
    assert code == 1
    assert "cannot be opened" in printed
    assert "secret" not in printed


def test_a_database_of_a_newer_hansom_is_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqlStore(sqlite_url(tmp_path / "ledger.sqlite3"))
    with store.connect() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
        connection.commit()
    store.close()
    code, printed = report(tmp_path, monkeypatch)
    assert code == 1
    assert "a newer Hansom" in printed
