"""What the scripts that run several raylets on this machine have in common.

A script runs in a process of its own: Ray's flags are read once per process. Import Ray only after
`flags`.
"""

import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from core.settings.load import Settings, load
from deployments.machine import environment

ROOT = Path(__file__).parents[2]
NODE_ENV = ROOT / "config" / "clusters" / "node.env"
RAYLETS_ONLY = {
    "RAY_AUTH_MODE": "disabled",  # these nodes live and die within the test
    # A fake node of 48 CPUs would start as many workers before anybody asks.
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
}


ALONE = ["unshare", "--net", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc"]
"""A machine of one's own: no port, process or Ray folder is shared, and all ends with the first."""


def can_be_alone() -> bool:
    """Namespaces need root, and a kernel that lets it."""
    try:
        return subprocess.run([*ALONE, "true"], capture_output=True).returncode == 0
    except OSError:
        return False


def run_alone(module: str, *arguments: object, timeout_s: float) -> str:
    """What a script prints that runs in namespaces of its own; AssertionError when it fails."""
    inside = "ip link set lo up && mkdir -p /tmp/ray && mount -t tmpfs none /tmp/ray && exec "
    words = shlex.join([sys.executable, "-m", module, *map(str, arguments)])
    command = [*ALONE, "sh", "-c", inside + words]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        try:
            rc = subprocess.run(command, stdout=out, stderr=errors, timeout=timeout_s).returncode
        except subprocess.TimeoutExpired:
            rc = None
        out.seek(0)
        errors.seek(0)
        told = out.read()
        assert rc == 0, f"rc {rc}\n{told[-3000:]}\n{errors.read()[-3000:]}"
    return told


def variables(file: Path) -> dict[str, str]:
    """A file of `NAME=value` lines."""
    lines = [line for line in file.read_text().splitlines() if line and line[0] != "#"]
    return dict(line.split("=", 1) for line in lines)


def flags(home: Path) -> None:
    """Our flags, and the health checks as every node of a cluster has them."""
    environment.prepare(home)
    health = {name: value for name, value in variables(NODE_ENV).items() if "health" in name}
    os.environ.update(RAYLETS_ONLY | health)


def simulated(folder: Path, port: int, *tiers: str, **more: Any) -> Path:
    """config/gpu.yaml with engines that only play: tiers, GPUs and node resources are its own.

    `tiers` leaves the others out; `more` has what else is other, by tier, and in `limits`.
    """
    raw = yaml.safe_load((ROOT / "config" / "gpu.yaml").read_text())
    play = {"kind": "simulated", "ttft_s": 0.02, "tpot_s": 0.01, "output_tokens": 40}
    raw["tiers"] = [tier for tier in raw["tiers"] if tier["name"] in tiers]
    for tier in raw["tiers"]:
        tier["engine"] = play
        tier.pop("shape")  # nothing has to fit
        tier["replicas"] = {"min": 1, "max": 1}
        tier |= more.get(tier["name"], {})
    raw |= {"router": {"strategy": "heuristic"}, "cache": {"exact": False}}
    raw["server"] |= {"host": "127.0.0.1", "port": port, "gateway_replicas": 1}
    raw["limits"] |= more.get("limits", {})
    path = folder / "raylets.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


def deploy(config: Path, redis_url: str, home: Path, *tiers: str) -> Settings:
    """The real graph with these tiers, until the gateway is ready; returns the settings."""
    from ray import serve
    from ray.serve import RunTarget
    from ray.serve.config import HTTPOptions

    from deployments.app import Args, build_gateway, build_ledger, build_router, build_tier

    settings = load(config)
    serve.start(
        proxy_location="HeadOnly",
        http_options=HTTPOptions(host="0.0.0.0", port=settings.server.port),
    )
    args = Args(config=config, redis_url=redis_url, home=home)
    # The gateway runs before anything that it speaks to is there: parts start in any order.
    serve.run_many([RunTarget(build_gateway(args), "gateway", "/")])
    builds = [build_tier(args.model_copy(update={"tier": name})) for name in tiers]
    serve.run_many(
        [
            *(
                RunTarget(app, f"tier-{name}", None)
                for name, app in zip(tiers, builds, strict=True)
            ),
            RunTarget(build_router(args), "router", None),
            RunTarget(build_ledger(args), "ledger", None),
        ]
    )
    return settings


def base_url(settings: Settings) -> str:
    return f"http://127.0.0.1:{settings.server.port}"


def wait_ready(settings: Settings) -> None:
    end_s = time.monotonic() + 60
    while httpx.get(f"{base_url(settings)}/readyz", timeout=10).status_code != 200:
        assert time.monotonic() < end_s
        time.sleep(0.1)


def ask(settings: Settings, model: str) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
    return httpx.post(f"{base_url(settings)}/v1/chat/completions", json=body, timeout=30)


def tree(node: Any) -> list[psutil.Process]:
    """All processes of one node: what Ray started for it, and what these started."""
    roots = [each.process.pid for kind in node.all_processes.values() for each in kind]
    found = [psutil.Process(pid) for pid in roots if psutil.pid_exists(pid)]
    return found + [child for one in found for child in one.children(recursive=True)]


def groups() -> list[dict[str, Any]]:
    """Ray's placement groups that hold something: strategy, bundles and the nodes they are on."""
    from ray.util import placement_group_table

    return [one for one in placement_group_table().values() if one["state"] == "CREATED"]
