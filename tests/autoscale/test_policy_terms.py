"""What a queue asks for, for how long, and what the calls that run say of the work."""

import pytest

from autoscale.policy import Memory, decide
from autoscale.policy_terms import Terms
from autoscale.signals import Traffic
from tests.autoscale.scaled import PROFILE, RULES, arrivals, view


def asked(**known: float) -> Terms:
    """Work of 6 in replicas that are busy for 0.75 of their time."""
    given = {"kv": 0.0, "seats": 0.0, "slo": 0.0, "forecast": 0.0, "batch": 0.0, "backlog": 0.0}
    return Terms(work=6.0, rate=8.0, surge_ratio=0.5, ready=8, **{**given, **known})


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
    memory, target = Memory.new(), 3
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


def lived(running: int, kv_use_ratio: float | None) -> float:
    """The work of the same arrivals, with so many calls in each of four replicas."""
    memory, calls = Memory.new(), Traffic(5.0, 20, 10_000, finished=20, output_tokens=6_000)
    for n in range(60):
        seen = view(n * 5.0, 4, 4, traffic=calls, running=running, kv_use_ratio=kv_use_ratio)
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
