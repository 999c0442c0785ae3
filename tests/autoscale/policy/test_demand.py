"""What a queue asks for, for how long, and what the calls that run say of the work."""

import math

import pytest

from autoscale.policy.decide import PolicyMemory, decide
from autoscale.policy.demand import Demand
from autoscale.policy.signals import Traffic, View
from autoscale.policy.summary import see
from tests.autoscale.policy.scaled import PROFILE, RULES, arrivals, load, view


def asked(**known: float) -> Demand:
    """Work of 6 in replicas that are busy for 0.75 of their time."""
    given = {
        "chance": 0.0,
        "queue": 0.0,
        "kv": 0.0,
        "seats": 0.0,
        "slo": 0.0,
        "forecast": 0.0,
        "batch": 0.0,
        "backlog": 0.0,
    }
    return Demand(work=6.0, rate=8.0, surge_ratio=0.5, ready=8, **{**given, **known})


@pytest.mark.parametrize(("backlog", "raw"), [(0.0, 8.0), (2.0, 8.0), (3.0, 9.0), (50.0, 12.0)])
def test_the_room_of_the_rate_works_a_backlog_off_first_and_the_surge_bounds_it(backlog, raw):
    assert asked(backlog=backlog).raw == raw


@pytest.mark.parametrize(("known", "lasting"), [
    ({"backlog": 5.0}, 8.0),
    ({"backlog": 5.0, "kv": 10.0}, 10.0),
    ({"kv": 30.0}, 12.0),
    ({"backlog": 5.0, "slo": 9.0}, 9.0),
])  # fmt: skip
def test_a_backlog_is_no_part_of_what_is_held(known, lasting):
    assert asked(**known).lasting == lasting <= asked(**known).raw


def test_replicas_that_a_queue_asked_for_go_when_it_is_gone():
    """Long before the hold of ten minutes is over."""
    memory, target = PolicyMemory.new(), 3
    for n in range(20):
        seen = view(n * 5.0, target, 3, traffic=arrivals(2.0), waiting_tokens=400_000)
        told, memory = decide(seen, memory, RULES, PROFILE)
        target = told.replicas
    assert "backlog" in told.reason
    assert target > 4
    for n in range(20, 60):
        seen = view(n * 5.0, target, target, traffic=arrivals(2.0))
        told, memory = decide(seen, memory, RULES, PROFILE)
        target = told.replicas
    assert target <= 4


def lived(**each: float | None) -> float:
    """The work of the same arrivals, with what each of four replicas tells."""
    memory, calls = PolicyMemory.new(), Traffic(5.0, 20, 10_000, finished=20, output_tokens=6_000)
    for n in range(60):
        seen = view(n * 5.0, 4, 4, traffic=calls, **{"output_tokens_per_s": 300.0, **each})
        _, memory = decide(seen, memory, RULES, PROFILE)
    return memory.work.rate(RULES.scaling.rate_window_s)


def test_calls_that_hold_more_than_those_that_come_make_more_work():
    """Of long calls more run at a time than come: 8,000 tokens each where 600 come."""
    assert lived(running=10, kv_use_ratio=0.4) > 1.1 * lived(running=200, kv_use_ratio=0.4)


def test_calls_that_hold_less_or_tell_nothing_change_nothing():
    plain = lived(running=0, kv_use_ratio=None)
    assert lived(running=250, kv_use_ratio=0.01) == pytest.approx(plain)
    assert lived(running=0, kv_use_ratio=0.0) == pytest.approx(plain)
    assert lived(running=0, kv_use_ratio=1.0) == pytest.approx(plain)
    assert lived(running=10, kv_use_ratio=0.4, output_tokens_per_s=0.0) == pytest.approx(plain)


def test_a_context_is_that_of_the_tokens_made_not_of_the_calls_that_run():
    """Two calls of 40,000 tokens make 20 tokens a second, beside 90 of 1,000 that make 1,980."""
    slow = load(0, 5.0, running=2, kv_use_ratio=0.4, output_tokens_per_s=20.0)
    fast = load(1, 5.0, running=90, kv_use_ratio=0.45, output_tokens_per_s=1_980.0)
    told = see(View(5.0, 2, (slow, fast), (), Traffic(5.0)), 0.0, RULES.scaling, PROFILE)
    assert told.output_tokens_per_s == 2_000
    assert told.context_tokens == pytest.approx(0.01 * 40_000 + 0.99 * 1_000)


@pytest.mark.parametrize("odd", [
    {"kv_use_ratio": None},
    {"kv_use_ratio": math.nan},
    {"running": math.nan},
    {"running": -1},
    {"output_tokens_per_s": math.nan},
])  # fmt: skip
def test_a_replica_that_tells_no_context_counts_for_none(odd):
    plain = {"running": 10, "kv_use_ratio": 0.5, "output_tokens_per_s": 100.0}
    loads = (load(0, 5.0, **plain), load(1, 5.0, **{**plain, "kv_use_ratio": 1.0, **odd}))
    told = see(View(5.0, 2, loads, (), Traffic(5.0)), 0.0, RULES.scaling, PROFILE)
    assert told.context_tokens == pytest.approx(10_000)
    alone = see(View(5.0, 1, loads[1:], (), Traffic(5.0)), 0.0, RULES.scaling, PROFILE)
    assert alone.context_tokens is None
