"""The two databases of the ledger, each new for every test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL

from ledger.path.sql_store import SqlStore, sqlite_url


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> URL:
    """A new database of each kind; the test runs once on each."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "new folder" / "ledger.sqlite3")
    url: URL = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def store(database: URL) -> Iterator[SqlStore]:
    """A store in it."""
    opened = SqlStore(database)
    yield opened
    opened.close()
