"""Exact hits through the whole gateway, beside LiteLLM's proxy with its Redis cache, in one run.

    python3.11 -m venv PEERS && PEERS/bin/pip install -r requirements/peers.txt
    HANSOM_PEERS_PYTHON=PEERS/bin/python python -m bench.exact_peer

Promises: both get the same body again and again from the same generator, in turns, in reversed
order every other round; an answer that is not marked as a hit is a failure. Ours is what
`hansom serve --config config/simulated.yaml` starts, with the patience of config/laptop.yaml for
Redis; the peer is `litellm`, one worker, with the words of our answer and its logging as in
production, on the same Redis program, by TCP. Its process keeps answers in front of Redis, ours
does not: Redis' own count of its hits is printed. Also the look-up alone:
`cache.exact.answers.ExactCache.get` on a unix socket.
Not covered: misses, streams, and more than one worker or gateway process on either side.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from statistics import median

import redis
import yaml
from rich.console import Console

from bench.claims import Claim, ClaimCell, Measured, claims_table, failures, figures_table
from bench.load import Generator, Job, percentile
from bench.overhead import OUT, in_turns
from bench.peer_redis import own_redis
from bench.peers import ours, process
from bench.semantic_peers import PYTHON_VARIABLE
from cache.exact.answers import CachedAnswer, ExactCache
from cache.exact.redis_store import RedisStore
from core.call import Usage
from core.free_port import free_port
from core.log import SystemClock
from deployments.machine.redis_server import RedisServer

CONFIG = Path(__file__).parent.parent / "config/simulated.yaml"
MODEL = "small"  # a tier of that config; the peer calls its model so, too
LEVELS = (1, 16, 64)
ROUNDS, DURATION_S = 5, 2.0
GETS = 4000
# As in config/laptop.yaml: with the default of 5 ms, Redis is left alone for seconds where others
# take its core, and answers then come from the joined generation (`flight`).
_PATIENT = {"lookup_timeout_s": 0.05}
_CHAT = "/v1/chat/completions"
_AIM_RATIO = 10.0
# What its own guide tells to set in production, nothing fetched from outside, and no keys: ours is
# asked without one, too.
_PRODUCTION = {
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
    "LITELLM_LOG": "ERROR",
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}
_HIT = {"ours": "x-hansom-cache: exact", "litellm": "x-litellm-cache-key: "}


def body() -> str:
    """The request that both are sent; exact hits need temperature 0 on our side."""
    question = "Explain in one sentence why the sky is blue at noon, please."
    messages = [{"role": "user", "content": question}]
    return json.dumps({"model": MODEL, "max_tokens": 16, "temperature": 0, "messages": messages})


def litellm_config(content: str, redis_port: int) -> dict[str, object]:
    """The proxy's settings: one model that answers `content` at once, and the cache."""
    parameters = {"model": f"openai/{MODEL}", "api_key": "none", "mock_response": content}
    cache = {"type": "redis", "host": "127.0.0.1", "port": redis_port}
    return {
        "model_list": [{"model_name": MODEL, "litellm_params": parameters}],
        "litellm_settings": {"cache": True, "cache_params": cache, "set_verbose": False},
    }


