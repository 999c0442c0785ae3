"""Choose a request's replica, and run the replicas until then; compiled.

A replica weighs the prompt tokens that wait there and are not cached, plus `RUNNING_TOKENS` for
each running sequence (`TOKENS`); of these the tokens of this prompt that it has are taken off
(`PREFIX`). Where nothing is cached the two are the same. `ONGOING` counts requests, `POW2` those of
two replicas drawn.

Promises: requests are routed in order of arrival, each to the lightest, ties by `draws`; a request
larger than the KV cache is refused. A replica's queue is not spread anew when others become ready.
"""

from typing import Any

from autoscale.replay.engine_compiled import compiled
from autoscale.replay.engine_model import advance, kv_need
from autoscale.replay.engine_prefix import cached_tokens, found_blocks
from autoscale.replay.engine_queue import enqueue
from autoscale.replay.engine_state import NONE, REFUSED, Constants, Floats, Ints, Records

POW2, ONGOING, TOKENS, PREFIX = 0, 1, 2, 3
RUNNING_TOKENS = 20
"""What one running sequence weighs in a token-aware choice, in waiting prompt tokens."""
FULL_TOKENS = 1 << 40
"""Added where the KV cache will not fit: such a replica is chosen only if all are like it."""


@compiled
def _queue(
    one: Any, marks: Ints, q: Records, blocks: Ints, k: Constants, i: int, now_s: float
) -> None:
    request = q[i]
    idle = one.head < 0 and one.late_head < 0 and one.decoding == 0 and one.partial < 0
    if idle and not one.stepping:
        one.clock_s = max(one.clock_s, now_s)
    enqueue(one, q, i)
    one.waiting += 1
    request.cached = _cached(one, marks, request, blocks, k)
    one.waiting_tokens += request.input_tokens - request.cached
    one.waiting_kv += kv_need(request, k)


@compiled
def _cached(one: Any, marks: Ints, request: Any, blocks: Ints, k: Constants) -> int:
    return cached_tokens(request, found_blocks(one, marks, request, blocks), k)


@compiled
def _running(one: Any) -> int:
    return one.decoding + one.joining + (1 if one.partial >= 0 else 0)  # type: ignore[no-any-return]


@compiled
def _weight(one: Any, marks: Ints, request: Any, blocks: Ints, k: Constants, routing: int) -> int:
    if routing < TOKENS:
        return _running(one) + one.waiting  # type: ignore[no-any-return]
    weight = one.waiting_tokens + RUNNING_TOKENS * _running(one)
    if routing == PREFIX:
        weight -= _cached(one, marks, request, blocks, k)
    if one.reserved + one.waiting_kv + kv_need(request, k) > k.kv_tokens:
        weight += FULL_TOKENS
    return weight  # type: ignore[no-any-return]


@compiled
def _choose(
    s: Records,
    lists: Ints,
    marks: Ints,
    q: Records,
    blocks: Ints,
    k: Constants,
    open_: Ints,
    i: int,
    now_s: float,
    routing: int,
    draw: Floats,
) -> int:
    """The replica of `open_` for request i: the lightest of all, or of two drawn, as Ray does."""
    n = len(open_)
    start = int(draw[0] * n)
    looks, stride = n, 1
    if routing == POW2 and n > 1:
        looks, stride = 2, 1 + int(draw[1] * (n - 1))
    best, least = NONE, 0
    for j in range(looks):
        r = open_[(start + j * stride) % n]
        advance(s[r], lists[r], marks[r], q, blocks, k, now_s)
        weight = _weight(s[r], marks[r], q[i], blocks, k, routing)
        if best == NONE or weight < least:
            best, least = r, weight
    return best


@compiled
def run(
    s: Records,
    lists: Ints,
    marks: Ints,
    q: Records,
    blocks: Ints,
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
        if kv_need(request, k) > k.kv_tokens:
            request.slot = REFUSED
        else:
            r = _choose(s, lists, marks, q, blocks, k, open_, routed, at_s, routing, draws[routed])
            request.slot = r
            _queue(s[r], marks[r], q, blocks, k, routed, at_s)
        routed += 1
    for r in busy:
        advance(s[r], lists[r], marks[r], q, blocks, k, until_s)
    return routed
