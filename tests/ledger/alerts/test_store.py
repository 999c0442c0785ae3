"""Standings outlive the process that made them."""

from sqlalchemy import update

from ledger.alerts.states import Alert, AlertState, Phase, Rule
from ledger.alerts.store import STANDINGS, load, save
from ledger.path.sql_store import SqlStore

ONE = AlertState(Alert(Rule.TTFT_P95, "tier ß", 1.5, 7.25, 5.0, "words"), Phase.FIRING, None, 3.5)
OTHER = AlertState(Alert(Rule.BUDGET_BURN, "acme", 2.5, 1.0, 5.0, ""), Phase.PENDING)


def test_what_is_saved_is_loaded_and_replaces_what_was(store: SqlStore):
    with store.connect() as connection:
        assert load(connection) == []
        save(connection, [ONE, OTHER])
    with store.connect() as connection:
        assert load(connection) == [OTHER, ONE]
        save(connection, [OTHER])
    with store.connect() as connection:
        assert load(connection) == [OTHER]
        save(connection, [])
        assert load(connection) == []


def test_what_another_version_wrote_is_left_out(store: SqlStore):
    with store.connect() as connection:
        save(connection, [ONE, OTHER])
        connection.execute(
            update(STANDINGS).where(STANDINGS.c.subject == "acme").values(standing='{"new": 1}')
        )
        assert load(connection) == [ONE]
