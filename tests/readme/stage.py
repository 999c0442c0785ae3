"""Where documented commands run: an endpoint, a ledger with a past, and folders to run them in.

Promises: every command gets the environment of the Python that runs the tests, first on PATH, and a
home folder of its own; the endpoint is one `hansom serve` of that environment with simulated
engines, on a free port. A webhook stands at the address of the alerts.
Not covered: the real models, whose tests are marked vllm.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml

from ledger.path.sql_store import SqlStore, sqlite_url
from tests.deployments.serving import Serving, simulated
from tests.docs import pages
from tests.ledger.lines import line
from tests.readme.documented import ENDLESS, of_checkout

# The command line finds its own data: no folder of the checkout is where commands run.
ELSEWHERE = True
TIMEOUT_S = 120
AN_HOUR, MODEL = 60, "simulated-small"
"""Lines of each past hour, and the model that they name."""
WATCHED_S = 4.0
"""How long a command that goes on for ever is watched before it is interrupted."""
# The Monday of 2026-W45: docs/ledger.md compares it with the week after.
PAST_BEGAN_S = datetime(2026, 11, 2, tzinfo=UTC).timestamp()
DOCUMENTED_PORT = "127.0.0.1:8000"


@dataclass(frozen=True)
class Done:
    """What a command came to."""

    command: str
    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """For an assertion that fails."""
        return f"{self.command}\n-> {self.code}\n{self.out[-2000:]}\n{self.err[-3000:]}"


class Stage:
    """One endpoint, and the folders of the commands."""

    def __init__(self, serving: Serving, folder: Path) -> None:
        self._serving, self._folder = serving, folder
        self._count, self._lock = 0, threading.Lock()
        self._before = folder / "before.yaml"
        self._before.write_text(yaml.safe_dump(simulated()))
        (folder / ".curlrc").write_text("fail-with-body\nsilent\n")  # an HTTP error is one here

    def new_folder(self) -> Path:
        """A folder to run commands in, with files of no kind in it."""
        with self._lock:
            self._count += 1
            place = self._folder / f"run-{self._count}"
        place.mkdir()
        for kind in ("csv", "jsonl", "yaml"):
            (place / f"garbage.{kind}").write_bytes(b"\xff\xfe\x00 neither {this ] nor that")
        if not ELSEWHERE:
            for name in ("examples", "router", "cluster.yaml"):
                (place / name).symlink_to(pages.ROOT / name)
            shutil.copytree(pages.ROOT / "config", place / "config")
        return place

    def run(self, command: str, place: Path) -> Done:
        """Run one documented command line in a shell."""
        port = self._serving.url.removeprefix("http://")
        asked = self._with_paths(command.replace(DOCUMENTED_PORT, port))
        settings = self._settings(command)
        if settings is not None and not ELSEWHERE:
            shutil.copy(settings, place / "config" / "laptop.yaml")
        process = subprocess.Popen(
            ["bash", "-c", asked], cwd=place, env=self._environment(settings), text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True, preexec_fn=_heed_ctrl_c,
        )  # fmt: skip
        try:
            endless = any(word in command for word in ENDLESS)
            out, err = process.communicate(timeout=WATCHED_S if endless else TIMEOUT_S)
        except subprocess.TimeoutExpired:
            # As Ctrl-C does; what does not end by it is a failure of its own.
            os.killpg(process.pid, signal.SIGINT if endless else signal.SIGKILL)
            out, err = process.communicate(timeout=TIMEOUT_S)
        code = 0 if endless and process.returncode == 130 else process.returncode
        return Done(command, code, out, err)

    def _with_paths(self, command: str) -> str:
        """Elsewhere a file of the checkout is named by its whole path."""
        if not ELSEWHERE:
            return command
        return re.sub(
            r"(?<=\s)[\w./-]+",
            lambda word: str(pages.ROOT / word[0]) if of_checkout(word[0]) else word[0],
            command,
        )

    def _settings(self, command: str) -> Path | None:
        """The settings that stand in for the shipped ones, which have another port and models."""
        if command.startswith("hansom cluster "):
            return None  # those of a cluster
        if command.startswith("hansom doctor"):
            return self._before  # it says whether an endpoint can be started, and one runs
        return self._serving.config

    def _environment(self, settings: Path | None) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        if settings is not None:
            own["HANSOM_CONFIG"] = str(settings)
        home = {"HANSOM_HOME": str(self._serving.home), "CURL_HOME": str(self._folder)}
        return own | home | {"PATH": f"{Path(sys.executable).parent}:{own['PATH']}"}


@contextmanager
def stage(folder: Path) -> Iterator[Stage]:
    """The endpoint from its start to its end."""
    os.environ.pop("PYTHONPATH", None)  # pytest's own; the endpoint must not see it
    with _webhook() as url:
        router = {"strategy": "learned", "timeout_s": 10.0}
        config = simulated(router=router, alerts={"webhook_url": url})
        config["tiers"][1]["replicas"] = {"min": 1, "max": 2}  # a tier that scales
        serving = Serving(config)
        try:
            serving.start()
            _remember(serving)
            yield Stage(serving, folder)
        finally:
            serving.end()


@contextmanager
def _webhook() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Webhook) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def _heed_ctrl_c() -> None:
    """A shell's background job, which the tests may be, ignores SIGINT and hands that on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class _Webhook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def _remember(serving: Serving) -> None:
    """Lines of the weeks that the documentation asks for, by way of the ledger's own store."""
    database = serving.home / "ledger.sqlite3"
    end_s = time.monotonic() + 20
    while not database.exists() and time.monotonic() < end_s:
        time.sleep(0.1)
    store = SqlStore(sqlite_url(database))
    # Each hour until now, and as many as the commands themselves add in one: a history with gaps of
    # weeks, or with a burst at its end, has no forecast to speak of.
    hours = range(int((time.time() - PAST_BEGAN_S) / 3600))
    store.insert(
        [
            line(f"past-{hour}-{one}", created_s=began_s + one * 3600 / AN_HOUR, model=MODEL)
            for hour in hours
            for began_s in [PAST_BEGAN_S + 3600.0 * hour]
            for one in range(AN_HOUR)
        ]
    )
    store.close()
