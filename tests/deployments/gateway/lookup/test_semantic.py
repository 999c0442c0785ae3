"""Other words for the same: who is served, who is not, what is checked, and what it leads to."""

from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from cache.error_budget.budget import Level, Record, State, Tally
from cache.semantic.pair import PromptReader
from cache.semantic.verify import Verifier
from core.call import Call
from core.ledger_line import Kind
from deployments.gateway.lookup.semantic import answer_key, words_of
from deployments.router.semantic_index import SemanticIndex
from tests.deployments.engines import Engine, answers
from tests.deployments.rig import Rig, call, events_of, read, rig, settings_of
from tests.fakes import FakeBudgets, FakeNear, FakeNearby
from tests.ledger.lines import until
from text.embed import MiniLM

CACHED = "How do I reverse a list in Python?"
OTHER_WORDS = "What is the best way to reverse a list in Python?"
SAME_WORDS = "how can I reverse a list in Python"
NEAR_MISS = "How do I reverse a list in Java?"
EMBEDDER = MiniLM.installed()
VERIFIER = Verifier.load(PromptReader(EMBEDDER))
THREAD = ThreadPoolExecutor(1)
OWNER = "tenant:acme"


def near_of(nearby: FakeNearby) -> FakeNear:
    return FakeNear(SemanticIndex(nearby, VERIFIER, lambda text: EMBEDDER.embed([text])[0], THREAD))


@asynccontextmanager
async def cab(
    folder: Path,
    pieces: Sequence[str] = ("Use reversed().",),
    *,
    cache: dict[str, Any] | None = None,
    nearby: FakeNearby | None = None,
    budgets: FakeBudgets | None = None,
    near: FakeNear | None = None,
) -> AsyncIterator[tuple[Rig, Engine]]:
    """A path whose small tier says `pieces`."""
    engine = Engine(answers(pieces))
    near = near or near_of(nearby or FakeNearby())
    settings = settings_of(cache=cache or {})
    async with rig(
        folder, [engine], settings=settings, near=near, budgets=budgets or FakeBudgets()
    ) as path:
        yield path, engine


def asked(text: str, at: int = 1, **changes: Any) -> Call:
    messages = changes.pop("messages", [{"role": "user", "content": text}])
    known = {"call_id": f"{at:032d}", "request_id": f"r-{at}", "temperature": 0}
    return call(messages=messages, **known | changes)


async def say(path: Rig, one: Call) -> tuple[str, bytes]:
    """How the cache answered, and the body, with everything behind it settled."""
    reply = await path.respond(one)
    body = await read(reply)
    assert path.semantic is not None
    await until(lambda: not path.pipeline._writes)
    await path.semantic.settled()
    return reply.headers["x-hansom-cache"], body


@pytest.mark.parametrize("words", [OTHER_WORDS, SAME_WORDS])
async def test_other_words_for_the_same_are_served(tmp_path: Path, words: str) -> None:
    async with cab(tmp_path) as (path, _):
        assert (await say(path, asked(CACHED)))[0] == "miss"
        how, body = await say(path, asked(words, 2))
        assert how == "semantic"
        said = orjson.loads(body)["choices"][0]["message"]["content"]
        assert said == "Use reversed()."
        hit = [line for line in await path.lines() if line.kind is Kind.CACHE_HIT]
        assert [(one.cache, one.cost_usd_micros) for one in hit] == [("semantic", 0)]


async def test_a_stream_may_be_served_too(tmp_path: Path) -> None:
    async with cab(tmp_path) as (path, _):
        await say(path, asked(CACHED))
        how, body = await say(path, asked(OTHER_WORDS, 2, stream=True))
        assert how == "semantic"
        assert events_of(body)[-2]["hansom"]["cache"] == "semantic"


@pytest.mark.parametrize(
    "other",
    [
        asked(NEAR_MISS, 2),
        asked(OTHER_WORDS, 2, tenant="other"),
        asked(OTHER_WORDS, 2, domain="law"),
        asked(OTHER_WORDS, 2, requested="small"),
        asked(OTHER_WORDS, 2, max_tokens=5),
        asked(OTHER_WORDS, 2, tools=[{"type": "function", "function": {"name": "x"}}]),
        asked(OTHER_WORDS, 2, temperature=0.7),
        asked(
            OTHER_WORDS,
            2,
            messages=[
                {"role": "system", "content": "Answer in French."},
                {"role": "user", "content": OTHER_WORDS},
            ],
        ),
        asked("What is the weather in Paris now?", 2),
        asked("word " * 400, 2),
    ],
    ids=[
        "another language", "tenant", "domain", "model", "limit", "tools", "sampled", "system",
        "time", "long",
    ],
)  # fmt: skip
async def test_anything_else_is_not(tmp_path: Path, other: Call) -> None:
    async with cab(tmp_path) as (path, _):
        await say(path, asked(CACHED))
        assert (await say(path, other))[0] == "miss"


async def test_a_domain_may_refuse_it(tmp_path: Path) -> None:
    cache = {"domains": {"law": {"semantic": False}}}
    async with cab(tmp_path, cache=cache) as (path, _):
        await say(path, asked(CACHED, domain="law"))
        assert (await say(path, asked(OTHER_WORDS, 2, domain="law")))[0] == "miss"


async def test_first_hits_are_all_checked_beside_the_request(tmp_path: Path) -> None:
    budgets = FakeBudgets()
    async with cab(tmp_path, budgets=budgets) as (path, engine):
        await say(path, asked(CACHED))
        await say(path, asked(OTHER_WORDS, 2))
        assert len(engine.asked) == 2
        lines = await path.lines()
    assert [line.kind for line in lines].count(Kind.SHADOW) == 1
    record = budgets.states[OWNER, ""].records[Level.STRICT]
    assert record.all == Tally(1, 0)


