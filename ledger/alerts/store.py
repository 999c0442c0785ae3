"""Store alert states in the ledger's database, across restarts.

Promises: `save` replaces all standings in one transaction; `load` gives what was saved last.
In SQL and not in Redis: it lies beside the lines that the alerts are read from, so a Redis that
is lost loses no alert, and the command line can read it while nothing else runs. A standing is
one JSON object, so a new field of it needs no migration.
Not covered: two writers; the ledger has one replica.
"""

import contextlib
from collections.abc import Sequence

import msgspec
from sqlalchemy import Column, Connection, MetaData, Table, Text, delete, insert, inspect, select

from ledger.alerts.states import AlertState

STANDINGS = Table(
    "ledger_alerts",
    MetaData(),
    Column("rule", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("standing", Text, nullable=False),
)


def load(connection: Connection) -> list[AlertState]:
    """The standings that were saved last; none where there is no table yet.

    What another version wrote and this one cannot read is left out: that alert begins anew.
    """
    if not inspect(connection).has_table(STANDINGS.name):
        return []
    rows = connection.execute(
        select(STANDINGS.c.standing).order_by(STANDINGS.c.rule, STANDINGS.c.subject)
    )
    found = []
    for raw in rows.scalars():
        with contextlib.suppress(msgspec.MsgspecError):
            found.append(msgspec.json.decode(raw, type=AlertState))
    return found


def save(connection: Connection, standings: Sequence[AlertState]) -> None:
    """Replace all standings and commit; makes the table if need be."""
    STANDINGS.create(connection, checkfirst=True)
    connection.execute(delete(STANDINGS))
    if standings:
        connection.execute(
            insert(STANDINGS),
            [
                {
                    "rule": standing.alert.rule.value,
                    "subject": standing.alert.subject,
                    "standing": msgspec.json.encode(standing).decode(),
                }
                for standing in standings
            ],
        )
    connection.commit()
