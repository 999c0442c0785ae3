"""Requests through the compiled engine, on replicas in miniature."""

from itertools import chain

import numpy as np

from autoscale.policy.profile import EngineProfile, Slo
from autoscale.replay.engine_routing import ONGOING, run
from autoscale.replay.engine_state import (
    Constants,
    Records,
    new_lists,
    new_marks,
    new_requests,
    new_slots,
)

PROFILE = EngineProfile(
    name="p",
    source="a test",
    base_s=0.01,
    per_sequence_s=0.001,
    per_kv_token_s=1e-5,
    prefill_tokens_per_s=1000.0,
    chunk_tokens=32,
    kv_tokens=400,
    max_sequences=6,
    block_tokens=1,
    watermark=0.0,
)
TIGHT = PROFILE.model_copy(update={"block_tokens": 16, "watermark": 0.2})
"""KV cache in blocks, of which a fifth stays free."""


WIDE = PROFILE.model_copy(update={"kv_tokens": 8000, "chunk_tokens": 700, "block_tokens": 512})
"""Room for blocks of a prefix cache."""


class Engine:
    """So many replicas, and requests in order of arrival; `prompts` are the ids of their blocks.

    Late are those who are late of the SLO `late_of`; without it first come is first served.
    """

    def __init__(
        self,
        at_s: list[float],
        inputs: list[int],
        outputs: list[int],
        *,
        replicas: int = 1,
        routing: int = ONGOING,
        profile: EngineProfile = PROFILE,
        prompts: list[list[int]] | None = None,
        late_of: Slo | None = None,
        overdue_s: float | None = None,
    ) -> None:
        prompts = prompts or [[] for _ in at_s]
        starts = np.cumsum([0, *map(len, prompts)])
        self.q = new_requests(np.array(at_s), np.array(inputs), np.array(outputs), starts)
        self.blocks = np.array([*chain(*prompts)], np.int64)
        self.slots = new_slots(replicas)
        self.lists = new_lists(replicas, profile.max_sequences)
        self.marks = new_marks(replicas, int(self.blocks.max(initial=-1)) + 1)
        self.routed, self.now_s = 0, 0.0
        self._constants, self._routing = Constants.of(profile, late_of), routing
        if overdue_s is not None:
            self._constants = self._constants._replace(overdue_s=overdue_s)
        self._all = np.arange(replicas)
        self._draws = np.random.default_rng(0).random((len(self.q), 2))

    def move(self, until_s: float) -> None:
        """Serve until then."""
        self.routed = run(
            self.slots, self.lists, self.marks, self.q, self.blocks, self._constants,
            self._all, self._all, self.routed, self.now_s, until_s, self._routing, self._draws,
        )  # fmt: skip
        self.now_s = until_s


def served(
    at_s: list[float],
    inputs: list[int],
    outputs: list[int],
    *,
    looks_s: tuple[float, ...] = (),
    replicas: int = 1,
    routing: int = ONGOING,
    profile: EngineProfile = PROFILE,
    prompts: list[list[int]] | None = None,
    late_of: Slo | None = None,
    overdue_s: float | None = None,
) -> Records:
    """All of them, served; `looks_s` are moments at which somebody looks."""
    engine = Engine(
        at_s, inputs, outputs,
        replicas=replicas, routing=routing, profile=profile, prompts=prompts,
        late_of=late_of, overdue_s=overdue_s,
    )  # fmt: skip
    for until_s in (*sorted(looks_s), 1e9):
        engine.move(until_s)
    assert engine.routed == len(engine.q)
    return engine.q