async def test_hits_that_prove_wrong_switch_it_off_and_say_so(tmp_path: Path) -> None:
    budgets = FakeBudgets()
    doubted = Record(Tally(8, 1), Tally(8, 1), served=8)
    budgets.states[OWNER, ""] = State().with_record(Level.STRICT, doubted)
    async with cab(tmp_path, budgets=budgets) as (path, engine):
        await say(path, asked(CACHED))
        engine.act = answers(["No: there are 7 of them."])
        assert (await say(path, asked(OTHER_WORDS, 2)))[0] == "semantic"
        assert (await say(path, asked(SAME_WORDS, 3)))[0] == "miss"
    assert budgets.changes[-1].after is Level.OFF
    assert "wrong" in budgets.changes[-1].reason


async def test_while_it_is_off_hits_are_compared_with_what_is_generated_anyway(
    tmp_path: Path,
) -> None:
    budgets = FakeBudgets()
    budgets.states[OWNER, ""] = State(level=Level.OFF)
    async with cab(tmp_path, budgets=budgets) as (path, engine):
        await say(path, asked(CACHED))
        assert (await say(path, asked(OTHER_WORDS, 2)))[0] == "miss"
        assert len(engine.asked) == 2
    assert budgets.states[OWNER, ""].records[Level.OFF].all == Tally(1, 0)


async def test_feedback_on_a_hit_counts_and_on_anything_else_does_not(tmp_path: Path) -> None:
    budgets = FakeBudgets()
    async with cab(tmp_path, budgets=budgets) as (path, _):
        await say(path, asked(CACHED))
        await say(path, asked(OTHER_WORDS, 2))
        assert path.semantic is not None
        assert await path.semantic.feedback("acme", "r-2", 0.0)
        assert not await path.semantic.feedback("acme", "r-1", 0.0)
        assert not await path.semantic.feedback("other", "r-2", 0.0)
    record: Record = budgets.states[OWNER, ""].records[Level.STRICT]
    assert record.told == 1


async def test_an_entry_without_its_answer_is_a_miss_and_is_forgotten(tmp_path: Path) -> None:
    near = near_of(nearby := FakeNearby())
    async with cab(tmp_path, near=near) as (path, _):
        await say(path, asked(CACHED))
        path.store._values.clear()
        assert (await say(path, asked(OTHER_WORDS, 2)))[0] == "miss"
    assert "forget" in near.asked
    assert [len(scope) for scope in nearby.scopes.values()] == [1]  # the second answer's own


async def test_after_some_late_look_ups_it_is_left_alone_for_a_while(tmp_path: Path) -> None:
    near = near_of(FakeNearby())
    async with cab(tmp_path, near=near, cache={"semantic_timeout_s": 0.01}) as (path, _):
        near.wait_s = 0.1
        for at in range(8):
            await say(path, asked(f"What is the number {at} in binary?", at))
        assert near.asked.count("near") == 5
        near.wait_s = 0.0
        path.clock.advance(6)
        await say(path, asked(CACHED, 9))
        await say(path, asked("And what is that in octal, please?", 10))
        assert near.asked.count("near") == 7


async def test_a_late_router_is_a_miss(tmp_path: Path) -> None:
    near = near_of(FakeNearby())
    async with cab(tmp_path, near=near, cache={"semantic_timeout_s": 0.02}) as (path, _):
        await say(path, asked(CACHED))
        near.wait_s = 0.2
        assert (await say(path, asked(OTHER_WORDS, 2)))[0] == "miss"


@pytest.mark.parametrize("failure", [RedisConnectionError("gone"), OSError("gone")])
async def test_a_redis_that_is_away_is_a_miss(tmp_path: Path, failure: Exception) -> None:
    nearby = FakeNearby()
    async with cab(tmp_path, nearby=nearby) as (path, _):
        await say(path, asked(CACHED))
        nearby.failure = failure
        assert (await say(path, asked(OTHER_WORDS, 2)))[0] == "miss"
        nearby.failure = None
        assert (await say(path, asked(SAME_WORDS, 3)))[0] == "semantic"


@pytest.mark.parametrize(
    "said",
    [
        "unknown command 'VSIM', with args beginning with: ",
        "Unknown Redis command called from script",
    ],
)
async def test_a_redis_without_vector_sets_is_asked_once(tmp_path: Path, said: str) -> None:
    nearby = FakeNearby()
    nearby.failure = ResponseError(said)
    async with cab(tmp_path, nearby=nearby) as (path, _):
        await say(path, asked(CACHED))
        nearby.failure = None
        assert (await say(path, asked(OTHER_WORDS, 2)))[0] == "miss"
        assert (await say(path, asked(CACHED, 3)))[0] == "exact"


@pytest.mark.parametrize(
    "body",
    [
        b"no json",
        b"{}",
        b'{"choices":[]}',
        b'{"choices":[{"message":{"content":null}}]}',
        b'{"choices":[{"message":{"content":"  "}}]}',
        b'{"choices":[{"message":{"content":"x","tool_calls":[{}]}}]}',
    ],
)
def test_what_is_more_or_less_than_words_has_no_words(body: bytes) -> None:
    assert words_of(body) is None


def test_answers_that_say_the_same_have_one_key() -> None:
    assert answer_key("Paris  is\nthe capital") == answer_key("paris is the capital")
    assert answer_key("The answer is 42.") != answer_key("The answer is 43.")
