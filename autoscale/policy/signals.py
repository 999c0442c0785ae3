"""The inputs of a scaling decision: one tier at one moment."""

from dataclasses import dataclass

MOST_REPLICAS = 10_000
"""More replicas of a tier than any cluster has: what is above it is read as this many."""


@dataclass(frozen=True, slots=True)
class Load:
    """One replica now. `waiting_tokens` are prompt tokens that are not prefilled yet.

    `at_s` is when this was told, on the clock of `View.now_s`; `started_s` when the replica was
    asked for. Rates are over the last seconds, waits are means of what finished in them, None
    where nothing did.
    """

    id: str
    at_s: float
    started_s: float
    running: int = 0
    waiting: int = 0
    waiting_tokens: int = 0
    kv_use_ratio: float | None = 0.0
    preemptions: int = 0
    input_tokens_per_s: float = 0.0
    output_tokens_per_s: float = 0.0
    ttft_s: float | None = None
    tpot_s: float | None = None
    batch_running: int = 0
    batch_waiting: int = 0


@dataclass(frozen=True, slots=True)
class Traffic:
    """What came and what ended since the last decision, in requests and tokens.

    `cached_tokens` of the input came from a prefix cache; `output_tokens` are of what finished.
    Of `judged` calls of the interactive lane it is known whether they met the SLO, and `missed` did
    not: a call whose first token is late is known at once, others are at their end.
    `held` requests with `held_tokens` prompt tokens wait at the gateway for a replica. Of those
    that arrived, `batch_arrived` with `batch_input_tokens` were in the batch lane.
    """

    seconds: float
    arrived: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    finished: int = 0
    output_tokens: int = 0
    held: int = 0
    held_tokens: int = 0
    batch_arrived: int = 0
    batch_input_tokens: int = 0
    judged: int = 0
    missed: int = 0


@dataclass(frozen=True, slots=True)
class View:
    """One tier at `now_s`. `starting` holds when each replica was asked for that is not ready.

    `target` is how many replicas there are to be by the last decision.
    """

    now_s: float
    target: int
    ready: tuple[Load, ...]
    starting: tuple[float, ...]
    traffic: Traffic


@dataclass(frozen=True, slots=True)
class WantedReplicas:
    """How many replicas there are to be; `code` for metrics, `reason` in words with its numbers."""

    replicas: int
    code: str
    reason: str
