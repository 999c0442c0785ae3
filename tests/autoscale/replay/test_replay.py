"""A replay: everybody is served, the bill is right, seeds repeat, the scaler sees what is."""

from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscale.policy.profile import EngineProfile, Slo
from autoscale.policy.signals import Traffic, View, WantedReplicas
from autoscale.replay.baselines import Fixed
from autoscale.replay.policies import POLICIES, PolicyChoice, run
from autoscale.replay.prefixes import Prefixes
from autoscale.replay.replay import ROUTINGS, Setup, replay
from autoscale.replay.result import ReplayResult, alone_s
from autoscale.replay.trace import Trace

PROFILE = EngineProfile(
    name="p",
    source="a test",
    base_s=0.02,
    per_sequence_s=0.0005,
    per_kv_token_s=1e-7,
    prefill_tokens_per_s=4000.0,
    chunk_tokens=256,
    kv_tokens=20_000,
    max_sequences=32,
    cold_start_s=(20.0, 40.0),
    node_start_s=60.0,
    gpus=2,
    usd_per_hour=3.0,
)


def poisson(per_s: float, seconds: float, seed: int = 0) -> Trace:
    rng = np.random.default_rng(seed)
    n = int(per_s * seconds)
    at_s = np.sort(rng.uniform(0, seconds, n))
    return Trace("poisson", at_s - at_s[0], rng.integers(10, 900, n), rng.integers(1, 200, n))


def talks(per_s: float, seconds: float, seed: int = 0) -> Trace:
    """Callers who each send 2,000 tokens first, and then all of it again with 300 more."""
    rng = np.random.default_rng(seed)
    n = int(per_s * seconds) // 2
    at_s = np.sort(rng.uniform(0, seconds - 30, n))
    ids = [[5 * caller + block for block in range(4)] for caller in range(n)]
    again = [[*one[:3], 5 * n + m, 6 * n + m] for m, one in enumerate(ids)]
    when = np.concatenate((at_s, at_s + rng.uniform(5, 30, n)))
    order = np.argsort(when)
    tokens = np.repeat((2000, 2300), n)[order]
    rows = [(ids + again)[row] for row in order]
    starts = np.cumsum([0, *map(len, rows)])
    prefixes = Prefixes.of(np.array([*chain(*rows)], np.int64), starts, tokens)
    return Trace("talks", when[order] - when.min(), tokens, np.full(2 * n, 20), prefixes)


ROOMY = PROFILE.model_copy(update={"kv_tokens": 300_000})
"""Keeps what callers sent for longer than they are away."""


class Plan:
    """Asks for so many replicas from each moment on, and keeps what it was shown."""

    def __init__(self, *steps: tuple[float, int]) -> None:
        self._steps = steps
        self.views: list[View] = []

    def __call__(self, view: View) -> WantedReplicas:
        self.views.append(view)
        due = [replicas for at_s, replicas in self._steps if at_s <= view.now_s]
        return WantedReplicas(due[-1], "plan", "")


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_serves_every_request_once(policy: str):
    trace = poisson(8.0, 900.0)
    one = run(trace, PolicyChoice(policy), Setup(PROFILE))  # type: ignore[arg-type]
    assert one.served == one.requests == len(trace)
    assert one.refused == one.unserved == 0
    assert not np.isnan(one.ttft_s).any()
    assert np.isnan(one.tpot_s).sum() == (trace.output_tokens == 1).sum()


def test_what_a_scaler_is_told_adds_up():
    trace = poisson(6.0, 600.0)
    plan = Plan((0, 2), (200, 4), (400, 1))
    one = replay(trace, plan, Setup(PROFILE, initial=2))
    told = [view.traffic for view in plan.views]
    assert sum(part.arrived for part in told) == sum(part.finished for part in told) == len(trace)
    assert sum(part.input_tokens for part in told) == trace.input_tokens.sum()
    assert sum(part.output_tokens for part in told) == trace.output_tokens.sum()
    assert [view.now_s for view in plan.views] == [5.0 * n for n in range(1, len(told) + 1)]
    assert one.replica_moves == 2
    for view in plan.views:
        for load in view.ready:
            assert load.running <= PROFILE.max_sequences
            assert load.kv_use_ratio is not None and 0 <= load.kv_use_ratio <= 1
            assert (load.waiting_tokens > 0) or load.waiting == 0
    assert any(load.ttft_s and load.tpot_s for view in plan.views for load in view.ready)


