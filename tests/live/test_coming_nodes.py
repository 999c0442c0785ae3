"""Ray's autoscaler, with the node types of cluster.yaml and the tiers of config/gpu.yaml."""

import json
import tempfile
from pathlib import Path

import pytest

from core.free_port import free_port
from tests.live import raylets

pytestmark = [
    pytest.mark.ray,
    pytest.mark.namespaces,
    pytest.mark.skipif(not raylets.can_be_alone(), reason="needs namespaces (root)"),
]


def test_a_large_node_comes_for_a_large_replica_and_goes_when_it_is_idle(redis_url: str) -> None:
    with tempfile.TemporaryDirectory(prefix="hn-") as folder:
        config = raylets.simulated(Path(folder), free_port(), "small", "large")
        printed = raylets.run_alone(
            "tests.live.coming_nodes", config, redis_url, folder, timeout_s=200
        )
    seen = next(json.loads(line) for line in printed.splitlines() if line.startswith('{"before"'))
    print(seen)
    assert (seen["before"], seen["small"]) == ([], ["small_gpu"])
    assert seen["came"] == ["large_gpu", "small_gpu"]
    assert seen["answered"] == 200
    # The gateway, the router and the ledger are on the head: the large node was idle, and went;
    # the small one still serves.
    assert seen["still"] == 200
    assert seen["came_s"] < 60 and seen["left_s"] < 60