def litellm_command(python: Path, config: Path, port: int) -> list[str]:
    """One worker, which is its default, on loopback."""
    command = [str(python.with_name("litellm")), "--config", str(config)]
    return [*command, "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]


def ask(port: int) -> dict[str, object]:
    """One answer. Raises `OSError`."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{_CHAT}",
        data=body().encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: dict[str, object] = json.load(answer)
        return found


def content_of(answer: Mapping[str, object]) -> str:
    """The words of a chat answer. Raises `ValueError` for anything else."""
    match answer:
        case {"choices": [{"message": {"content": str(content)}}]}:
            return content
    raise ValueError(f"not a chat answer: {str(answer)[:200]}")


async def get_times_ms(url: str, body_bytes: bytes, count: int) -> list[float]:
    """Milliseconds of `count` look-ups that hit, one after the other."""
    store = RedisStore(url)
    cache = ExactCache(store, SystemClock(), timeout_s=1.0, lookup_timeout_s=1.0)
    answer = CachedAnswer(body_bytes, MODEL, MODEL, Usage(0, 0), 0, time.time())
    try:
        if not await cache.put("bench", answer, 600):
            raise RuntimeError("Redis did not keep the answer")
        times = []
        for _ in range(count):
            start_s = time.perf_counter()
            found = await cache.get("bench")
            times.append((time.perf_counter() - start_s) * 1e3)
            if found is None:
                raise RuntimeError("a look-up missed")
        return times
    finally:
        await store.close()


def gets_ms(body_bytes: bytes, count: int) -> list[float]:
    """`get_times_ms` on a Redis as `hansom serve` starts it, with nothing else on it."""
    with tempfile.TemporaryDirectory(prefix="hansom-") as folder:
        server = RedisServer(Path(folder) / "redis", Path(folder) / "redis.sock")
        server.start()
        try:
            return asyncio.run(get_times_ms(server.url, body_bytes, count))
        finally:
            server.stop()


def claims(measured: Measured, gets: Sequence[float]) -> list[Claim]:
    """Ours beside the peer; a ratio is the median of the rounds' own."""
    found = []
    for wide in LEVELS:
        mine, peer = measured.at("hit", "ours", wide), measured.at("hit", "litellm", wide)
        if wide == 1:
            found.append(Claim("exact hit p50, 1 at once", mine.total_ms(0.5), "ms", "<=", 0.5))
            for share in (0.5, 0.99):
                times = median(
                    percentile(other.totals_ms, share) / percentile(one.totals_ms, share)
                    for one, other in zip(mine.rounds, peer.rounds, strict=True)
                )
                name = f"LiteLLM's p{share * 100:g} / ours, 1 at once"
                found.append(Claim(name, times, "x", ">=", _AIM_RATIO))
        rates = median(a / b for a, b in zip(mine.rates, peer.rates, strict=True))
        name = f"hits/s, ours / LiteLLM's, {wide} at once"
        found.append(Claim(name, rates, "x", ">=", _AIM_RATIO))
    found.append(Claim("the look-up alone, p50", percentile(gets, 0.5), "ms", "<=", 0.25))
    found.append(Claim("the look-up alone, p99", percentile(gets, 0.99), "ms"))
    return [*found, Claim("asked again and no hit", failures(measured, ("hit",)), "", "<=", 0)]


def measure(python: Path, rounds: int, duration_s: float, console: Console) -> list[Claim]:
    """Start both, measure in turns, print the figures; the look-up alone comes first."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hansom-bench-")))
        console.log("starting the whole path")
        settings = yaml.safe_load(CONFIG.read_text(encoding="utf-8")) | {"cache": _PATIENT}
        ports = {"ours": stack.enter_context(ours(settings, folder)), "litellm": free_port()}
        answer = ask(ports["ours"])
        console.log("starting LiteLLM's proxy")
        redis_port = stack.enter_context(own_redis())
        config = folder / "litellm.yaml"
        config.write_text(yaml.safe_dump(litellm_config(content_of(answer), redis_port)))
        command = litellm_command(python, config, ports["litellm"])
        stack.enter_context(process(command, ports["litellm"], _PRODUCTION))
        check_peer(ports["litellm"], content_of(answer))
        generator = stack.enter_context(Generator())
        jobs = {
            ClaimCell("hit", target, wide): Job(
                port, _CHAT, body(), wide, duration_s, expect=_HIT[target]
            )
            for wide in LEVELS
            for target, port in ports.items()
        }
        console.log(f"measuring {len(jobs)} cells in {rounds} rounds")
        measured = in_turns(jobs, generator, rounds)
        with redis.Redis(port=redis_port) as client:
            hits = client.info("stats")["keyspace_hits"]
        console.print(f"LiteLLM's Redis counted {hits} hits: the others came from its process")
    gets = gets_ms(json.dumps(answer).encode(), GETS)
    console.print(figures_table(measured, f"exact hits: {os.cpu_count()} CPUs"))
    return claims(measured, gets)


def check_peer(port: int, content: str) -> None:
    """That the peer gives our words, and the same answer twice. Raises `RuntimeError`."""
    first, again = ask(port), ask(port)
    if content_of(first) != content or first.get("id") != again.get("id"):
        raise RuntimeError(f"LiteLLM does not answer from its cache: {first} and {again}")


def main() -> None:
    """Measure, print, and write JSON to `bench/out/`."""
    parser = argparse.ArgumentParser(prog="python -m bench.exact_peer", description=__doc__)
    parser.add_argument(
        "--peers", type=Path, default=os.environ.get(PYTHON_VARIABLE), help="the peers' Python"
    )
    parser.add_argument("--quick", action="store_true", help="tiny counts: does it run at all")
    given = parser.parse_args()
    if given.peers is None:
        parser.error(f"name the peers' Python with --peers or {PYTHON_VARIABLE}")
    console = Console(width=150)
    load_before = os.getloadavg()[0]
    rounds, duration_s = (1, 0.2) if given.quick else (ROUNDS, DURATION_S)
    found = measure(given.peers, rounds, duration_s, console)
    console.print(claims_table(found))
    OUT.mkdir(exist_ok=True)
    told = [asdict(claim) | {"met": claim.met} for claim in found]
    whole = json.dumps({"load_average": load_before, "claims": told}, indent=1)
    (OUT / "exact_peer.json").write_text(whole + "\n", encoding="utf-8")
    console.print(f"load average before: {load_before:.1f}; written to bench/out/exact_peer.json")


if __name__ == "__main__":
    main()
