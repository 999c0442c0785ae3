"""The ledger's deployment: drain the Redis stream into SQL.

One replica; a second one would be harmless (each line has one identity) but useless.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from prometheus_client import Gauge, generate_latest

from accounts.redis_store import RedisAccounts
from core import log
from core.background import end
from core.metrics import new_registry
from core.settings.load import Settings
from deployments.ledger.alerts import Alerts, budgets_of
from deployments.ledger.sweep import Sweep, ask_replicas
from deployments.machine import environment
from ledger.path.drain import DrainStats, drain_forever
from ledger.path.redis_open_attempts import RedisLeft
from ledger.path.redis_stream import StreamReader
from ledger.path.retention import expire_forever
from ledger.path.sql_store import SqlStore


class Ledger:
    """The owner of the drain, the sweep, the alerts and the deletion of old lines.

    `database_url` is SQLAlchemy's.
    """

    def __init__(self, settings: Settings, redis_url: str, database_url: str) -> None:
        environment.collect_garbage_seldom()
        log.set_up(settings.log_level)
        self._settings = settings.ledger
        stream = settings.ledger.stream
        self._reader = StreamReader(redis_url, stream, consumer="drain-0")
        self._store = SqlStore(database_url)
        self._left = RedisLeft(redis_url, stream)
        self._accounts = RedisAccounts(redis_url)
        self._sweep = Sweep(settings, self._left, ask_replicas, self._accounts.send)
        self._stats = DrainStats()
        self._tasks: list[asyncio.Task[Any]] = []
        self._registry = new_registry()
        self._gauges = {
            name: Gauge(f"hansom_ledger_{name}", text, registry=self._registry)
            for name, text in (
                ("lines", "Lines taken from the stream since the start."),
                ("inserted", "Lines that were new to the database since the start."),
                ("failures", "Drains that failed and were tried again since the start."),
            )
        }
        self._alerts = Alerts(self._store, settings.alerts, budgets_of(settings), self._registry)

    async def check_health(self) -> None:
        """Start the tasks with Serve's first health check, and raise if one has ended since."""
        if not self._tasks:
            self._start()
        for task in self._tasks:
            if task.done():
                raise RuntimeError(f"{task.get_name()} has ended: {task.exception()!r}")

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
        await end(self._tasks)
        await self._reader.close()
        await self._left.close()
        await self._accounts.close()

    def _start(self) -> None:
        draining = drain_forever(
            self._reader, self._store, stats=self._stats,
            interval_s=self._settings.drain_interval_s,
        )  # fmt: skip
        self._begin("ledger-drain", draining)
        self._begin("ledger-sweep", self._sweep.forever())
        self._begin("ledger-alerts", self._alerts.run())
        if self._settings.keep_days is not None:
            self._begin("ledger-retention", expire_forever(self._store, self._settings.keep_days))

    def _begin(self, name: str, work: Coroutine[Any, Any, Any]) -> None:
        self._tasks.append(asyncio.create_task(work, name=name))
