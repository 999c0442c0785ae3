"""The ledger's deployment: drains the Redis stream into SQL, off everyone's request path.

One replica; a second one would be harmless (each line has one identity) but useless.
"""

import asyncio
from typing import Any

from prometheus_client import Gauge, generate_latest

from core import log
from core.metrics import new_registry
from deployments import environment
from ledger.drain import DrainStats, drain_forever
from ledger.redis_store import StreamReader
from ledger.sql_store import SqlStore

LEDGER_APP = "ledger"
LEDGER_DEPLOYMENT = "Ledger"


class Ledger:
    """The drain's owner. `database_url` is SQLAlchemy's."""

    def __init__(
        self, redis_url: str, stream: str, database_url: str, interval_s: float, log_level: str
    ) -> None:
        environment.collect_garbage_seldom()
        log.set_up(log_level)
        self._reader = StreamReader(redis_url, stream, consumer="drain-0")
        self._store = SqlStore(database_url)
        self._interval_s = interval_s
        self._stats = DrainStats()
        self._task: asyncio.Task[Any] | None = None
        self._registry = new_registry()
        self._gauges = {
            name: Gauge(f"hansom_ledger_{name}", text, registry=self._registry)
            for name, text in (
                ("lines", "Lines taken from the stream since the start."),
                ("inserted", "Lines that were new to the database since the start."),
                ("failures", "Drains that failed and were tried again since the start."),
            )
        }

    async def check_health(self) -> None:
        """Start the drain with Serve's first health check, and raise if it has ended since."""
        if self._task is None:
            self._task = asyncio.create_task(
                drain_forever(
                    self._reader, self._store, stats=self._stats, interval_s=self._interval_s
                ),
                name="ledger-drain",
            )
        if self._task.done():
            raise RuntimeError(f"the ledger's drain has ended: {self._task.exception()!r}")

    async def drained(self) -> int:
        """Lines committed since the start."""
        await self.check_health()
        return self._stats.lines

    async def metrics_text(self) -> str:
        """The drain's counters in Prometheus text format."""
        for name, gauge in self._gauges.items():
            gauge.set(getattr(self._stats, name))
        return generate_latest(self._registry).decode()

    async def __del__(self) -> None:
        """Serve calls this when the replica is retired."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await self._reader.close()
