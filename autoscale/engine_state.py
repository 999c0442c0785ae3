"""What a replay knows of its requests and replicas: arrays, as compiled code takes them.

Promises: plain arrays with their shapes said, no logic; `autoscale.engine_model` moves them.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from autoscale.profile import EngineProfile

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NONE, REFUSED = -1, -2


class Constants(NamedTuple):
    """An `EngineProfile` as the compiled code takes it."""

    base_s: float
    per_sequence_s: float
    per_kv_token_s: float
    prefill_tokens_per_s: float
    chunk_tokens: int
    kv_tokens: int
    max_sequences: int

    @classmethod
    def of(cls, profile: EngineProfile) -> "Constants":
        """These of a profile's."""
        return cls(
            profile.base_s,
            profile.per_sequence_s,
            profile.per_kv_token_s,
            profile.prefill_tokens_per_s,
            profile.chunk_tokens,
            profile.kv_tokens,
            profile.max_sequences,
        )


class Requests(NamedTuple):
    """N requests by arrival, each array (N,); what is not known yet is nan, or NONE."""

    at_s: Floats
    input_tokens: Ints
    output_tokens: Ints
    behind: Ints  # who is next in the same replica's queue
    first_s: Floats
    done_s: Floats
    slot: Ints

    @classmethod
    def new(cls, at_s: Floats, input_tokens: Ints, output_tokens: Ints) -> "Requests":
        """Requests that nobody has served; fewer than one token counts as one."""
        n = len(at_s)
        return cls(
            np.asarray(at_s, np.float64),
            np.maximum(np.asarray(input_tokens, np.int64), 1),
            np.maximum(np.asarray(output_tokens, np.int64), 1),
            np.full(n, NONE, np.int64),
            np.full(n, np.nan),
            np.full(n, np.nan),
            np.full(n, NONE, np.int64),
        )


class Slots(NamedTuple):
    """R replicas, arrays (R,) but for the last three, which are (R, max_sequences).

    `partial` is the one request whose prompt is prefilled in part. A decoding sequence ends when
    its replica's `ticks` (steps taken) reach its number in the heap `ends`. Sums and counts from
    `prefilled` on are since the last `View` and are reset by whoever reads them.
    """

    clock_s: Floats  # when the next step may begin
    step_end_s: Floats
    stepping: Ints
    ticks: Ints
    decoding: Ints
    joining: Ints
    partial: Ints
    partial_done: Ints
    chunk: Ints
    head: Ints
    tail: Ints
    waiting: Ints
    waiting_tokens: Ints
    waiting_kv: Ints
    kv: Ints
    reserved: Ints
    prefilled: Ints
    produced: Ints
    firsts: Ints
    ttft_sum_s: Floats
    finished: Ints
    finished_tokens: Ints
    paced: Ints
    tpot_sum_s: Floats
    ends: Ints
    ids: Ints
    joins: Ints

    @classmethod
    def new(cls, replicas: int, max_sequences: int) -> "Slots":
        """Idle replicas."""
        arrays: dict[str, NDArray[Any]] = {
            name: np.zeros(replicas, np.float64 if name.endswith("_s") else np.int64)
            for name in cls._fields[:-3]
        }
        arrays |= {
            name: np.zeros((replicas, max_sequences), np.int64) for name in cls._fields[-3:]
        }
        for name in ("partial", "head", "tail"):
            arrays[name][:] = NONE
        return cls(**arrays)

    def doubled(self) -> "Slots":
        """The same replicas, and as many idle ones."""
        more = Slots.new(len(self.kv), self.ends.shape[1])
        return Slots(*(np.concatenate(pair) for pair in zip(self, more, strict=True)))
