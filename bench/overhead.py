"""What the whole path costs, side by side with bare peers in one run.

    python -m bench.overhead            simulated engines: the path's own cost, no model
    python -m bench.overhead --real     a small real model, against vLLM's own server

Promises: both sides get the same requests from the same generator, in turns, round after round,
in reversed order every other round; every claim is printed with its aim, met or not. Processes,
ports, the config and the home folder are the run's own and are gone after it. Figures and claims
also go to `bench/out/`. Not covered: quality, and several nodes.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from contextlib import ExitStack, redirect_stdout
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console

from bench.claims import (
    PACED_TOKENS,
    PACED_TPOT_S,
    Claim,
    ClaimCell,
    Measured,
    claims_table,
    figures_table,
    real_claims,
    simulated_claims,
)
from bench.load import NUMBER, Generator, Job, LoadResult
from bench.peers import cpu_share, ours, peer, process, vllm_command
from core.free_port import free_port
from core.progress import SilentProgress
from core.settings.load import PathSource, SimulatedEngine, VllmEngine, load
from deployments.machine import environment
from deployments.machine.weights import prepare

OUT = Path(__file__).parent / "out"
_ROOT = Path(__file__).parent.parent
_CHAT = "/v1/chat/completions"
_HIT = "x-hansom-cache: exact"
_LEVELS = (1, 8, 32, 64)
_STREAMS = (16, 64)
_REAL_LEVELS = (1, 8, 32)
_REAL_TOKENS = 32
_IDLE_S = 3.0
_FREE = {"input_usd_per_million_tokens": "0.1", "output_usd_per_million_tokens": "0.4"}
_FAST = SimulatedEngine(kind="simulated", max_concurrent=512)
_PACED = _FAST.model_copy(update={"tpot_s": PACED_TPOT_S})
_SLOW = _FAST.model_copy(update={"ttft_s": 10.0})


@dataclass(frozen=True, slots=True)
class Size:
    """How much to measure."""

    rounds: int
    duration_s: float
    hang_ups: int


_FULL = Size(rounds=5, duration_s=1.5, hang_ups=30)
_QUICK = Size(rounds=1, duration_s=0.2, hang_ups=3)
_REAL = Size(rounds=3, duration_s=6.0, hang_ups=0)
_REAL_QUICK = Size(rounds=1, duration_s=0.0, hang_ups=0)


def body(model: str, tokens: int, **more: object) -> str:
    """A short chat request; its number makes it differ from every other."""
    question = f"Explain in one sentence why the sky is blue at noon, please. {NUMBER}"
    asked: dict[str, object] = {"model": model, "max_tokens": tokens}
    return json.dumps(asked | {"messages": [{"role": "user", "content": question}]} | more)


def in_turns(jobs: dict[ClaimCell, Job], generator: Generator, rounds: int) -> Measured:
    """All cells in every round, after unmeasured requests that open and fill what stays."""
    for job in jobs.values():
        generator.run(replace(job, duration_s=0.0, least=2))
    results: dict[ClaimCell, list[LoadResult]] = {cell: [] for cell in jobs}
    for number in range(rounds):
        for cell in list(jobs) if number % 2 == 0 else reversed(list(jobs)):
            results[cell].append(generator.run(jobs[cell]))
    return Measured(results)


def simulated_jobs(ports: dict[str, int], duration_s: float) -> dict[ClaimCell, Job]:
    """What is sent where; compared cells stand beside each other."""
    hit = body("fast", 16, temperature=0).replace(NUMBER, "again")
    plain = {
        ("hello", "asgi"): Job(ports["asgi"], "/"),
        ("hello", "fastapi"): Job(ports["fastapi"], "/"),
        ("plain", "engine"): Job(ports["engine"], _CHAT, body("fast", 16)),
        ("plain", "ours"): Job(ports["ours"], _CHAT, body("fast", 16)),
        ("miss", "ours"): Job(ports["ours"], _CHAT, body("fast", 16, temperature=0)),
        ("auto", "ours"): Job(ports["ours"], _CHAT, body("auto", 16)),
        ("hit", "ours"): Job(ports["ours"], _CHAT, hit, expect=_HIT),
    }
    stream = body("fast", PACED_TOKENS, stream=True)
    paced = body("paced", PACED_TOKENS, stream=True)
    jobs = {
        ClaimCell(case, target, wide): replace(job, at_once=wide, duration_s=duration_s)
        for wide in _LEVELS
        for (case, target), job in plain.items()
    }
    for wide in (1, *_STREAMS):
        for target in ("engine", "ours"):
            cell = ClaimCell("stream", target, wide)
            jobs[cell] = Job(ports[target], _CHAT, stream, wide, duration_s)
    for wide in (1, 32):
        for target, port in (("engine", ports["paced"]), ("ours", ports["ours"])):
            jobs[ClaimCell("paced", target, wide)] = Job(port, _CHAT, paced, wide, least=2)
    return jobs


def simulated(size: Size, console: Console) -> tuple[Measured, list[Claim]]:
    """The simulated part."""
    tiers = {"fast": _FAST, "paced": _PACED, "slow": _SLOW}
    settings = {
        "tiers": [
            {"name": name, "model": f"simulated-{name}", "engine": engine.model_dump(),
             "max_ongoing_requests": 512, "price": _FREE}
            for name, engine in tiers.items()
        ],
        # A threshold that no score reaches: everything is scored and goes to the first tier.
        "router": {
            "strategy": "learned", "weights": str(_ROOT / "router/weights/v2"), "threshold": 1.0,
        },
        "log_level": "info",
    }  # fmt: skip
    peers = {"asgi": None, "fastapi": None, "engine": _FAST, "paced": _PACED}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hansom-bench-")))
        console.log("starting the whole path")
        ports = {"ours": stack.enter_context(ours(settings, folder))}
        for name, engine in peers.items():
            ports[name] = free_port()
            kind = "engine" if engine else name
            stack.enter_context(process(peer(kind, ports[name], engine), ports[name]))
        generator = stack.enter_context(Generator())
        jobs = simulated_jobs(ports, size.duration_s)
        console.log(f"measuring {len(jobs)} cells in {size.rounds} rounds")
        measured = in_turns(jobs, generator, size.rounds)
        claims = simulated_claims(measured, max(_LEVELS), _STREAMS)
        console.log("hanging up")
        claims += _hang_ups(ports["ours"], size.hang_ups)
    return measured, claims


def _hang_ups(port: int, tries: int) -> list[Claim]:
    """Leave at three moments: tokens flow, none has come yet, and none will come alone."""
    from bench.hang_up import hang_ups

    claims = []
    for tier, when, stream in (
        ("paced", "mid-stream", True),
        ("slow", "before the first token", True),
        ("slow", "not streaming", False),
    ):
        job = Job(port, _CHAT, body(tier, 1000, stream=stream))
        claims += hang_ups(job, tier, when, tries)
    return claims


def real(size: Size, console: Console) -> tuple[Measured, list[Claim]]:
    """The real part: one tier's model behind the whole path and behind vLLM's own server."""
    tier = load(_ROOT / "config/laptop.yaml").tiers[0]
    console.log(f"preparing {tier.model} ({tier.quantization})")
    model = prepare(tier, environment.home(), SilentProgress())
    assert isinstance(tier.engine, VllmEngine)
    args = tier.engine.args | {"max_num_seqs": max(_REAL_LEVELS)}
    engine = tier.engine.model_copy(update={"args": args})
    source = PathSource(kind="path", path=model)
    tier = tier.model_copy(update={"engine": engine, "source": source})
    settings = {"tiers": [tier.model_dump(mode="json")], "router": {"strategy": "heuristic"}}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hansom-bench-")))
        console.log("starting the whole path")
        ports = {"ours": stack.enter_context(ours(settings, folder)), "vllm": free_port()}
        console.log("starting vLLM's own server")
        command = vllm_command(tier, model, ports["vllm"])
        pid = stack.enter_context(process(command, ports["vllm"], engine.env))
        generator = stack.enter_context(Generator())
        asked = body(
            tier.model, _REAL_TOKENS, stream=True, temperature=0, ignore_eos=True
        )  # fmt: skip
        jobs = {
            ClaimCell("stream", target, wide): Job(
                ports[target], _CHAT, asked, wide, size.duration_s
            )
            for wide in _REAL_LEVELS
            for target in ports
        }
        idle = cpu_share(pid, _IDLE_S), cpu_share(os.getpid(), _IDLE_S)
        console.log(f"measuring {len(jobs)} cells in {size.rounds} rounds")
        measured = in_turns(jobs, generator, size.rounds)
    return measured, [
        *real_claims(measured, _REAL_LEVELS, _REAL_TOKENS),
        Claim("idle vLLM server", idle[0], "cores"),
        Claim("idle everything, that server included", idle[1], "cores"),
    ]


def report(measured: Measured, claims: list[Claim], load_before: float) -> dict[str, object]:
    """Everything, for JSON; the load average says how quiet the machine was."""
    machine = {"cpus": os.cpu_count(), "processor": _processor(), "load_average": load_before}
    told = [
        asdict(claim) | {"value": round(claim.value, 4), "met": claim.met} for claim in claims
    ]  # fmt: skip
    return {"machine": machine, "claims": told, "figures": [f.row() for f in measured.figures]}


def _processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main() -> None:
    """Parse the command line, measure, print, and write JSON to `bench/out/`."""
    parser = argparse.ArgumentParser(prog="python -m bench.overhead", description=__doc__)
    parser.add_argument("--real", action="store_true", help="a real model against vLLM's server")
    parser.add_argument("--quick", action="store_true", help="tiny counts: does it run at all")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    given = parser.parse_args()
    console = Console(stderr=given.json, width=150)
    load_before = os.getloadavg()[0]
    name = "overhead-real" if given.real else "overhead"
    with redirect_stdout(sys.stderr):  # Ray prints there, and it must hold nothing but JSON
        if given.real:
            measured, claims = real(_REAL_QUICK if given.quick else _REAL, console)
        else:
            measured, claims = simulated(_QUICK if given.quick else _FULL, console)
    whole = json.dumps(report(measured, claims, load_before), indent=1)
    OUT.mkdir(exist_ok=True)
    (OUT / f"{name}.json").write_text(whole + "\n")
    if given.json:
        print(whole)
        return
    console.print(figures_table(measured, f"{name}: {os.cpu_count()} CPUs, {_processor()}"))
    console.print(claims_table(claims))
    console.print(f"load average before: {load_before:.1f}; written to bench/out/{name}.json")


if __name__ == "__main__":
    main()
