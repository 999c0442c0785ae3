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

from autoscale.engine_state import NONE, REFUSED, Constants, Floats, Ints, Requests, Slots

_F = TypeVar("_F", bound=Callable[..., Any])

POW2, ONGOING, TOKENS = 0, 1, 2
RUNNING_TOKENS = 20
"""What one running sequence weighs in a token-aware choice, in waiting prompt tokens."""
FULL_TOKENS = 1 << 40
"""Added where the KV cache will not fit: such a replica is chosen only if all are like it."""


def _compiled(function: _F) -> _F:
    """numba's decorator, with the type kept."""
    return cast(_F, numba.njit(cache=True, nogil=True)(function))


@_compiled
def _step_s(k: Constants, sequences: int, kv: int, chunk: int) -> float:
    return (
        k.base_s
        + k.per_sequence_s * sequences
        + k.per_kv_token_s * kv
        + chunk / k.prefill_tokens_per_s
    )


@_compiled
def _push(s: Slots, r: int, tick: int, request: int) -> None:
    i = s.decoding[r]
    s.decoding[r] += 1
    while i > 0:
        up = (i - 1) >> 1
        if s.ends[r, up] <= tick:
            break
        s.ends[r, i], s.ids[r, i] = s.ends[r, up], s.ids[r, up]
        i = up
    s.ends[r, i], s.ids[r, i] = tick, request


@_compiled
def _pop(s: Slots, r: int) -> int:
    found = s.ids[r, 0]
    s.decoding[r] -= 1
    n = s.decoding[r]
    tick, request = s.ends[r, n], s.ids[r, n]
    i = 0
    while True:
        down = 2 * i + 1
        if down >= n:
            break
        if down + 1 < n and s.ends[r, down + 1] < s.ends[r, down]:
            down += 1
        if s.ends[r, down] >= tick:
            break
        s.ends[r, i], s.ids[r, i] = s.ends[r, down], s.ids[r, down]
        i = down
    s.ends[r, i], s.ids[r, i] = tick, request
    return int(found)


@_compiled
def _finish(s: Slots, q: Requests, r: int, request: int) -> None:
    tokens, now_s = q.output_tokens[request], s.clock_s[r]
    q.done_s[request] = now_s
    s.kv[r] -= q.input_tokens[request] + tokens - 1
    s.reserved[r] -= q.input_tokens[request] + tokens
    s.finished[r] += 1
    s.finished_tokens[r] += tokens
    if tokens > 1:
        s.paced[r] += 1
        s.tpot_sum_s[r] += (now_s - q.first_s[request]) / (tokens - 1)


@_compiled
def _fits(s: Slots, q: Requests, k: Constants, r: int) -> bool:
    """Whether the head of the queue may be admitted."""
    i = s.head[r]
    sequences = s.decoding[r] + s.joining[r] + (1 if s.partial[r] >= 0 else 0)
    need = q.input_tokens[i] + q.output_tokens[i]
    return bool(sequences < k.max_sequences and s.reserved[r] + need <= k.kv_tokens)


@_compiled
def _begin_step(s: Slots, q: Requests, k: Constants, r: int) -> None:
    """Decide what the next step holds, and when it ends."""
    room = max(k.chunk_tokens - s.decoding[r], 0)
    chunk, sequences = 0, s.decoding[r]
    s.joining[r] = 0
    while room > 0:
        if s.partial[r] < 0:
            if s.head[r] < 0 or not _fits(s, q, k, r):
                break
            i = s.head[r]
            need = q.input_tokens[i] + q.output_tokens[i]
            s.head[r] = q.behind[i]
            s.waiting[r] -= 1
            s.waiting_kv[r] -= need
            s.reserved[r] += need
            s.partial[r], s.partial_done[r] = i, 0
        i = s.partial[r]
        take = min(room, q.input_tokens[i] - s.partial_done[r])
        room -= take
        chunk += take
        sequences += 1
        s.partial_done[r] += take
        if s.partial_done[r] == q.input_tokens[i]:
            s.joins[r, s.joining[r]] = i
            s.joining[r] += 1
            s.partial[r] = NONE
    s.chunk[r] = chunk
    s.step_end_s[r] = s.clock_s[r] + _step_s(k, sequences, s.kv[r], chunk)
    s.stepping[r] = 1


@_compiled
def _end_finished(s: Slots, q: Requests, r: int) -> None:
    while s.decoding[r] > 0 and s.ends[r, 0] <= s.ticks[r]:
        _finish(s, q, r, _pop(s, r))


@_compiled
def _end_step(s: Slots, q: Requests, r: int) -> None:
    s.stepping[r] = 0
    s.clock_s[r] = s.step_end_s[r]
    s.ticks[r] += 1
    s.kv[r] += s.decoding[r] + s.chunk[r]
    s.produced[r] += s.decoding[r] + s.joining[r]
    s.prefilled[r] += s.chunk[r]
    s.waiting_tokens[r] -= s.chunk[r]
    _end_finished(s, q, r)
    for n in range(s.joining[r]):
        i = s.joins[r, n]
        q.first_s[i] = s.clock_s[r]
        s.firsts[r] += 1
        s.ttft_sum_s[r] += s.clock_s[r] - q.at_s[i]
        if q.output_tokens[i] == 1:
            _finish(s, q, r, i)
        else:
            _push(s, r, s.ticks[r] + q.output_tokens[i] - 1, i)
    s.joining[r] = 0


