"""What a request costs the gateway's HTTP client, beside aiohttp's, in turns in one run.

    python -m bench.exchange

Promises: both send the same requests to the same server from the same event loop with the same
number at once, in reversed order every other round; CPU seconds are this process's own. Not
covered: TLS, and anything but short answers.
"""

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable

import aiohttp
import uvloop
from rich.console import Console
from rich.table import Table

from bench.peers import peer, process
from core.free_port import free_port
from core.settings.load import SimulatedEngine
from deployments.gateway.backends.exchange import Connections

_PATH = "/v1/chat/completions"
_BODY = json.dumps(
    {"model": "m", "max_tokens": 16, "messages": [{"role": "user", "content": "Why is it blue?"}]}
).encode()
_HEADERS = {"content-type": "application/json", "x-request-id": "bench"}
_TIMEOUT_S, _STALL_S = 60.0, 30.0
Ask = Callable[[], Awaitable[int]]


async def cost_us(ask: Ask, at_once: int, requests: int) -> float:
    """CPU microseconds of this process for each of `requests`."""
    left = requests

    async def loop() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            assert await ask() > 0

    began_s = time.process_time()
    await asyncio.gather(*(loop() for _ in range(at_once)))
    return (time.process_time() - began_s) / requests * 1e6


async def measure(port: int, at_once: int, requests: int, rounds: int) -> dict[str, list[float]]:
    """Each client's cost in every round."""
    connections = Connections()
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S, sock_read=_STALL_S)
    connector = aiohttp.TCPConnector(limit=0)
    url = f"http://127.0.0.1:{port}{_PATH}"
    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
    ) as session:

        async def theirs() -> int:
            async with session.post(url, data=_BODY, headers=_HEADERS, timeout=timeout) as response:
                return len(await response.read())

        async def ours() -> int:
            exchange = await connections.post(
                ("127.0.0.1", port), _PATH, _BODY, _HEADERS,
                timeout_s=_TIMEOUT_S, stall_timeout_s=_STALL_S,
            )  # fmt: skip
            try:
                return len(await exchange.read())
            finally:
                exchange.close()

        clients = {"aiohttp": theirs, "ours": ours}
        for ask in clients.values():
            await cost_us(ask, at_once, at_once * 2)
        costs: dict[str, list[float]] = {name: [] for name in clients}
        for number in range(rounds):
            for name in list(clients) if number % 2 == 0 else reversed(list(clients)):
                costs[name].append(await cost_us(clients[name], at_once, requests))
    await connections.close()
    return costs


def main() -> None:
    """Measure at 1 and at 64 at once and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.exchange", description=__doc__)
    parser.add_argument("--requests", type=int, default=3000, help="requests a round and client")
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    port = free_port()
    table = Table("at once", "aiohttp, CPU µs", "ours, CPU µs", "ours / aiohttp")
    with process(peer("engine", port, SimulatedEngine(kind="simulated")), port):
        for at_once in (1, 64):
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                costs = runner.run(measure(port, at_once, given.requests, given.rounds))
            ratio = statistics.median(
                one / other for one, other in zip(costs["ours"], costs["aiohttp"], strict=True)
            )
            medians = [statistics.median(costs[name]) for name in ("aiohttp", "ours")]
            table.add_row(str(at_once), *(f"{value:.0f}" for value in medians), f"{ratio:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
