"""Store the policy's records outside its process, and read held calls, in a thread of its own.

Serve forgets a policy's state when its controller restarts or its application is deployed again,
and the policy itself must not wait for anything. So a thread of the policy's process reads the last
record back once, before the first decision, and then writes each new one to a `KeyValue`, at once
when the decision changed and every second otherwise. Gateways put the calls that they hold on the
same shelf, and everyone else reads the records there.

Promises: nothing here is waited for, and nothing raises into the policy; the thread ends when its
`RecordWriter` is gone. A note about held calls counts while it is renewed, for `HELD_STALE_S` at
most.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from autoscale.live.observe import HeldCalls
from core import log

EVERY_S = 0.1
WRITE_EVERY_S = 1.0
HELD_STALE_S = 5.0
READ_BACK_S = 2.0
"""How long a policy waits for its last record before it goes on without."""

_logger = logging.getLogger("hansom.scale")


class KeyValue(Protocol):
    """A small store that outlives the policy. Every call may block, and raise anything."""

    def get(self, key: str) -> bytes | None:
        """What lies at `key`."""

    def put(self, key: str, value: bytes) -> None:
        """Put `value` there, in place of what was."""

    def delete(self, key: str) -> None:
        """Take it away, if it is there."""

    def keys(self, prefix: str) -> list[str]:
        """All keys that begin with `prefix`."""


def record_key(tier: str) -> str:
    """Where a tier's record lies."""
    return f"scale/record/{tier}"


def held_key(tier: str, gateway: str = "") -> str:
    """Where a gateway notes the calls that it holds for a tier; a prefix without `gateway`."""
    return f"scale/held/{tier}/{gateway}"


def held_note(held: HeldCalls, number: int) -> bytes:
    """A gateway's note; `number` grows with each, which is how it is seen to be renewed."""
    return orjson.dumps({"number": number, "calls": held.calls, "tokens": held.tokens})


@dataclass(frozen=True, slots=True)
class Offer:
    """A record to be written; `changed` is what the log is told, None when nothing changed."""

    record: Callable[[], Mapping[str, Any]]
    changed: Mapping[str, Any] | None = None


class RecordWriter:
    """The policy's side: attributes to read, and `offer`; all else happens in the thread."""

    def __init__(self, shelf: KeyValue, tier: str, *, holds: bool) -> None:
        self.loaded = False
        self.found: Mapping[str, Any] | None = None
        self.held = HeldCalls()
        self._shelf = shelf
        self._tier = tier
        self._holds = holds
        self._offer: Offer | None = None
        self._changes: list[Mapping[str, Any]] = []
        self._wrote_s = float("-inf")
        self._notes: dict[str, tuple[bytes, float]] = {}
        self._wake = threading.Event()

    def start(self) -> None:
        """Begin the thread."""
        run = threading.Thread(
            target=_run, args=(weakref.ref(self), self._wake), name="hansom-scale", daemon=True
        )
        run.start()

    def offer(self, offer: Offer) -> None:
        """Have this record written; a later one takes its place."""
        self._offer = offer
        if offer.changed is not None:
            self._changes.append(offer.changed)
            self._wake.set()

    def once(self) -> None:
        """One round of the thread; never raises."""
        with suppress(Exception):
            if not self.loaded:
                self._read_back()
        with suppress(Exception):
            if self._holds:
                self._hear()
        with suppress(Exception):
            self._write()

    def _read_back(self) -> None:
        raw = self._shelf.get(record_key(self._tier))
        try:
            found = orjson.loads(raw) if raw else None
        except orjson.JSONDecodeError:
            found = None
        self.found = found if isinstance(found, dict) else None
        self.loaded = True

    def _hear(self) -> None:
        now_s = time.monotonic()
        notes, held = dict[str, tuple[bytes, float]](), HeldCalls()
        for key in self._shelf.keys(held_key(self._tier)):
            raw = self._shelf.get(key)
            if raw is None:
                continue
            before, heard_s = self._notes.get(key, (b"", now_s))
            notes[key] = raw, heard_s if raw == before else now_s
            if now_s - notes[key][1] > HELD_STALE_S:
                self._shelf.delete(key)  # its gateway is gone
                continue
            with suppress(ValueError, KeyError, TypeError):
                note = orjson.loads(raw)
                held = HeldCalls(held.calls + int(note["calls"]), held.tokens + int(note["tokens"]))
        self._notes, self.held = notes, held

    def _write(self) -> None:
        changes, self._changes = self._changes, []
        for change in changes:
            log.event(_logger, "scaled", tier=self._tier, **change)
        offer, now_s = self._offer, time.monotonic()
        if offer is None or not (changes or now_s - self._wrote_s >= WRITE_EVERY_S):
            return
        self._offer, self._wrote_s = None, now_s
        self._shelf.put(record_key(self._tier), orjson.dumps(offer.record()))


def _run(keeper: weakref.ref[RecordWriter], wake: threading.Event) -> None:
    """Rounds until the keeper is gone; the thread must not be what keeps it."""
    while (one := keeper()) is not None:
        one.once()
        del one
        wake.wait(EVERY_S)
        wake.clear()
