"""Run by test_lost_nodes.py: two tiers land, a node is killed under load, then one freezes.

Four nodes with one GPU each hold two replicas of the small tier, and one with eight two of the
large tier. Prints where each tier's replicas run, which GPUs they have and what the gateway
answers. Then six clients stream all the time from the small tier: for each accident, the requests
that failed, the longest wait, and the seconds until Serve tells the gateway of two replicas on
nodes that live.
"""

import asyncio
import json
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from core.settings.load import Settings
from tests.live import raylets

CLIENTS = 6
REPLICAS = 2
GIVE_UP_S = 60


@dataclass
class Seen:
    """What the clients have seen since the last accident."""

    took_s: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


async def client(url: str, seen: list[Seen]) -> None:
    body = {
        "model": "small",
        "stream": True,
        "messages": [{"role": "user", "content": "hello"}],
    }
    async with httpx.AsyncClient(timeout=GIVE_UP_S) as http:
        while True:
            began_s, failed = time.monotonic(), None
            try:
                async with http.stream("POST", f"{url}/v1/chat/completions", json=body) as answer:
                    text = (await answer.aread()).decode()
                good = answer.status_code == 200 and text.rstrip().endswith("[DONE]")
                good = good and '"error"' not in text
                failed = None if good else f"{answer.status_code} {text[-200:]}"
            except httpx.HTTPError as error:
                failed = repr(error)
            to = seen[-1]  # that of its end: what an accident cuts began before it
            to.failed += [failed] if failed else []
            to.took_s.append(time.monotonic() - began_s)


def told(handle: Any, gone: set[str]) -> list[str]:
    """The nodes of the replicas that Serve tells a gateway of, without those in `gone`."""
    router = handle._router._asyncio_router.request_router
    found = router.curr_replicas.values() if router else ()
    return [one.node_id for one in found if one.node_id not in gone]


async def accident(
    number: int, handle: Any, nodes: dict[str, Any], gone: set[str], seen: list[Seen]
) -> dict[str, object]:
    """Send a signal to all of a node with a replica; wait for full strength, and a little more."""
    id = told(handle, gone)[0]
    node = nodes[id]
    processes = raylets.tree(node)
    seen.append(Seen())
    at_s = time.monotonic()
    for process in processes:
        process.send_signal(number)
    gone.add(id)
    end_s = at_s + GIVE_UP_S
    while len(told(handle, gone)) < REPLICAS and time.monotonic() < end_s:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    strong_s = time.monotonic() - at_s
    await asyncio.sleep(3)
    now = seen[-1]
    seen.append(Seen())
    return {
        "lost": len(now.failed),
        "of": len(now.took_s),
        "longest_s": round(max(now.took_s), 2),
        "full_strength_s": round(strong_s, 2),
        "why": sorted(set(now.failed))[:3],
    }


async def accidents(url: str, handle: Any, nodes: dict[str, Any]) -> dict[str, object]:
    gone: set[str] = set()
    seen = [Seen()]
    clients = [asyncio.create_task(client(url, seen)) for _ in range(CLIENTS)]
    await asyncio.sleep(2)
    before = {"lost": len(seen[0].failed), "of": len(seen[0].took_s)}
    killed = await accident(signal.SIGKILL, handle, nodes, gone, seen)
    await asyncio.sleep(1)
    frozen = await accident(signal.SIGSTOP, handle, nodes, gone, seen)
    for each in clients:
        each.cancel()
    return {"before": before, "killed": killed, "frozen": frozen}


def engines(tier: str) -> Any:
    """A handle that sees a tier's replicas as the gateway does."""
    from ray import serve

    handle = serve.get_deployment_handle("Engine", f"tier-{tier}")
    handle._init(_run_router_in_separate_loop=True)
    return handle


def landed(settings: Settings, handles: dict[str, Any], types: dict[str, str]) -> dict[str, object]:
    """Where the replicas and their placement groups are, by the node's type."""
    kinds, gpus, answers = {}, {}, {}
    for tier in settings.tiers:
        found = handles[tier.name].broadcast("where").results(timeout_s=30)
        kinds[tier.name] = sorted(types.get(one["node_id"], "head") for one in found)
        gpus[tier.name] = sorted(sorted(one["gpus"]) for one in found)
        answer = raylets.ask(settings, tier.name)
        answers[tier.name] = [answer.status_code, answer.headers.get("x-hansom-tier")]
    groups = [
        {
            "strategy": one["strategy"],
            "bundles": list(one["bundles"].values()),
            "nodes": [types.get(id, "head") for id in one["bundles_to_node_id"].values()],
        }
        for one in raylets.groups()
    ]
    return {"landed": kinds, "gpus": gpus, "groups": groups, "answers": answers}


def main(config: Path, redis_url: str, home: Path) -> None:
    raylets.flags(home)
    import ray
    from ray.cluster_utils import Cluster

    # As in cluster.yaml, with less of everything but GPUs.
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 2, "resources": {"control": 1}}
    )
    nodes = [cluster.add_node(num_cpus=4, num_gpus=1, resources={"small_gpu": 1}) for _ in range(4)]
    large = cluster.add_node(num_cpus=32, num_gpus=8, resources={"large_gpu": 1})
    ray.init(address=cluster.address, log_to_driver=False, namespace="lost-nodes")
    settings = raylets.deploy(config, redis_url, home, "small", "large")
    raylets.wait_ready(settings)
    by_id = {node.node_id: node for node in nodes}
    handles = {tier.name: engines(tier.name) for tier in settings.tiers}
    where = landed(
        settings, handles, dict.fromkeys(by_id, "small_gpu") | {large.node_id: "large_gpu"}
    )
    seen = asyncio.run(accidents(raylets.base_url(settings), handles["small"], by_id))
    print(json.dumps(where | seen), flush=True)
    os._exit(0)  # the namespace ends with this process, and with it what is frozen


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
