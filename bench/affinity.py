"""Which replica takes a call: by prompt tokens and prefixes as shipped, or by open requests.

    python -m bench.affinity --config config/laptop.yaml --tier small --rounds 3

Real engines, one process each, and the gateway's own way to them. Two loads: `callers` who each go
on with a conversation about a text of their own, and short prompts among long ones. Both choices
take turns in every round, on texts that no engine has seen, so that a machine's moods fall on both
alike; what is printed is over all rounds, with the ratio.

Promises: nothing differs between the two but the choice; tokens are by the engine's own count.
Not covered: several gateways; more replicas than a machine has cores for.
"""

import argparse
import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
from rich.console import Console
from rich.table import Table

from core.free_port import free_port
from core.settings.load import Tier, VllmEngine, load
from deployments.gateway.backends.choice import Pace, ReplicaPicker, pace_of
from deployments.gateway.backends.exchange import Connections
from deployments.gateway.backends.prefix_index import Prompt, read
from deployments.gateway.backends.tier import Replica, TierReplicas
from deployments.scaling import profile_of

PATH = "/v1/chat/completions"
NEW_TOKENS = 8
SHORT, LONG = 1, 40  # paragraphs
START_S = 600.0
_WORDS = ("river", "bridge", "market", "station", "hospital", "garden", "harbour", "museum")


class FewestRequests(ReplicaPicker):
    """The replica with the fewest open requests, the first of equals: what Hansom did before."""

    def pick(self, ids: Sequence[str], prompt: Prompt, now_s: float) -> str:  # noqa: ARG002
        """Whatever the prompt."""
        return min(ids, key=lambda id: self._loads[id].calls if id in self._loads else 0)


CHOICES: dict[str, type[ReplicaPicker]] = {"ours": ReplicaPicker, "fewest requests": FewestRequests}


@dataclass(frozen=True, slots=True)
class AskedCall:
    """One answer: when its first token came, and its prompt tokens, of them the cached ones."""

    ttft_s: float
    input_tokens: int
    cached_tokens: int
    short: bool


def text(seed: str, paragraphs: int) -> str:
    """About 55 tokens a paragraph, that begin alike for equal seeds only."""
    rng = np.random.default_rng(list(seed.encode()))
    lines = (
        f"From the {a} to the {b} it takes {n} minutes by way of the {c}, at {m} dollars."
        for a, b, c, n, m in (
            (*rng.choice(_WORDS, 3), *rng.integers(5, 500, 2)) for _ in range(2 * paragraphs)
        )
    )
    return f"{seed}. " + " ".join(lines)


async def ask(
    tier: TierReplicas, model: str, messages: list[dict[str, str]], short: bool
) -> AskedCall:
    """One stream, as the gateway sends it."""
    asked = {
        "model": model, "messages": messages, "max_tokens": NEW_TOKENS, "temperature": 0,
        "stream": True, "stream_options": {"include_usage": True},
    }  # fmt: skip
    prompt, sent_s = read(asked), time.perf_counter()
    replica = tier.choose(prompt=prompt)
    exchange = await tier.post(
        replica, PATH, orjson.dumps(asked), {"content-type": "application/json"}, 300.0,
        prompt=prompt,
    )  # fmt: skip
    try:
        first = await exchange.block()
        ttft_s = time.perf_counter() - sent_s
        events = first + await exchange.read()
    finally:
        exchange.close()
    usage = orjson.loads(events.split(b"\n\n")[-3].removeprefix(b"data: "))["usage"]
    details = usage.get("prompt_tokens_details") or {}
    return AskedCall(ttft_s, usage["prompt_tokens"], details.get("cached_tokens") or 0, short)


async def conversations(
    tier: TierReplicas, model: str, name: str, callers: int, turns: int
) -> list[AskedCall]:
    """Each caller asks again as soon as it has its answer."""

    async def caller(number: int) -> list[AskedCall]:
        messages = [{"role": "system", "content": text(f"{name} {number}", 10)}]
        found = []
        for turn in range(turns):
            messages += [{"role": "user", "content": text(f"{turn}", SHORT)}]
            found.append(await ask(tier, model, messages, short=False))
            messages += [{"role": "assistant", "content": "By the river."}]
        return found

    return list(itertools.chain(*await asyncio.gather(*map(caller, range(callers)))))


async def lengths(
    tier: TierReplicas, model: str, name: str, requests: int, per_s: float
) -> list[AskedCall]:
    """Arrivals at random; every fifth prompt is long."""
    rng = np.random.default_rng(0)
    begun = []
    for number, gap_s in enumerate(rng.exponential(1 / per_s, requests)):
        short = number % 5 != 1
        said = [{"role": "user", "content": text(f"{name} {number}", SHORT if short else LONG)}]
        begun.append(asyncio.create_task(ask(tier, model, said, short)))
        await asyncio.sleep(gap_s)
    return await asyncio.gather(*begun)


