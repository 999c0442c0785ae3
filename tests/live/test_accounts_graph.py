"""A hard budget in the real graph: 200 streams at once, 4 gateways, no micro-USD too much."""

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from core.free_port import free_port
from core.ledger_line import LedgerLine, Outcome
from ledger.path.sql_store import SqlStore, sqlite_url
from tests.deployments.serving import Serving, simulated, wait

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

CHAT = "/v1/chat/completions"
BUDGET_USD_MICROS = 31_000  # for some sixty at once
STREAMS, GATEWAYS, WAVE = 200, 4, 10
BODY: dict[str, Any] = {
    "model": "large", "max_tokens": 100, "stream": True, "temperature": 1,
    "messages": [{"role": "user", "content": "Hello!"}],
}  # fmt: skip


@pytest.fixture(scope="module")
def platform() -> Iterator[Serving]:
    config = simulated(server={"port": free_port(), "gateway_replicas": GATEWAYS})
    large = config["tiers"][1]
    large["engine"] |= {"max_concurrent": 256, "ttft_s": 0.2, "tpot_s": 0.01}
    large["max_ongoing_requests"] = 256
    serving = Serving(config)
    try:
        serving.start()
        yield serving
    finally:
        serving.end()


def keys(platform: Serving, *words: str) -> Any:
    return json.loads(platform.hansom("keys", *words, "--json"))


async def ask(http: httpx.AsyncClient) -> httpx.Response:
    answer = await http.post(CHAT, json=BODY)
    if answer.status_code == 200:
        assert answer.text.endswith("data: [DONE]\n\n")
    return answer


def count(got: list[httpx.Response], status: int) -> int:
    return [one.status_code for one in got].count(status)


def may_take(refused: httpx.Response) -> int:
    """The worst case that a refusal tells, in micro-USD; and that it is of OpenAI's shape."""
    error = refused.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["code"]) == ("rate_limit_error", "budget_exceeded")
    assert int(refused.headers["retry-after"]) >= 1
    told = re.search(
        r"limit of 0\.031000 USD a day of key key_\w+ is reached: 0\.\d+ USD spent, 0\.\d+ USD "
        r"reserved .* may take up to 0\.(\d{6}) USD\. It resets at \d{4}-\d\d-\d\dT00:00:00Z",
        error["message"],
    )
    assert told is not None, error["message"]
    return int(told[1])


def lines_of(platform: Serving, key: str, count: int) -> list[LedgerLine]:
    store = SqlStore(sqlite_url(platform.home / "ledger.sqlite3"))
    found: list[LedgerLine] = []

    def enough() -> bool:
        found[:] = [one.line for one in store.tail(100_000) if one.line.key == key]
        return len(found) >= count

    wait(enough, 20)
    return found


async def test_a_hard_budget_is_neither_overshot_nor_left_unspent(platform: Serving) -> None:
    budget = f"{BUDGET_USD_MICROS / 1e6:.6f} USD/day"
    made = keys(platform, "create", "--tenant", "acme", "--budget", budget)
    headers = {"authorization": f"Bearer {made['secret']}"}
    # A connection each: the front door spreads connections over the gateways.
    limits = httpx.Limits(max_connections=STREAMS, max_keepalive_connections=0)
    async with httpx.AsyncClient(
        base_url=platform.url, headers=headers, timeout=60, limits=limits
    ) as http:
        got = await asyncio.gather(*(ask(http) for _ in range(STREAMS)))
        # A busy machine may not take every connection to the engine in time.
        assert {200, 429} <= {one.status_code for one in got} <= {200, 429, 503}
        (worst,) = {may_take(one) for one in got if one.status_code == 429}
        served = count(got, 200)
        assert served >= BUDGET_USD_MICROS // worst - count(got, 503), "as many as fit at once"
        wave = got
        while any(one.status_code == 200 for one in wave):
            await asyncio.sleep(0.2)  # what was reserved is settled
            wave = await asyncio.gather(*(ask(http) for _ in range(WAVE)))
            got += wave
        assert {may_take(one) for one in wave} == {worst}
        served, refused = count(got, 200), count(got, 429)
    # A 503 leaves a line only where an attempt had begun.
    lines = lines_of(platform, made["id"], served + refused)
    assert len([line for line in lines if line.error_code == "budget_exceeded"]) == refused
    assert [one.outcome for one in lines].count(Outcome.SUCCESS) == served
    assert [one.outcome for one in lines].count(Outcome.REFUSED) == refused
    spent = sum(line.cost_usd_micros for line in lines)
    assert BUDGET_USD_MICROS - worst < spent <= BUDGET_USD_MICROS
    ((listed,),) = [[one for one in keys(platform, "list") if one["id"] == made["id"]]]
    (limit,) = listed["limits"]
    assert (limit["spent"], limit["reserved"]) == (spent, 0)
    assert platform.metric("hansom_refusals_total", limit="usd") == refused


async def test_a_revoked_key_is_refused_by_every_gateway_within_five_seconds(
    platform: Serving,
) -> None:
    made = keys(platform, "create", "--tenant", "acme", "--name", "short")
    headers = {"authorization": f"Bearer {made['secret']}"}

    def statuses() -> set[int]:
        models = [httpx.get(f"{platform.url}/v1/models", headers=headers) for _ in range(12)]
        return {one.status_code for one in models}

    assert statuses() == {200}
    keys(platform, "revoke", "short")
    wait(lambda: statuses() == {401}, 5.5)