def test_equal_seeds_repeat_and_others_do_not():
    trace, plan = poisson(8.0, 600.0), ((0.0, 2), (100.0, 5))
    first, again, other = (
        replay(trace, Plan(*plan), Setup(PROFILE, initial=2, seed=seed, routing="pow2"))
        for seed in (3, 3, 4)
    )
    assert first.as_dict() == again.as_dict()
    assert (first.ttft_s == again.ttft_s).all()
    assert (first.ttft_s != other.ttft_s).any()


@settings(deadline=None, max_examples=12)
@given(per_s=st.floats(1, 20), seed=st.integers(0, 99), routing=st.sampled_from(sorted(ROUTINGS)))
def test_more_fixed_replicas_are_never_worse_but_for_noise(per_s: float, seed: int, routing: str):
    trace = poisson(per_s, 300.0, seed)
    shares = [
        replay(trace, Fixed(n), Setup(PROFILE, initial=n, routing=routing)).slo_attainment  # type: ignore[arg-type]
        for n in (1, 2, 4, 8)
    ]
    assert all(more >= fewer - 0.01 for fewer, more in pairwise(shares))


def test_a_fixed_fleet_pays_for_its_hours():
    trace = poisson(2.0, 1800.0)
    one = replay(trace, Fixed(3), Setup(PROFILE, initial=3))
    hours = 3 * trace.span_s / 3600
    assert one.node_hours == pytest.approx(hours)
    assert one.gpu_hours == pytest.approx(2 * hours)
    assert one.usd == pytest.approx(3.0 * hours)
    assert one.replica_moves == 0


def at(*at_s: float, output: int = 50) -> Trace:
    n = len(at_s)
    return Trace("few", np.array(at_s), np.full(n, 100), np.full(n, output))


def test_a_new_node_is_paid_from_its_launch_until_it_was_idle_for_long_enough():
    """Asked for at 100 s, let go at 400 s without a request: paid until 400 + 300 s."""
    trace = at(0.0, 2000.0)
    one = replay(trace, Plan((0, 1), (100, 2), (400, 1)), Setup(PROFILE, initial=1))
    assert one.node_hours * 3600 == pytest.approx(2000.0 + 600.0, abs=1e-6)


def test_a_replica_serves_after_node_and_cold_start_or_cold_start_alone():
    trace = at(0.0, 1000.0)
    plan = Plan((0, 1), (100, 2), (300, 1), (400, 2))
    replay(trace, plan, Setup(PROFILE, initial=1))
    two = [view.now_s for view in plan.views if len(view.ready) == 2]
    first = [now_s for now_s in two if now_s < 350]
    second = [now_s for now_s in two if now_s > 350]
    assert 180 <= first[0] <= 205  # a node takes 60 s, then 20 to 40 s
    assert 420 <= second[0] <= 445  # its node was idle still
    starting = [view.starting for view in plan.views if 105 <= view.now_s < 180]
    assert set(starting) == {(100.0,)}


def test_a_draining_replica_finishes_what_it_has_and_is_paid_for_it():
    """One answer of 500 tokens takes some 10 s; its replica is dropped after 5 s."""
    trace = at(0.0, 3000.0, output=500)
    one = replay(trace, Plan((0, 0), (1000, 1)), Setup(PROFILE, initial=1))
    ended_s = one.ttft_s[0] + 499 * one.tpot_s[0]
    assert 10.0 < ended_s < 15.0
    assert one.node_hours * 3600 == pytest.approx(ended_s + 300.0 + 2000.0, abs=1e-3)
    assert one.served == 2


def test_starting_replicas_go_before_ready_ones_and_the_youngest_first():
    plan = Plan((0, 1), (20, 2), (30, 3), (40, 2))
    replay(at(0.0, 600.0), plan, Setup(PROFILE, initial=1))
    after = next(view for view in plan.views if view.now_s == 45.0)
    assert len(after.ready) == 1 and after.starting == (20.0,)


def test_requests_at_zero_are_held_counted_and_served_when_a_replica_is_ready():
    trace = at(0.0, 1.0, 2.0, 200.0)
    plan = Plan((0, 0), (10, 1))
    one = replay(trace, plan, Setup(PROFILE, initial=0))
    assert one.held == 3 and one.served == 4
    held = [view.traffic for view in plan.views if view.traffic.held]
    assert held[0].held == 3 and held[0].held_tokens == 300
    ready_s = one.ttft_s[0] - float(alone_s(PROFILE, np.array([300]))[0])
    assert 10 + 60 + 20 <= ready_s <= 10 + 60 + 40
    assert one.ttft_s[3] == pytest.approx(float(alone_s(PROFILE, np.array([100]))[0]))


def test_nobody_waits_for_ever():
    one = replay(at(0.0, 1.0), Plan((0, 0)), Setup(PROFILE, initial=0))
    assert one.unserved == 2 and one.slo_attainment == 0.0


