"""Run Hansom on one machine: Redis, a Ray cluster and the Serve applications.

Promises: when a `LocalCluster` ends, however it does, every process that this one has started since
the cluster was made is gone, and no other. `scratch` must be a new folder with a short path: Ray
and HAProxy put sockets there. Import this module only after
`deployments.machine.environment.prepare`, because Ray Serve reads its flags while it is imported.
"""

import logging
import os
import signal
import time
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
import ray
from ray import serve
from ray.serve import RunTarget
from ray.serve.config import HTTPOptions

from core.errors import HansomError
from core.ports import Progress
from core.settings.load import Settings
from deployments.app import Args, build_gateway, build_ledger, build_router, build_tier
from deployments.machine.redis_check import check_url
from deployments.machine.redis_server import RedisServer
from deployments.names import GATEWAY_APP, LEDGER_APP, ROUTER_APP, tier_app

_READY_TIMEOUT_S = 600.0
_POLL_S = 0.25
_OBJECT_STORE_BYTES = 100 * 2**20


class LocalCluster:
    """A context manager: everything runs inside, nothing after."""

    def __init__(
        self,
        config: Path,
        settings: Settings,
        home: Path,
        scratch: Path,
        progress: Progress,
    ) -> None:
        self._config = config.absolute()
        self._settings = settings
        self._home = home
        self._scratch = scratch
        self._progress = progress
        self._weights: Mapping[str, Future[Path]] = {}
        self._others = {child.pid for child in psutil.Process().children(recursive=True)}
        self._redis: RedisServer | None = None

    @property
    def redis_url(self) -> str:
        """The Redis in use."""
        url = self._redis.url if self._redis else self._settings.cache.redis_url
        assert url is not None
        return url

    @property
    def redis_pid(self) -> int | None:
        """The embedded Redis's process, None when the settings name another Redis."""
        return self._redis.pid if self._redis else None

    def expect(self, weights: Mapping[str, Future[Path]]) -> None:
        """Hold each of these tiers back until its weights are there."""
        self._weights = weights

    def __enter__(self) -> "LocalCluster":
        """Start everything, or stop what was started and raise."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop Serve, Ray and Redis, in that order; a second call does nothing."""
        children = [
            child
            for child in psutil.Process().children(recursive=True)
            if child.pid not in self._others and child.pid != self.redis_pid
        ]
        if ray.is_initialized():
            # Ray's raylet reports the controller that it was told to kill, on standard output.
            with redirect_stdout(StringIO()):
                _quietly(serve.shutdown)
                _quietly(ray.shutdown)
        _end(children)
        if self._redis is not None:
            self._redis.stop()
            self._redis = None

    def _start(self) -> None:
        run = self._home / "run"
        run.mkdir(parents=True, exist_ok=True)
        if self._settings.cache.redis_url is None:
            self._step("starting Redis")
            self._redis = RedisServer(self._home / "redis", run / "redis.sock")
            self._redis.start()
        else:
            check_url(self._settings.cache.redis_url)
        self._step("starting Ray")
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        ray.init(
            address="local",
            num_cpus=max(os.cpu_count() or 1, 2),
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            log_to_driver=False,
            logging_level=logging.WARNING,
            namespace="hansom",
            _temp_dir=str(self._scratch),
        )
        # Ray inherits SIGTERM's handling and aborts on it, so that nothing would be stopped.
        for number, handler in handlers.items():
            signal.signal(number, handler)
        server = self._settings.server
        serve.start(http_options=HTTPOptions(host=server.host, port=server.port))
        self._deploy()

    def _deploy(self) -> None:
        """Start all parts side by side, a tier as soon as its weights are there; wait for each."""
        args = Args(config=self._config, redis_url=self.redis_url, home=self._home)
        _run(
            RunTarget(build_router(args), ROUTER_APP, None),
            RunTarget(build_ledger(args), LEDGER_APP, None),
            RunTarget(build_gateway(args), GATEWAY_APP, "/"),
        )
        tiers = [tier.name for tier in self._settings.tiers]
        for name in tiers:
            if name in self._weights:
                self._step(f"waiting for the weights of {name}")
                self._weights[name].result()
            _run(
                RunTarget(build_tier(args.model_copy(update={"tier": name})), tier_app(name), None)
            )
        for app in (ROUTER_APP, LEDGER_APP, GATEWAY_APP, *map(tier_app, tiers)):
            self._step(f"starting {app}")
            _wait_running(app)
        self._progress.done()

    def _step(self, label: str) -> None:
        self._progress.done()
        self._progress.start(label, None)


def _run(*targets: RunTarget) -> None:
    serve.run_many(
        targets, wait_for_ingress_deployment_creation=False, wait_for_applications_running=False
    )


def _wait_running(app: str) -> None:
    """Wait until Serve says RUNNING; raises `HansomError` with Serve's own words if it fails."""
    end_s = time.monotonic() + _READY_TIMEOUT_S
    while time.monotonic() < end_s:
        status = serve.status().applications.get(app)
        if status is not None and status.status == "RUNNING":
            return
        if status is not None and status.status in ("DEPLOY_FAILED", "UNHEALTHY"):
            words = "; ".join(item.message for item in status.deployments.values() if item.message)
            raise HansomError(f"{app} did not start: {words or status.message}")
        time.sleep(_POLL_S)
    raise HansomError(f"{app} did not start within {_READY_TIMEOUT_S:g} s.")


def _quietly(step: Any) -> None:
    """Run one step of a shutdown: a failure is logged and the next step still runs."""
    try:
        step()
    except Exception:
        logging.getLogger("hansom.local").exception("shutdown_step_failed")


def _end(processes: list[psutil.Process]) -> None:
    """End what is left of processes that were started here, and wait for them."""
    _, alive = psutil.wait_procs(processes, timeout=3)
    for process in alive:
        process.terminate()
    _, alive = psutil.wait_procs(alive, timeout=3)
    for process in alive:
        process.kill()
