"""What a semantic look-up finds, and what is stored to be found.

Not covered: the search itself, which runs in the router's process.
"""

from dataclasses import dataclass

UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class DoubtfulEntry:
    """An entry that does not serve, but that a model may be asked about; see `semantic.verdict`."""

    text: str
    cosine: float
    entry: str
    answer: str
    exact_key: str
    tags: tuple[str, ...]
    created_s: float


@dataclass(frozen=True, slots=True)
class Lookup:
    """The result of a look-up: an entry that may serve, or none; `reason` is a metric's label.

    `confidence` in [0, 1] is the probability that decided; `cosine` the entry's. `doubt` is there
    only if it was asked for.
    """

    reason: str
    confidence: float = 0.0
    cosine: float = 0.0
    entry: str = ""
    exact_key: str = ""
    doubt: DoubtfulEntry | None = None

    @property
    def serves(self) -> bool:
        """Whether there is an entry."""
        return bool(self.entry)


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """An answer to be found by other words: where it lies, and how long it lives there."""

    scope_key: str
    text: str
    answer: str
    exact_key: str
    tags: tuple[str, ...]
    created_s: float
    ttl_s: int
    cap: int
