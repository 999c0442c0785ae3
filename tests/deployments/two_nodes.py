"""Run by test_two_nodes.py in a process of its own: Ray's flags are read once per process.

Starts a Ray head without GPUs, a node with one and a node with eight, deploys the real graph with
simulated engines, and prints where each tier's replicas run, which GPUs they have and what the
gateway answers.
"""

import json
import sys
from pathlib import Path

from tests.deployments import raylets


def main(config: Path, redis_url: str, home: Path) -> None:
    raylets.flags(home)
    import ray
    from ray import serve
    from ray.cluster_utils import Cluster

    # As in cluster.yaml, with less of everything but GPUs.
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 2, "resources": {"control": 1}}
    )
    small = cluster.add_node(num_cpus=4, num_gpus=1, resources={"small_gpu": 1})
    large = cluster.add_node(num_cpus=32, num_gpus=8, resources={"large_gpu": 1})
    types = {small.node_id: "small_gpu", large.node_id: "large_gpu"}
    ray.init(address=cluster.address, log_to_driver=False, namespace="two-nodes")
    try:
        settings = raylets.deploy(config, redis_url, home, "small", "large")
        landed, gpus = {}, {}
        for tier in settings.tiers:
            handle = serve.get_deployment_handle("Engine", f"tier-{tier.name}")
            handle._init(_run_router_in_separate_loop=True)
            found = handle.broadcast("where").results(timeout_s=30)
            landed[tier.name] = sorted(types.get(one["node_id"], "head") for one in found)
            gpus[tier.name] = sorted(sorted(one["gpus"]) for one in found)
        raylets.wait_ready(settings)
        answers = {}
        for tier in settings.tiers:
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
        seen = {"landed": landed, "gpus": gpus, "groups": groups, "answers": answers}
        print(json.dumps(seen), flush=True)
    finally:
        serve.shutdown()
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