def test_the_slo_asks_for_both_and_for_longer_prompts_more_where_it_is_said():
    trace = Trace("t", np.array([0.0, 100.0]), np.array([8000, 8000]), np.array([50, 50]))

    def share(slo: Slo) -> float:
        return replay(trace, Fixed(1), Setup(PROFILE, slo, initial=1)).slo_attainment

    assert share(Slo(ttft_s=4.0)) == 1.0
    assert share(Slo(ttft_s=1.0)) == 0.0
    assert share(Slo(ttft_s=1.0, ttft_factor=1.0)) == 1.0
    assert share(Slo(ttft_s=4.0, tpot_s=0.01)) == 0.0


def test_the_first_minutes_are_served_but_not_judged():
    trace = poisson(5.0, 7200.0)
    one = replay(trace, Fixed(3), Setup(PROFILE, initial=3, warmup_s=900.0))
    assert one.judged == (trace.at_s >= 900).sum() < one.served
    short = replay(trace.window(0, 60), Fixed(3), Setup(PROFILE, initial=3, warmup_s=900.0))
    assert short.judged > 0.6 * short.requests


def test_what_a_scaler_is_told_of_cached_tokens_is_what_was_not_prefilled():
    trace = talks(2.0, 600.0)
    plan = Plan((0, 2), (200, 3))
    one = replay(trace, plan, Setup(ROOMY, initial=2, warmup_s=0.0))
    told = sum(view.traffic.cached_tokens for view in plan.views)
    loads = [load for view in plan.views for load in view.ready]
    assert told == pytest.approx(one.cached_input_share * trace.input_tokens.sum())
    computed = sum(load.input_tokens_per_s for load in loads) * 5.0
    assert computed + told == pytest.approx(trace.input_tokens.sum())
    assert 0.25 < one.cached_input_share <= 1536 / 4300


def test_callers_who_come_back_are_served_sooner_where_their_prompts_are_known():
    """1,536 of 2,300 tokens, if they go where they were; draws find one replica of three."""
    trace = talks(3.0, 900.0)
    unknown = Trace(trace.name, trace.at_s, trace.input_tokens, trace.output_tokens)

    def result(trace: Trace, routing: str) -> ReplayResult:
        setup = Setup(ROOMY, initial=3, routing=routing)  # type: ignore[arg-type]
        return replay(trace, Fixed(3), setup)

    plain, drawn, known = result(unknown, "prefix"), result(trace, "pow2"), result(trace, "prefix")
    assert plain.cached_input_share == 0
    assert plain.as_dict() == result(unknown, "tokens").as_dict()
    assert 0 < drawn.cached_input_share < 0.6 * known.cached_input_share
    assert known.ttft_s_p95 < 0.8 * plain.ttft_s_p95


def test_a_replica_begins_with_an_empty_cache():
    """One prompt thrice: the first replica has it, the one that takes its place does not."""
    tokens, ids = np.full(3, 2000), np.tile(np.arange(4), 3)
    prefixes = Prefixes.of(ids, 4 * np.arange(4), tokens)
    trace = Trace("t", np.array([0.0, 50.0, 900.0]), tokens, np.full(3, 5), prefixes)
    plan = Plan((0, 1), (100, 0), (600, 1))
    replay(trace, plan, Setup(PROFILE, initial=1))
    cached = {view.now_s: view.traffic.cached_tokens for view in plan.views}
    assert {now_s: n for now_s, n in cached.items() if n} == {55.0: 1536}
    kept = Plan((0, 1))
    replay(trace, kept, Setup(PROFILE, initial=1))
    assert sum(view.traffic.cached_tokens for view in kept.views) == 2 * 1536


def test_what_the_scaler_is_told_of_the_slo_is_what_the_result_says():
    """All calls, the warm-up's, too; one whose answer is of one token has no TPOT."""
    rng = np.random.default_rng(3)
    trace = Trace(
        "t", np.sort(rng.uniform(0, 300, 900)), rng.integers(1, 3000, 900),
        rng.integers(1, 400, 900),
    )  # fmt: skip
    told: list[Traffic] = []

    def scaler(view: View) -> WantedReplicas:
        told.append(view.traffic)
        return WantedReplicas(1, "", "")

    for slo in (Slo(ttft_s=1.0, tpot_s=0.05), Slo(ttft_s=0.5, ttft_factor=3.0, tpot_s=0.05)):
        told.clear()
        found = replay(trace, scaler, Setup(PROFILE, slo, initial=1))
        assert sum(one.judged for one in told) == found.served == 900
        assert 0 < sum(one.missed for one in told) == 900 - found.within.sum() < 900
