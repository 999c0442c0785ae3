"""Databases of every version come to this code's version, alone or in a crowd, and lose nothing."""

import multiprocessing
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Engine, create_engine, insert, inspect, select, text
from sqlalchemy.exc import InternalError

from core.call import Usage
from core.errors import HansomError
from core.ledger_line import Kind, Outcome
from ledger.path import schema
from ledger.path.schema import LINES, VERSION, VERSION_TABLE, found_version, upgrade
from ledger.path.sql_store import SqlStore, sqlite_url
from tests.ledger.lines import line

BEFORE_VERSIONS = Path(__file__).with_name("before_versions.sql")
ADDED = {
    "key": "",
    "team": "",
    "tags": "",
    "route_reason": "",
    "model_version": "",
    "prompt_version": "",
    "lane": "interactive",
    "undelivered_tokens": 0,
}


@pytest.fixture
def engine(database: URL) -> Iterator[Engine]:
    if database.database and database.get_backend_name() == "sqlite":
        Path(database.database).parent.mkdir()
    made = create_engine(database)
    yield made
    made.dispose()


@pytest.fixture
def old_file(tmp_path: Path) -> Path:
    """A file with three lines that was written before there were versions."""
    path = tmp_path / "ledger.sqlite3"
    connection = sqlite3.connect(path)
    connection.executescript(BEFORE_VERSIONS.read_text(encoding="utf-8"))
    connection.close()
    return path


def test_the_newest_file_is_the_version_that_the_code_knows() -> None:
    assert ScriptDirectory(str(Path(schema.__file__).parents[1] / "migrations")).get_heads() == [
        VERSION
    ]


def test_what_the_files_build_is_what_the_code_says(engine: Engine) -> None:
    upgrade(engine)
    with engine.connect() as connection:
        options = {"version_table": VERSION_TABLE, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, LINES.metadata) == []


def test_an_upgrade_that_is_done_writes_nothing(engine: Engine) -> None:
    upgrade(engine)
    with engine.connect() as connection:
        connection.execute(text(f"SELECT * FROM {VERSION_TABLE}"))
        upgrade(engine)  # would wait for the reader, or for itself
        assert found_version(connection) == VERSION


def test_lines_of_an_older_version_read_as_empty_and_zero(engine: Engine) -> None:
    upgrade(engine, "0001")
    with engine.begin() as connection:
        assert found_version(connection) == "0001"
        assert not ADDED.keys() & {
            column["name"] for column in inspect(connection).get_columns(LINES.name)
        }
        old = {
            column.name: 1 if column.type.python_type in (int, bool, float) else "x"
            for column in LINES.columns
            if column.name not in ADDED
        }
        old["stream"] = old["estimated_tokens"] = True
        names = ", ".join(old)
        values = ", ".join(f":{name}" for name in old)
        connection.execute(text(f"INSERT INTO {LINES.name} ({names}) VALUES ({values})"), old)
    upgrade(engine)
    with engine.connect() as connection:
        (row,) = connection.execute(select(LINES)).mappings()
    assert dict(row) == old | ADDED


def test_a_file_from_before_versions_keeps_its_lines_and_takes_new_ones(old_file: Path) -> None:
    store = SqlStore(sqlite_url(old_file))
    first, retry, big = (item.line for item in store.tail(9))
    assert first == line(1)
    assert (retry.kind, retry.outcome, retry.ttft_s) == (Kind.RETRY, Outcome.ERROR, 0.25)
    assert (big.call_id, big.cost_usd_micros, big.estimated_tokens) == ("cit's", 2**60, True)
    assert (big.usage, big.tags, big.undelivered_tokens) == (Usage(100, 20, 30), (), 0)
    assert store.insert([line(1), line("new", key="k", tags=("a",))]) == 1
    assert store.tail(1)[0].line == line("new", key="k", tags=("a",))
    store.close()


def test_a_table_with_all_columns_and_no_version_is_only_marked(engine: Engine) -> None:
    LINES.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(
            insert(LINES),
            {
                column.name: 1
                if column.type.python_type in (int, float)
                else True
                if column.type.python_type is bool
                else "x"
                for column in LINES.columns
            },
        )
    upgrade(engine)
    with engine.connect() as connection:
        assert found_version(connection) == VERSION
        assert connection.scalar(select(LINES.c.key)) == "x"


def test_a_database_of_a_newer_hansom_is_left_alone(engine: Engine) -> None:
    upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(
        HansomError, match=f"version 9999, and this Hansom knows none after {VERSION}"
    ):
        SqlStore(engine.url)
    with engine.connect() as connection:
        assert found_version(connection) == "9999"


@pytest.mark.postgres
def test_who_may_only_read_can_open_a_database_that_is_up_to_date(postgres_url: URL) -> None:
    store = SqlStore(postgres_url)
    store.insert([line(1)])
    store.close()
    options = {"options": "-c default_transaction_read_only=on"}
    reader = SqlStore(postgres_url.update_query_dict(options))
    assert [item.line for item in reader.tail(9)] == [line(1)]
    with pytest.raises(InternalError, match="read-only"):
        reader.insert([line(2)])
    reader.close()


def _open(url: str, number: int) -> int:
    store = SqlStore(url)
    new = store.insert([line(number), line("shared")])
    store.close()
    return new


@pytest.mark.parametrize("old", [False, True], ids=["empty", "old"])
def test_processes_that_start_at_once_do_not_collide(
    old: bool, database: URL, engine: Engine
) -> None:
    if old:
        upgrade(engine, "0001")
        with engine.begin() as connection:
            connection.execute(text(f"DROP TABLE {VERSION_TABLE}"))
    engine.dispose()
    url = database.render_as_string(hide_password=False)
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert sum(pool.starmap(_open, [(url, number) for number in range(8)])) == 9


def test_a_migration_that_breaks_leaves_the_old_table(
    old_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = sqlite3.connect(old_file)
    # A column of the last step is in the way of it, after the others are already there.
    connection.execute("ALTER TABLE ledger_lines ADD COLUMN undelivered_tokens BIGINT")
    before = connection.execute("SELECT sql FROM sqlite_master").fetchall()
    with pytest.raises(Exception, match="duplicate column"):
        SqlStore(sqlite_url(old_file))
    assert connection.execute("SELECT sql FROM sqlite_master").fetchall() == before
    connection.close()
