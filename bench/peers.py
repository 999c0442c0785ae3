"""What the whole path is compared with, each a process of its own on bare uvicorn or vLLM's own.

    fastapi   a hello world in FastAPI      the usual yardstick for a Python server
    asgi      the same without a framework  the most that uvicorn can do
    engine    one simulated engine          the path's own engine with nothing in front of it
    vllm      vLLM's OpenAI server          the same model and arguments as the path's engine

Also here: what starts our side, because both sides must be started alike.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import uvicorn
import yaml

from core.free_port import free_port
from core.progress import SilentProgress
from core.settings.load import SimulatedEngine, Tier, VllmEngine, load
from deployments.machine import environment
from deployments.machine.weights import engine_arguments

_HELLO = b'{"hello":"world"}'
_START_TIMEOUT_S = 600.0
_INGRESS_PORTS = 100


@contextmanager
def process(command: list[str], port: int, env: Mapping[str, str] | None = None) -> Iterator[int]:
    """A server process that answers on `port` inside the block, by its id; ended after it."""
    with tempfile.TemporaryFile() as words:
        server = subprocess.Popen(
            command, stdout=words, stderr=words, env={**os.environ, **(env or {})}
        )
        try:
            _wait(server, port, words)
            yield server.pid
        finally:
            children = psutil.Process(server.pid).children(recursive=True)
            server.terminate()
            _, alive = psutil.wait_procs([psutil.Process(server.pid), *children], timeout=15)
            for left in alive:
                left.kill()
            server.wait()


def _wait(server: "subprocess.Popen[bytes]", port: int, words: Any) -> None:
    """Until the server answers anything at all over HTTP."""
    end_s = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < end_s and server.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
    words.seek(0)
    raise RuntimeError(f"{server.args!r} did not start:\n{words.read().decode()[-2000:]}")


def peer(kind: str, port: int, engine: SimulatedEngine | None = None) -> list[str]:
    """The command of one of this module's own servers."""
    command = [sys.executable, "-m", "bench.peers", kind, str(port)]
    return [*command, engine.model_dump_json()] if engine else command


def vllm_command(tier: Tier, folder: Path, port: int) -> list[str]:
    """vLLM's own OpenAI server with the arguments that the tier's engine gets.

    Not `vllm serve`: that asks for the version of a package named vllm, which the CPU build is not.
    """
    assert isinstance(tier.engine, VllmEngine)
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    command += ["--model", str(folder), "--served-model-name", tier.model, tier.name]
    command += ["--enable-prompt-tokens-details", "--disable-uvicorn-access-log"]
    return command + vllm_flags({**engine_arguments(tier.quantization), **tier.engine.args})


def vllm_flags(args: Mapping[str, object]) -> list[str]:
    """Engine arguments by name as flags of a command line."""
    flags: list[str] = []
    for name, value in args.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            flags.append(f"--{flag}" if value else f"--no-{flag}")
        elif value is not None:
            flags += [f"--{flag}", json.dumps(value) if isinstance(value, dict) else str(value)]
    return flags


@contextmanager
def ours(settings: Mapping[str, object], folder: Path) -> Iterator[int]:
    """The whole path on this machine with a config of its own; yields its port.

    `folder` is its home: weights, Redis's files and the ledger.
    """
    port = free_port()
    config = folder / "bench.yaml"
    config.write_text(yaml.safe_dump({**settings, "server": {"port": port}}))
    # Ray looks for its replicas' ports from 30000 on, and another cluster may do so now. Those
    # above are nobody's either, and none that `free_port` chooses for HAProxy.
    first = random.randrange(31_001, 32_768 - _INGRESS_PORTS)
    os.environ |= {
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(first),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(first + _INGRESS_PORTS),
    }
    with tempfile.TemporaryDirectory(prefix="hansom-") as scratch:
        environment.prepare(Path(scratch))
        # Ray Serve reads its flags while it is imported, so not before the environment is set.
        from deployments.local import LocalCluster

        with LocalCluster(config, load(config), folder, Path(scratch), SilentProgress()):
            _wait_ready(port)
            yield port


def _wait_ready(port: int) -> None:
    """Until `/readyz` says so through the front door."""
    end_s = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < end_s:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError("the whole path did not become ready")


def cpu_share(pid: int, seconds: float) -> float:
    """CPU that a process and its children use in the next `seconds`, in cores."""
    before_s = _used_s(pid)
    time.sleep(seconds)
    return (_used_s(pid) - before_s) / seconds


def _used_s(pid: int) -> float:
    """CPU seconds of a process and its children so far."""
    used_s = 0.0
    root = psutil.Process(pid)
    for one in (root, *root.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = one.cpu_times()
            used_s += times.user + times.system
    return used_s


async def _asgi(scope: dict[str, Any], _receive: Any, send: Any) -> None:
    """Hello world with nothing in between."""
    if scope["type"] != "http":
        return
    size = str(len(_HELLO)).encode()
    sent = [(b"content-type", b"application/json"), (b"content-length", size)]
    await send({"type": "http.response.start", "status": 200, "headers": sent})
    await send({"type": "http.response.body", "body": _HELLO})


def _fastapi() -> Any:
    """Hello world in FastAPI."""
    import fastapi

    app = fastapi.FastAPI()

    @app.get("/")
    async def hello() -> dict[str, str]:
        """Say hello."""
        return {"hello": "world"}

    return app


def _application(kind: str, engine: str | None) -> Any:
    if kind == "fastapi":
        return _fastapi()
    if kind == "asgi":
        return _asgi
    from deployments.tier.simulated.engine import Simulated

    return Simulated(SimulatedEngine.model_validate_json(engine or "{}"), "simulated")


def main() -> None:
    """Serve one peer until ended."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("kind", choices=["fastapi", "asgi", "engine"])
    parser.add_argument("port", type=int)
    parser.add_argument("engine", nargs="?", help="a simulated engine's settings, as JSON")
    given = parser.parse_args()
    uvicorn.run(
        _application(given.kind, given.engine),
        port=given.port, log_level="warning", access_log=False, lifespan="off",
    )  # fmt: skip


if __name__ == "__main__":
    main()
