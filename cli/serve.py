"""`hansom serve`: weights, Redis, Ray and the endpoint on this machine, until Ctrl-C."""

import json
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import filelock
import httpx
import typer
from rich.console import Console

from cli.endpoint import base_url
from cli.progress import TerminalProgress
from core.errors import HansomError
from core.settings.load import Settings, VllmEngine
from deployments.machine import environment

_FIRST_ANSWER_TIMEOUT_S = 120


def serve(config: Path, as_json: bool) -> None:
    """Run until a signal; raises `HansomError` for what the user must mend first."""
    started_s = time.monotonic()
    settings = environment.settings(config)
    environment.open_files()
    environment.cpu_libraries(settings)
    home = environment.home()
    run = home / "run"
    run.mkdir(parents=True, exist_ok=True)
    stop = _Stop()
    with ExitStack() as stack:
        stack.enter_context(_only_one(run, settings))
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hansom-")))
        environment.prepare(scratch)
        # Ray Serve reads its flags while it is imported, so not before the environment is set.
        from deployments.local import LocalCluster

        with TerminalProgress() as progress:
            cluster = LocalCluster(config, settings, home, scratch, progress.lane())
            cluster.expect(_prepare_weights(settings, home, progress, stack))
            stack.enter_context(cluster)
            _wait_ready(settings)
        _announce(settings, time.monotonic() - started_s, as_json)
        stop.wait()
        Console(stderr=True).print("\nstopping …")


class _Stop:
    """SIGINT and SIGTERM: during the start they interrupt it, later they end the wait."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._starting = True
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def wait(self) -> None:
        """Until a signal comes; one that comes while everything stops changes nothing."""
        self._starting = False
        self._asked.wait()

    def _on_signal(self, number: int, _frame: object) -> None:
        first = not self._asked.is_set()
        self._asked.set()
        if first and self._starting:
            raise SystemExit(128 + number)


@contextmanager
def _only_one(run: Path, settings: Settings) -> Iterator[None]:
    """Hold this home folder's lock; a second `serve` is told who holds it."""
    note = run / "serve.json"
    lock = filelock.FileLock(run / "serve.lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        try:
            other = json.loads(note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            other = {}
        raise HansomError(
            f"Hansom is already running at {other.get('url', 'an unknown address')} "
            f"(process {other.get('pid', 'unknown')}). Use it, stop it with Ctrl-C where it runs, "
            "or set HANSOM_HOME and another server.port for a second one."
        ) from None
    try:
        note.write_text(json.dumps({"pid": os.getpid(), "url": base_url(settings)}))
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()


def _prepare_weights(
    settings: Settings, home: Path, progress: TerminalProgress, stack: ExitStack
) -> dict[str, Future[Path]]:
    """Begin to prepare each real tier's weights, while Redis and Ray start.

    When the stack is left early, work that was begun ends with its child processes, which the
    cluster's own exit ends.
    """
    real = [tier for tier in settings.tiers if isinstance(tier.engine, VllmEngine)]
    if not real:
        return {}
    from deployments.machine.weights import prepare, prepare_embedder

    prepare_embedder()
    pool = ThreadPoolExecutor(len(real), thread_name_prefix="weights")
    stack.callback(pool.shutdown, wait=False, cancel_futures=True)
    return {tier.name: pool.submit(prepare, tier, home, progress.lane()) for tier in real}


def _wait_ready(settings: Settings) -> None:
    """Until `/readyz` says so through the front door."""
    end_s = time.monotonic() + _FIRST_ANSWER_TIMEOUT_S
    while time.monotonic() < end_s:
        try:
            if httpx.get(f"{base_url(settings)}/readyz", timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise HansomError(f"{base_url(settings)}/readyz did not become ready.")


def _announce(settings: Settings, took_s: float, as_json: bool) -> None:
    url = base_url(settings)
    models = ["auto", *(name for tier in settings.tiers for name in (tier.name, tier.model))]
    if as_json:
        typer.echo(json.dumps({"url": url, "ready_s": round(took_s, 1), "models": models}))
        return
    typer.echo(
        f"""
Hansom is ready at {url} after {took_s:.0f} s. Models: {", ".join(models)}

  curl {url}/v1/chat/completions -H 'content-type: application/json' \\
    -d '{{"model": "auto", "messages": [{{"role": "user", "content": "Hello!"}}]}}'

  from openai import OpenAI
  client = OpenAI(base_url="{url}/v1", api_key="any")
  answer = client.chat.completions.create(
      model="auto", messages=[{{"role": "user", "content": "Hello!"}}]
  )

  hansom ask "What is the capital of France?"      hansom ledger report

Ctrl-C stops it."""
    )
