"""The request path with real parts around played engines: no Ray, no Redis, a clock that waits."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from accounts.port import NO_ACCOUNTS
from accounts.reserve import Accounts
from cache.exact.answers import ExactCache
from cache.exact.eligible import Directives
from cache.flight.flights import Flights
from core.call import Call, Endpoint, Risk
from core.ledger_line import LedgerLine
from core.metrics import Metrics
from core.settings.load import Settings
from deployments.gateway.attempt import Recorder
from deployments.gateway.backends.capabilities import KnownCapabilities
from deployments.gateway.backends.choice import Pace, ReplicaPicker
from deployments.gateway.backends.exchange import Connections
from deployments.gateway.backends.prefix_index import read as read_prompt
from deployments.gateway.backends.tier import Replica, TierReplicas
from deployments.gateway.cascade.second_opinion import SecondOpinion
from deployments.gateway.dispatch import Dispatcher, make_plan
from deployments.gateway.lookup.semantic import Semantic
from deployments.gateway.lookup.verdicts import Verdicts
from deployments.gateway.pipeline import Pipeline
from deployments.gateway.reply import Reply
from deployments.gateway.usage_query import UsageQuery
from ledger.path.spool import Spool
from ledger.path.writer import StreamWriter
from tests.deployments.engines import Engine, serving
from tests.fakes import (
    FakeAccounts,
    FakeBudgets,
    FakeClock,
    FakeNear,
    FakeRouter,
    FakeStore,
    FakeStream,
)
from tests.ledger.lines import until
from wire.requests import parameters


def tier_of(name: str, factor: int, **changes: Any) -> dict[str, Any]:
    """A tier with input, cached input and output at so many times 1, 0.5, 2 USD per million."""
    price = {
        "input_usd_per_million_tokens": factor,
        "cached_input_usd_per_million_tokens": factor * 0.5,
        "output_usd_per_million_tokens": factor * 2,
        "version": "v1",
    }
    engine = {"kind": "simulated"}
    return {"name": name, "model": f"{name}-model", "engine": engine, "price": price} | changes


def settings_of(**changes: Any) -> Settings:
    """Two tiers, `small` and `large`, which costs 10 times as much."""
    given: dict[str, Any] = {
        "tiers": [tier_of("small", 1), tier_of("large", 10)],
        "router": {"strategy": "heuristic"},
    }
    return Settings.model_validate(given | changes)


def call(**changes: Any) -> Call:
    """An admitted chat request; fields of the body may be given by name."""
    known = Call.__dataclass_fields__
    body: dict[str, object] = {
        "model": changes.get("requested", "auto"),
        "messages": [{"role": "user", "content": "Hello"}],
    }
    body |= {name: value for name, value in changes.items() if name not in known}
    fields: dict[str, Any] = {
        "call_id": "c" * 32,
        "request_id": "r-1",
        "endpoint": Endpoint.CHAT,
        "tenant": "acme",
        "requested": "auto",
        "body": body,
        "stream": False,
        "include_usage": False,
        "arrived_s": FakeClock().now_s,
        "deadline_s": 20.0,
        "risk": Risk.NORMAL,
    }
    fields |= {name: value for name, value in changes.items() if name in known}
    if fields["stream"]:
        body["stream"] = True
    if "asked" not in fields:
        fields["asked"] = parameters(fields["endpoint"], body)
    return Call(**fields)


def at_home(first: str, *others: str) -> list[dict[str, str]]:
    """Messages that an idle tier of these replicas answers on the `first`."""
    for number in range(1000):
        messages = [{"role": "user", "content": f"Hello {number}"}]
        if (
            ReplicaPicker(Pace()).pick([*others, first], read_prompt({"messages": messages}), 0.0)
            == first
        ):
            return messages
    raise AssertionError(f"no prompt is at home on {first}")


@dataclass
class Rig:
    """A pipeline and what can be seen of it from outside."""

    pipeline: Pipeline
    recorder: Recorder
    tiers: dict[str, TierReplicas]
    store: FakeStore
    stream: FakeStream
    clock: FakeClock
    router: FakeRouter
    replicas: dict[str, list[Replica]] = field(default_factory=dict)
    semantic: Semantic | None = None

    async def respond(self, asked: Call, wish: Directives = Directives()) -> Reply:  # noqa: B008
        """What the gateway does with an admitted call."""
        found = await self.pipeline.look_up(asked, wish)
        return found if isinstance(found, Reply) else await self.pipeline.ride(asked, found)

    async def ask(self, asked: Call, wish: Directives = Directives()) -> tuple[Reply, bytes]:  # noqa: B008
        """The reply and its whole body, with the write to the cache behind it."""
        reply = await self.respond(asked, wish)
        body = await read(reply)
        await self.pipeline.close()
        return reply, body

    async def lines(self) -> list[LedgerLine]:
        """The ledger so far."""
        await until(lambda: not self.recorder.late.waiting)
        stats = self.recorder.ledger.stats
        await until(lambda: stats.sent == stats.recorded)
        return [LedgerLine.from_bytes(payload) for payload in self.stream.payloads]

    async def told(self) -> list[tuple[str, str, str, str | None]]:
        """The ledger in short, by attempt: tier, kind, outcome, error."""
        return [
            (line.tier, line.kind.value, line.outcome.value, line.error_code)
            for line in sorted(await self.lines(), key=lambda one: one.attempt)
        ]


async def read(reply: Reply) -> bytes:
    """A reply's whole body."""
    if isinstance(reply.body, bytes):
        return reply.body
    return b"".join([block async for block in reply.body])


