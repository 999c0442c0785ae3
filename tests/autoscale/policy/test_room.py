"""The room that a decision keeps: for chance, by what calls keep, and for calls that will wait."""

from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given

from autoscale.policy.decide import PolicyMemory, ScalingCode, decide
from autoscale.policy.forecast import Decayed, Forecast
from autoscale.policy.headroom import Headroom
from autoscale.policy.room import Room
from autoscale.policy.rules import ScalingRules
from autoscale.policy.signals import Traffic, WantedReplicas
from core.settings.scaling import Scaling
from tests.autoscale.policy.scaled import PROFILE, scaling, view

RULES = ScalingRules(1, 50, scaling(target_attainment=0.99))
levels = st.floats(-1.5, 2.0)


def calls(work: float, each_s: float = 0.1, missed: float = 0.0, judged: bool = True) -> Traffic:
    """Five seconds of prompts of so much work each, of which this share missed the SLO."""
    number = max(1, round(5 * work / each_s))
    tokens = round(5 * work * PROFILE.prefill_tokens_per_s)
    counted = number if judged else 0
    return Traffic(
        5.0, number, tokens, finished=number, output_tokens=number,
        judged=counted, missed=round(missed * counted),
    )  # fmt: skip


def lived(
    traffic: Traffic, seconds: float, memory: PolicyMemory | None = None, replicas: int = 1,
    rules: ScalingRules = RULES,
) -> tuple[WantedReplicas, PolicyMemory]:  # fmt: skip
    """The decision after so long with so many replicas, whatever is wanted."""
    memory = memory or PolicyMemory.new()
    begins_s = memory.now_s or 0.0
    for n in range(round(seconds / 5)):
        seen = view(begins_s + 5.0 * (n + 1), replicas, replicas, traffic=traffic)
        wanted, memory = decide(seen, memory, rules, PROFILE)
    return wanted, memory


def room(level: float, each_s: float = 0.15) -> Room:
    return Room(level, each_s, None)


@given(work=st.floats(0, 60), more=st.floats(0, 20), level=levels, higher=st.floats(0, 3))
def test_more_work_and_a_higher_level_keep_no_less(work, more, level, higher):
    now, then = room(level), room(min(2.0, level + higher))
    scaling = Scaling()
    assert now.chance(work + more, scaling) >= now.chance(work, scaling) >= work
    assert then.chance(work, scaling) >= now.chance(work, scaling)
    assert 0 < then.utilisation(scaling) <= now.utilisation(scaling) < 1
    known = Forecast(level=Decayed(120.0, 120.0), residuals=tuple(n / 100 for n in range(200)))
    assert then.forecast(known, scaling) >= now.forecast(known, scaling) > 0


@pytest.mark.parametrize(("work", "replicas"), [(0.5, 1), (0.8, 2), (9.0, 10)])
def test_small_fleets_keep_the_room_that_chance_asks_for(work: float, replicas: int):
    """Calls of 0.15 s: at 0.8 of one replica a twentieth would wait for too long."""
    assert room(0.0).chance(work, Scaling()) == replicas
    assert room(0.0, each_s=3.0).chance(work, Scaling()) > replicas


def test_a_level_of_one_is_a_replica_more_or_the_root_of_many():
    assert room(1.0).chance(0.3, Scaling()) == pytest.approx(1.3)
    assert room(2.0).chance(16.0, Scaling()) == pytest.approx(24.0)


def test_the_decision_keeps_that_room_and_says_so():
    wanted, _ = lived(calls(0.85), 600, rules=replace(RULES, scaling=Scaling()))
    assert (wanted.replicas, wanted.code) == (2, ScalingCode.CHANCE)
    assert wanted.reason.startswith("load needs 1.1")
    assert "; chance needs 2.00" in wanted.reason


def test_bursts_that_the_load_does_not_show_are_met_by_one_replica_more():
    """A third of a replica's work, of which a tenth is late: the mean says that one is enough."""
    before, memory = lived(calls(0.3), 300)
    assert before.replicas == 1
    after, _ = lived(calls(0.3, missed=0.1), 120, memory)
    assert after.replicas == 2
    assert "of calls met the SLO (target 99.0%), so it keeps more room" in after.reason


def test_the_batch_lane_does_not_count():
    """Replicas judge interactive calls alone: what nobody judged moves nothing."""
    _, memory = lived(calls(0.3, missed=0.5, judged=False), 900)
    assert memory.headroom == Headroom()


def test_calls_that_keep_more_than_the_target_give_room_back_slowly():
    _, memory = lived(calls(0.5), 3600)
    assert memory.headroom.level == pytest.approx(-0.5, abs=0.1)
    assert memory.headroom.within == pytest.approx(1.0)


def test_at_the_ceiling_misses_do_not_wind_it_up():
    one = ScalingRules(1, 1, RULES.scaling)
    _, memory = lived(calls(0.3, missed=0.5), 3600, rules=one)
    assert memory.headroom.level == 0


def test_a_level_survives_a_restart():
    from autoscale.policy.memory import dump, load

    _, memory = lived(calls(0.3, missed=0.2), 600)
    assert memory.headroom.level > 0 and load(dump(memory)) == memory


@pytest.mark.parametrize(("ends", "more"), [(0, True), (100, False)])
def test_calls_that_will_wait_when_a_replica_is_ready_ask_for_it_now(ends: int, more: bool):
    """Two replicas hold 25 long calls each, 60 wait and 10 come in 5 s; none ends, or all do."""
    memory, held = PolicyMemory.new(), {"running": 25, "waiting": 30, "waiting_tokens": 30_000}
    traffic = Traffic(5.0, 10, 10_000, finished=ends, output_tokens=ends)
    for n in range(12):
        seen = view(5.0 * n, 2, 2, traffic=traffic, kv_use_ratio=0.9, **held)
        wanted, memory = decide(seen, memory, RULES, PROFILE)
    assert "calls that will wait need" in wanted.reason
    need = float(wanted.reason.split("calls that will wait need ")[1].split(";")[0].split()[0])
    assert (need > 10) is more
    assert ("16 in steps, up to 4 now" in wanted.reason) is more
