"""Order the admission from a replica's queue; compiled.

Promises: first come, first served, but who has waited for longer than `late_s` and
`late_per_token_s` for each prompt token is late, and goes behind all that are not; a late one that
has waited for longer than `overdue_s` goes first. Late ones keep their order of arrival. Who is
late is told once nobody in time is before it. With infinite waits nobody is late.
"""

from typing import Any

from autoscale.replay.engine_compiled import compiled
from autoscale.replay.engine_state import NONE, Constants, Records


@compiled
def enqueue(one: Any, q: Records, i: int) -> None:
    """Request i is the last of those in time."""
    if one.head < 0:
        one.head = i
    else:
        q[one.tail].behind = i
    one.tail = i


@compiled
def _late_at_s(request: Any, k: Constants) -> float:
    return request.at_s + (k.late_s + k.late_per_token_s * request.input_tokens)  # type: ignore[no-any-return]


@compiled
def next_up(one: Any, q: Records, k: Constants) -> int:
    """Return the next request at the replica's clock, or NONE; moves those that are late by now."""
    while one.head >= 0 and one.clock_s > _late_at_s(q[one.head], k):
        i = one.head
        one.head = q[i].behind
        q[i].behind = NONE
        if one.late_head < 0:
            one.late_head = i
        else:
            q[one.late_tail].behind = i
        one.late_tail = i
    if one.head < 0 or (one.late_head >= 0 and one.clock_s > q[one.late_head].at_s + k.overdue_s):
        return one.late_head  # type: ignore[no-any-return]
    return one.head  # type: ignore[no-any-return]


@compiled
def turn_s(one: Any, q: Records, k: Constants) -> float:
    """Until when `next_up` stays who it is, if nobody comes or goes; it was asked just now."""
    if one.head < 0:
        return float("inf")
    if one.late_head < 0:
        return _late_at_s(q[one.head], k)
    overdue_s = q[one.late_head].at_s + k.overdue_s
    if one.clock_s > overdue_s:
        return float("inf")
    return min(_late_at_s(q[one.head], k), overdue_s)  # type: ignore[no-any-return]


@compiled
def take(one: Any, q: Records, i: int) -> None:
    """Request i, whom `next_up` named, leaves the queue."""
    if i == one.head:
        one.head = q[i].behind
    else:
        one.late_head = q[i].behind
