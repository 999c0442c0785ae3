"""What each part of the graph reserves in Ray, with the settings of a cluster."""

from pathlib import Path
from typing import Any

import pytest

from deployments.app import Args, build_gateway, build_ledger, build_router, build_tier

ROOT = Path(__file__).parents[2]


@pytest.fixture
def args(tmp_path: Path) -> Args:
    return Args(config=ROOT / "config" / "gpu.yaml", home=tmp_path)


def reserved(app: Any) -> Any:
    return app._bound_deployment._replica_config


def test_a_replica_on_several_gpus_reserves_them_as_one_bundle_of_one_node(args):
    large = reserved(build_tier(args.model_copy(update={"tier": "large"})))
    assert large.placement_group_bundles == [{"CPU": 16, "GPU": 4, "large_gpu": 0.001}]
    assert large.placement_group_strategy == "STRICT_PACK"
    assert (large.ray_actor_options["num_cpus"], large.ray_actor_options["num_gpus"]) == (16, 4)


def test_a_replica_on_one_gpu_needs_no_group(args):
    small = reserved(build_tier(args.model_copy(update={"tier": "small"})))
    assert small.placement_group_bundles is None
    assert small.ray_actor_options["resources"] == {"small_gpu": 0.001}


@pytest.mark.parametrize("build", [build_gateway, build_router, build_ledger])
def test_what_is_no_engine_runs_on_the_nodes_that_the_settings_name(args, build):
    resources = reserved(build(args)).ray_actor_options["resources"]
    assert resources["control"] == 0.001
    assert not {"small_gpu", "large_gpu"} & resources.keys()
