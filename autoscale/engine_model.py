"""Replicas of one tier as a replay moves them: continuous batching, step by step, compiled.

Promises: a request waits in its replica's queue, first come first served, until its whole KV cache
(prompt and answer) can be reserved; its prompt is then prefilled in chunks, its last chunk yields
the first token, and each later step one more, as vLLM V1 schedules: every decoding sequence takes
one token of the budget `chunk_tokens` first, prompts fill the rest in order of arrival. A step
takes what `autoscale.profile` says, for the sequences and the KV tokens that are in it when it
begins; who arrives meanwhile joins the next one. Stretches in which the batch stays the same are
taken at once: their sum is closed, so nothing is rounded but floating point.
Not covered: preemption, prefix caches, speculative decoding, failures; a replica's queue is not
spread anew when others become ready.

All functions are compiled by numba and stand in this one file: numba's cache on disk notices only
changes of the file that a function stands in, not of those that it calls.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np

from autoscale.engine_state import (
    ENDS,
    IDS,
    JOINS,
    NONE,
    REFUSED,
    Constants,
    Floats,
    Ints,
    Records,
)

_F = TypeVar("_F", bound=Callable[..., Any])

POW2, ONGOING, TOKENS = 0, 1, 2
RUNNING_TOKENS = 20
"""What one running sequence weighs in a token-aware choice, in waiting prompt tokens."""
FULL_TOKENS = 1 << 40
"""Added where the KV cache will not fit: such a replica is chosen only if all are like it."""


def _compiled(function: _F) -> _F:
    """numba's decorator, with the type kept; compiled anew where nothing can be written."""
    try:
        return cast(_F, numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:  # no place for the cache
        return cast(_F, numba.njit(nogil=True)(function))


@_compiled
def _step_s(k: Constants, sequences: int, kv: int, chunk: int) -> float:
    return (
        k.base_s
        + k.per_sequence_s * sequences
        + k.per_kv_token_s * kv
        + chunk / k.prefill_tokens_per_s
    )


@_compiled
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


@_compiled
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


@_compiled
def _finish(one: Any, request: Any) -> None:
    request.done_s = one.clock_s
    one.kv -= request.input_tokens + request.output_tokens - 1
    one.reserved -= request.input_tokens + request.output_tokens
    one.finished += 1
    one.finished_tokens += request.output_tokens
    if request.output_tokens > 1:
        one.paced += 1
        one.tpot_sum_s += (one.clock_s - request.first_s) / (request.output_tokens - 1)


@_compiled
def _fits(one: Any, head: Any, k: Constants) -> bool:
    """Whether the head of the queue may be admitted."""
    sequences = one.decoding + one.joining + (1 if one.partial >= 0 else 0)
    need = head.input_tokens + head.output_tokens
    return sequences < k.max_sequences and one.reserved + need <= k.kv_tokens  # type: ignore[no-any-return]


@_compiled
def _begin_step(one: Any, lists: Ints, q: Records, k: Constants) -> None:
    """Decide what the next step holds, and when it ends."""
    room = max(k.chunk_tokens - one.decoding, 0)
    chunk, sequences = 0, one.decoding
    one.joining = 0
    while room > 0:
        if one.partial < 0:
            if one.head < 0 or not _fits(one, q[one.head], k):
                break
            first = q[one.head]
            one.partial, one.partial_done = one.head, 0
            one.head = first.behind
            one.waiting -= 1
            one.waiting_kv -= first.input_tokens + first.output_tokens
            one.reserved += first.input_tokens + first.output_tokens
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


@_compiled
def _end_finished(one: Any, lists: Ints, q: Records) -> None:
    while one.decoding > 0 and lists[ENDS, 0] <= one.ticks:
        _finish(one, q[_pop(one, lists)])


@_compiled
def _end_step(one: Any, lists: Ints, q: Records) -> None:
    one.stepping = 0
    one.clock_s = one.step_end_s
    one.ticks += 1
    one.kv += one.decoding + one.chunk
    one.produced += one.decoding + one.joining
    one.prefilled += one.chunk
    one.waiting_tokens -= one.chunk
    _end_finished(one, lists, q)
    for n in range(one.joining):
        i = lists[JOINS, n]
        request = q[i]
        request.first_s = one.clock_s
        one.firsts += 1
        one.ttft_sum_s += one.clock_s - request.at_s
        if request.output_tokens == 1:
            _finish(one, request)
        else:
            _push(one, lists, one.ticks + request.output_tokens - 1, i)
    one.joining = 0


@_compiled
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


@_compiled
def advance(one: Any, lists: Ints, q: Records, k: Constants, until_s: float) -> None:
    """Move a replica to `until_s`; a step that would begin then is left for later arrivals."""
    while True:
        if one.stepping:
            if one.step_end_s > until_s:
                return
            _end_step(one, lists, q)
        if one.clock_s >= until_s:
            return
        n = one.decoding
        stuck = n >= k.chunk_tokens or (
            one.partial < 0 and (one.head < 0 or not _fits(one, q[one.head], k))
        )
        if not stuck:
            _begin_step(one, lists, q, k)
            continue
        if n == 0:
            return
        first_s, growth_s = _step_s(k, n, one.kv, 0), k.per_kv_token_s * n
        most = lists[ENDS, 0] - one.ticks
        steps = _whole_steps(first_s, growth_s, until_s - one.clock_s, most)
        if steps == 0:
            _begin_step(one, lists, q, k)
            continue
        one.clock_s += steps * first_s + growth_s / 2 * steps * (steps - 1)
        one.ticks += steps
        one.kv += steps * n
        one.produced += steps * n
        _end_finished(one, lists, q)


@_compiled
def _enqueue(one: Any, q: Records, i: int, now_s: float) -> None:
    request = q[i]
    if not one.stepping and one.head < 0 and one.decoding == 0 and one.partial < 0:
        one.clock_s = max(one.clock_s, now_s)
    if one.head < 0:
        one.head = i
    else:
        q[one.tail].behind = i
    one.tail = i
    one.waiting += 1
    one.waiting_tokens += request.input_tokens
    one.waiting_kv += request.input_tokens + request.output_tokens


@_compiled
def _running(one: Any) -> int:
    return one.decoding + one.joining + (1 if one.partial >= 0 else 0)  # type: ignore[no-any-return]


@_compiled
def _weight(one: Any, k: Constants, need: int, routing: int) -> int:
    if routing != TOKENS:
        return _running(one) + one.waiting  # type: ignore[no-any-return]
    weight = one.waiting_tokens + RUNNING_TOKENS * _running(one)
    if one.reserved + one.waiting_kv + need > k.kv_tokens:
        weight += FULL_TOKENS
    return weight  # type: ignore[no-any-return]


@_compiled
def _choose(
    s: Records,
    lists: Ints,
    q: Records,
    k: Constants,
    open_: Ints,
    i: int,
    now_s: float,
    routing: int,
    draw: Floats,
) -> int:
    """The replica of `open_` for request i: the lightest of all, or of two drawn, as Ray does."""
    n = len(open_)
    need = q[i].input_tokens + q[i].output_tokens
    start = int(draw[0] * n)
    looks, stride = n, 1
    if routing == POW2 and n > 1:
        looks, stride = 2, 1 + int(draw[1] * (n - 1))
    best, least = NONE, 0
    for j in range(looks):
        r = open_[(start + j * stride) % n]
        advance(s[r], lists[r], q, k, now_s)
        weight = _weight(s[r], k, need, routing)
        if best == NONE or weight < least:
            best, least = r, weight
    return best


@_compiled
def run(
    s: Records,
    lists: Ints,
    q: Records,
    k: Constants,
    open_: Ints,
    busy: Ints,
    routed: int,
    now_s: float,
    until_s: float,
    routing: int,
    draws: Floats,
) -> int:
    """Serve from `now_s` to `until_s`; returns how many requests are routed by then.

    `open_` take requests, `busy` (which holds them, too) are moved on. Who came earlier and was
    held is routed at `now_s`. `draws` (N, 2) uniform in [0, 1) breaks ties and draws candidates.
    """
    while routed < len(q) and q[routed].at_s < until_s and len(open_) > 0:
        request = q[routed]
        at_s = max(request.at_s, now_s)
        if request.input_tokens + request.output_tokens > k.kv_tokens:
            request.slot = REFUSED
        else:
            r = _choose(s, lists, q, k, open_, routed, at_s, routing, draws[routed])
            request.slot = r
            _enqueue(s[r], q, routed, at_s)
        routed += 1
    for r in busy:
        advance(s[r], lists[r], q, k, until_s)
    return routed
