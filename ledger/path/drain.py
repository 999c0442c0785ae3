"""Drain the ledger's stream into the SQL store.

Promised: a line is acked only after its commit, so a drain that is cancelled or killed at any
moment loses nothing; it may deliver a line again, which the store's unique identity makes
harmless. Failures of Redis or of the database are waited out.
Not covered: running it; the owner starts `drain_forever` in a task and cancels it.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol

from core.ledger_line import LedgerLine
from core.log import event

log = logging.getLogger("hansom.ledger")


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """A line as it lies in the stream; `id` is what is acked."""

    id: bytes
    line: LedgerLine


class LineReader(Protocol):
    """Where lines come from; see `ledger.path.redis_stream.StreamReader`."""

    async def read(self, count: int, block_s: float) -> list[StreamEntry]:
        """Up to `count` new entries, waiting at most `block_s` for the first."""

    async def claim(self, count: int, idle_s: float) -> list[StreamEntry]:
        """Entries that were read `idle_s` ago and never acked."""

    async def ack(self, entries: Sequence[StreamEntry]) -> None:
        """Forget entries whose lines are committed."""


class LineStore(Protocol):
    """Where lines go; `insert` blocks, ignores known identities and returns the new ones."""

    def insert(self, lines: Sequence[LedgerLine]) -> int:
        """Commit `lines`."""


@dataclass(slots=True)
class DrainStats:
    """Counts since the start; `repeated` lines came more than once and were ignored."""

    lines: int = 0
    inserted: int = 0
    failures: int = 0

    @property
    def repeated(self) -> int:
        """Lines that the store already had."""
        return self.lines - self.inserted


async def drain_once(
    reader: LineReader,
    store: LineStore,
    *,
    count: int = 2000,
    block_s: float = 0.25,
    claim_idle_s: float | None = None,
    deadline_s: float = 30.0,
) -> tuple[int, int]:
    """Move up to `count` lines; returns how many came and how many were new.

    With `claim_idle_s`, takes over what was left unacked for that long instead of reading new
    lines. Raises `TimeoutError` after `deadline_s`, and whatever reader or store raise.
    """
    async with asyncio.timeout(block_s + deadline_s):
        if claim_idle_s is None:
            entries = await reader.read(count, block_s)
        else:
            entries = await reader.claim(count, claim_idle_s)
        if not entries:
            return 0, 0
        lines = [entry.line for entry in entries]
        inserted = await asyncio.to_thread(store.insert, lines)
        await reader.ack(entries)
        return len(entries), inserted


async def drain_forever(
    reader: LineReader,
    store: LineStore,
    *,
    stats: DrainStats | None = None,
    count: int = 2000,
    interval_s: float = 0.25,
    deadline_s: float = 30.0,
    claim_every_s: float = 30.0,
    retry_s: float = 1.0,
) -> NoReturn:
    """Drain until cancelled; `stats` is kept up to date for the owner.

    Entries that were read and never acked are taken over: all of them at the start and after a
    failure, otherwise those older than twice `deadline_s`, which no living drain holds for so
    long. Taking another drain's is harmless.
    """
    stats = stats if stats is not None else DrainStats()
    loop = asyncio.get_running_loop()
    claim_at_s, claim_idle_s = loop.time(), 0.0
    while True:
        claiming = loop.time() >= claim_at_s
        try:
            came, inserted = await drain_once(
                reader,
                store,
                count=count,
                block_s=interval_s,
                claim_idle_s=claim_idle_s if claiming else None,
                deadline_s=deadline_s,
            )
        except Exception as error:  # whatever the database's driver raises, too
            stats.failures += 1
            event(log, "ledger_drain_failed", reason=repr(error), retry_s=retry_s)
            claim_at_s, claim_idle_s = loop.time(), 0.0
            await asyncio.sleep(retry_s)
            continue
        stats.lines += came
        stats.inserted += inserted
        if 0 < came < count:
            await asyncio.sleep(interval_s)  # a commit costs the same for one line as for hundreds
        if claiming and came < count:
            claim_at_s, claim_idle_s = loop.time() + claim_every_s, 2 * deadline_s
