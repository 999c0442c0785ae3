"""A node that is killed, or that freezes, costs what streams on it at that moment and no more.

Measured on 2 busy cores, with the health checks of config/clusters/node.env and a
`limits.stall_timeout_s` of 2 s; the bounds leave room for slower machines.
"""

import json
import tempfile
from pathlib import Path

import pytest

from core.free_port import free_port
from tests.deployments import raylets
from tests.deployments.lost_nodes import CLIENTS

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(not raylets.can_be_alone(), reason="needs namespaces (root)"),
]


def test_a_lost_node_costs_its_open_streams_and_is_replaced(redis_url: str) -> None:
    with tempfile.TemporaryDirectory(prefix="hn-") as folder:
        two = {"replicas": {"min": 2, "max": 2}}
        limits = {"stall_timeout_s": 2}
        config = raylets.simulated(Path(folder), free_port(), "small", small=two, limits=limits)
        printed = raylets.run_alone(
            "tests.deployments.lost_nodes", config, redis_url, folder, timeout_s=150
        )
    seen = next(json.loads(line) for line in printed.splitlines() if line.startswith('{"before"'))
    print(seen)
    assert seen["before"]["lost"] == 0 and seen["before"]["of"] > 0
    for accident, longest_s, strong_s in (("killed", 5, 20), ("frozen", 10, 30)):
        one = seen[accident]
        # Each client has one stream open, and loses it at most once.
        assert one["lost"] <= CLIENTS, one
        assert one["of"] > one["lost"]
        assert all("stream_broken" in why for why in one["why"]), one
        assert one["longest_s"] < longest_s
        assert one["full_strength_s"] < strong_s
