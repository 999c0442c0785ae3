"""Tiers land on the node types that the settings name; a lost node costs what streams on it.

A node that is killed, or that freezes, costs what streams on it at that moment and no more.

Measured on 2 busy cores, with the health checks of config/clusters/node.env and a
`limits.stall_timeout_s` of 2 s; the bounds leave room for slower machines.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from core.free_port import free_port
from tests.live import raylets
from tests.live.lost_nodes import CLIENTS

pytestmark = [
    pytest.mark.ray,
    pytest.mark.namespaces,
    pytest.mark.skipif(not raylets.can_be_alone(), reason="needs namespaces (root)"),
]


@pytest.fixture(scope="module")
def seen(redis_url: str) -> dict[str, Any]:
    """What the script saw."""
    with tempfile.TemporaryDirectory(prefix="hn-") as folder:
        two = {"replicas": {"min": 2, "max": 2}}
        config = raylets.simulated(
            Path(folder), free_port(), "small", "large", small=two, large=two,
            limits={"stall_timeout_s": 2},
        )  # fmt: skip
        printed = raylets.run_alone(
            "tests.live.lost_nodes", config, redis_url, folder, timeout_s=200
        )
    found: dict[str, Any] = next(
        json.loads(line) for line in printed.splitlines() if line.startswith('{"landed"')
    )
    return found


def test_each_tier_runs_on_the_node_type_its_settings_name(seen: dict[str, Any]) -> None:
    assert seen["landed"] == {"small": ["small_gpu"] * 2, "large": ["large_gpu"] * 2}
    assert seen["answers"] == {"small": [200, "small"], "large": [200, "large"]}
    # One placement group to a tensor-parallel replica: four GPUs of one node that it shares with
    # nobody. The small tier needs none.
    assert seen["gpus"] == {"small": [["0"], ["0"]], "large": [list("0123"), list("4567")]}
    assert [group["strategy"] for group in seen["groups"]] == ["STRICT_PACK", "STRICT_PACK"]
    for group in seen["groups"]:
        assert group["nodes"] == ["large_gpu"]
        assert [bundle["GPU"] for bundle in group["bundles"]] == [4.0]


def test_a_lost_node_costs_its_open_streams_and_is_replaced(seen: dict[str, Any]) -> None:
    print({name: seen[name] for name in ("before", "killed", "frozen")})
    assert seen["before"]["lost"] == 0 and seen["before"]["of"] > 0
    for accident, longest_s, strong_s in (("killed", 5, 20), ("frozen", 10, 30)):
        one = seen[accident]
        # Each client has one stream open, and loses it at most once.
        assert one["lost"] <= CLIENTS, one
        assert one["of"] > one["lost"]
        assert all("stream_broken" in why for why in one["why"]), one
        assert one["longest_s"] < longest_s
        assert one["full_strength_s"] < strong_s
