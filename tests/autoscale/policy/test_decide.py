"""What the scaling policy promises, over views that can be drawn and in a closed loop."""

import json
import math
from dataclasses import replace
from itertools import pairwise

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, example, given, settings

from autoscale.policy.decide import CALM_ROOM, PolicyMemory, ScalingCode, decide
from autoscale.policy.memory import Highs, dump
from autoscale.policy.memory import load as loaded
from autoscale.policy.rules import ScalingRules
from autoscale.policy.signals import Load, Traffic, View
from tests.autoscale.policy.scaled import PROFILE, RULES, Loop, arrivals, scaling, view

anything = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.integers(-(10**400), 10**400),
    st.integers(-5, 5000),
)
unknown = st.one_of(st.none(), anything)
loads = st.builds(
    Load, st.text(max_size=3), anything, anything, anything, anything, anything, unknown,
    anything, anything, anything, unknown, unknown, anything, anything,
)  # fmt: skip
traffics = st.builds(Traffic, *[anything] * 12)
views = st.builds(
    View, anything, anything, st.lists(loads, max_size=3).map(tuple),
    st.lists(anything, max_size=3).map(tuple), traffics,
)  # fmt: skip

counts = st.integers(0, 200)
tokens = st.integers(0, 200_000)
sane_traffics = st.builds(
    Traffic, st.just(5.0), counts, tokens, st.just(0), counts, tokens, counts, tokens,
    judged=counts, missed=counts,
)  # fmt: skip
STRICT = ScalingRules(1, 50, scaling(target_attainment=0.99))
"""With room for chance, and a level that any miss may move."""


sane_loads = st.builds(
    Load, st.just("r"), st.just(5.0), st.just(-500.0), counts, counts, tokens,
    st.one_of(st.none(), st.floats(0, 1)), ttft_s=st.one_of(st.none(), st.floats(0, 10)),
)  # fmt: skip


@st.composite
def sane_views(draw, now_s: float = 5.0) -> View:
    loads = draw(st.lists(sane_loads, max_size=4))
    ready = tuple(replace(one, id=f"r{n}", at_s=now_s) for n, one in enumerate(loads))
    starting = tuple(now_s - age_s for age_s in draw(st.lists(st.floats(0, 300), max_size=3)))
    return View(now_s, draw(st.integers(0, 12)), ready, starting, draw(sane_traffics))


@st.composite
def lives(draw) -> PolicyMemory:
    """A memory after some sane views."""
    memory = PolicyMemory.new()
    for n in range(draw(st.integers(0, 6))):
        seen = draw(sane_views(now_s=-200.0 + n * 30))
        _, memory = decide(seen, memory, STRICT, PROFILE)
    return memory


patient = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

bounds = st.builds(
    lambda least, more, usd, risk: ScalingRules(
        least, least + more, scaling(max_usd_per_hour=usd, risk_floor=risk)
    ),
    st.integers(0, 5),
    st.integers(0, 20),
    st.one_of(st.none(), st.floats(0.5, 60)),
    st.integers(0, 4),
)


@given(st.lists(views, min_size=1, max_size=4), bounds)
@settings(max_examples=150, deadline=None)
def test_any_view_is_decided_within_the_bounds_and_what_is_remembered_survives_json(seen, rules):
    memory = PolicyMemory.new()
    for one in seen:
        wanted, memory = decide(one, memory, rules, PROFILE)
        assert rules.min_replicas <= wanted.replicas <= rules.max_replicas
        if rules.scaling.max_usd_per_hour is not None:
            affordable = math.floor(rules.scaling.max_usd_per_hour / PROFILE.usd_per_hour + 1e-9)
            assert wanted.replicas <= max(affordable, rules.min_replicas)
        assert wanted.code in set(ScalingCode) and wanted.reason
        assert loaded(json.loads(json.dumps(dump(memory), allow_nan=False))) == memory


@patient
@given(lives(), sane_views(), bounds)
def test_the_same_view_gives_the_same_decision(memory, seen, rules):
    assert decide(seen, memory, rules, PROFILE) == decide(seen, memory, rules, PROFILE)


