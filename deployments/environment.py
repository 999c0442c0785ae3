"""The environment that every Ray process of a cluster needs, and where Hansom keeps its files.

Ray Serve reads its flags once, while it is imported: call `prepare` before anything imports
`ray.serve`, and give the same variables to every `ray start` (`cluster.yaml` does).
"""

import os
from pathlib import Path

# One hop costs 3.5 ms with Serve's default proxy and 0.3 ms with these (docs/benchmarks.md).
RAY_FLAGS = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # A stream may last as long as limits.request_timeout_s; HAProxy's old workers must outlive it.
    "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "900",
    "RAY_SERVE_HAPROXY_NBTHREAD": "2",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "deployments.request_id:middlewares",
    "RAY_USAGE_STATS_ENABLED": "0",
}
# On one machine nothing must wait for other nodes' proxies to notice a retired replica.
LOCAL_FLAGS = {
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0.1",
    "RAY_AUTH_MODE": "disabled",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_DEDUP_LOGS": "0",
}


def home() -> Path:
    """`$HANSOM_HOME`, by default `~/.cache/hansom`: weights, Redis's files and the ledger."""
    return Path(os.environ.get("HANSOM_HOME") or Path.home() / ".cache" / "hansom").absolute()


def prepare(run_folder: Path | None = None) -> None:
    """Set the flags that the caller's environment leaves open; `run_folder` for a local cluster.

    HAProxy keeps its sockets there, so that two clusters on one machine don't share them.
    """
    flags = dict(RAY_FLAGS)
    if run_folder is not None:
        flags |= LOCAL_FLAGS
        haproxy = run_folder / "haproxy"
        haproxy.mkdir(parents=True, exist_ok=True)
        flags |= {
            "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(haproxy / "haproxy.cfg"),
            "RAY_SERVE_HAPROXY_SOCKET_PATH": str(haproxy / "admin.sock"),
            "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(haproxy / "metrics.sock"),
            "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(haproxy),
            "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(haproxy / "server-state"),
        }
    for name, value in flags.items():
        os.environ.setdefault(name, value)