def events_of(data: bytes) -> list[Any]:
    """A stream's events, decoded; `[DONE]` as that text."""
    assert data.endswith(b"\n\n")
    found = [item.removeprefix(b"data: ") for item in data[:-2].split(b"\n\n")]
    return ["[DONE]" if item == b"[DONE]" else orjson.loads(item) for item in found]


@asynccontextmanager
async def rig(
    folder: Path,
    small: Sequence[Engine] = (),
    large: Sequence[Engine] = (),
    *,
    settings: Settings | None = None,
    router: FakeRouter | None = None,
    stall_s: float = 5.0,
    flights: Flights | None = None,
    near: FakeNear | None = None,
    budgets: FakeBudgets | None = None,
    accounts: FakeAccounts | None = None,
    more: Mapping[str, Sequence[Engine]] | None = None,
    asks: bool = False,
) -> AsyncIterator[Rig]:
    """Engines on the loopback address, and the real path to them.

    `more` are engines of other tiers in the settings; with `asks` they are asked what they can do.
    """
    settings = settings or settings_of()
    clock, store, stream = FakeClock(), FakeStore(), FakeStream()
    writer = StreamWriter(stream, Spool(folder / "spool"), linger_s=0.0)
    writer.start()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(writer.close)
        late = UsageQuery()
        stack.push_async_callback(late.close)
        connections = Connections()
        stack.push_async_callback(connections.close)
        engines = {"small": small, "large": large} | dict(more or {})
        replicas = {
            name: await stack.enter_async_context(serving(*those))
            for name, those in engines.items()
        }
        tiers = {
            name: TierReplicas(name, lambda name=name: replicas[name], connections, stall_s)  # type: ignore[misc]
            for name in replicas
        }
        router = router or FakeRouter()
        metrics, port = Metrics(), NO_ACCOUNTS
        if accounts is not None:
            port = own = Accounts(settings, accounts, clock, metrics, writer)
            own.start()
            stack.push_async_callback(own.close)
        recorder = Recorder(metrics, writer, clock, settings, "router-v1", late, accounts=port)
        capabilities = KnownCapabilities(settings.tiers, tiers)
        if asks:
            await capabilities.ask()
        plan = make_plan(settings, None)
        board = Dispatcher(plan, router, tiers, 1.0, metrics, capabilities=capabilities)
        cache = ExactCache(store, clock, timeout_s=1.0, lookup_timeout_s=1.0)
        semantic = None
        if near is not None:
            look = SecondOpinion(recorder, tiers)
            semantic = Semantic(
                recorder, near, cache, budgets or FakeBudgets(), "answers-v1",
                lambda asked, tier: look.again(asked, recorder.settings.tier(tier)),
                Verdicts(recorder, tiers["large"], look.serves_too)
                if settings.cache.verifies
                else None,
            )  # fmt: skip
        pipeline = Pipeline(recorder, board, cache, tiers, "answers-v1", flights, semantic)
        stack.push_async_callback(pipeline.close)
        yield Rig(pipeline, recorder, tiers, store, stream, clock, router, replicas, semantic)