def wants(seen: View, memory: PolicyMemory, rules: ScalingRules = STRICT) -> int:
    return decide(seen, memory, rules, PROFILE)[0].replicas


@patient
@given(lives(), sane_views(), tokens)
def test_more_waiting_tokens_never_want_fewer(memory, seen, more):
    fuller = tuple(replace(one, waiting_tokens=one.waiting_tokens + more) for one in seen.ready)
    assert wants(replace(seen, ready=fuller), memory) >= wants(seen, memory)


@patient
@given(lives(), sane_views(), st.floats(0, 1))
def test_more_kv_use_never_wants_fewer(memory, seen, more):
    fuller = tuple(
        one if one.kv_use_ratio is None
        else replace(one, kv_use_ratio=min(1.0, one.kv_use_ratio + more))
        for one in seen.ready
    )  # fmt: skip
    assert wants(replace(seen, ready=fuller), memory) >= wants(seen, memory)


SLEEPS = View(5.0, 0, (), (), Traffic(5.0, 0, 258, 0, 2, 33_263, 100, 62_006))


@patient
@given(lives(), sane_views(), counts, tokens)
@example(PolicyMemory.new(), SLEEPS, 1, 0)  # a short call, and a hundred long ones that are held
def test_more_arrivals_never_want_fewer(memory, seen, calls, more):
    traffic = replace(
        seen.traffic,
        arrived=seen.traffic.arrived + calls,
        input_tokens=seen.traffic.input_tokens + more,
    )
    assert wants(replace(seen, traffic=traffic), memory) >= wants(seen, memory)


@patient
@given(lives(), sane_views(), counts, tokens)
def test_more_held_calls_never_want_fewer(memory, seen, calls, more):
    traffic = replace(
        seen.traffic, held=seen.traffic.held + calls, held_tokens=seen.traffic.held_tokens + more
    )
    assert wants(replace(seen, traffic=traffic), memory) >= wants(seen, memory)


@patient
@given(lives(), sane_views())
def test_nothing_is_taken_away_while_a_start_is_younger_than_its_lead(memory, seen):
    lead_s = memory.lead_s(PROFILE.lead_s)
    if any(seen.now_s - asked_s < lead_s for asked_s in seen.starting):
        assert wants(seen, memory) >= min(seen.target, RULES.max_replicas)


@pytest.mark.parametrize("work", [0.3, 2.0, 7.3])
def test_a_constant_load_settles_and_then_moves_no_more(work):
    loop = Loop().run(work, 1800)
    settled = len(loop.told)
    loop.run(work, 4 * 3600)
    assert loop.moves(settled) <= 2
    # A step's 10 ms of 80 ms are its own: what is left carries the work.
    assert work < loop.target <= math.ceil(work * 8 / 7 / 0.65) + 1


@pytest.mark.parametrize("start_s", [30.0, 100.0, 400.0])
def test_no_start_is_cancelled_within_its_lead_when_the_load_jumps_up_and_down(start_s):
    loop = Loop(start_s=start_s)
    for _ in range(6):
        loop.run(9.0, 60).run(0.2, 900)
    assert loop.asked > 5
    assert all(after_s >= 0 for after_s in loop.cancelled_s)


def test_the_lead_is_learned_from_starts_and_stretches_the_hold():
    loop = Loop(start_s=700.0)
    assert loop.memory.lead_s(PROFILE.lead_s) == 120.0
    loop.run(5.0, 2000)
    assert loop.memory.lead_s(PROFILE.lead_s) == pytest.approx(480.0, abs=5) or min(
        loop.memory.starts, default=700.0
    ) == pytest.approx(700.0, abs=5)


def test_a_jump_is_met_in_capped_steps():
    loop = Loop(ready=[("a", 0.0)], target=1).run(0.2, 60)
    loop.run(30.0, 5)
    assert loop.target <= 1 + 2
    asks = {
        ScalingCode.RATE,
        ScalingCode.BACKLOG,
        ScalingCode.KV,
        ScalingCode.SEATS,
        ScalingCode.FORECAST,
    }
    assert ScalingCode(loop.told[-1].code) in asks
    assert "in steps, up to 3 now" in loop.told[-1].reason


