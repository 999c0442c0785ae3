"""What a model's word on two prompts leads to: on the request's path, beside it, and when it fails.

The pair is far by cosine, so that the trees refuse it and only the model's word serves it.
"""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from accounts.worst_case import worst_case
from cache.error_budget.budget import Level, Record, State
from cache.error_budget.counts import Tally
from cache.scope import Scope
from cache.semantic.consensus import ServedBy
from cache.semantic.entries import entry_id
from cache.semantic.lookup import DoubtfulEntry, StoredAnswer
from cache.semantic.question import question
from core.call import Lane
from core.ledger_line import Kind, LedgerLine
from core.settings.cache import CacheSettings
from deployments.gateway.lookup.verdicts import MOST, Doubted, alias
from deployments.router.semantic_index import SemanticIndex
from tests.deployments.engines import Act, Engine, answer, answers, dies, refuses, stalls, usage
from tests.deployments.gateway.lookup.test_semantic import (
    EMBEDDER,
    OWNER,
    THREAD,
    VERIFIER,
    asked,
    say,
)
from tests.deployments.rig import Rig, call, rig, settings_of
from tests.fakes import FakeBudgets, FakeNear, FakeNearby
from tests.ledger.lines import until

CACHED = "What is our refund policy?"
OTHER_WORDS = "How do I get my money back?"
POLICY = "Within 30 days you get all of it back."
WAITS = {"verify": "large", "verify_wait": True, "verify_timeout_s": 0.3}
BESIDE = {"verify": "large"}


