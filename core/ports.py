"""Protocols for clocks, embedders, weights and recorders, which the layers above implement.

Each Protocol has one fake in `tests/fakes.py` and a contract test that the real one passes too.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from core.ledger_line import LedgerLine


class Clock(Protocol):
    """Time as an input; tests move it."""

    def monotonic_s(self) -> float:
        """Seconds on a clock that never goes back."""

    def wall_s(self) -> float:
        """Seconds since 1970-01-01 UTC."""


class Embedder(Protocol):
    """Text to unit vectors."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return `(N, D) float32`, each row of length 1."""


class Progress(Protocol):
    """Where a slow step says how far it is."""

    def start(self, label: str, total: int | None) -> None:
        """Begin a step of `total` units (bytes or items), or of unknown length."""

    def advance(self, units: int) -> None:
        """Add `units` to the running step."""

    def done(self) -> None:
        """End the running step."""


class LineRecorder(Protocol):
    """Takes ledger lines; the gateway's is `ledger.path.writer.StreamWriter`."""

    def record(self, line: LedgerLine) -> None:
        """Write the line down behind the request. Never waits, never raises."""
