"""Ray's default policy as written here decides as Ray's own source does; foresight sees ahead."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.serve.autoscaling_policy import (
    _apply_autoscaling_config,
    _core_replica_queue_length_policy,
)
from ray.serve.config import AutoscalingConfig, AutoscalingContext

from autoscale.policy.profile import EngineProfile, Slo
from autoscale.policy.signals import Load, Traffic, View
from autoscale.replay.baselines import (
    Fixed,
    Foresight,
    RayDefault,
    RayRules,
    load,
    start_with,
    token_s,
)
from autoscale.replay.trace import Trace

PROFILE = EngineProfile(
    name="p", source="a test", base_s=0.02, per_sequence_s=0.001, per_kv_token_s=0.0,
    prefill_tokens_per_s=1000.0, chunk_tokens=512, kv_tokens=10_000,
)  # fmt: skip


class Ray:
    """Ray's own default policy, on a clock that is told."""

    def __init__(self, rules: RayRules, monkeypatch: pytest.MonkeyPatch) -> None:
        self._config = AutoscalingConfig(
            min_replicas=0,
            max_replicas=1000,
            target_ongoing_requests=rules.target_ongoing_requests,
            upscaling_factor=rules.upscaling_factor,
            downscaling_factor=rules.downscaling_factor,
            upscale_delay_s=rules.upscale_delay_s,
            downscale_delay_s=rules.downscale_delay_s,
        )
        self._policy = _apply_autoscaling_config(_core_replica_queue_length_policy)
        self._state: dict[str, object] = {}
        self._now_s = 0.0
        monkeypatch.setattr("ray.serve.autoscaling_policy.time.time", lambda: self._now_s)

    def decide(self, now_s: float, current: int, target: int, ongoing: float) -> int:
        self._now_s = now_s
        context = AutoscalingContext(
            deployment_id=None, deployment_name="d", app_name="a", current_num_replicas=current,
            target_num_replicas=target, running_replicas=[], total_num_requests=ongoing,
            total_queued_requests=0.0, capacity_adjusted_min_replicas=0,
            capacity_adjusted_max_replicas=1000, policy_state=self._state, current_time=now_s,
            config=self._config, aggregated_metrics={}, raw_metrics={},
            last_scale_up_time=None, last_scale_down_time=None,
        )  # fmt: skip
        decided, self._state = self._policy(context)
        return int(decided)


RULES = st.builds(
    RayRules,
    target_ongoing_requests=st.sampled_from([1.0, 2.0, 7.5, 16.0]),
    upscaling_factor=st.sampled_from([0.3, 0.4, 1.0, 2.0]),
    downscaling_factor=st.sampled_from([0.2, 0.25, 1.0]),
    upscale_delay_s=st.sampled_from([0.0, 30.0]),
    downscale_delay_s=st.sampled_from([0.0, 60.0, 600.0]),
)
STEPS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(-2, 1), st.floats(0, 400)), min_size=1, max_size=60
)


@settings(deadline=None, max_examples=300)
@given(rules=RULES, steps=STEPS)
def test_ours_decides_as_rays_own_source(rules: RayRules, steps: list[tuple[int, int, float]]):
    """Running replicas lag behind the target, as they do where one takes minutes to start."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        theirs, ours = Ray(rules, monkeypatch), RayDefault(rules)
        now_s, target = 1000.0, 3
        for pause_s, lag, ongoing in steps:
            now_s += pause_s
            current = max(0, target + lag)
            decided = theirs.decide(now_s, current, target, ongoing)
            assert ours.decide(now_s, current, target, ongoing) == decided
            target = decided


def test_the_defaults_are_rays():
    ray, rules = AutoscalingConfig(), RayRules()
    assert ray.upscale_delay_s == rules.upscale_delay_s
    assert ray.downscale_delay_s == rules.downscale_delay_s
    assert ray.look_back_period_s == rules.look_back_period_s
    assert ray.get_upscaling_factor() == rules.upscaling_factor
    assert ray.get_downscaling_factor() == rules.downscaling_factor


def view(now_s: float, running: int, waiting: int = 0, held: int = 0, target: int = 1) -> View:
    ready = (Load("1", now_s, 0.0, running=running, waiting=waiting),)
    return View(now_s, target, ready, (), Traffic(5.0, held=held))


def test_queued_and_held_requests_count_and_are_averaged_over_the_look_back():
    ray = RayDefault(RayRules(2.0, upscale_delay_s=0.0))
    assert ray(view(5, 2, 4, 2)).replicas == 4
    assert ray(view(10, 0)).replicas == 2  # the mean of 8 and 0
    for now_s in range(15, 40, 5):
        last = ray(view(now_s, 0, target=2)).replicas
    assert last == 2  # wishes for fewer wait 600 s
    assert ray(view(40, 10)).replicas == 1  # of six looks one has 10, the first is forgotten


def test_bounds_are_kept():
    ray = RayDefault(RayRules(1.0, upscale_delay_s=0.0, max_replicas=3))
    assert ray(view(5, 50)).replicas == 3
    assert Fixed(4)(view(5, 50)).replicas == 4


def steady(per_s: float, from_s: float, to_s: float) -> Trace:
    at_s = np.arange(from_s, to_s, 1 / per_s)
    return Trace("t", at_s, np.full(len(at_s), 100), np.full(len(at_s), 10))


def test_work_is_prefill_and_each_tokens_share_of_a_step():
    """0.08 s hold 60 sequences: each token is a sixtieth of a step."""
    trace = steady(10.0, 0.0, 1200.0)
    assert token_s(trace, PROFILE, Slo()) == pytest.approx(0.08 / 60)
    each_s = 100 / 1000 + 10 * 0.08 / 60
    assert load(trace, PROFILE, Slo()) == pytest.approx(10 * each_s, rel=0.05)
    assert start_with(trace, PROFILE, Slo(), 0.5) == 3


def test_foresight_acts_before_the_load_comes():
    quiet, busy = steady(0.5, 0.0, 3000.0), steady(20.0, 3000.0, 4000.0)
    trace = Trace(
        "t",
        np.concatenate((quiet.at_s, busy.at_s)),
        np.concatenate((quiet.input_tokens, busy.input_tokens)),
        np.concatenate((quiet.output_tokens, busy.output_tokens)),
    )
    knows = Foresight(trace, PROFILE, Slo(), 0.8)
    assert knows(view(2500, 0)).replicas == 1
    assert knows(view(3000 - 200, 0)).replicas == 3
    assert knows(view(9000, 0)).replicas == 1
