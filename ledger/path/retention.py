"""Delete lines older than the settings allow, in small batches.

Promised: a batch is one short transaction, and the drain gets its turn between two; a database
that fails is tried again at the next turn. Without `keep_days` nothing here runs.
Not covered: the room that SQLite keeps in its file for new lines, and copies of the database.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import NoReturn, Protocol

from core.log import event

DAY_S = 86_400.0

log = logging.getLogger("hansom.ledger")


class ExpiringStore(Protocol):
    """Where lines are deleted; see `ledger.path.sql_store.SqlStore`."""

    def delete_older(self, than_s: float, count: int) -> int:
        """Commit the deletion of up to `count` lines; blocks."""


async def expire_once(
    store: ExpiringStore, than_s: float, *, count: int = 500, pause_s: float = 0.05
) -> int:
    """Delete all lines created before `than_s`, wall time; returns how many they were.

    Raises what the store raises; what was deleted until then stays so.
    """
    total = 0
    while gone := await asyncio.to_thread(store.delete_older, than_s, count):
        total += gone
        await asyncio.sleep(pause_s)
    return total


async def expire_forever(
    store: ExpiringStore,
    keep_days: float,
    *,
    interval_s: float = 3600.0,
    now: Callable[[], float] = time.time,
) -> NoReturn:
    """Delete what is older than `keep_days`, now and every `interval_s`, until cancelled."""
    while True:
        try:
            gone = await expire_once(store, now() - keep_days * DAY_S)
        except Exception as error:  # whatever the database's driver raises, too
            event(log, "ledger_retention_failed", reason=repr(error), retry_s=interval_s)
        else:
            event(log, "ledger_lines_expired", lines=gone)
        await asyncio.sleep(interval_s)
