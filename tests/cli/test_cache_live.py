"""`hansom cache stats`, `explain` and `purge` against a real Redis with answers in it."""

import asyncio
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from redis import Redis
from typer.testing import CliRunner, Result

from accounts.keys import new_key
from accounts.limits import Payer
from accounts.payer import with_key, without_key
from accounts.redis_store import RedisAccounts
from cache.admin.key_names import owner_tag
from cache.error_budget.budget import Level, OutcomeSource, State, outcome, seen
from cache.error_budget.redis_budget import budget_key
from cache.error_budget.state import fields
from cache.exact.answers import CachedAnswer
from cache.exact.eligible import directives
from cache.exact.redis_store import RedisStore
from cache.semantic.entries import SemanticEntry, entry_id
from cache.semantic.redis_vectors import RedisVectors
from cli.cache_asked import CacheOptions, exact_key_of
from cli.cache_caller import caller
from cli.cache_redis import owner_of
from cli.main import app
from cli.usage import UsageError
from core.call import Usage
from core.errors import BadRequest, HansomError
from core.settings.load import load
from deployments.gateway.admission import ANONYMOUS
from deployments.gateway.backends.generate import Miss
from deployments.gateway.dispatch import load_scorer
from deployments.gateway.gateway import answer_version
from deployments.gateway.lookup.semantic import answer_key, scope_of
from tests.conftest import RedisServer
from tests.deployments.rig import rig
from tests.deployments.serving import simulated
from text.embed import MiniLM

TEXT = "How do I reset my password?"
OTHER = "What are the steps to reset my password?"


@dataclass(frozen=True, slots=True)
class Live:
    """A running system's Redis and settings."""

    config: Path
    url: str

    def run(self, *words: str) -> Result:
        given = ["cache", *words, "--config", str(self.config)]
        return CliRunner().invoke(app, given)

    def told(self, *words: str) -> dict[str, Any]:
        done = self.run(*words, "--json")
        assert done.exit_code == 0, done.output
        return dict(json.loads(done.stdout))

    def answered(self, asked: CacheOptions, said: str = "Click there.", age_s: float = 0.0) -> str:
        """Keep an answer as a gateway and its router do; where it lies."""

        async def keep() -> str:
            settings = load(self.config)
            call, scorer = asked.call(settings), load_scorer(settings)
            owner = owner_of(settings, call.tenant)
            version = answer_version(
                settings, scorer.version if scorer else settings.router.strategy
            )
            key, scope = exact_key_of(call, owner, version), scope_of(call, owner, version)
            assert scope is not None
            body = orjson.dumps({"choices": [{"message": {"content": said}}]})
            at_s = time.time() - age_s
            store, vectors = RedisStore(self.url), RedisVectors(self.url, timeout_s=5)
            answer = CachedAnswer(body, "small", "m", Usage(), 0, at_s)
            await store.set(key, answer.to_bytes(), 600, ["faq"])
            id, text = entry_id(scope.text), scope.text
            entry = SemanticEntry(id, text, answer_key(said), key, ("faq",), at_s)
            vector = MiniLM.installed().embed([text])[0]
            await vectors.keep(scope.key, vector, entry, 600, 100)
            await store.close()
            await vectors.close()
            return key

        return asyncio.run(keep())


@pytest.fixture
def live(tmp_path: Path, redis_server: RedisServer) -> Live:
    config = tmp_path / "serve.yaml"
    config.write_text(yaml.safe_dump(simulated(cache={"redis_url": redis_server.url})))
    return Live(config, redis_server.url)


def asked(text: str = TEXT, tenant: str = ANONYMOUS, **more: Any) -> CacheOptions:
    return CacheOptions(text, tenant, **more)


@pytest.mark.redis
def test_explain_finds_the_same_request_again(live: Live):
    key = live.answered(asked())
    told = live.told("explain", TEXT)
    assert (told["decision"], told["exact_key"]) == ("exact", key)


@pytest.mark.redis
def test_explain_serves_other_words_and_says_by_which_entry(live: Live):
    key = live.answered(asked())
    live.answered(asked("How do I reset 3 passwords?"), "Not so.")
    told = live.told("explain", OTHER)
    assert (told["decision"], told["reason"]) == ("semantic", "verified")
    first, second = told["near"]
    assert told["serves"] == first["key"]
    assert (first["text"], first["exact_key"], first["gate"]) == (TEXT, key, "")
    assert told["confidence"] == pytest.approx(first["probability"])
    assert first["cosine"] > second["cosine"]
    assert second["gate"] == "number"
    done = live.run("explain", OTHER)
    assert done.stdout.startswith("semantic: ")
    assert told["serves"] in done.stdout


