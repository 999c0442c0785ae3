"""From settings to Serve's autoscaling, and from records to the router and a scrape."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from autoscale.live.adapter import Adapter
from autoscale.live.observe import LoadReport
from autoscale.live.record_store import record_key
from autoscale.policy.gpu_budget import GpuAllotment, TierPart
from autoscale.policy.gpu_share import Outlook
from core.call import TierSignal
from core.errors import HansomError
from core.metrics import Metrics
from core.settings.load import Settings
from core.settings.scaling import Cluster
from deployments.gateway.backends.exchange import Connections
from deployments.gateway.backends.tier import Replica, TierReplicas
from deployments.gateway.backends.wake_queue import WakeQueue
from deployments.gateway.dispatch import Dispatcher
from deployments.gateway.outlook import Scales, families, read_records
from deployments.gateway.scrape import merge
from deployments.scaling import budget_of, profile_of, profiles_of, scale_options
from router.policy.arms import RoutingPlan
from router.policy.terms import Policy, Strategy, TierName
from tests.autoscale.live.context import Context
from tests.deployments.gateway.test_dispatch import score
from tests.deployments.rig import call, settings_of
from tests.fakes import FakeRouter, FakeShelf
from tests.ledger.lines import until

VLLM = {"engine": {"kind": "vllm"}, "source": {"kind": "path", "path": "/m"}}
UP = [Replica("a", ("127.0.0.1", 1))]


def changed(**tier: Any) -> Settings:
    """Settings whose large tier has these fields."""
    told = settings_of().model_dump(mode="json", exclude_unset=True)
    told["tiers"][1] |= tier
    return Settings.model_validate(told)


def test_a_fixed_number_has_no_policy() -> None:
    settings = changed(replicas={"min": 2, "max": 2})
    assert scale_options(settings.tiers[1], profiles_of(settings)["large"], "info") == {
        "num_replicas": 2
    }


def test_serves_own_delays_and_factors_are_off() -> None:
    settings = changed(replicas={"min": 0, "max": 3})
    options = scale_options(settings.tiers[1], profiles_of(settings)["large"], "info")
    config: Any = options["autoscaling_config"]
    assert (config.min_replicas, config.max_replicas) == (0, 3)
    delays = (config.upscale_delay_s, config.downscale_delay_s, config.downscale_to_zero_delay_s)
    assert delays == (0, 0, 0)
    assert (config.upscaling_factor, config.downscaling_factor) == (1, 1)
    assert config.metrics_interval_s + config.look_back_period_s / 5 <= 0.5
    assert len(config.policy.get_serialized_policy_def()) < 10_000
    kwargs = config.policy.policy_kwargs
    adapter = Adapter(kwargs["tier"], kwargs["rules"], kwargs["profile"], FakeShelf())
    adapter._read_back = adapter._started = True
    assert adapter(Context(1000.0, 1, {"a": LoadReport(1.0)}))[0] == 1
    assert adapter._error == ""


def test_tiers_that_share_gpus_have_the_budget_with_everybodys_floor() -> None:
    settings = changed(
        replicas={"min": 0, "max": 3}, accelerator={"per_replica": 2}, scaling={"risk_floor": 1}
    )
    assert budget_of(settings) is None
    settings = settings.model_copy(update={"cluster": Cluster(max_gpus=5)})
    budget = budget_of(settings)
    assert budget == GpuAllotment(5, {"small": TierPart(0, 1), "large": TierPart(2, 1)})
    large, profile = settings.tiers[1], profiles_of(settings)["large"]
    config: Any = scale_options(large, profile, "info", budget)["autoscaling_config"]
    assert GpuAllotment.read(config.policy.policy_kwargs["budget"]) == budget
    config = scale_options(large, profile, "info")["autoscaling_config"]
    assert config.policy.policy_kwargs["budget"] is None


@pytest.mark.parametrize(
    ("tier", "name"),
    [
        ({}, "simulated-large"),
        (VLLM, "default-cpu"),
        (VLLM | {"accelerator": {"per_replica": 2}}, "default-gpu"),
        ({"profile": "L40S-8B"}, "L40S-8B"),
    ],
)
def test_a_tier_is_counted_with_its_profile_or_a_careful_one(
    tier: dict[str, Any], name: str
) -> None:
    settings = changed(**tier)
    profile = profile_of(settings, settings.tiers[1])
    assert profile.name == name
    assert profile.gpus == (2 if name == "default-gpu" else profile.gpus)


def test_a_profile_that_is_not_there_is_told() -> None:
    settings = changed(profile="nobody's")
    with pytest.raises(HansomError, match="L40S-8B"):
        profile_of(settings, settings.tiers[1])


class Scene:
    """A small tier that is up, a large one that scales from zero, and the policy's record."""

    def __init__(self, **record: Any) -> None:
        self.settings = changed(replicas={"min": 0, "max": 3})
        self.shelf = FakeShelf()
        self.up: list[Replica] = []
        wake_queue = WakeQueue("large", self.shelf, "g", self._kick)
        self.tiers = {
            "small": TierReplicas("small", lambda: UP, Connections(), 1.0),
            "large": TierReplicas(
                "large", lambda: self.up, Connections(), 1.0, wake_queue=wake_queue
            ),
        }
        self.scales = Scales(
            self.shelf, self.settings.tiers, self.tiers, profiles_of(self.settings), 0.4
        )
        self.shelf.put(record_key("large"), orjson.dumps(record))

    async def _kick(self) -> None:
        """Nobody needs it here."""

    def look(self) -> dict[str, TierSignal]:
        self.scales.look(read_records(self.shelf, ["large"]))
        return self.scales.signals()


