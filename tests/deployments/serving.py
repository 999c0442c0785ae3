"""The whole of Hansom as a user starts it: `hansom serve` in a process of its own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml
from openai import OpenAI

from core.free_port import free_port
from core.ledger_line import LedgerLine
from ledger.path.sql_store import SqlStore, sqlite_url

ROOT = Path(__file__).parents[2]
HANSOM = Path(sys.executable).with_name("hansom")
START_S = 180.0
STOP_S = 60.0


def simulated(**changes: Any) -> dict[str, Any]:
    """`config/simulated.yaml` made small: one replica a tier, and room for a busy machine."""
    config: dict[str, Any] = yaml.safe_load((ROOT / "config" / "simulated.yaml").read_text())
    for tier in config["tiers"]:
        tier["replicas"] = {"min": 1, "max": 1}
        tier["engine"]["context_tokens"] = 2048
    return config | {"cache": {"timeout_s": 2.0}, "server": {"port": free_port()}} | changes


class Serving:
    """One running `hansom serve` with a home folder of its own, and `models` linked into it."""

    def __init__(
        self, config: dict[str, Any], models: Path | None = None, start_s: float = START_S
    ) -> None:
        # Not under pytest's own folder: a unix socket's path may have 107 bytes at most.
        self.home = Path(tempfile.mkdtemp(prefix="hansom-"))
        if models is not None:
            models.mkdir(parents=True, exist_ok=True)
            (self.home / "models").symlink_to(models)
        self._start_s = start_s
        self.config = self.home / "serve.yaml"
        self.config.write_text(yaml.safe_dump(config))
        self.url = f"http://127.0.0.1:{config['server']['port']}"
        self.ready: dict[str, Any] = {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"HANSOM_HOME": str(self.home)}

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start, and wait for the line that says it is ready."""
        out, err = self.home / "stdout", self.home / "stderr"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            self._process = subprocess.Popen(
                [HANSOM, "serve", "--config", self.config, "--json"],
                cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL,
                stdout=stdout, stderr=stderr, start_new_session=True,
            )  # fmt: skip
        process = self._process
        wait(lambda: out.read_text().endswith("}\n") or process.poll() is not None, self._start_s)
        assert process.poll() is None, err.read_text()
        self.ready = json.loads(out.read_text())

    def interrupt(self) -> tuple[int, list[psutil.Process]]:
        """Ctrl-C in its terminal: the exit code, and the processes that it left behind."""
        assert self._process is not None
        started = self.processes()
        os.killpg(self._process.pid, signal.SIGINT)
        code = self._process.wait(STOP_S)
        _, left = psutil.wait_procs(started, timeout=5)
        return code, [*left, *self._of_this_home()]

    def end(self) -> None:
        """Nothing of it stays, whatever happened; AssertionError if SIGTERM left processes."""
        left: list[psutil.Process] = []
        if self._process is not None and self._process.poll() is None:
            started = self.processes()
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
            _, left = psutil.wait_procs(started, timeout=5)
        commands = [command(one) for one in left]
        for process in left:
            process.kill()
        shutil.rmtree(self.home, ignore_errors=True)
        assert not commands, commands

    def processes(self) -> list[psutil.Process]:
        """All processes that it has started and that still run."""
        return psutil.Process(self.pid).children(recursive=True)

    def process(self, title: str) -> psutil.Process:
        """The one process with these words in its command line."""
        (found,) = [one for one in self.processes() if title in command(one)]
        return found

    def hansom(self, *arguments: str) -> str:
        """What another `hansom` command prints, on the same home and settings."""
        done = subprocess.run(
            [HANSOM, *arguments, "--config", self.config],
            cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def client(self, key: str = "test", **options: Any) -> OpenAI:
        """The official client, without the retries that would hide an error."""
        return OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, **options)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric over all samples that have these labels; 0 when there is none."""
        time.sleep(1.1)  # a scrape is kept for a second
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        lines = httpx.get(f"{self.url}/metrics", timeout=20).text.splitlines()
        return sum(
            float(line.rpartition(" ")[2])
            for line in lines
            if line.startswith(f"{name}{{") and all(want in line for want in wanted)
        )

    def lines(self, request_id: str, count: int = 1, timeout_s: float = 20.0) -> list[LedgerLine]:
        """The ledger's lines of one request, once there are `count` of them."""
        store = SqlStore(sqlite_url(self.home / "ledger.sqlite3"))
        found: list[LedgerLine] = []

        def enough() -> bool:
            found[:] = [
                one.line for one in store.tail(100_000) if one.line.request_id == request_id
            ]
            return len(found) >= count

        wait(enough, timeout_s)
        return found

    def _of_this_home(self) -> list[psutil.Process]:
        mark = f"HANSOM_HOME={self.home}".encode()
        return [one for one in psutil.process_iter() if mark in _environment(one)]


def wait(condition: Callable[[], object], timeout_s: float) -> None:
    """Until something outside has happened; `TimeoutError` otherwise."""
    end_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end_s:
            raise TimeoutError(f"not within {timeout_s:g} s")
        time.sleep(0.05)


def command(process: psutil.Process) -> str:
    """A process's command line; empty when it is gone."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _environment(process: psutil.Process) -> bytes:
    """As the kernel has it; empty when it is gone or somebody else's."""
    try:
        return Path(f"/proc/{process.pid}/environ").read_bytes()
    except OSError:
        return b""