@pytest.mark.redis
@pytest.mark.parametrize(
    "words",
    [("--tenant", "other"), ("--system", "Be brief."), ("--model", "large"), ("--domain", "law"),
     ("--risk", "high"), ("--fields", '{"max_tokens": 5}')],
)  # fmt: skip
def test_explain_knows_that_another_scope_is_empty(live: Live, words: tuple[str, ...]):
    live.answered(asked())
    told = live.told("explain", OTHER, *words)
    assert (told["decision"], told["reason"], told["near"]) == ("generate", "distant", [])


@pytest.mark.redis
def test_explain_says_why_nothing_serves(live: Live):
    live.answered(asked())
    assert live.told("explain", "How do I bake bread?")["reason"] == "distant"
    assert live.told("explain", "What time is it now?")["reason"] == "time"
    tools = '{"tools": [{"type": "function"}]}'
    assert "tools" in live.told("explain", TEXT, "--fields", tools)["words"]
    sampled = live.told("explain", TEXT, "--fields", '{"temperature": 1}')
    assert "not deterministic" in sampled["words"]
    assert live.told("explain", "x" * 1001)["reason"] == "no_scope"


@pytest.mark.redis
def test_explain_says_about_which_entry_a_model_is_asked(live: Live):
    policy, money = "What is our refund policy?", "How do I get my money back?"
    live.answered(asked(policy))
    assert live.told("explain", money)["words"] == "no entry may serve: distant"
    cache = {"redis_url": live.url, "verify": "large"}
    live.config.write_text(yaml.safe_dump(simulated(cache=cache)))
    told = live.told("explain", money)
    assert told["decision"] == "generate"
    assert told["words"] == f"no entry may serve: distant; cache.verify asks about {policy!r}"
    assert "asks" not in live.told("explain", "How do I get my 30 dollars back?")["words"]


@pytest.mark.redis
@pytest.mark.parametrize("by", ["entry", "tag"])
def test_a_purge_takes_the_entry_that_a_models_word_made(live: Live, by: str):
    """It has a text of its own and another text's answer."""
    live.answered(asked())
    told = live.told("explain", OTHER)
    (older,) = told["near"]
    text = "I forgot the secret word for my account"

    async def keep() -> None:
        vectors = RedisVectors(live.url, timeout_s=5)
        entry = SemanticEntry(
            entry_id(text), text, older["answer"], older["exact_key"], tuple(older["tags"]), 0.0
        )
        vector = MiniLM.installed().embed([text])[0]
        await vectors.keep(told["scope_key"], vector, entry, 600, 100)
        await vectors.close()

    asyncio.run(keep())
    assert live.told("explain", text)["decision"] == "semantic"
    words = ["--entry", older["key"]] if by == "entry" else ["--tag", "faq"]
    assert live.told("purge", "--yes", *words)["entries"] == 2
    assert live.told("explain", text)["near"] == []


@pytest.mark.redis
def test_explain_says_that_the_budget_switched_it_off_or_the_answer_is_gone(live: Live):
    key = live.answered(asked())
    owner = owner_tag(owner_of(load(live.config), ANONYMOUS))
    with Redis.from_url(live.url) as redis:
        off = fields(replace(State(), level=Level.OFF))
        redis.hset(budget_key(owner, ""), mapping=dict(off))
        told = live.told("explain", OTHER)
        assert (told["decision"], told["reason"], told["level"]) == (
            "generate", "switched_off", "off",
        )  # fmt: skip
        redis.delete(key)
    assert live.told("explain", OTHER)["reason"] == "answer_gone"


def test_explain_refuses_what_the_gateway_refuses(tmp_path: Path):
    config = tmp_path / "serve.yaml"
    config.write_text(yaml.safe_dump(simulated()))
    settings = load(config)
    with pytest.raises(BadRequest):
        asked(risk="much").call(settings)
    for more in ("[1]", "{"):
        with pytest.raises(UsageError, match="--fields"):
            asked(fields=more).call(settings)


async def test_the_exact_key_is_the_one_that_the_gateway_stores_under(tmp_path: Path):
    async with rig(tmp_path) as made:
        call = asked(domain="law", risk="high").call(made.recorder.settings)
        miss = await made.pipeline.look_up(call, directives({}))
        assert isinstance(miss, Miss)
        owner = owner_of(made.recorder.settings, ANONYMOUS)
        assert miss.store_key == exact_key_of(call, owner, "answers-v1")