@_compiled
def _whole_steps(first_s: float, growth_s: float, span_s: float, most: int) -> int:
    """How many steps of first_s, first_s + growth_s, ... end within span_s; `most` at most."""
    half = growth_s / 2
    if half > 0:
        b = first_s - half
        n = int((np.sqrt(b * b + 4 * half * span_s) - b) / (2 * half))
    else:
        n = int(span_s / first_s)
    n = min(max(n, 0), most)
    while n > 0 and n * first_s + half * n * (n - 1) > span_s:
        n -= 1
    return n


@_compiled
def advance(s: Slots, q: Requests, k: Constants, r: int, until_s: float) -> None:
    """Move replica r to `until_s`; a step that would begin then is left for later arrivals."""
    while True:
        if s.stepping[r]:
            if s.step_end_s[r] > until_s:
                return
            _end_step(s, q, r)
        if s.clock_s[r] >= until_s:
            return
        n = s.decoding[r]
        stuck = n >= k.chunk_tokens or (
            s.partial[r] < 0 and (s.head[r] < 0 or not _fits(s, q, k, r))
        )
        if not stuck:
            _begin_step(s, q, k, r)
            continue
        if n == 0:
            return
        first_s, growth_s = _step_s(k, n, s.kv[r], 0), k.per_kv_token_s * n
        most = s.ends[r, 0] - s.ticks[r]
        steps = _whole_steps(first_s, growth_s, until_s - s.clock_s[r], most)
        if steps == 0:
            _begin_step(s, q, k, r)
            continue
        s.clock_s[r] += steps * first_s + growth_s / 2 * steps * (steps - 1)
        s.ticks[r] += steps
        s.kv[r] += steps * n
        s.produced[r] += steps * n
        _end_finished(s, q, r)


@_compiled
def _enqueue(s: Slots, q: Requests, r: int, i: int, now_s: float) -> None:
    if not s.stepping[r] and s.head[r] < 0 and s.decoding[r] == 0 and s.partial[r] < 0:
        s.clock_s[r] = max(s.clock_s[r], now_s)
    if s.head[r] < 0:
        s.head[r] = i
    else:
        q.behind[s.tail[r]] = i
    s.tail[r] = i
    q.slot[i] = r
    s.waiting[r] += 1
    s.waiting_tokens[r] += q.input_tokens[i]
    s.waiting_kv[r] += q.input_tokens[i] + q.output_tokens[i]


@_compiled
def ongoing(s: Slots, r: int) -> int:
    """Requests on replica r, running or waiting."""
    return int(s.decoding[r] + s.joining[r] + s.waiting[r] + (1 if s.partial[r] >= 0 else 0))


@_compiled
def _weight(s: Slots, k: Constants, r: int, need: int, routing: int) -> int:
    here = ongoing(s, r)
    if routing != TOKENS:
        return int(here)
    weight = s.waiting_tokens[r] + RUNNING_TOKENS * (here - s.waiting[r])
    if s.reserved[r] + s.waiting_kv[r] + need > k.kv_tokens:
        weight += FULL_TOKENS
    return int(weight)


@_compiled
def _choose(
    s: Slots,
    q: Requests,
    k: Constants,
    open_: Ints,
    i: int,
    now_s: float,
    routing: int,
    draw: Floats,
) -> int:
    """The replica of `open_` for request i: all are looked at, or two drawn as Ray does."""
    n = len(open_)
    need = q.input_tokens[i] + q.output_tokens[i]
    start = int(draw[0] * n)
    if routing == POW2 and n > 1:
        a, b = open_[start], open_[(start + 1 + int(draw[1] * (n - 1))) % n]
        advance(s, q, k, a, now_s)
        advance(s, q, k, b, now_s)
        return int(a if ongoing(s, a) <= ongoing(s, b) else b)
    best, least = NONE, 0
    for j in range(n):
        r = open_[(start + j) % n]
        advance(s, q, k, r, now_s)
        weight = _weight(s, k, r, need, routing)
        if best == NONE or weight < least:
            best, least = r, weight
    return int(best)


@_compiled
def run(
    s: Slots,
    q: Requests,
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
    while routed < len(q.at_s) and q.at_s[routed] < until_s and len(open_) > 0:
        at_s = max(q.at_s[routed], now_s)
        if q.input_tokens[routed] + q.output_tokens[routed] > k.kv_tokens:
            q.slot[routed] = REFUSED
        else:
            r = _choose(s, q, k, open_, routed, at_s, routing, draws[routed])
            _enqueue(s, q, r, routed, at_s)
        routed += 1
    for r in busy:
        advance(s, q, k, r, until_s)
    return routed
