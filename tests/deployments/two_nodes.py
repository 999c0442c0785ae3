"""Run by test_two_nodes.py in a process of its own: Ray's flags are read once per process.

Starts a Ray head without GPUs, a node with one and a node with four, deploys the real graph with
simulated engines, and prints where each tier's replicas run and what the gateway answers.
"""

import json
import os
import sys
import time
from pathlib import Path

from deployments import environment


def main(config: Path, redis_url: str, home: Path) -> None:
    environment.prepare(home)
    os.environ["RAY_AUTH_MODE"] = "disabled"  # these nodes live and die within the test
    import httpx
    import ray
    from ray import serve
    from ray.cluster_utils import Cluster
    from ray.serve import RunTarget
    from ray.serve.config import HTTPOptions

    from deployments.app import Args, build_gateway, build_ledger, build_router, build_tier

    settings = environment.settings(config)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "num_gpus": 0})
    small = cluster.add_node(num_cpus=2, num_gpus=1, resources={"small_gpu": 1})
    large = cluster.add_node(num_cpus=2, num_gpus=4, resources={"large_gpu": 1})
    types = {small.node_id: "small_gpu", large.node_id: "large_gpu"}
    ray.init(address=cluster.address, log_to_driver=False, namespace="two-nodes")
    try:
        serve.start(
            proxy_location="HeadOnly",
            http_options=HTTPOptions(host="0.0.0.0", port=settings.server.port),
        )
        args = Args(config=config, redis_url=redis_url, home=home)
        # The gateway runs before anything that it speaks to is there: parts start in any order.
        serve.run_many([RunTarget(build_gateway(args), "gateway", "/")])
        tiers = [args.model_copy(update={"tier": tier.name}) for tier in settings.tiers]
        serve.run_many(
            [
                *(RunTarget(build_tier(one), f"tier-{one.tier}", None) for one in tiers),
                RunTarget(build_router(args), "router", None),
                RunTarget(build_ledger(args), "ledger", None),
            ]
        )
        landed = {}
        for tier in settings.tiers:
            handle = serve.get_deployment_handle("Engine", f"tier-{tier.name}")
            handle._init(_run_router_in_separate_loop=True)
            found = handle.broadcast("where").results(timeout_s=30)
            landed[tier.name] = sorted(types.get(one["node_id"], "head") for one in found)
        base = f"http://127.0.0.1:{settings.server.port}"
        while httpx.get(f"{base}/readyz", timeout=10).status_code != 200:
            time.sleep(0.1)
        answers = {}
        for tier in settings.tiers:
            answer = httpx.post(
                f"{base}/v1/chat/completions",
                json={"model": tier.name, "messages": [{"role": "user", "content": "hello"}]},
                timeout=30,
            )
            answers[tier.name] = [answer.status_code, answer.headers.get("x-hansom-tier")]
        print(json.dumps({"landed": landed, "answers": answers}), flush=True)
    finally:
        serve.shutdown()
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