def test_down_goes_in_steps_after_the_hold():
    loop = Loop(start_s=10.0).run(8.0, 1500)
    high = loop.target
    loop.run(1.0, 500)
    assert loop.target == high
    since = len(loop.told)
    told = [one.replicas for one in loop.run(1.0, 1200).told[since:]]
    assert max(a - b for a, b in pairwise(told)) <= math.floor(high * 0.2)
    assert loop.target <= 3


def asleep(**given: object) -> ScalingRules:
    return ScalingRules(0, 10, scaling(**given))


def test_to_zero_only_after_it_was_idle_and_back_for_one_held_call():
    loop = Loop(asleep(), start_s=10.0).run(1.0, 600)
    assert loop.target >= 1
    loop.run(0.0, 890)
    assert loop.target >= 1
    loop.run(0.0, 300)
    assert (loop.target, loop.told[-1].code) == (0, ScalingCode.ASLEEP)
    held = view(loop.now_s + 5, target=0, ready=0, traffic=Traffic(5.0, 1, 200, held=1))
    wanted, _ = decide(held, loop.memory, loop.rules, PROFILE)
    assert (wanted.replicas, wanted.code) == (1, ScalingCode.WAKE)


def test_a_call_in_flight_keeps_the_last_replica():
    loop = Loop(asleep(idle_s=60.0), start_s=10.0).run(1.0, 300)
    memory, now_s = loop.memory, loop.now_s
    for _ in range(2000):
        now_s += 5
        busy = view(now_s, target=1, ready=1, running=1)
        wanted, memory = decide(busy, memory, loop.rules, PROFILE)
        assert wanted.replicas >= 1


def test_many_held_calls_wake_as_many_replicas_as_their_work_needs():
    held = view(target=0, ready=0, traffic=Traffic(5.0, 4000, 4_000_000, held=4000,
                                                   held_tokens=4_000_000))  # fmt: skip
    wanted, _ = decide(held, PolicyMemory.new(), asleep(), PROFILE)
    # 400 s of prefill, within half the 120 s that a start takes, and what keeps coming.
    assert wanted.replicas == 10
    few = view(target=0, ready=0, traffic=Traffic(60.0, 100, 900_000, held=100,
                                                  held_tokens=900_000))  # fmt: skip
    wanted, _ = decide(few, PolicyMemory.new(), asleep(), PROFILE)
    assert 2 <= wanted.replicas <= 9


def test_a_known_peak_wakes_a_sleeping_tier_before_it_begins():
    peak = {"days": ["thu"], "start": "08:00", "until": "09:00", "replicas": 4}
    rules = asleep(known_peaks=[peak])
    eight_s = 8 * 3600.0  # the epoch was a Thursday
    for before_s, expected in ((121.0, 0), (119.0, 4), (-3599.0, 4)):
        seen = view(eight_s - before_s, target=0, ready=0)
        wanted, _ = decide(seen, PolicyMemory.new(), rules, PROFILE)
        assert wanted.replicas == expected
    seen = view(eight_s + 86_400, target=0, ready=0)
    assert decide(seen, PolicyMemory.new(), rules, PROFILE)[0].replicas == 0


def test_without_news_of_the_traffic_the_number_stays_and_says_so():
    loop = Loop(start_s=10.0).run(3.0, 600)
    silent = view(loop.now_s + 3600, loop.target, loop.target, traffic=Traffic(0.0))
    wanted, _ = decide(silent, loop.memory, RULES, PROFILE)
    assert (wanted.replicas, wanted.code) == (loop.target, ScalingCode.STALE)
    assert "3600 s" in wanted.reason


