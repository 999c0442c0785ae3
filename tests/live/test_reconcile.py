"""The books are right: mixed traffic, then a killed engine, then a killed gateway.

The engines count for themselves, where a kill leaves it; the ledger must come to the same.
"""

import hashlib
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from core.ledger_line import NOT_MADE, Kind, LedgerLine, Outcome
from ledger.path.sql_store import SqlStore, sqlite_url
from tests.deployments.serving import Serving, command, simulated, wait

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

CASCADING = "cascading-key"
TIERS = ("small", "large")


class Books:
    """A running Hansom whose engines count in a folder for each tier."""

    def __init__(self, serving: Serving, counters: Path) -> None:
        self.serving = serving
        self.sent: set[str] = set()
        self._counters = counters

    def ask(
        self, text: str = "", *, key: str = "test", cut_s: float | None = None,
        events: int | None = None, **body: Any,
    ) -> str:  # fmt: skip
        """Send one request, leave it after `cut_s` or after some events; its id."""
        id_ = uuid.uuid4().hex
        self.sent.add(id_)
        asked = {"model": "small", "max_tokens": 20} | body
        asked["messages"] = [{"role": "user", "content": text or id_}]
        headers = {"x-request-id": id_, "authorization": f"Bearer {key}"}
        timeout = httpx.Timeout(60, read=cut_s or 60)
        try:
            with httpx.stream(
                "POST", f"{self.serving.url}/v1/chat/completions", json=asked, headers=headers,
                timeout=timeout,
            ) as answer:  # fmt: skip
                for seen, _ in enumerate(answer.iter_lines()):
                    if events is not None and seen >= events:
                        break
        except httpx.HTTPError:
            pass  # left, or cut off
        return id_

    def engines(self, tier: str) -> tuple[int, int]:
        """Prompt tokens and generated tokens that all engines of a tier ever counted."""
        files = (self._counters / tier).glob("*.counts")
        prompt, made = np.sum([np.fromfile(file, dtype=np.int64) for file in files], axis=0)
        return int(prompt), int(made)

    def ledger(self, tier: str) -> tuple[int, int]:
        """The same by the ledger."""
        made = [line for line in self.lines() if line.tier == tier and line.kind not in NOT_MADE]
        return (
            sum(line.usage.input_tokens for line in made),
            sum(line.usage.output_tokens for line in made),
        )

    def lines(self) -> list[LedgerLine]:
        store = SqlStore(sqlite_url(self.serving.home / "ledger.sqlite3"))
        try:
            return [one.line for one in store.tail(100_000)]
        finally:
            store.close()

    def of(self, ids: Collection[str]) -> list[LedgerLine]:
        return [line for line in self.lines() if line.request_id in ids]

    def agree(self, timeout_s: float = 20.0) -> None:
        """Wait until every request has its line, and compare."""
        wait(lambda: self.sent <= {line.request_id for line in self.lines()}, timeout_s)
        try:
            wait(lambda: self._told(self.ledger) == self._told(self.engines), timeout_s)
        except TimeoutError:
            assert self._told(self.ledger) == self._told(self.engines)

    def _told(self, by: Callable[[str], tuple[int, int]]) -> dict[str, tuple[int, int]]:
        return {tier: by(tier) for tier in TIERS}

    def processes(self, title: str) -> list[psutil.Process]:
        return [one for one in self.serving.processes() if title in command(one)]


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Books]:
    counters = tmp_path_factory.mktemp("counters")
    config = simulated(
        ledger={"drain_interval_s": 0.1, "gateway_lease_s": 2.0},
        server={"port": simulated()["server"]["port"], "gateway_replicas": 2},
    )
    tenant = "key-" + hashlib.sha256(CASCADING.encode()).hexdigest()[:16]
    config["router"] |= {
        "tenants": {tenant: {"strategy": "cascade"}},
        "cascade": {"doubt": 0.0, "predict": False},
    }
    for tier in config["tiers"]:
        tier["engine"] |= {"ttft_s": 0.2, "tpot_s": 0.02, "counters": str(counters / tier["name"])}
    config["tiers"][0]["replicas"] = {"min": 2, "max": 2}
    serving = Serving(config)
    try:
        serving.start()
        yield Books(serving, counters)
    finally:
        serving.end()


def kinds(recorder: Books, ids: set[str]) -> set[Kind]:
    return {line.kind for line in recorder.of(ids)}


