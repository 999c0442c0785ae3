"""Model a tier's replicas in a replay: continuous batching, step by step, compiled.

Promises: a request waits in its replica's queue until its whole KV cache (prompt and answer) can be
reserved in whole blocks and, while others run, its prompt leaves the watermark free. Nobody behind
it overtakes it for being smaller; `autoscale.replay.engine_queue` has the order. Its prompt is then
prefilled in chunks, its last chunk yields the first token, and each later step one more, as vLLM V1
schedules: every decoding sequence takes one token of the budget `chunk_tokens` first, prompts fill
the rest in the order in which they were admitted. A step takes what `autoscale.policy.profile`
says, for the sequences and the KV tokens that are in it when it begins; who arrives meanwhile joins
the next one. Stretches in which the batch stays the same are taken at once: their sum is closed, so
nothing is rounded but floating point. Blocks of a prompt that the replica has when the request is
admitted are not prefilled; their KV is reserved and read like any other. Not covered: preemption,
speculative decoding, failures.
"""

from typing import Any

import numpy as np

from autoscale.replay.engine_compiled import compiled
from autoscale.replay.engine_prefix import cached_tokens, found_blocks, leave, use
from autoscale.replay.engine_queue import next_up, take, turn_s
from autoscale.replay.engine_state import (
    BLOCK_TOKENS,
    ENDS,
    IDS,
    JOINS,
    NONE,
    Constants,
    Ints,
    Records,
)


@compiled
def _step_s(k: Constants, sequences: int, kv: int, chunk: int) -> float:
    return (
        k.base_s
        + k.per_sequence_s * sequences
        + k.per_kv_token_s * kv
        + chunk / k.prefill_tokens_per_s
    )


@compiled
def _push(one: Any, lists: Ints, tick: int, request: int) -> None:
    i = one.decoding
    one.decoding += 1
    while i > 0:
        up = (i - 1) >> 1
        if lists[ENDS, up] <= tick:
            break
        lists[ENDS, i], lists[IDS, i] = lists[ENDS, up], lists[IDS, up]
        i = up
    lists[ENDS, i], lists[IDS, i] = tick, request


@compiled
def _pop(one: Any, lists: Ints) -> int:
    found = lists[IDS, 0]
    one.decoding -= 1
    n = one.decoding
    tick, request = lists[ENDS, n], lists[IDS, n]
    i = 0
    while True:
        down = 2 * i + 1
        if down >= n:
            break
        if down + 1 < n and lists[ENDS, down + 1] < lists[ENDS, down]:
            down += 1
        if lists[ENDS, down] >= tick:
            break
        lists[ENDS, i], lists[IDS, i] = lists[ENDS, down], lists[IDS, down]
        i = down
    lists[ENDS, i], lists[IDS, i] = tick, request
    return found  # type: ignore[no-any-return]