def test_without_queues_the_rate_alone_asks_for_more_and_nothing_is_taken_away():
    loop = Loop(start_s=10.0).run(3.0, 600)
    memory, now_s, target = loop.memory, loop.now_s, loop.target
    for _ in range(300):
        now_s += 5
        deaf = replace(view(now_s, target, target), ready=(Load("r0", now_s - 60, 0.0),) * target)
        wanted, memory = decide(deaf, memory, RULES, PROFILE)
        assert wanted.replicas == target
    assert "no replica tells of its queue" in wanted.reason
    for _ in range(10):
        now_s += 5
        loud = replace(deaf, now_s=now_s, traffic=arrivals(40.0))
        wanted, memory = decide(loud, memory, RULES, PROFILE)
    assert wanted.replicas > target


def test_without_kv_use_the_reason_says_so():
    wanted, _ = decide(view(kv_use_ratio=None), PolicyMemory.new(), RULES, PROFILE)
    assert "no replica tells of its KV cache" in wanted.reason


def test_full_kv_caches_ask_for_more():
    wanted, _ = decide(
        view(target=4, ready=4, kv_use_ratio=1.0), PolicyMemory.new(), RULES, PROFILE
    )
    assert (wanted.replicas, wanted.code) == (5, ScalingCode.KV)


def test_waits_over_the_slo_ask_for_one_more_unless_one_is_starting():
    memory, seen = PolicyMemory.new(), view()
    for n in range(12):
        seen = view(n * 5.0, 3, 3, tpot_s=0.2)
        wanted, memory = decide(seen, memory, RULES, PROFILE)
    assert (wanted.replicas, wanted.code) == (4, ScalingCode.SLO)
    more = replace(seen, now_s=seen.now_s + 5, target=4, starting=(seen.now_s,))
    assert decide(more, memory, RULES, PROFILE)[0].replicas == 4


@pytest.mark.parametrize(("factor", "more"), [(0.0, True), (10.0, False)])
def test_an_slo_by_prompts_judges_no_wait_before_a_prompt_is_known(factor: float, more: bool):
    """3 s are over half of 2 s, and within half of 2 s and ten times a prompt's 2 s."""
    rules = ScalingRules(1, 50, scaling(slo={"ttft_s": 2.0, "ttft_factor": factor}))
    memory, traffic = PolicyMemory.new(), Traffic(5.0, 1, 20_000)
    for now_s in (0.0, 5.0):
        seen = view(now_s, 3, 3, traffic=traffic, ttft_s=3.0)
        wanted, memory = decide(seen, memory, rules, PROFILE)
        assert (wanted.code is ScalingCode.SLO) is more