def test_mixed_traffic_comes_to_the_engines_own_counts(recorder: Books) -> None:
    """Plain and streamed, left early, shared, cached, escalated, refused."""
    same = {"temperature": 0, "max_tokens": 15}
    requests: list[dict[str, Any]] = [
        *({"stream": number % 2 == 0, "model": TIERS[number % 2]} for number in range(12)),
        *({"stream": True, "events": 5, "max_tokens": 400} for _ in range(8)),
        *({"cut_s": 0.5, "max_tokens": 400} for _ in range(6)),
        *({"cut_s": 0.1, "max_tokens": 400} for _ in range(3)),  # before the first token
        *({"text": f"shared {number % 2}", **same} for number in range(8)),
        *({"key": CASCADING, "model": "auto", "stream": number % 2 == 0} for number in range(6)),
    ]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda one: recorder.ask(**one), requests))
    hits = {recorder.ask(text=f"shared {number % 2}", **same) for number in range(4)}
    # Beyond every tier's context: refused before any attempt, so that there is nothing to count.
    refused = {recorder.ask(max_tokens=50_000) for _ in range(2)}
    recorder.sent -= refused
    recorder.agree()
    found = kinds(recorder, recorder.sent)
    assert {Kind.ANSWER, Kind.CANCELLED, Kind.ESCALATION, Kind.JOINED, Kind.CREDIT} <= found
    # A look-up that takes longer than it may is a miss; the flight that has just ended is joined.
    assert Kind.CACHE_HIT in kinds(recorder, hits) <= {Kind.CACHE_HIT, Kind.JOINED}
    lines = recorder.lines()
    cut = [line for line in lines if line.outcome is Outcome.CANCELLED]
    assert len(cut) == 17
    assert not any(line.estimated_tokens for line in cut)
    plain = [line for line in cut if not line.stream and line.usage.output_tokens]
    # Of the three that leave before the first token, a busy machine notices some after it.
    assert 6 <= len(plain) <= 9
    assert all(line.undelivered_tokens == line.usage.output_tokens for line in plain)
    assert {line.request_id for line in lines} == recorder.sent
    assert not refused & {line.request_id for line in lines}


def test_callers_of_one_cold_key_at_both_gateways_share_one_generation(recorder: Books) -> None:
    """Whichever gateway a caller comes to: one leads, all others follow it through Redis."""
    before = recorder.engines("small")
    asked: dict[str, Any] = {"text": uuid.uuid4().hex, "temperature": 0, "max_tokens": 60}
    with ThreadPoolExecutor(40) as pool:
        ids = list(pool.map(lambda at: recorder.ask(**asked, stream=at % 2 == 0), range(40)))
    recorder.agree()
    prompt, made = recorder.engines("small")
    assert made - before[1] == 60
    assert 0 < prompt - before[0] < 60
    lines = recorder.of(ids)
    found = [line.kind for line in lines]
    assert found.count(Kind.ANSWER) == 1
    assert found.count(Kind.JOINED) + found.count(Kind.CACHE_HIT) == 39
    assert found.count(Kind.JOINED) > 0
    cost = next(line.cost_usd_micros for line in lines if line.kind is Kind.ANSWER)

    def billed() -> int:
        return sum(line.cost_usd_micros for line in recorder.of(ids))

    try:
        wait(lambda: billed() == cost, 10)
    except TimeoutError:
        assert billed() == cost, [(one.kind, one.cost_usd_micros) for one in recorder.of(ids)]
    told = {"kind": "joined", "app": "gateway"}
    by_gateway = [
        recorder.serving.metric("hansom_shared_requests_total", replica=str(at), **told)
        for at in range(2)
    ]
    assert min(by_gateway) > 0, by_gateway


def test_an_engine_killed_on_the_way_keeps_the_books_right(recorder: Books) -> None:
    threads = [
        threading.Thread(target=recorder.ask, kwargs={"stream": True, "max_tokens": 100})
        for _ in range(8)
    ]
    for thread in threads[:4]:
        thread.start()
    time.sleep(0.6)
    for thread in threads[4:]:  # these wait for their first token, and go to the other replica
        thread.start()
    time.sleep(0.1)
    recorder.processes("ServeReplica:tier-small:")[0].kill()
    for thread in threads:
        thread.join(60)
    recorder.agree()
    lines = recorder.lines()
    assert any(line.error_code == "stream_broken" for line in lines)
    retried = [line for line in lines if line.kind is Kind.RETRY]
    assert retried
    assert all(line.outcome is Outcome.SUCCESS for line in retried)


def healthy(serving: Serving) -> bool:
    try:
        return httpx.get(f"{serving.url}/healthz").status_code == 200
    except httpx.HTTPError:  # the new gateway is starting
        return False


def test_what_a_killed_gateway_left_open_is_closed(recorder: Books) -> None:
    threads = [
        threading.Thread(target=recorder.ask, kwargs={"stream": number % 2 == 0, "max_tokens": 500})
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    time.sleep(2.0)
    for gateway in recorder.processes("ServeReplica:gateway:"):
        gateway.kill()
    for thread in threads:
        thread.join(60)
    recorder.agree(timeout_s=40)
    lost = [line for line in recorder.lines() if line.error_code == "gateway_lost"]
    assert len(lost) == 8
    assert not any(line.estimated_tokens for line in lost)
    made = [(line.usage.output_tokens, line.undelivered_tokens) for line in lost]
    assert all(output == undelivered > 0 for output, undelivered in made), made
    assert all(line.cost_usd_micros > 0 for line in lost)
    wait(lambda: healthy(recorder.serving), 60)
    recorder.ask()
    recorder.agree()
