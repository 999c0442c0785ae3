"""Snapshots of NVIDIA Dynamo's replay engine as our policy sees them, and traces as it reads them.

Promises: nothing is told to the policy but what is in the snapshot, and when each worker was asked
for. What a snapshot does not say as `autoscale.policy.signals` means it:

- Prompt tokens that came are calls that came times the mean prompt of those that ended in the same
  tick (of the last tick that had any, where none did). Our gateways count them on arrival.
- TTFT and TPOT are means over the fleet, of calls that ended; each worker is told the same.
- A worker's queue and its KV use are those of its last forward pass; the sequences that it ran,
  its running requests. One without a pass since the last snapshot is as it was.
- Output tokens are of calls that ended; a worker's rate of them is that of its last forward pass.
  Its rate of prompt tokens, preemptions: not told, 0.
- No call is held, as the engine gives each to a worker when it comes, and no prefix is cached.
- A worker is asked for at the tick before the snapshot that first has it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from autoscale.policy.profile import EngineProfile
from autoscale.policy.signals import Load, Traffic, View
from autoscale.policy.work import PRIOR_INPUT_TOKENS
from autoscale.replay.engine_state import Floats
from autoscale.replay.trace import Trace

BLOCK_TOKENS = 512


def mooncake(trace: Trace) -> Iterator[str]:
    """A line of JSON for each request, as Mooncake's traces are; no two share a prefix."""
    fresh = count()
    rows = zip(
        trace.at_s.tolist(), trace.input_tokens.tolist(), trace.output_tokens.tolist(), strict=True
    )
    for at_s, input_tokens, output_tokens in rows:
        blocks = -(-input_tokens // BLOCK_TOKENS)
        yield json.dumps({
            "timestamp": at_s * 1000,
            "input_length": input_tokens,
            "output_length": output_tokens,
            "hash_ids": [next(fresh) for _ in range(blocks)],
        })  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pass:
    """One forward pass of one worker: what it held, what waited then, and how long it took."""

    sequences: int
    kv_tokens: int
    prompts: int
    prompt_tokens: int
    waiting: int
    waiting_tokens: int
    seconds: float

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Pass:
        """From a snapshot's entry for a worker."""
        return cls(
            sequences=told["num_decode_requests"],
            kv_tokens=told["sum_decode_kv_tokens"] + told["sum_prefill_kv_tokens"],
            prompts=told["num_prefill_requests"],
            prompt_tokens=told["sum_prefill_tokens"],
            waiting=told["num_queued_prefill"] + told["num_queued_decode"],
            waiting_tokens=told["sum_queued_prefill_tokens"],
            seconds=told["wall_time"],
        )


_IDLE = Pass(0, 0, 0, 0, 0, 0, 0.0)


class Watch:
    """Makes a `View` of each snapshot; remembers each worker's last pass and when it was asked for.

    `workers` are there at second 0.
    """

    def __init__(self, workers: int, kv_tokens: int) -> None:
        self._target, self._kv_tokens = workers, kv_tokens
        self._before_s, self._prompt_tokens = 0.0, PRIOR_INPUT_TOKENS
        self._asked_s: dict[int, float] = {}
        self._passes: dict[int, Pass] = {}

    def asked(self, workers: int) -> None:
        """Record the number of replicas that the last decision wants."""
        self._target = workers

    def view(self, snapshot: Mapping[str, Any]) -> View:
        """The snapshot as the policy sees it."""
        now_s = snapshot["now_ms"] / 1000
        starting = snapshot["starting_decode_ids"]
        leaving = set(snapshot["draining_decode_ids"])
        ready = [one for one in snapshot["active_decode_ids"] if one not in leaving]
        self._asked_s = {one: self._asked_s.get(one, self._before_s) for one in (*ready, *starting)}
        for told in snapshot["decode_fpm_snapshots"]:
            self._passes[told["worker_id"]] = Pass.of(told)
        self._before_s = now_s
        told = snapshot["traffic"]
        loads = tuple(self._load(one, now_s, told) for one in ready)
        asked_s = tuple(self._asked_s[one] for one in starting)
        return View(now_s, self._target, loads, asked_s, self._traffic(told))

    def _load(self, worker: int, now_s: float, traffic: Mapping[str, Any]) -> Load:
        last = self._passes.get(worker, _IDLE)
        held = last.kv_tokens + last.prompt_tokens
        return Load(
            id=str(worker),
            at_s=now_s,
            started_s=self._asked_s[worker],
            running=last.sequences + last.prompts,
            waiting=last.waiting,
            waiting_tokens=last.waiting_tokens,
            kv_use_ratio=min(1.0, held / self._kv_tokens),
            output_tokens_per_s=last.sequences / last.seconds if last.seconds else 0.0,
            ttft_s=traffic["avg_ttft_ms"] / 1000 if traffic["ttft_count"] else None,
            tpot_s=traffic["avg_itl_ms"] / 1000 if traffic["itl_count"] else None,
        )

    def _traffic(self, told: Mapping[str, Any]) -> Traffic:
        arrived, finished = int(told["num_req"]), int(told["shape_count"])
        if finished:
            self._prompt_tokens = told["avg_isl"]
        return Traffic(
            seconds=told["duration_s"],
            arrived=arrived,
            input_tokens=round(arrived * self._prompt_tokens),
            finished=finished,
            output_tokens=round(finished * told["avg_osl"]),
        )


def fit(
    passes: Sequence[Pass], chunk_tokens: int, kv_tokens: int, max_sequences: int, startup_s: float
) -> tuple[EngineProfile, float]:
    """The profile of an engine by its forward passes, and the median relative error of a pass.

    Least squares of relative errors, no constant below 0; ValueError without a pass that took time.
    """
    timed = [one for one in passes if one.seconds > 0 and (one.sequences or one.prompts)]
    if not timed:
        raise ValueError("an engine that ran nothing has no speed")
    rows = np.array(
        [(1.0, one.sequences + one.prompts, one.kv_tokens, one.prompt_tokens) for one in timed]
    )
    seconds = np.array([one.seconds for one in timed])
    found = _least_squares(rows / seconds[:, None])
    error = float(np.median(np.abs(rows @ found / seconds - 1)))
    base_s, per_sequence_s, per_kv_token_s, per_prompt_token_s = found.tolist()
    profile = EngineProfile(
        name="dynamo",
        source=f"{len(timed)} forward passes of Dynamo's engine",
        base_s=max(base_s, 1e-6),
        per_sequence_s=per_sequence_s,
        per_kv_token_s=per_kv_token_s,
        prefill_tokens_per_s=1 / max(per_prompt_token_s, 1e-7),
        chunk_tokens=chunk_tokens,
        kv_tokens=kv_tokens,
        max_sequences=max_sequences,
        cold_start_s=(startup_s, startup_s),
        node_start_s=0.0,
    )
    return profile, error


def _least_squares(rows: Floats) -> Floats:
    """Constants (4,) that bring each row (N, 4) nearest to 1; none is negative."""
    kept = [0, 1, 2, 3]
    while True:
        found = np.linalg.lstsq(rows[:, kept], np.ones(len(rows)), rcond=None)[0]
        worst = int(np.argmin(found))
        if len(kept) == 1 or found[worst] >= 0:
            break
        del kept[worst]
    constants = np.zeros(4)
    constants[kept] = np.maximum(found, 0.0)
    return constants
