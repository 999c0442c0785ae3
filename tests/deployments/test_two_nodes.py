"""The tiers land on the node types that the settings name, and on whole groups of GPUs."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from core.free_port import free_port
from tests.deployments import raylets

pytestmark = pytest.mark.ray


def test_each_tier_runs_on_the_node_type_its_settings_name(redis_url: str) -> None:
    with tempfile.TemporaryDirectory(prefix="hn-") as folder:
        two = {"replicas": {"min": 2, "max": 2}}
        config = raylets.simulated(Path(folder), free_port(), "small", "large", large=two)
        done = subprocess.run(
            [sys.executable, "-m", "tests.deployments.two_nodes", config, redis_url, folder],
            capture_output=True,
            text=True,
            timeout=240,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    seen = next(
        json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"landed"')
    )
    assert seen["landed"] == {"small": ["small_gpu"], "large": ["large_gpu", "large_gpu"]}
    assert seen["answers"] == {"small": [200, "small"], "large": [200, "large"]}
    # One placement group to a tensor-parallel replica: four GPUs of one node that it shares with
    # nobody. The small tier needs none.
    assert seen["gpus"] == {"small": [["0"]], "large": [list("0123"), list("4567")]}
    assert [group["strategy"] for group in seen["groups"]] == ["STRICT_PACK", "STRICT_PACK"]
    for group in seen["groups"]:
        assert group["nodes"] == ["large_gpu"]
        assert [bundle["GPU"] for bundle in group["bundles"]] == [4.0]
