"""What limits cost a request: one round trip to Redis before it, beside a bare PING.

    python -m bench.accounts

Promises: a Redis of the run's own on a unix socket, one caller in one process; the three questions
take turns, so that a busy machine slows all of them. Not covered: a Redis across a network, which
adds its own round trip to each, and the gateway around it.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path

import uvloop

from accounts.limits import Amount, Limit, Payer, applicable
from accounts.redis_store import RedisAccounts, ReservationRequest, Settling
from bench.load import percentile
from cache.exact.redis_store import RedisStore
from core.settings.accounts import AccountsSettings, BudgetLimit, Rules
from deployments.machine.redis_server import RedisServer

_BUDGETS = ("1000000 USD/day", "9000000 USD/month", "1000000000000 tokens/month")


def limits_of(count: int) -> tuple[Limit, ...]:
    """One limit, or seven: six of a tenant with budgets and rates, and one of its team."""
    budgets = tuple(BudgetLimit.read(words, "hard") for words in _BUDGETS)
    rates = Rules(
        budgets=budgets, requests_per_minute=10**9, tokens_per_minute=10**12, concurrency=10**6
    )
    some = rates if count > 1 else Rules(budgets=budgets[:1])
    found = applicable(AccountsSettings(tenants={"acme": some}), Payer("acme", "acme"))
    team = Limit("team", "red", found[-1].measure, found[-1].window, hard=10**12)
    return (*found, team) if count > 1 else found


async def took_s(question: Awaitable[object]) -> float:
    """Seconds of one answer."""
    started_s = time.perf_counter()
    await question
    return time.perf_counter() - started_s


async def measure(url: str, rounds: int) -> dict[str, list[float]]:
    """Seconds of each question, in turns."""
    accounts, store = RedisAccounts(url), RedisStore(url)
    found: dict[str, list[float]] = {"ping": [], "1 limit": [], "7 limits": [], "settle": []}
    for number in range(rounds):
        found["ping"].append(await took_s(store.ping()))
        for count in (1, 7):
            id_ = f"{number}-{count}"
            asked = ReservationRequest("acme", id_, limits_of(count), Amount(900, 300), 600.0)
            name = "1 limit" if count == 1 else "7 limits"
            found[name].append(await took_s(accounts.reserve(asked, time.time())))
            step = Settling("acme", id_, 1, Amount(400, 200), True)
            spent_s = await took_s(accounts.send([step], time.time()))
            if count == 7:
                found["settle"].append(spent_s)
    await accounts.close()
    await store.close()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.accounts", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3000)
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines")
    given = parser.parse_args()
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="hansom-") as folder:
        server = RedisServer(Path(folder), Path(folder) / "redis.sock")
        server.start()
        try:
            found = uvloop.run(measure(server.url, given.rounds))
        finally:
            server.stop()
    told = {
        name: {f"p{share * 100:g}_us": round(percentile(times, share) * 1e6, 1)
               for share in (0.5, 0.99)}
        for name, times in found.items()
    }  # fmt: skip
    if given.json:
        print(json.dumps({"load_before": load_before, "times": told}))
        return
    for name, times in told.items():
        print(f"{name:9} p50 {times['p50_us']:7.1f} us   p99 {times['p99_us']:8.1f} us")
    print(f"load average before: {load_before:.1f}")


if __name__ == "__main__":
    main()
