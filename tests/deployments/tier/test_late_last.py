"""The order of calls that wait: in time before late, lanes apart, nobody behind for ever."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.settings.scaling import LATE_SHARE, OVERDUE_S, Slo
from deployments.tier.late_last import KEY, LateLast, told

SLO = Slo(ttft_s=2.0)
LATE_S = LATE_SHARE * SLO.ttft_s


@dataclass(eq=False)
class Call:
    """A vLLM request, as far as it decides."""

    name: str
    arrival_time: float
    priority: int = 0
    num_prompt_tokens: int = 100
    num_preemptions: int = 0


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def queue(clock: Clock, *calls: Call, slo: Slo = SLO) -> LateLast:
    made = LateLast(lambda tokens: slo.late_after_s(tokens, 1000.0), clock)
    for call in calls:
        made.add_request(call)
    return made


def drained(waiting: LateLast) -> list[str]:
    found = []
    while waiting:
        asked = waiting.peek_request()
        assert waiting.pop_request() is asked
        found.append(asked.name)
    return found


def test_calls_in_time_go_first_come_first_served() -> None:
    clock = Clock()
    waiting = queue(clock, Call("b", 0.2), Call("a", 0.1), Call("c", 0.3))
    clock.now_s = 1.0
    assert drained(waiting) == ["a", "b", "c"]


def test_a_late_call_goes_behind_those_in_time_and_in_order_among_its_like() -> None:
    clock = Clock()
    waiting = queue(clock, Call("late 1", 0.0), Call("late 2", 0.1), Call("new 1", 5.0))
    clock.now_s = 0.1 + LATE_S + 0.01
    assert waiting.peek_request().name == "new 1"
    waiting.add_request(Call("new 2", 5.5))
    assert drained(waiting) == ["new 1", "new 2", "late 1", "late 2"]


def test_an_overdue_call_goes_first_again() -> None:
    clock = Clock()
    waiting = queue(clock, Call("late", 0.0), Call("new", OVERDUE_S - 0.5))
    clock.now_s = OVERDUE_S
    assert waiting.peek_request().name == "new"
    clock.now_s = OVERDUE_S + 0.1
    assert drained(waiting) == ["late", "new"]


def test_the_batch_lane_waits_behind_late_calls_and_is_never_late() -> None:
    clock = Clock()
    waiting = queue(clock, Call("batch 1", 0.0, 1), Call("batch 2", 0.1, 1), Call("late", 0.2))
    waiting.add_request(Call("new", 99.0))
    clock.now_s = 100.0
    assert drained(waiting) == ["late", "new", "batch 1", "batch 2"]


def test_a_call_that_had_begun_is_not_late() -> None:
    clock = Clock()
    waiting = queue(clock, Call("begun", 0.0, num_preemptions=1), Call("new", 5.0))
    clock.now_s = 6.0
    assert drained(waiting) == ["begun", "new"]


def test_an_slo_by_the_prompt_gives_long_prompts_longer() -> None:
    clock = Clock()
    slo = Slo(ttft_s=1.0, ttft_factor=2.0)
    waiting = queue(clock, Call("short", 0.0, num_prompt_tokens=10), Call("new", 1.9), slo=slo)
    clock.now_s = 2.0
    assert drained(waiting) == ["new", "short"]
    waiting = queue(clock, Call("long", 0.0, num_prompt_tokens=5000), Call("new", 1.9), slo=slo)
    assert drained(waiting) == ["long", "new"]


def test_what_was_told_to_be_next_is_taken_whatever_came_in_between() -> None:
    clock = Clock()
    waiting = queue(clock, Call("a", 1.0), Call("b", 1.1))
    assert waiting.peek_request().name == "a"
    waiting.add_request(Call("older", 0.5))
    clock.now_s = 60.0
    assert waiting.pop_request().name == "a"
    with pytest.raises(IndexError):
        queue(clock).pop_request()


def test_calls_that_leave_are_out_of_it() -> None:
    clock = Clock()
    calls = [Call(name, at_s) for at_s, name in enumerate("abcd")]
    waiting = queue(clock, *calls)
    clock.now_s = LATE_S + 1.5
    waiting.peek_request()
    waiting.remove_request(calls[2])
    waiting.remove_requests([calls[0]])
    assert len(waiting) == 2 and {call.name for call in waiting} == {"b", "d"}
    assert drained(waiting) == ["d", "b"]


def test_the_rules_reach_an_engine_as_json() -> None:
    rules = told(Slo(ttft_s=3.0, ttft_factor=1.0), 500.0)[KEY]
    assert Slo.model_validate(rules["slo"]).late_after_s(500, 500.0) == pytest.approx(3.2)


CALLS = st.lists(
    st.tuples(st.floats(0, 100, allow_nan=False), st.integers(0, 1)), min_size=1, max_size=30
)


@settings(deadline=None)
@given(CALLS, st.lists(st.floats(0, 10, allow_nan=False), min_size=30, max_size=30))
def test_everybody_is_served_once_and_nobody_passes_without_a_reason(
    given_: list[tuple[float, int]], steps_s: list[float]
) -> None:
    clock = Clock()
    clock.now_s = 100.0
    calls = [Call(str(n), at_s, lane) for n, (at_s, lane) in enumerate(given_)]
    waiting, left = queue(clock, *calls), set(calls)
    for step_s in steps_s[: len(calls)]:
        clock.now_s += step_s
        taken = waiting.pop_request()
        left.remove(taken)
        for other in left:
            if other.arrival_time < taken.arrival_time and other.priority == taken.priority:
                waited_s = clock.now_s - other.arrival_time
                assert LATE_S < waited_s <= OVERDUE_S, "only a late one is passed, for a minute"
            assert other.priority >= taken.priority
    assert not left and not waiting
