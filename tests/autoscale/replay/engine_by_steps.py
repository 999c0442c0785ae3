"""One replica, step by step in plain Python: what the compiled engine must come to."""

import math
from dataclasses import dataclass, field

from autoscale.policy.profile import EngineProfile, Slo


@dataclass
class Step:
    """What one step held when it began."""

    start_s: float
    end_s: float
    sequences: int
    chunk: int
    reserved: int


@dataclass
class Served:
    """When each request had its first and last token, in the order of arrival; every step."""

    first_s: list[float]
    done_s: list[float]
    steps: list[Step] = field(default_factory=list)


def serve(
    profile: EngineProfile,
    at_s: list[float],
    inputs: list[int],
    outputs: list[int],
    cached: list[int] | None = None,
    late_of: Slo | None = None,
    overdue_s: float = math.inf,
) -> Served:
    """All on one replica; `cached` prompt tokens are not prefilled.

    First come, first served; with `late_of` late ones go last, and first once overdue.
    """
    n = len(at_s)
    made = Served([float("nan")] * n, [float("nan")] * n)
    queue: list[int] = []
    prefilled, produced = list(cached or [0] * n), [0] * n
    running: list[int] = []
    came, now_s = 0, 0.0
    while came < n or queue or running:
        if not queue and not running:
            now_s = max(now_s, at_s[came])
        while came < n and at_s[came] <= now_s:
            queue.append(came)
            came += 1
        if late_of:
            queue = _ordered(
                profile, late_of, overdue_s, queue, {i: now_s - at_s[i] for i in queue}, inputs
            )
        decoding = [i for i in running if prefilled[i] == inputs[i]]
        kv = sum(prefilled[i] + max(0, produced[i] - 1) for i in running)
        takes = _takes(profile, running, queue, inputs, outputs, prefilled, kv)
        chunk, sequences = sum(takes.values()), len(decoding) + len(takes)
        kv = sum(prefilled[i] + max(0, produced[i] - 1) for i in running)
        end_s = now_s + profile.step_s(sequences, kv, chunk)
        reserved = sum(_need(profile, inputs[i] + outputs[i]) for i in running)
        made.steps.append(Step(now_s, end_s, len(running), chunk, reserved))
        now_s = end_s
        for i, take in takes.items():
            prefilled[i] += take
            if prefilled[i] == inputs[i]:
                produced[i], made.first_s[i] = 1, now_s
        for i in decoding:
            produced[i] += 1
        for i in [i for i in running if produced[i] == outputs[i]]:
            made.done_s[i] = now_s
            running.remove(i)
    return made


def _ordered(
    profile: EngineProfile,
    late_of: Slo,
    overdue_s: float,
    queue: list[int],
    waits_s: dict[int, float],
    inputs: list[int],
) -> list[int]:
    """The queue as it is admitted in this step."""
    rate = profile.prefill_tokens_per_s
    came = sorted(queue)
    late = [i for i in came if waits_s[i] > late_of.late_after_s(inputs[i], rate)]
    overdue = [i for i in late if waits_s[i] > overdue_s]
    rest = [i for i in late if i not in overdue]
    return overdue + [i for i in came if i not in late] + rest


def _need(profile: EngineProfile, tokens: int) -> int:
    """In whole blocks."""
    return -(-tokens // profile.block_tokens) * profile.block_tokens


def _takes(
    profile: EngineProfile,
    running: list[int],
    queue: list[int],
    inputs: list[int],
    outputs: list[int],
    prefilled: list[int],
    kv: int,
) -> dict[int, int]:
    """Prompt tokens of the next step, by request; who is admitted moves from `queue`."""
    partial = [i for i in running if prefilled[i] < inputs[i]]
    room = max(0, profile.chunk_tokens - (len(running) - len(partial)))
    takes: dict[int, int] = {}
    for i in partial:
        takes[i] = min(room, inputs[i] - prefilled[i])
        room -= takes[i]
    while room and queue:
        i = queue[0]
        reserved = sum(_need(profile, inputs[j] + outputs[j]) for j in running)
        full = reserved + _need(profile, inputs[i] + outputs[i]) > profile.kv_tokens
        used = kv + sum(takes.values()) + len(running) * (profile.block_tokens // 2)
        free = profile.kv_tokens - used - inputs[i]
        if full or len(running) == profile.max_sequences:
            break
        if running and free < int(profile.watermark * profile.kv_tokens):
            break
        running.append(queue.pop(0))
        kv += prefilled[i]
        takes[i] = min(room, inputs[i] - prefilled[i])
        room -= takes[i]
    return {i: take for i, take in takes.items() if take}