@compiled
def _late(request: Any, k: Constants) -> bool:
    """Whether a request's first token, which is there, missed the SLO of TTFT."""
    allowed_s = k.ttft_s
    if k.ttft_factor > 0:  # times what the prompt takes alone, its chunks one after the other
        tokens = request.input_tokens
        chunks = -(-tokens // k.chunk_tokens)
        alone_s = chunks * (k.base_s + k.per_sequence_s) + tokens / k.prefill_tokens_per_s
        alone_s += k.chunk_tokens * chunks * (chunks - 1) / 2 * k.per_kv_token_s
        allowed_s += k.ttft_factor * (k.overhead_s + alone_s)
    return request.first_s - request.at_s + k.overhead_s > allowed_s  # type: ignore[no-any-return]


@compiled
def kv_need(request: Any, k: Constants) -> int:
    """The KV cache of a whole request, in tokens of whole blocks."""
    tokens = request.input_tokens + request.output_tokens
    return -(-tokens // k.block_tokens) * k.block_tokens  # type: ignore[no-any-return]


@compiled
def _finish(one: Any, marks: Ints, request: Any, blocks: Ints, k: Constants) -> None:
    request.done_s = one.clock_s
    one.kv -= request.input_tokens + request.output_tokens - 1
    one.reserved -= kv_need(request, k)
    one.finished += 1
    one.finished_tokens += request.output_tokens
    tpot_s = 0.0
    if request.output_tokens > 1:
        tpot_s = (one.clock_s - request.first_s) / (request.output_tokens - 1)
        one.paced += 1
        one.tpot_sum_s += tpot_s
    if not _late(request, k):
        one.judged += 1
        one.missed += 1 if tpot_s > k.tpot_s else 0
    leave(one, marks, request, blocks, k)


@compiled
def _fits(one: Any, request: Any, k: Constants, chunk: int) -> bool:
    """Whether a request may be admitted to a step that has `chunk` prompt tokens so far.

    While others run its prompt must leave the watermark free; of the block that a running sequence
    fills, half is counted as taken.
    """
    sequences = one.decoding + one.joining + (1 if one.partial >= 0 else 0)
    if sequences >= k.max_sequences or one.reserved + kv_need(request, k) > k.kv_tokens:
        return False
    taken = one.kv + chunk + sequences * (k.block_tokens // 2)
    return sequences == 0 or taken + request.input_tokens <= k.kv_tokens - k.watermark_tokens  # type: ignore[no-any-return]


@compiled
def _admit(one: Any, marks: Ints, q: Records, blocks: Ints, k: Constants, i: int) -> None:
    """Request i leaves the queue: its prompt is prefilled next."""
    first = q[i]
    need = kv_need(first, k)
    found = found_blocks(one, marks, first, blocks)
    use(marks, first, blocks, found)
    cached = cached_tokens(first, found, k)
    one.partial, one.partial_done = i, cached
    take(one, q, i)
    one.waiting -= 1
    one.waiting_kv -= need
    one.waiting_tokens += first.cached - cached
    one.reserved += need
    one.touched += need
    one.kv += cached
    one.cached += cached
    first.cached = cached


@compiled
def _begin_step(one: Any, lists: Ints, marks: Ints, q: Records, blocks: Ints, k: Constants) -> None:
    """Decide what the next step holds, and when it ends."""
    room = max(k.chunk_tokens - one.decoding, 0)
    chunk, sequences = 0, one.decoding
    one.joining = 0
    while room > 0:
        if one.partial < 0:
            i = next_up(one, q, k)
            if i < 0 or not _fits(one, q[i], k, chunk):
                break
            _admit(one, marks, q, blocks, k, i)
        tokens = q[one.partial].input_tokens
        take = min(room, tokens - one.partial_done)
        room -= take
        chunk += take
        sequences += 1
        one.partial_done += take
        if one.partial_done == tokens:
            lists[JOINS, one.joining] = one.partial
            one.joining += 1
            one.partial = NONE
    one.chunk = chunk
    one.step_end_s = one.clock_s + _step_s(k, sequences, one.kv, chunk)
    one.stepping = 1


@compiled
def _end_finished(
    one: Any, lists: Ints, marks: Ints, q: Records, blocks: Ints, k: Constants
) -> None:
    while one.decoding > 0 and lists[ENDS, 0] <= one.ticks:
        _finish(one, marks, q[_pop(one, lists)], blocks, k)


@compiled
def _end_step(one: Any, lists: Ints, marks: Ints, q: Records, blocks: Ints, k: Constants) -> None:
    one.stepping = 0
    one.clock_s = one.step_end_s
    one.ticks += 1
    one.kv += one.decoding + one.chunk
    one.produced += one.decoding + one.joining
    one.prefilled += one.chunk
    one.waiting_tokens -= one.chunk
    if one.partial >= 0:
        part = q[one.partial]
        use(marks, part, blocks, min(part.blocks, one.partial_done // BLOCK_TOKENS))
    _end_finished(one, lists, marks, q, blocks, k)
    for n in range(one.joining):
        i = lists[JOINS, n]
        request = q[i]
        use(marks, request, blocks, request.blocks)
        request.first_s = one.clock_s
        one.firsts += 1
        one.ttft_sum_s += one.clock_s - request.at_s
        if _late(request, k):
            one.judged += 1
            one.missed += 1
        if request.output_tokens == 1:
            _finish(one, marks, request, blocks, k)
        else:
            _push(one, lists, one.ticks + request.output_tokens - 1, i)
    one.joining = 0


@compiled
def _whole_steps(first_s: float, growth_s: float, span_s: float, most: int) -> int:
    """How many steps of first_s, first_s + growth_s, ... end within span_s; `most` at most."""
    if first_s > span_s:
        return 0
    half = growth_s / 2
    if half > 0:
        b = first_s - half
        n = int((np.sqrt(b * b + 4 * half * span_s) - b) / (2 * half))
    else:
        n = int(span_s / first_s)
    n = min(n, most)
    while n > 0 and n * first_s + half * n * (n - 1) > span_s:
        n -= 1
    return n


@compiled
def advance(
    one: Any,
    lists: Ints,
    marks: Ints,
    q: Records,
    blocks: Ints,
    k: Constants,
    until_s: float,
) -> None:
    """Move a replica to `until_s`; a step that would begin then is left for later arrivals."""
    while True:
        if one.stepping:
            if one.step_end_s > until_s:
                return
            _end_step(one, lists, marks, q, blocks, k)
        if one.clock_s >= until_s:
            return
        n = one.decoding
        same_s = until_s
        stuck = n >= k.chunk_tokens
        if not stuck and one.partial < 0:
            i = next_up(one, q, k)
            stuck = i < 0 or not _fits(one, q[i], k, 0)
            same_s = min(until_s, turn_s(one, q, k))
        if not stuck:
            _begin_step(one, lists, marks, q, blocks, k)
            continue
        if n == 0:
            return
        first_s, growth_s = _step_s(k, n, one.kv, 0), k.per_kv_token_s * n
        most = lists[ENDS, 0] - one.ticks
        steps = _whole_steps(first_s, growth_s, same_s - one.clock_s, most)
        if steps == 0:
            _begin_step(one, lists, marks, q, blocks, k)
            continue
        one.clock_s += steps * first_s + growth_s / 2 * steps * (steps - 1)
        one.ticks += steps
        one.kv += steps * n
        one.produced += steps * n
        _end_finished(one, lists, marks, q, blocks, k)