def lived(work: float, swing: float, minutes: int = 150) -> tuple[int, PolicyMemory]:
    """Replicas after so long at a load that goes up and down by `swing` every five minutes."""
    memory, wanted = PolicyMemory.new(), 1
    for n in range(minutes * 12):
        now = work * (1 + swing * (-1) ** (n // 60))
        seen = view(n * 5.0, wanted, wanted, traffic=arrivals(now))
        told, memory = decide(seen, memory, RULES, PROFILE)
        wanted = told.replicas
    return wanted, memory


def test_calm_traffic_keeps_less_room_once_it_is_known_to_be_calm():
    """Work of 20 at a utilisation of 0.65, and of 1 - 0.4 * 0.35 then; the hold passes between."""
    early, _ = lived(20.0, 0.0, 60)
    late, memory = lived(20.0, 0.0)
    unit = RULES.scaling.utilisation
    steady = memory.work.rate(RULES.scaling.rate_window_s)
    assert early == math.ceil(steady / unit - 0.1)
    assert late == math.ceil(steady / (1 - CALM_ROOM * (1 - unit)) - 0.1) < early
    wild, _ = lived(20.0, 0.3)
    assert wild >= early


def test_more_arrivals_do_not_make_traffic_calm_at_once():
    """A level a little too low for calm passes that with the view, which yet asks for more."""
    _, memory = lived(20.0, 0.0, 10)
    level = memory.forecast.level.mean()
    memory = replace(
        memory, highs=Highs(), forecast=replace(memory.forecast, residuals=(0.151 * level,) * 100)
    )
    asked = [
        decide(view(601.0, 1, 1, traffic=arrivals(work)), memory, RULES, PROFILE)[1].highs.kept
        for work in (20.0, 24.0, 28.0, 32.0)
    ]
    highest = [value for ((_, value),) in asked]
    assert highest == sorted(highest)


def test_short_prompts_that_wait_for_a_seat_ask_for_replicas():
    """Their tokens are few and their KV is small: only their number tells."""
    full = PROFILE.max_sequences
    memory = PolicyMemory.new()
    for n in range(20):
        seen = view(n * 5.0, 3, 3, running=full, waiting=full, waiting_tokens=50)
        wanted, memory = decide(seen, memory, RULES, PROFILE)
    assert (wanted.replicas, wanted.code) == (4, ScalingCode.SEATS)


def test_a_flood_of_batch_calls_asks_for_none_before_its_delay():
    full = PROFILE.max_sequences
    for batch, expected in ((0, 4), (full, 3)):
        memory = PolicyMemory.new()
        for n in range(20):
            seen = view(
                n * 5.0, 3, 3, running=full, waiting=full, waiting_tokens=50, kv_use_ratio=0.9,
                batch_running=batch, batch_waiting=batch,
            )  # fmt: skip
            wanted, memory = decide(seen, memory, RULES, PROFILE)
        assert wanted.replicas == expected


def test_a_mean_ttft_of_half_its_slo_asks_for_one_more_but_no_less_does():
    for ttft_s, expected in ((0.9, 3), (1.1, 4)):
        memory = PolicyMemory.new()
        for n in range(12):
            wanted, memory = decide(view(n * 5.0, 3, 3, ttft_s=ttft_s), memory, RULES, PROFILE)
        assert wanted.replicas == expected


def test_a_queue_that_is_gone_within_half_the_ttft_slo_is_no_backlog():
    soon = int(PROFILE.prefill_tokens_per_s * RULES.slo.ttft_s / 2)
    for tokens, backlog in ((soon, False), (12 * soon, True)):
        memory = PolicyMemory.new()
        for n in range(20):
            seen = view(n * 5.0, 3, 3, waiting_tokens=tokens)
            wanted, memory = decide(seen, memory, RULES, PROFILE)
        assert ("backlog" in wanted.reason) is backlog


def test_one_loud_tick_of_a_new_memory_is_no_rate():
    seen = view(target=4, ready=4, traffic=arrivals(6.0))
    assert decide(seen, PolicyMemory.new(), RULES, PROFILE)[0].replicas == 4


def test_the_batch_lane_uses_spare_room_first_and_counts_late():
    memory = PolicyMemory.new()
    told = []
    for n in range(200):
        calls = Traffic(
            5.0, 20, 75_000, 0, 20, 20, batch_arrived=10, batch_input_tokens=50_000
        )  # fmt: skip
        seen = view(n * 5.0, 1, 1, traffic=calls)
        wanted, memory = decide(seen, memory, RULES, PROFILE)
        told.append(wanted)
    first = next(n for n, one in enumerate(told) if one.code == ScalingCode.BATCH)
    assert first * 5 >= 300
    # 0.57 of interactive work needs one replica at 0.65; with 1.14 of batch work, two at 0.95.
    assert told[first - 1].replicas == 1
    assert told[-1].replicas == 2


def test_the_cost_cap_is_told():
    rules = ScalingRules(1, 50, scaling(max_usd_per_hour=10.0))
    wanted, _ = decide(view(target=3, ready=3, kv_use_ratio=1.0, waiting_tokens=500_000),
                       PolicyMemory.new(), rules, PROFILE)  # fmt: skip
    assert (wanted.replicas, wanted.code) == (3, ScalingCode.COST)


def test_what_is_remembered_stays_small():
    memory = PolicyMemory.new()
    size = 0
    for n in range(10_000):
        work = 3.0 + 2 * math.sin(n / 40) + (20.0 if n % 500 == 0 else 0.0)
        seen = view(n * 5.0, 6, 6, traffic=arrivals(work))
        _, memory = decide(seen, memory, RULES, PROFILE)
        if n == 4_999:
            size = len(json.dumps(dump(memory)))
    assert len(json.dumps(dump(memory))) <= 1.2 * size < 20_000