@contextmanager
def engines(config: Path, tier: Tier, count: int) -> Iterator[list[Replica]]:
    """Engines of a tier that answer."""
    assert isinstance(tier.engine, VllmEngine)
    own = os.environ | tier.engine.env | {"OMP_NUM_THREADS": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
    ports = [free_port() for _ in range(count)]
    run = [sys.executable, "-m", "bench.affinity_engine", str(config), tier.name]
    processes = [
        # One core each, and a session of its own: vLLM's core process outlives its parent.
        subprocess.Popen(
            [*run, str(port)], start_new_session=True,
            env=own | {"VLLM_CPU_OMP_THREADS_BIND": str(n % (os.cpu_count() or 1))},
        )
        for n, port in enumerate(ports)
    ]  # fmt: skip
    try:
        for process, port in zip(processes, ports, strict=True):
            _await(process, port)
        yield [Replica(f"replica-{port}", ("127.0.0.1", port)) for port in ports]
    finally:
        for process in processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _await(process: "subprocess.Popen[bytes]", port: int) -> None:
    give_up_s = time.monotonic() + START_S
    while time.monotonic() < give_up_s:
        if process.poll() is not None:
            raise SystemExit(f"an engine ended at its start with {process.returncode}")
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.5)
    raise SystemExit(f"no engine answers after {START_S:g} s")


async def measure(
    tier: Tier, pace: Pace, replicas: list[Replica], options: argparse.Namespace
) -> dict[str, dict[str, list[AskedCall]]]:
    """All answers by load and choice."""
    found: dict[str, dict[str, list[AskedCall]]] = {
        load: {name: [] for name in CHOICES} for load in ("conversations", "lengths")
    }
    connections = Connections()
    for round_ in range(-1, options.rounds):  # the first warms up
        turn = list(CHOICES) if round_ % 2 else list(CHOICES)[::-1]
        for name in turn:
            seen = TierReplicas(
                tier.name, lambda: replicas, connections, 300.0, choice=CHOICES[name](pace)
            )
            nonce = f"{name} {round_} {os.getpid()}"
            talked = await conversations(seen, tier.model, nonce, options.callers, options.turns)
            mixed = await lengths(seen, tier.model, nonce, options.requests, options.rate)
            if round_ >= 0:
                found["conversations"][name] += talked
                found["lengths"][name] += mixed
    await connections.close()
    return found


def figures(found: dict[str, dict[str, list[AskedCall]]]) -> dict[str, dict[str, float]]:
    """By figure and choice; a TTFT in seconds, a share in [0, 1]."""
    told: dict[str, dict[str, float]] = {}

    def tell(figure: str, load: str, value: Any) -> None:
        told[figure] = {name: float(value(answers)) for name, answers in found[load].items()}

    tell(
        "conversations: prompt tokens from the cache",
        "conversations",
        lambda all_: sum(a.cached_tokens for a in all_) / sum(a.input_tokens for a in all_),
    )
    for percent in (50, 95):
        tell(
            f"conversations: TTFT p{percent}",
            "conversations",
            lambda all_, p=percent: np.percentile([a.ttft_s for a in all_], p),
        )
        tell(
            f"lengths: TTFT p{percent} of short prompts",
            "lengths",
            lambda all_, p=percent: np.percentile([a.ttft_s for a in all_ if a.short], p),
        )
    tell("lengths: TTFT p95 of all", "lengths",
         lambda all_: np.percentile([a.ttft_s for a in all_], 95))  # fmt: skip
    return told


def main() -> None:
    """Start the engines, ask them, print."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    options.add_argument("--config", type=Path, default=Path("config/laptop.yaml"))
    options.add_argument("--tier", default="small")
    options.add_argument("--replicas", type=int, default=2)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--callers", type=int, default=6)
    options.add_argument("--turns", type=int, default=5)
    options.add_argument("--requests", type=int, default=30, help="of the mixed lengths")
    options.add_argument("--rate", type=float, default=2.0, help="of them a second")
    options.add_argument("--json", action="store_true")
    asked = options.parse_args()
    settings = load(asked.config)
    tier = settings.tier(asked.tier)
    pace = pace_of(tier, profile_of(settings, tier))
    with engines(asked.config, tier, asked.replicas) as replicas:
        told = figures(asyncio.run(measure(tier, pace, replicas, asked)))
    if asked.json:
        print(json.dumps(told))
        return
    table = Table("figure", *CHOICES, "ratio", title="Which replica takes a call")
    for figure, values in told.items():
        ours, theirs = values["ours"], values["fewest requests"]
        ratio = f"{ours / theirs:.2f}" if theirs else "–"
        table.add_row(figure, f"{ours:.3f}", f"{theirs:.3f}", ratio)
    Console().print(table)


if __name__ == "__main__":
    main()
