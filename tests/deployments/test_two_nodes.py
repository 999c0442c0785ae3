"""The tiers land on the node types that the settings name."""

import json
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.ray


def _config(folder: Path) -> Path:
    raw = yaml.safe_load(Path("config/simulated.yaml").read_text())
    for tier, gpus in zip(raw["tiers"], (1, 4), strict=True):
        tier["accelerator"] = {"type": "fake", "per_replica": gpus}
        tier["node_resources"] = {f"{tier['name']}_gpu": 0.01}
        tier["replicas"] = {"min": 1, "max": 1}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        raw["server"] = {"port": free.getsockname()[1]}
    path = folder / "two-nodes.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


def test_each_tier_runs_on_the_node_type_its_settings_name(redis_url: str) -> None:
    with tempfile.TemporaryDirectory(prefix="hn-") as folder:
        config = _config(Path(folder))
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
    assert seen["landed"] == {"small": ["small_gpu"], "large": ["large_gpu"]}
    assert seen["answers"] == {"small": [200, "small"], "large": [200, "large"]}
