"""Run by test_coming_nodes.py: Ray's autoscaler fetches nodes for replicas and lets them go.

The node types are those of cluster.yaml, with their own resources and none at the start; Ray's
provider for tests starts each node as a raylet on this machine. Prints how long a node took to
come, and to go when its replica was gone.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from tests.live import raylets

HEAD_ID = "f" * 51 + "00000"  # what Ray's provider takes for the head
GIVE_UP_S = 60
COMMANDS = (
    "initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray"
)  # fmt: skip
FLAGS = {
    "RAY_FAKE_CLUSTER": "1",
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    "RAY_enable_autoscaler_v2": "1",
    "RAY_CLOUD_INSTANCE_ID": HEAD_ID,
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID,
}


def cluster_file(folder: Path) -> Path:
    """cluster.yaml with another provider and an idle timeout that a test can wait for."""
    real = yaml.safe_load((raylets.ROOT / "cluster.yaml").read_text())
    types = {
        name: {"resources": node["resources"], "node_config": {}}
        | {"min_workers": 0, "max_workers": node.get("max_workers", 0)}
        for name, node in real["available_node_types"].items()
    }
    types["ray.head.default"] = types.pop("head") | {"max_workers": 0}
    made: dict[str, Any] = {
        "cluster_name": "coming-nodes",
        "provider": {
            "type": "fake_multinode",
            "launch_multiple": True,
            "head_node_id": HEAD_ID,
            "disable_node_updaters": True,
        },
        "available_node_types": types,
        "head_node_type": "ray.head.default",
        "auth": {},
        "file_mounts": {},
        "cluster_synced_files": [],
        **{f"{kind}_commands": [] for kind in COMMANDS},
        "max_workers": real["max_workers"],
        "upscaling_speed": real["upscaling_speed"],
        "idle_timeout_minutes": 0.1,
    }
    path = folder / "cluster.json"
    path.write_text(json.dumps(made))
    return path


def complete_provider(home: Path, defaults: Path) -> None:
    """Ray's wheel lacks a file of defaults for this provider: a copy of its folder gets one.

    The copy is mounted over the folder, which nobody outside of this namespace sees.
    """
    import ray.autoscaler._private.fake_multi_node as provider

    folder = Path(provider.__file__).parent
    copy = home / "fake_multi_node"
    shutil.copytree(folder, copy)
    shutil.copy(defaults, copy / "example.yaml")
    subprocess.run(["mount", "--bind", str(copy), str(folder)], check=True)


def nodes() -> list[str]:
    """The living workers, by the custom resource of their type."""
    import ray

    kinds = ("small_gpu", "large_gpu")
    living = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sorted(kind for kind in kinds for one in living if kind in one)


def wait_for(wanted: list[str]) -> float:
    """Seconds until the living workers are these; fails after a while."""
    began_s = time.monotonic()
    while nodes() != wanted:
        assert time.monotonic() - began_s < GIVE_UP_S, f"{nodes()} instead of {wanted}"
        time.sleep(0.1)
    return round(time.monotonic() - began_s, 1)


def main(config: Path, redis_url: str, home: Path) -> None:
    raylets.flags(home)
    os.environ.update(FLAGS)
    file = cluster_file(home)
    complete_provider(home, file)
    head = [str(Path(sys.executable).parent / "ray"), "start", "--head", "--port=6379"]
    head += ["--num-cpus=8", "--num-gpus=0", '--resources={"control": 1}']
    head += ["--object-store-memory=100000000", "--include-dashboard=false"]
    head += [f"--autoscaling-config={file}"]
    subprocess.run(head, check=True, stdout=sys.stderr)
    import ray
    from ray import serve
    from ray.serve import RunTarget

    from deployments.app import Args, build_tier

    ray.init(address="auto", log_to_driver=False, namespace="coming-nodes")
    before = nodes()
    settings = raylets.deploy(config, redis_url, home, "small")
    small = nodes()
    began_s = time.monotonic()
    large = Args(config=config, redis_url=redis_url, home=home, tier="large")
    serve.run_many([RunTarget(build_tier(large), "tier-large", None)])
    came_s = round(time.monotonic() - began_s, 1)
    came = nodes()
    raylets.wait_ready(settings)
    answered = raylets.ask(settings, "large").status_code
    serve.delete("tier-large", _blocking=False)
    left_s = wait_for(["small_gpu"])
    still = raylets.ask(settings, "small").status_code
    seen = {"before": before, "small": small, "came": came, "came_s": came_s}
    seen |= {"answered": answered, "left_s": left_s, "still": still}
    print(json.dumps(seen), flush=True)
    os._exit(0)  # the namespace ends with this process


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
