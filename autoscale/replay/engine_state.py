"""The state of a replay: records of requests and replicas for compiled code.

Promises: plain record arrays with their fields said, no logic; `autoscale.replay.engine_model`
moves them. Records, because compiled code passes one array for all fields: with an array for each
field, most of a replay went into passing arrays.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from autoscale.policy.profile import EngineProfile, Slo
from core.settings.scaling import LATE_SHARE, OVERDUE_S

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Records = NDArray[np.void]

NONE, REFUSED = -1, -2
BLOCK_TOKENS = 512
"""Prompt tokens of a block that a trace names; Mooncake's traces have blocks of so many."""

REQUEST = np.dtype(
    [
        ("at_s", np.float64),
        ("input_tokens", np.int64),
        ("output_tokens", np.int64),
        ("behind", np.int64),  # who is next in the same queue of a replica, or NONE
        ("first_s", np.float64),  # nan until its first token
        ("done_s", np.float64),  # nan until its last
        ("slot", np.int64),  # its replica's row; NONE until it is routed, or REFUSED
        ("first_block", np.int64),  # where its blocks that other prompts share begin
        ("blocks", np.int64),  # how many these are
        ("used_blocks", np.int64),  # how many of them it uses
        ("cached", np.int64),  # prompt tokens that its replica had; while it waits, has by now
    ]
)

SLOT = np.dtype(
    [
        ("clock_s", np.float64),  # when the next step may begin
        ("step_end_s", np.float64),
        ("stepping", np.int64),
        ("ticks", np.int64),  # steps taken
        ("decoding", np.int64),
        ("joining", np.int64),  # prompts that this step completes
        ("partial", np.int64),  # the one request whose prompt is prefilled in part, or NONE
        ("partial_done", np.int64),
        ("chunk", np.int64),  # prompt tokens in this step
        ("head", np.int64),
        ("tail", np.int64),
        ("late_head", np.int64),  # the queue of those who are late
        ("late_tail", np.int64),
        ("waiting", np.int64),
        ("waiting_tokens", np.int64),  # of prompts, neither prefilled nor cached; of `partial`, too
        ("waiting_kv", np.int64),
        ("kv", np.int64),
        ("reserved", np.int64),
        ("touched", np.int64),  # tokens that were ever reserved
        # Sums and counts since the last view; whoever reads them sets them to 0.
        ("prefilled", np.int64),
        ("cached", np.int64),
        ("produced", np.int64),
        ("firsts", np.int64),
        ("ttft_sum_s", np.float64),
        ("finished", np.int64),
        ("finished_tokens", np.int64),
        ("paced", np.int64),
        ("tpot_sum_s", np.float64),
        ("judged", np.int64),  # those whose first token was late, and others at their end
        ("missed", np.int64),  # of them, those not within the SLO
    ]
)
COUNTS = SLOT.names[SLOT.names.index("prefilled") :] if SLOT.names else ()

ENDS, IDS, JOINS = 0, 1, 2
"""Rows of a replica's lists: a heap of the ticks at which sequences end, and whose; who joins."""


class Constants(NamedTuple):
    """An `EngineProfile` as the compiled code takes it, and when a request in a queue is late."""

    base_s: float
    per_sequence_s: float
    per_kv_token_s: float
    prefill_tokens_per_s: float
    chunk_tokens: int
    kv_tokens: int
    max_sequences: int
    block_tokens: int = 1
    watermark_tokens: int = 0
    late_s: float = math.inf
    late_per_token_s: float = 0.0
    overdue_s: float = math.inf
    ttft_s: float = math.inf
    ttft_factor: float = 0.0
    tpot_s: float = math.inf
    overhead_s: float = 0.0

    @classmethod
    def of(
        cls, profile: EngineProfile, late_of: Slo | None = None, judged_by: Slo | None = None
    ) -> "Constants":
        """These of a profile's.

        Without an SLO to be late of, first come is first served; without one to be judged by, no
        request misses it.
        """
        plain = cls(
            profile.base_s,
            profile.per_sequence_s,
            profile.per_kv_token_s,
            profile.prefill_tokens_per_s,
            profile.chunk_tokens,
            profile.kv_tokens,
            profile.max_sequences,
            profile.block_tokens,
            int(profile.watermark * profile.kv_tokens),
            overhead_s=profile.overhead_s,
        )
        if judged_by is not None:
            plain = plain._replace(
                ttft_s=judged_by.ttft_s,
                ttft_factor=judged_by.ttft_factor,
                tpot_s=judged_by.tpot_s,
            )
        if late_of is None:
            return plain
        per_token_s = late_of.ttft_factor / profile.prefill_tokens_per_s
        return plain._replace(
            late_s=LATE_SHARE * late_of.ttft_s,
            late_per_token_s=LATE_SHARE * per_token_s,
            overdue_s=OVERDUE_S,
        )


def new_requests(
    at_s: Floats, input_tokens: Ints, output_tokens: Ints, starts: Ints | None = None
) -> Records:
    """N requests (N,) by arrival that nobody has served; fewer than one token counts as one.

    `starts` (N + 1,) say where the shared blocks of each begin, as `autoscale.replay.prefixes` has
    them.
    """
    made = np.zeros(len(at_s), REQUEST)
    made["at_s"] = at_s
    made["input_tokens"] = np.maximum(input_tokens, 1)
    made["output_tokens"] = np.maximum(output_tokens, 1)
    made["behind"] = made["slot"] = NONE
    made["first_s"] = made["done_s"] = np.nan
    if starts is not None:
        made["first_block"], made["blocks"] = starts[:-1], np.diff(starts)
    return made


def new_slots(replicas: int) -> Records:
    """R idle replicas (R,)."""
    made = np.zeros(replicas, SLOT)
    for name in ("partial", "head", "tail", "late_head", "late_tail"):
        made[name] = NONE
    return made


def new_marks(replicas: int, blocks: int) -> Ints:
    """Their prefix caches (R, blocks), empty; see `autoscale.replay.engine_prefix`."""
    return np.zeros((replicas, blocks), np.int64)


def new_lists(replicas: int, max_sequences: int) -> Ints:
    """Their lists (R, 3, max_sequences)."""
    return np.zeros((replicas, 3, max_sequences), np.int64)