def says(yes: float, fresh: str = POLICY) -> Act:
    """A large tier that is this sure of a pair, and answers anything else."""

    async def act(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if "top_logprobs" not in body:
            return web.json_response(answer(fresh, 3))
        odds = [("Yes", yes), ("No", 1 - yes)]
        top = [{"token": word, "logprob": math.log(max(p, 1e-9))} for word, p in odds]
        content = [top[0] | {"top_logprobs": top}]
        return web.json_response(
            {"choices": [{"logprobs": {"content": content}}], "usage": usage(1)}
        )

    return act


async def strange(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return web.json_response({"choices": [{"logprobs": None}], "usage": usage(1)})


async def empty(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    return web.json_response([])


@asynccontextmanager
async def cab(
    folder: Path,
    judge: Act,
    cache: dict[str, Any],
    *,
    budgets: FakeBudgets | None = None,
    nearby: FakeNearby | None = None,
    fresh: str = POLICY,
) -> AsyncIterator[tuple[Rig, Engine, Engine, FakeNearby]]:
    """A path whose small tier answers, and whose large tier is asked about pairs."""
    small, large, nearby = Engine(answers([fresh])), Engine(judge), nearby or FakeNearby()
    near = FakeNear(SemanticIndex(nearby, VERIFIER, lambda text: EMBEDDER.embed([text])[0], THREAD))
    settings = settings_of(cache={"wrong_share": 0.025, "semantic_timeout_s": 5} | cache)
    async with rig(
        folder, [small], [large], settings=settings, near=near, budgets=budgets or FakeBudgets()
    ) as path:
        yield path, small, large, nearby


def entries(nearby: FakeNearby) -> dict[str, Any]:
    return {e.text: e for scope in nearby.scopes.values() for e, _, _ in scope.values()}


async def verdict_line(path: Rig) -> LedgerLine:
    (line,) = [one for one in await path.lines() if one.kind is Kind.CLASSIFIER]
    return line


def counted(path: Rig, result: str) -> float:
    found: float = path.recorder.metrics.semantic_verdicts.labels(result)._value.get()
    return found


async def test_without_the_setting_nobody_is_asked(tmp_path: Path) -> None:
    async with cab(tmp_path, says(1.0), {}) as (path, _, large, _):
        await say(path, asked(CACHED))
        assert (await say(path, asked(OTHER_WORDS, 2)))[0] == "miss"
        assert large.asked == []


async def test_a_yes_that_the_request_waits_for_serves_and_has_its_own_line(
    tmp_path: Path,
) -> None:
    async with cab(tmp_path, says(0.999), WAITS) as (path, small, large, _):
        await say(path, asked(CACHED))
        how, body = await say(path, asked(OTHER_WORDS, 2))
        assert how == "semantic"
        assert orjson.loads(body)["choices"][0]["message"]["content"] == POLICY
        assert large.asked[0]["messages"][0]["content"] == question(CACHED, OTHER_WORDS)
        line = await verdict_line(path)
        assert (line.request_id, line.tier, line.route_code) == ("r-2", "large", "cache_verify")
        assert (line.usage.output_tokens, line.outcome) == (1, "success")
        assert line.cost_usd_micros > 0
        assert line.saved_usd_micros == -line.cost_usd_micros
        assert path.recorder.metrics.semantic.labels(ServedBy.JUDGED.value)._value.get() == 1
        assert counted(path, "yes") == 1
        assert len(small.asked) == 2  # the first answer, and the check of the hit


async def test_the_same_words_are_then_served_without_a_question(tmp_path: Path) -> None:
    async with cab(tmp_path, says(0.999), WAITS) as (path, _, large, nearby):
        await say(path, asked(CACHED))
        await say(path, asked(OTHER_WORDS, 2))
        mine, other = entries(nearby)[OTHER_WORDS], entries(nearby)[CACHED]
        assert (mine.exact_key, mine.answer) == (other.exact_key, other.answer)
        assert (await say(path, asked(OTHER_WORDS, 3)))[0] == "semantic"
        assert [one for one in large.asked if "top_logprobs" in one] == large.asked[:1]
        assert len([b for b in large.asked if "top_logprobs" in b]) == 1


async def test_a_yes_that_a_check_finds_wrong_is_not_kept(tmp_path: Path) -> None:
    budgets = FakeBudgets()
    async with cab(tmp_path, says(0.999), WAITS, budgets=budgets) as (path, small, _, nearby):
        await say(path, asked(CACHED))
        small.act = answers(["No: there are 7 of them."])
        assert (await say(path, asked(OTHER_WORDS, 2)))[0] == "semantic"
        assert OTHER_WORDS not in entries(nearby)
        assert budgets.states[OWNER, ""].records[Level.LOOSE].all == Tally(1, 1)
        # The entry was wrong once: it is not asked about again.
        before = counted(path, "yes")
        assert (await say(path, asked(OTHER_WORDS, 3)))[0] == "miss"
        assert counted(path, "yes") == before


async def test_an_entry_that_stands_for_a_yes_goes_when_it_proves_wrong(tmp_path: Path) -> None:
    async with cab(tmp_path, says(0.999), WAITS) as (path, small, _, nearby):
        await say(path, asked(CACHED))
        await say(path, asked(OTHER_WORDS, 2))
        assert OTHER_WORDS in entries(nearby)
        small.act = answers(["No: there are 7 of them."])
        assert (await say(path, asked(OTHER_WORDS, 3)))[0] == "semantic"
        assert OTHER_WORDS not in entries(nearby)


async def test_a_complaint_takes_it_back(tmp_path: Path) -> None:
    async with cab(tmp_path, says(0.999), WAITS) as (path, _, _, nearby):
        await say(path, asked(CACHED))
        await say(path, asked(OTHER_WORDS, 2))
        assert path.semantic is not None
        assert await path.semantic.feedback("acme", "r-2", 0.0)
        assert OTHER_WORDS not in entries(nearby) and CACHED in entries(nearby)


@pytest.mark.parametrize(
    ("judge", "result", "outcome"),
    [
        (says(0.0), "no", "success"),
        (says(0.94), "no", "success"),
        (strange, "none", "success"),
        (empty, "none", "error"),
        (stalls, "none", "error"),
        (dies, "none", "error"),
        (refuses(500), "none", "error"),
        (refuses(400), "none", "error"),
    ],
    ids=["no", "not sure", "strange", "no object", "late", "dies", "500", "400"],
)
async def test_anything_but_a_sure_yes_is_a_miss_with_one_line(
    tmp_path: Path, judge: Act, result: str, outcome: str
) -> None:
    async with cab(tmp_path, judge, WAITS) as (path, small, _, nearby):
        await say(path, asked(CACHED))
        assert (await say(path, asked(OTHER_WORDS, 2)))[0] == "miss"
        assert len(small.asked) == 2
        assert counted(path, result) == 1
        assert (await verdict_line(path)).outcome == outcome
        mine, other = entries(nearby)[OTHER_WORDS], entries(nearby)[CACHED]
        assert mine.exact_key != other.exact_key


async def test_beside_the_request_a_yes_lets_the_two_entries_agree(tmp_path: Path) -> None:
    async with cab(tmp_path, says(0.999), BESIDE) as (path, small, large, nearby):
        await say(path, asked(CACHED))
        small.act = answers(["Ask for it at the desk."])
        how, body = await say(path, asked(OTHER_WORDS, 2))
        assert how == "miss"
        assert b"at the desk" in body
        mine, other = entries(nearby)[OTHER_WORDS], entries(nearby)[CACHED]
        assert mine.answer == other.answer
        assert mine.exact_key != other.exact_key
        line = await verdict_line(path)
        assert (line.request_id, line.lane) == ("r-2", Lane.BATCH)
        assert large.headers[0]["x-hansom-lane"] == "batch"
        assert large.asked[0]["priority"] == 1


async def test_beside_the_request_a_no_changes_nothing(tmp_path: Path) -> None:
    async with cab(tmp_path, says(0.0), BESIDE) as (path, small, _, nearby):
        await say(path, asked(CACHED))
        small.act = answers(["Ask for it at the desk."])
        await say(path, asked(OTHER_WORDS, 2))
        assert entries(nearby)[OTHER_WORDS].answer != entries(nearby)[CACHED].answer
        assert counted(path, "no") == 1


async def test_a_purge_while_it_is_asked_is_not_undone(tmp_path: Path) -> None:
    async with cab(tmp_path, says(0.999), BESIDE) as (path, small, large, nearby):
        await say(path, asked(CACHED))
        small.act = answers(["Ask for it at the desk."])

        async def purged(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
            path.store._values.clear()
            for scope in nearby.scopes.values():
                scope.clear()
            return await says(0.999)(request, body)

        large.act = purged
        await say(path, asked(OTHER_WORDS, 2))
        assert counted(path, "yes") == 1
        assert entries(nearby) == {}


async def test_one_domain_may_have_it_and_one_tenant_may_refuse_it(tmp_path: Path) -> None:
    cache = {
        "domains": {"law": {"verify": "large"}},
        "tenants": {"quiet": {"verify": "off"}},
        "verify_wait": True,
    }
    async with cab(tmp_path, says(1.0), cache) as (path, _, large, _):
        for at, who in enumerate([{}, {"tenant": "quiet", "domain": "law"}, {"domain": "law"}]):
            await say(path, asked(CACHED, 2 * at, **who))
            how, _ = await say(path, asked(OTHER_WORDS, 2 * at + 1, **who))
            assert how == ("semantic" if at == 2 else "miss")
            assert len(large.asked) == (at == 2)


async def test_while_the_budget_is_off_nobody_is_asked(tmp_path: Path) -> None:
    for cache in (WAITS, BESIDE):
        budgets = FakeBudgets()
        budgets.states[OWNER, ""] = State(level=Level.OFF)
        async with cab(tmp_path, says(1.0), cache, budgets=budgets) as (path, _, large, _):
            await say(path, asked(CACHED))
            assert (await say(path, asked(OTHER_WORDS, 2)))[0] == "miss"
            assert large.asked == []


async def test_wrong_yeses_switch_it_off(tmp_path: Path) -> None:
    budgets = FakeBudgets()
    doubted = Record(Tally(8, 1), Tally(8, 1), served=8)
    budgets.states[OWNER, ""] = State(level=Level.STRICT).with_record(Level.STRICT, doubted)
    cache = WAITS | {"wrong_share": 0.01}
    async with cab(tmp_path, says(1.0), cache, budgets=budgets) as (path, small, _, _):
        await say(path, asked(CACHED))
        small.act = answers(["No: there are 7 of them."])
        assert (await say(path, asked(OTHER_WORDS, 2)))[0] == "semantic"
    assert budgets.changes[-1].after is Level.OFF


@pytest.mark.parametrize(
    ("cached", "query"),
    [
        ("How do I pay 5 dollars?", "How do I pay 6 dollars?"),
        ("How do I switch the alarm on?", "How do I switch the alarm off?"),
        (CACHED, "How do I get my money back today?"),
    ],
    ids=["money", "opposite", "now"],
)
@pytest.mark.parametrize("cache", [WAITS, BESIDE], ids=["waits", "beside"])
async def test_a_pair_that_a_gate_refuses_is_never_asked_about(
    tmp_path: Path, cache: dict[str, Any], cached: str, query: str
) -> None:
    async with cab(tmp_path, says(1.0), cache) as (path, _, large, _):
        await say(path, asked(cached))
        assert (await say(path, asked(query, 2)))[0] == "miss"
        assert [body for body in large.asked if "top_logprobs" in body] == []


@pytest.mark.parametrize("cache", [WAITS, BESIDE], ids=["waits", "beside"])
@pytest.mark.parametrize("other", [{"tenant": "other"}, {"domain": "law"}, {"max_tokens": 9}])
async def test_another_scopes_entry_is_never_asked_about(
    tmp_path: Path, cache: dict[str, Any], other: dict[str, Any]
) -> None:
    async with cab(tmp_path, says(1.0), cache) as (path, _, large, _):
        await say(path, asked(CACHED))
        assert (await say(path, asked(OTHER_WORDS, 2, **other)))[0] == "miss"
        assert large.asked == []


async def test_a_tier_without_replicas_is_not_asked_and_no_line_says_so(tmp_path: Path) -> None:
    async with cab(tmp_path, says(1.0), WAITS) as (path, _, large, _):
        path.replicas["large"].clear()
        await say(path, asked(CACHED))
        assert (await say(path, asked(OTHER_WORDS, 2)))[0] == "miss"
        assert large.asked == [] and counted(path, "skipped") == 1
        assert {line.kind for line in await path.lines()} == {Kind.ANSWER}


async def test_after_some_failures_it_is_left_alone_for_a_while(tmp_path: Path) -> None:
    async with cab(tmp_path, refuses(500), WAITS) as (path, _, large, _):
        for at in range(5):
            await say(path, asked(CACHED, 2 * at, domain=f"d{at}"))
            await say(path, asked(OTHER_WORDS, 2 * at + 1, domain=f"d{at}"))
        assert (len(large.asked), counted(path, "skipped")) == (3, 2)
        path.clock.advance(11)
        large.act = says(1.0)
        await say(path, asked(CACHED, 20, domain="d9"))
        assert (await say(path, asked(OTHER_WORDS, 21, domain="d9")))[0] == "semantic"


async def test_only_a_few_are_asked_at_once(tmp_path: Path) -> None:
    opened = asyncio.Event()

    async def slow(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        await opened.wait()
        return await says(0.0)(request, body)

    async with cab(tmp_path, slow, BESIDE) as (path, _, large, _):
        for at in range(MOST + 2):
            for nth, text in enumerate((CACHED, OTHER_WORDS)):
                await path.respond(asked(text, 2 * at + nth, domain=f"d{at}"))
                await until(lambda: not path.pipeline._writes)
                await asyncio.sleep(0.05)
        await until(lambda: counted(path, "skipped") == 2)
        opened.set()
        assert path.semantic is not None
        await path.semantic.settled()
        assert len(large.asked) == MOST


def test_an_alias_ends_with_the_answer_it_leads_to_and_has_both_prompts_tags() -> None:
    doubt = DoubtfulEntry(CACHED, 0.5, entry_id(CACHED), "a", "key", ("doc", "both"), 1000.0)
    kept = alias(Doubted(Scope("scope", OTHER_WORDS), doubt, "0.01"), ("both", "q"), 1600.0, 900, 7)
    assert kept == StoredAnswer(
        "scope", OTHER_WORDS, "a", "key", ("doc", "both", "q"), 1000.0, 300, 7
    )


@pytest.mark.parametrize("given", [False, "off"])
def test_a_bare_off_of_yaml_is_off(given: object) -> None:
    assert CacheSettings.model_validate({"verify": given}).verify == "off"


def test_a_question_is_reserved_for_where_it_may_be_asked() -> None:
    plain, verified = (settings_of(cache=cache) for cache in ({}, WAITS))
    one = call(max_tokens=8)
    before, after = (worst_case(each, one, 100, 0.0) for each in (plain, verified))
    assert 1600 + 512 < after.tokens - before.tokens <= 2 * 1600 + 512 + 1
    assert after.usd_micros > before.usd_micros
