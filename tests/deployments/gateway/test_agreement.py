"""Header, `hansom` object, usage, ledger and budget tell one count of a request, to the micro-USD,
and no request takes more than was reserved for it: whichever endpoint, however many choices and
prompts, as a stream or plain, cached, left early, escalated, tried again or checked.

The path is the real one, from the gateway's ASGI application to engines behind HTTP; the engines
are simulated, and count for themselves.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
import uvicorn

from accounts.limits import Amount
from core.call import Usage
from core.free_port import free_port
from core.ledger_line import NOT_MADE, Kind, LedgerLine, Outcome
from core.settings.accounts import BudgetLimit, Measure, Rules
from core.settings.load import SimulatedEngine
from deployments.gateway.backends.tier import Replica
from deployments.tier.simulated.engine import Simulated
from tests.accounts.test_reserve import Desk, desk
from tests.deployments.engines import Engine, answers, dies, refuses, serving
from tests.deployments.gateway.lookup.test_semantic import CACHED, OTHER_WORDS, near_of
from tests.deployments.rig import at_home, events_of
from tests.fakes import FakeBudgets, FakeNearby

WAYS = ["plain", "cached", "retry", "fallback", "kept", "escalated", "held", "given up", "sampled"]
SHAPES = list(itertools.product(["chat/completions", "completions"], [1, 2, 5], [1, 3], [0, 1]))
MOST = 60  # of a choice: five choices of three prompts are more than what is reserved to be safe
CASCADES: dict[str, dict[str, Any]] = {
    "kept": {"doubt": 1.0},
    "escalated": {"doubt": 0.0},
    "held": {"doubt": 0.0, "streams": "hold"},
    "given up": {"doubt": 0.0, "streams": "prefix", "prefix_tokens": 2},
    "sampled": {"doubt": 1.0, "second_sample": True, "perplexity": 1.0001, "streams": "hold"},
}
ROOMY = Rules(
    budgets=(
        BudgetLimit.read("90 USD/day", "hard"),
        BudgetLimit.read("90000000 tokens/day", "hard"),
    )
)


def tier(name: str, factor: str, engine: dict[str, Any]) -> dict[str, Any]:
    """Prices of which no few tokens come to a whole micro-USD."""
    prices = {"input": "0.37", "cached_input": "0.11", "output": "1.93"}
    return {
        "name": name,
        "model": f"{name}-model",
        "engine": {"kind": "simulated"} | engine,
        "price": {
            f"{kind}_usd_per_million_tokens": str(Decimal(price) * Decimal(factor))
            for kind, price in prices.items()
        },
    }


@dataclass
class Answered:
    """What a client saw of one request."""

    status: int
    headers: dict[str, str]
    body: bytes
    id: str

    @property
    def told(self) -> tuple[Usage, int]:
        """The usage, and the cost in micro-USD."""
        if self.headers["content-type"].startswith("text/event-stream"):
            last = events_of(self.body)[-2]
            cost = last["hansom"]["cost_usd"]
        else:
            last, cost = orjson.loads(self.body), self.headers["x-hansom-cost-usd"]
        usage = last["usage"]
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
        prompt = usage["prompt_tokens"]
        found = Usage(prompt - cached, cached, usage["completion_tokens"])
        return found, int(Decimal(cost) * 1_000_000)


class Books:
    """A desk before simulated engines."""

    def __init__(self, desk: Desk, engines: dict[str, list[Simulated]], app: Any) -> None:
        self.desk = desk
        self.engines = engines
        self._app = app
        self._numbers = itertools.count()

    async def ask(
        self, secret: str, endpoint: str, body: dict[str, Any], *, leave_after: int | None = None,
        leave_s: float | None = None, **headers: str,
    ) -> Answered:  # fmt: skip
        """One request to the ASGI application, left after some blocks or some time."""
        id_ = f"r{next(self._numbers)}"
        sent = {
            "authorization": f"Bearer {secret}", "x-request-id": id_,
            "content-type": "application/json", **headers,
        }  # fmt: skip
        raw: list[bytes] = [orjson.dumps(body)]
        left = asyncio.Event()
        head: dict[str, Any] = {"status": 499, "headers": []}
        blocks: list[bytes] = []

        async def receive() -> dict[str, Any]:
            if raw:
                return {"type": "http.request", "body": raw.pop()}
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                head.update(message)
                return
            blocks.append(message.get("body", b""))
            if leave_after is not None and len(blocks) >= leave_after:
                left.set()
                await asyncio.sleep(0)

        scope = {
            "type": "http", "method": "POST", "path": f"/v1/{endpoint}",
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
        }  # fmt: skip
        task = asyncio.create_task(self._app(scope, receive, send))
        if leave_s is not None:
            await asyncio.sleep(leave_s)
            left.set()
        await task
        told = {name.decode(): value.decode() for name, value in head["headers"]}
        return Answered(head["status"], told, b"".join(blocks), id_)

    async def lines(self, id_: str) -> list[LedgerLine]:
        """Those of one request, once all is written and settled."""
        await self.desk.settled()
        return [line for line in await self.desk.path.lines() if line.request_id == id_]

    def reserved(self, lines: Sequence[LedgerLine]) -> tuple[Amount, Amount]:
        """What was granted to a request in all, and what was counted for it."""
        (call_id,) = {line.call_id for line in lines}
        mine = [
            one for (_, id_), one in self.desk.store.reserved.items() if id_.startswith(call_id)
        ]
        assert mine and not any(one.open for one in mine)
        return (
            sum((one.asked.amount for one in mine), Amount()),
            sum((one.used for one in mine), Amount()),
        )


@asynccontextmanager
async def recorder(
    folder: Path, *, engine: dict[str, Any] | None = None, **more: Any
) -> AsyncIterator[Books]:
    of = {"output_tokens": 7} | (engine or {})
    tiers = [tier("small", "1", of), tier("large", "9.7", of)]
    async with AsyncExitStack() as stack:
        engines: dict[str, list[Simulated]] = {"small": [], "large": []}
        at = await stack.enter_async_context(desk(folder, tiers=tiers, **more))
        for name, replicas in at.path.replicas.items():
            one = Simulated(SimulatedEngine(kind="simulated", **of), f"{name}-model")
            engines[name].append(one)
            replicas[:] = [Replica(f"{name}-0", await stack.enter_async_context(listening(one)))]
        transport: Any = at.http._transport
        yield Books(at, engines, transport.app)


@asynccontextmanager
async def listening(app: Any) -> AsyncIterator[tuple[str, int]]:
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", lifespan="off"))
    task = asyncio.create_task(server.serve())
    try:
        while not server.started:  # noqa: ASYNC110 - uvicorn tells nobody
            await asyncio.sleep(0.005)
        yield "127.0.0.1", port
    finally:
        server.should_exit = True
        await task


def request(endpoint: str, choices: int, prompts: int, stream: bool, **more: Any) -> dict[str, Any]:
    texts = [f"What is {at} times {choices}? {'Ä' * at}" for at in range(prompts)]
    asked: dict[str, Any] = {"model": "auto", "n": choices, "max_tokens": MOST} | more
    if stream:
        asked |= {"stream": True, "stream_options": {"include_usage": True}}
    if endpoint == "completions":
        return asked | {"prompt": texts if prompts > 1 else texts[0]}
    return asked | {"messages": [{"role": "user", "content": text} for text in texts]}


def settings_of(way: str) -> dict[str, Any]:
    if way in CASCADES:
        cascade = {"predict": False} | CASCADES[way]
        return {
            "router": {"strategy": "cascade", "weights": "router/weights/v2", "cascade": cascade}
        }
    return {"router": {"strategy": "heuristic"}}


def charged(way: str, lines: Sequence[LedgerLine]) -> list[LedgerLine]:
    """The lines whose cost the client is told: all but questions beside the answer."""
    assert way == "sampled" or Kind.CLASSIFIER not in {line.kind for line in lines}
    return [line for line in lines if line.kind is not Kind.CLASSIFIER]


@pytest.mark.parametrize("way", WAYS)
async def test_everyone_tells_the_same_of_every_request(way: str, tmp_path: Path) -> None:
    failing = ["small"] * (way in ("retry", "fallback"))
    engine = {"tpot_s": 0.001} if way == "given up" else {}  # it must be left before its end
    async with (
        recorder(tmp_path, engine=engine, **settings_of(way)) as at,
        AsyncExitStack() as stack,
    ):
        _, secret = at.desk.key(ROOMY)
        for name in failing:
            replicas = at.desk.path.replicas[name]
            broken = await stack.enter_async_context(serving(Engine(dies), Engine(dies)))
            replicas[:] = [*broken[:1], *replicas] if way == "retry" else broken
        seen: set[Kind] = set()
        for endpoint, choices, prompts, stream in SHAPES:
            asked = request(endpoint, choices, prompts, bool(stream))
            wish = {"x-hansom-cache": "on"} if way == "cached" else {}
            for time in range(2 if way == "cached" else 1):
                got = await at.ask(secret, endpoint, asked, **wish)
                assert got.status == 200, got.body
                lines = await at.lines(got.id)
                usage, cost = got.told
                shape = (way, endpoint, choices, prompts, stream, time)
                assert cost == sum(line.cost_usd_micros for line in charged(way, lines)), shape
                last = max(
                    (
                        line
                        for line in lines
                        if line.undelivered_tokens == 0 and line.outcome is Outcome.SUCCESS
                    ),
                    key=lambda line: line.attempt if line.kind is not Kind.CLASSIFIER else -1,
                )
                assert last.usage == usage, shape
                of = at.desk.path.recorder.settings
                price = of.price(of.tier(last.tier), 0.0)
                made = 0 if last.kind in NOT_MADE else price.cost_usd_micros(usage)
                assert last.cost_usd_micros == made
                granted, counted = at.reserved(lines)
                assert counted == Amount(
                    sum(line.cost_usd_micros for line in lines),
                    sum(line.usage.total_tokens for line in lines if line.kind not in NOT_MADE),
                ), shape
                assert granted.usd_micros >= counted.usd_micros, shape
                assert granted.tokens >= counted.tokens, shape
                many = prompts if endpoint == "completions" else 1
                assert usage.output_tokens == MOST * choices * many, shape
                if way != "given up":  # whose replica may not have told in time
                    assert not any(one.estimated_tokens for one in lines if one.cost_usd_micros)
                seen |= {line.kind for line in lines}
        expected = {
            "cached": {Kind.CACHE_HIT}, "retry": {Kind.RETRY}, "fallback": {Kind.FALLBACK},
            "escalated": {Kind.ESCALATION}, "held": {Kind.ESCALATION},
            "given up": {Kind.ESCALATION}, "sampled": {Kind.CLASSIFIER},
        }  # fmt: skip
        assert expected.get(way, {Kind.ANSWER}) <= seen, "or it tried nothing of what it says"


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("endpoint", ["chat/completions", "completions"])
@pytest.mark.parametrize("choices", [1, 4])
async def test_of_a_client_that_leaves_the_engines_own_count_is_booked(
    endpoint: str, choices: int, stream: bool, tmp_path: Path
) -> None:
    """Each prompt once and what all choices made, which is within what was reserved."""
    engine = {"ttft_s": 0.01, "tpot_s": 0.01}
    async with recorder(tmp_path, engine=engine) as at:
        _, secret = at.desk.key(ROOMY)
        asked = request(endpoint, choices, 3, stream, model="small", max_tokens=400)
        whole = await at.ask(secret, endpoint, asked | {"max_tokens": 1})
        leave: dict[str, Any] = {"leave_after": 4} if stream else {"leave_s": 0.2}
        got = await at.ask(secret, endpoint, asked, **leave)
        (line,) = await at.lines(got.id)
        assert (line.outcome, line.estimated_tokens) == (Outcome.CANCELLED, False)
        took = await at.engines["small"][0].meter.usage(line.engine_request_id)
        assert line.usage == took
        assert line.usage.input_tokens == whole.told[0].input_tokens
        sequences = choices * (3 if endpoint == "completions" else 1)
        assert line.usage.output_tokens >= sequences
        assert line.usage.output_tokens % sequences == 0
        granted, counted = at.reserved([line])
        assert counted == Amount(line.cost_usd_micros, line.usage.total_tokens)
        assert granted.usd_micros > counted.usd_micros > 0 and granted.tokens > counted.tokens


@pytest.mark.parametrize("budget", ["2000 tokens/day", "9000 tokens/minute", "0.02 USD/day"])
async def test_many_at_once_do_not_pass_a_hard_limit(budget: str, tmp_path: Path) -> None:
    limit = BudgetLimit.read(budget, "hard")
    async with recorder(tmp_path, engine={"ttft_s": 0.01}) as at:
        _, secret = at.desk.key(Rules(budgets=(limit,)))
        asked = request("chat/completions", 16, 1, stream=False, model="large", max_tokens=10)
        statuses: list[int] = []
        for _ in range(4):
            got = await asyncio.gather(
                *(at.ask(secret, "chat/completions", asked) for _ in range(20))
            )
            statuses += [one.status for one in got]
            await at.desk.settled()
        assert set(statuses) == {200, 429}
        lines = [line for line in await at.desk.path.lines() if line.outcome is Outcome.SUCCESS]
        spent = Amount(
            sum(line.cost_usd_micros for line in lines),
            sum(line.usage.total_tokens for line in lines),
        )
        assert 0 < spent.of(limit.measure) <= limit.limit
        assert spent.of(limit.measure) > limit.limit / 2, "what is left must be of use to somebody"


@pytest.mark.parametrize(("room", "status"), [(0.5, 429), (1.5, 502), (2.5, 200)])
async def test_a_second_try_needs_room_for_what_the_first_may_have_taken(
    room: float, status: int, tmp_path: Path
) -> None:
    asked = {"model": "small", "max_tokens": 9, "messages": at_home("r0", "r1")}
    async with recorder(tmp_path) as at, AsyncExitStack() as stack:
        _, secret = at.desk.key(ROOMY)
        first = await at.ask(secret, "chat/completions", asked)
        granted, _ = at.reserved(await at.lines(first.id))
        replicas = at.desk.path.replicas["small"]
        replicas[:] = await stack.enter_async_context(serving(Engine(dies), Engine(answers())))
        _, tight = at.desk.key(tokens(int(granted.tokens * room)))
        got = await at.ask(tight, "chat/completions", asked)
        assert got.status == status


async def test_the_check_of_a_semantic_hit_is_within_what_its_request_was_granted(
    tmp_path: Path,
) -> None:
    near, patient = near_of(FakeNearby()), {"semantic_timeout_s": 5.0}
    async with recorder(
        tmp_path, engine={"ttft_s": 0.2}, near=near, budgets=FakeBudgets(), cache=patient
    ) as at:
        key, secret = at.desk.key(ROOMY)

        def asked(text: str) -> dict[str, Any]:
            turns = [{"role": "user", "content": text}]
            return {"model": "small", "temperature": 0, "max_tokens": 50, "messages": turns}

        await at.ask(secret, "chat/completions", asked(CACHED))
        semantic = at.desk.path.semantic
        assert semantic is not None
        await semantic.settled()
        before = at.desk.standing(key, Measure.TOKENS)
        got = await at.ask(secret, "chat/completions", asked(OTHER_WORDS))
        assert got.headers["x-hansom-cache"] == "semantic"
        assert got.told[1] == 0
        await asyncio.sleep(0.05)
        assert at.desk.standing(key, Measure.TOKENS).held > 50, "the check has not ended"
        lines = await at.lines(got.id)
        assert {line.kind for line in lines} == {Kind.CACHE_HIT, Kind.SHADOW}
        granted, counted = at.reserved(lines)
        assert granted.tokens >= counted.tokens > 50
        after = at.desk.standing(key, Measure.TOKENS)
        assert (after.spent, after.held) == (before.spent + counted.tokens, 0)


async def test_a_full_tier_took_nothing_so_the_next_needs_no_more_room(tmp_path: Path) -> None:
    asked = request("chat/completions", 1, 1, stream=False, model="auto")
    async with recorder(tmp_path) as at, AsyncExitStack() as stack:
        _, secret = at.desk.key(ROOMY)
        first = await at.ask(secret, "chat/completions", asked)
        granted, _ = at.reserved(await at.lines(first.id))
        full = await stack.enter_async_context(serving(Engine(refuses(503))))
        at.desk.path.replicas["small"][:] = full
        _, tight = at.desk.key(tokens(granted.tokens))
        got = await at.ask(tight, "chat/completions", asked)
        assert (got.status, got.headers["x-hansom-tier"]) == (200, "large")


async def test_a_chat_without_a_limit_is_kept_within_what_was_reserved_for_it(
    tmp_path: Path,
) -> None:
    """An engine of unknown context would answer as long as it likes; others' answers stay whole."""
    tiers = [
        tier(name, "1", {"kind": "vllm"}) | {"source": {"kind": "path", "path": "models/x"}}
        for name in ("small", "large")
    ]
    engine = Engine(answers([" a", " b"]))
    accounts = {"reserve_output_tokens": 33}
    turns = [{"role": "user", "content": "Hello"}]
    async with desk(tmp_path, engine, tiers=tiers, accounts=accounts) as at:
        _, bound = at.key(tokens(100_000))
        _, soft = at.key(Rules(budgets=(BudgetLimit.read("1 tokens/day", "soft"),), concurrency=5))
        for secret in (bound, soft, ""):
            headers = {"authorization": f"Bearer {secret}"} if secret else {}
            for more in ({}, {"max_tokens": 5}, {"max_completion_tokens": None}):
                body = {"model": "small", "messages": turns} | more
                got = await at.http.post("/v1/chat/completions", json=body, headers=headers)
                assert got.status_code == 200
    caps = [one.get("max_completion_tokens") for one in engine.asked]
    assert caps == [33, None, 33] + [None] * 6


def tokens(most: int) -> Rules:
    return Rules(budgets=(BudgetLimit.read(f"{most} tokens/day", "hard"),))
