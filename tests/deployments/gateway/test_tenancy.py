"""Nobody gets an answer that another tenant's request made, whatever they send along."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.keys import new_key
from accounts.limits import Payer
from accounts.payer import with_key
from cache.exact.eligible import Directives, directives
from cache.exact.key import exact_key, owner
from cache.flight.flights import Flights
from cache.flight.redis_flights import RedisFlights
from cache.scope import scope
from cache.semantic.pair import PromptReader
from cache.semantic.verify import Verifier
from core.call import Call, Endpoint
from core.errors import BadRequest
from core.log import SystemClock
from deployments.gateway.admission import Admission
from deployments.router.semantic_index import SemanticIndex
from tests.cache.flight.flying import CALM
from tests.deployments.engines import Engine, answers
from tests.deployments.rig import Rig, read, rig, settings_of
from tests.fakes import FakeBudgets, FakeClock, FakeNear, FakeNearby
from text.embed import MiniLM

SECRET = "The launch code of Acme is 7431."
QUESTION = "What is the launch code of the project?"
OTHER_WORDS = "what's the launch code of the project"
ACME, EVE = {"authorization": "Bearer sk-acme"}, {"authorization": "Bearer sk-eve"}
EMBEDDER = MiniLM.installed()
VERIFIER = Verifier.load(PromptReader(EMBEDDER))
THREAD = ThreadPoolExecutor(1)

HOLDERS = ["authorization", "api-key", "x-api-key", "x-goog-api-key", "ocp-apim-subscription-key"]


def carried(holder_: str, secret: str) -> dict[str, str]:
    """A secret in the header of that name."""
    return {holder_: f"Bearer {secret}" if holder_ == "authorization" else secret}


# What a caller may send to be taken for another, documented or not.
HEADERS: list[dict[str, str]] = [
    {},
    {"x-hansom-cache": "on"},
    {"x-hansom-team": "acme"},
    {"x-hansom-domain": "acme"},
    {"x-hansom-tenant": "key-acme"},
    {"x-hansom-key": "sk-acme"},
    {"x-hansom-scope": "shared"},
    {"x-hansom-cache-scope": "shared"},
    {"x-hansom-cache-key": "hansom:exact:*"},
    {"x-hansom-cache-tags": "acme,*"},
    {"x-request-id": "acme-1"},
    {"x-tenant-id": "acme", "x-user-id": "acme", "x-forwarded-user": "acme"},
    {"openai-organization": "acme", "openai-project": "acme"},
    {"cookie": "tenant=acme; authorization=Bearer sk-acme"},
    {"proxy-authorization": "Bearer sk-acme"},
    {"cache-control": "only-if-cached, max-stale=99999"},
    {"if-none-match": "*"},
]
FIELDS: list[dict[str, Any]] = [
    {"user": "acme"},
    {"safety_identifier": "acme"},
    {"metadata": {"tenant": "acme", "key": "sk-acme"}},
    {"prompt_cache_key": "acme"},
    {"cache_salt": "acme"},
    {"request_id": "acme-1"},
    {"session_id": "acme"},
    {"tenant": "acme"},
    {"cache": {"namespace": "acme", "scope": "shared", "no-cache": False}},
    {"extra_body": {"tenant": "acme"}},
    {"store": True},
]


def of(
    who: Mapping[str, str],
    text: str,
    *,
    stream: bool = False,
    payer: Payer | None = None,
    **fields: Any,
) -> tuple[Call, Directives]:
    body: dict[str, Any] = {
        "model": "auto",
        "temperature": 0,
        "messages": [{"role": "user", "content": text}],
        "stream": stream,
        **fields,
    }
    admission = Admission(settings_of())
    id_ = who.get("x-request-id", "r-1")
    admitted = admission.admit(
        Endpoint.CHAT, orjson.dumps(body), who, id_, FakeClock().monotonic_s(), payer
    )
    return admitted, directives(who)


async def ask(path: Rig, one: tuple[Call, Directives]) -> tuple[str, bytes]:
    reply = await path.respond(*one)
    return reply.headers["x-hansom-cache"], await read(reply)


async def tried(folder: Path, attempts: list[tuple[Call, Directives]]) -> list[tuple[str, bytes]]:
    """Acme asks and gets its secret; then the attempts, to which the engine says something else."""
    near = SemanticIndex(FakeNearby(), VERIFIER, lambda text: EMBEDDER.embed([text])[0], THREAD)
    engine = Engine(answers([SECRET]))
    flights = Flights(RedisFlights("unix:///nowhere/redis.sock", SystemClock(), CALM))
    async with rig(
        folder, [engine], near=FakeNear(near), budgets=FakeBudgets(), flights=flights
    ) as path:
        await ask(path, of(ACME, QUESTION))
        assert path.semantic is not None
        await path.semantic.settled()
        # The attack would work if they were one: Acme itself is served, in both ways.
        assert (await ask(path, of(ACME, QUESTION)))[0] == "exact"
        assert (await ask(path, of(ACME, OTHER_WORDS)))[0] == "semantic"
        await path.semantic.settled()
        engine.act = answers(["I do not know."])
        return [await ask(path, one) for one in attempts]


@pytest.mark.parametrize("words", [QUESTION, OTHER_WORDS], ids=["same words", "other words"])
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_no_header_and_no_field_opens_anothers_cache(
    tmp_path: Path, words: str, stream: bool
) -> None:
    attempts = [of(EVE | more, words, stream=stream) for more in HEADERS]
    attempts += [of(more, words, stream=stream) for more in HEADERS]  # without a key at all
    attempts += [of(EVE, words, stream=stream, **more) for more in FIELDS]
    for how, body in await tried(tmp_path, attempts):
        assert SECRET.encode() not in body
        assert b"7431" not in body
        assert how in ("miss", "exact", "semantic")  # their own answers may be


@pytest.mark.parametrize("words", [QUESTION, OTHER_WORDS], ids=["same words", "other words"])
async def test_a_virtual_key_of_one_tenant_never_becomes_another_whatever_it_sends(
    tmp_path: Path, words: str
) -> None:
    key, _ = new_key("eve", 0.0, team="spies")

    def keyed(text: str, more: Mapping[str, str], **fields: Any) -> tuple[Call, Directives]:
        headers = {**EVE, **more}
        return of(headers, text, payer=with_key(key, headers), **fields)

    attempts = [keyed(words, more) for more in HEADERS]
    attempts += [keyed(words, {}, **more) for more in FIELDS]
    for call, _ in attempts:
        assert (call.tenant, call.key, call.team) == ("eve", key.id, "spies")
    for _, body in await tried(tmp_path, attempts):
        assert b"7431" not in body


@pytest.mark.parametrize("words", [QUESTION, OTHER_WORDS], ids=["same words", "other words"])
async def test_a_credential_names_its_tenant_in_every_header_that_carries_one(
    tmp_path: Path, words: str
) -> None:
    strangers = [of(carried(name, f"sk-eve-{at}"), words) for at, name in enumerate(HOLDERS)]
    for how, body in await tried(tmp_path, [of({}, words), *strangers]):
        assert (how, b"7431" in body) == ("miss", False)


@pytest.mark.parametrize("words", [QUESTION, OTHER_WORDS], ids=["same words", "other words"])
@pytest.mark.parametrize("name", HOLDERS)
async def test_a_credential_names_the_same_tenant_in_each_header(
    tmp_path: Path, words: str, name: str
) -> None:
    # One call each: the checks of the first would make the cache stricter for the next.
    ((how, body),) = await tried(tmp_path, [of(carried(name, "sk-acme"), words)])
    assert (how == "miss", b"7431" in body) == (False, True)


@pytest.mark.parametrize("name", HOLDERS)
async def test_a_credential_beside_anothers_is_refused(name: str) -> None:
    for other in HOLDERS:
        if other != name:
            with pytest.raises(BadRequest, match="Two different credentials"):
                of(carried(name, "sk-acme") | carried(other, "sk-eve"), QUESTION)


@pytest.mark.parametrize("name", HOLDERS)
async def test_a_credential_in_any_header_has_a_flight_of_its_own(
    tmp_path: Path, name: str
) -> None:
    engine = Engine(answers([SECRET], wait_s=0.1))
    flights = Flights(RedisFlights("unix:///nowhere/redis.sock", SystemClock(), CALM))
    async with rig(tmp_path, [engine], flights=flights) as path:
        calls = [of(carried(name, f"sk-{at}"), QUESTION) for at in range(2)]
        got = await asyncio.gather(*(ask(path, one) for one in calls))
        assert [how for how, _ in got] == ["miss"] * 2
        assert len(engine.asked) == 2


async def test_callers_of_different_tenants_never_share_a_flight(tmp_path: Path) -> None:
    engine = Engine(answers([SECRET], wait_s=0.1))
    flights = Flights(RedisFlights("unix:///nowhere/redis.sock", SystemClock(), CALM))
    async with rig(tmp_path, [engine], flights=flights) as path:
        calls = [of({"authorization": f"Bearer sk-{at}"}, QUESTION) for at in range(4)]
        got = await asyncio.gather(*(ask(path, one) for one in calls))
        assert [how for how, _ in got] == ["miss"] * 4
        assert len(engine.asked) == 4


WORD = st.text(max_size=30)


@given(WORD, WORD, WORD, WORD, st.sampled_from(["tenant", "team", "key"]))
def test_no_words_for_team_or_key_make_two_tenants_one(
    tenant: str, other: str, team: str, key: str, scope_: Any
) -> None:
    if tenant == other:
        return
    body: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": QUESTION}]}
    keys, scopes = set(), set()
    for who in (tenant, other):
        known = {
            "endpoint": "chat/completions",
            "tenant": owner(scope_, tenant=who, team=team, key=key),
            "policy_version": "v",
        }
        keys.add(exact_key(body, **known))
        found = scope(body, **known)
        assert found is not None
        scopes.add(found.key)
        # Not even the hash tag, under which purges and counts work.
    assert len(keys) == len(scopes) == 2
    assert len({one.split("}")[0] for one in keys | scopes}) == 4