LOAD = {"id": "a", "at_s": 10.0, "started_s": 1.0}


def view(**changes: Any) -> dict[str, Any]:
    told = {"now_s": 10.0, "target": 0, "ready": [], "starting": [], "traffic": {"seconds": 0.25}}
    return told | changes


def test_a_cold_tier_is_up_for_the_router_and_takes_its_time() -> None:
    scene = Scene(view=view(), lead_s=40.0)
    large = scene.look()["large"]
    assert (large.available, large.warm, large.cold_start_s) == (True, False, 40.0)
    assert large.wait_s == 40.0
    assert scene.scales.outlook.busy_threshold > 0.4, "the bar for going up is higher"
    scene.up = UP
    assert scene.scales.signals()["large"].warm, "seen at once, before the next record"


def board(scene: Scene, strategy: Strategy = Strategy.LEARNED, need: float = 0.5) -> Dispatcher:
    """A board that sends half of the calls up."""
    tiers = (TierName("small", "small-model"), TierName("large", "large-model"))
    plan = RoutingPlan(Policy(tiers, (0.4,), strategy=strategy))
    router = FakeRouter(score(need))
    return Dispatcher(plan, router, scene.tiers, 1.0, Metrics(), scales=scene.scales)


@pytest.mark.parametrize(
    ("up", "need", "tier"), [(True, 0.5, "large"), (False, 0.5, "small"), (False, 0.9, "large")]
)
async def test_a_cold_dearest_tier_takes_only_what_needs_it_most(
    up: bool, need: float, tier: str
) -> None:
    scene = Scene(view=view(ready=[LOAD] if up else []), lead_s=400.0)
    scene.up = UP if up else []
    scene.look()
    decision = await board(scene, need=need).decide(call(requested="auto"))
    assert decision.tier == tier
    assert decision.code == ("large_busy" if tier == "small" else "hard")


async def test_a_cold_cheapest_tier_is_passed_over_and_woken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene(view=view(ready=[LOAD]), lead_s=40.0)
    scene.settings = changed(replicas={"min": 1, "max": 3})
    wake_queue = WakeQueue("small", scene.shelf, "g", scene._kick)
    scene.tiers["small"].wake_queue, scene.tiers["small"].running = wake_queue, list
    scene.up = UP
    scene.scales._outlook = Outlook(
        {"small": TierSignal(warm=False, cold_start_s=40.0), "large": TierSignal()}, deadline_s=2.0
    )
    decision = await board(scene, Strategy.ALWAYS_SMALL).decide(call(requested="auto"))
    assert (decision.tier, decision.code) == ("large", "late")
    await until(lambda: wake_queue.calls == 1)
    await wake_queue.close()


def test_one_that_never_decided_is_counted_with_its_profile() -> None:
    scene = Scene()
    assert scene.look()["large"].cold_start_s == profiles_of(scene.settings)["large"].lead_s


def test_a_tier_that_does_not_sleep_is_down_without_a_replica() -> None:
    scene = Scene(view=view(), lead_s=40.0)
    scene.tiers["small"].running = list
    assert not scene.look()["small"].available


async def test_a_record_that_is_broken_is_none_and_raises_nothing() -> None:
    scene = Scene()
    scene.shelf.values[record_key("large")] = b"nonsense"
    assert await scene.scales.records() == {}
    scene.shelf.failure = OSError("away")
    assert await scene.scales.records() == {}


def test_decisions_stand_in_a_scrape_once_and_memory_does_not() -> None:
    scene = Scene(
        wanted={"replicas": 3, "code": "rate", "reason": "much"}, lead_s=4.5, errors=2,
        within_share=0.98, headroom_level=0.5,
        decisions={"rate": 7, "hold": 1}, memory={"x": 1}, view=view(),
    )  # fmt: skip
    records = read_records(scene.shelf, ["large", "other"])
    assert "memory" not in records["large"]
    found = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(merge({"gateway": []}, families(records)))
        for sample in family.samples
    }
    tier = ("tier", "large")
    assert found["hansom_scale_wanted_replicas", tier] == 3
    assert found["hansom_scale_start_seconds", tier] == 4.5
    assert found["hansom_scale_attainment_ratio", tier] == 0.98
    assert found["hansom_scale_headroom_level", tier] == 0.5
    assert found["hansom_scale_errors_total", tier] == 2
    assert found["hansom_scale_decisions_total", ("code", "rate"), tier] == 7


def test_the_shipped_profiles_are_where_the_settings_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = changed(profile="L40S-8B")
    assert profile_of(settings, settings.tiers[1]).name == "L40S-8B"