@pytest.mark.redis
def test_stats_count_by_owner_with_budgets_and_the_redis(live: Live):
    live.answered(asked())
    live.answered(asked(tenant="t"))
    live.answered(asked("How do I bake bread?", tenant="t"))
    owner = owner_tag(owner_of(load(live.config), "t"))
    state = seen(State(), Level.STRICT, outcome(Level.STRICT, True, OutcomeSource.CHECK))
    with Redis.from_url(live.url) as redis:
        redis.hset(budget_key(owner, ""), mapping=dict(fields(state)))
    told = live.told("stats")
    assert told["totals"]["exact_answers"]["count"] == 3
    assert told["totals"]["semantic_entries"]["bytes"] > 100
    counts = [(one["owner"], one["answers"], one["entries"], one["scopes"])
              for one in told["owners"]]  # fmt: skip
    assert counts[0] == (owner, 2, 2, 1)
    assert told["owners"][1]["name"] == ANONYMOUS
    (budget,) = told["budgets"]
    assert (budget["owner"], budget["level"], budget["checked"], budget["wrong"]) == (
        owner, "0.01", 1, 1,
    )  # fmt: skip
    assert told["redis"]["vector_sets"] is True
    own = live.told("stats", "--tenant", "t")
    assert own["totals"]["exact_answers"]["count"] == 2
    assert [one["name"] for one in own["owners"]] == ["t"]
    shown = live.run("stats").stdout
    assert "vector sets yes" in shown and ANONYMOUS in shown


@pytest.mark.redis
def test_purge_takes_a_tenants_old_answers_of_a_tag(live: Live):
    old = live.answered(asked(), age_s=7200)
    live.answered(asked(OTHER), age_s=60)
    live.answered(asked(tenant="t"), age_s=7200)
    words = ("--tenant", ANONYMOUS, "--tag", "faq", "--older-than", "1h")
    assert live.told("purge", "--yes", *words) == {"answers": 1, "entries": 1}
    assert live.told("stats")["totals"]["exact_answers"]["count"] == 2
    with Redis.from_url(live.url) as redis:
        assert not redis.exists(old)


@pytest.mark.redis
def test_purge_takes_the_entry_that_explain_names(live: Live):
    live.answered(asked())
    key = live.told("explain", OTHER)["serves"]
    assert live.told("purge", "--entry", key, "--yes") == {"answers": 1, "entries": 1}
    assert live.told("explain", OTHER)["near"] == []


@pytest.mark.redis
def test_purge_asks_first(live: Live):
    live.answered(asked())
    given = ["cache", "purge", "--all", "--config", str(live.config), "--json"]
    code, out, err = in_a_terminal(given, "n\n")
    assert (code, "error" in json.loads(out)) == (1, True)
    assert "of all tenants?" in err
    code, out, err = in_a_terminal(given, "y\n")
    assert (code, json.loads(out)) == (0, {"answers": 1, "entries": 1})
    assert live.run("purge", "--all", "--yes").stdout.startswith("Removed 0")


def in_a_terminal(words: list[str], typed: str) -> tuple[int, str, str]:
    """Run a command whose standard input is a terminal, in which a person types."""
    ours, its = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", *words], text=True,
        stdin=its, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.write(ours, typed.encode())
    out, err = process.communicate(timeout=60)
    os.close(ours)
    os.close(its)
    return process.returncode, out, err


@pytest.mark.parametrize(
    "words",
    [(), ("--all", "--tag", "x"), ("--older-than", "soon"), ("--entry", "hansom:ledger"),
     ("--team", "x", "--tag", "x")],
)  # fmt: skip
def test_a_purge_that_cannot_be_meant_is_wrong_usage(tmp_path: Path, words: tuple[str, ...]):
    config = tmp_path / "serve.yaml"
    config.write_text(yaml.safe_dump(simulated()))
    assert Live(config, "").run("purge", "--yes", *words).exit_code == 2


def test_shared_answers_are_no_tenants_own(tmp_path: Path):
    config = tmp_path / "serve.yaml"
    config.write_text(yaml.safe_dump(simulated(cache={"scope": "shared"})))
    done = Live(config, "").run("purge", "--tenant", "t", "--yes")
    assert done.exit_code == 2
    assert "shared" in done.output


@pytest.mark.parametrize("words", [("stats",), ("purge", "--all", "--yes"), ("explain", TEXT)])
def test_no_redis_is_told_with_what_to_do(tmp_path: Path, words: tuple[str, ...]):
    config = tmp_path / "serve.yaml"
    url = f"unix://{tmp_path / 'nobody.sock'}"
    config.write_text(yaml.safe_dump(simulated(cache={"redis_url": url})))
    error = Live(config, url).run(*words).exception
    assert isinstance(error, HansomError)
    assert "Is Hansom running?" in error.message and "--config" in error.message


@pytest.mark.redis
def test_explain_asks_as_the_tenant_that_ask_is(live: Live):
    """The same key names the same tenant for both; without one both are anonymous."""
    settings = load(live.config)
    key, secret = new_key("acme", time.time(), team="red")

    async def keep() -> None:
        store = RedisAccounts(live.url)
        assert await store.change_key(None, key)
        await store.close()

    asyncio.run(keep())
    for given, who in (
        (None, without_key({})),
        ("any", without_key({"authorization": "Bearer any"})),
        (secret, with_key(key, {})),
    ):
        assert caller(settings, live.url, given, None, "") == who
    assert caller(settings, live.url, secret, "other", "t") == Payer("other", "other", "t")
    with pytest.raises(HansomError, match="is not known"):
        caller(settings, live.url, new_key("acme", time.time())[1], None, "")
