"""Accounts on the request's path: keys, limits, refusals, and what is settled behind the answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from redis.exceptions import ConnectionError

from accounts.keys import Key, hashed, new_key, revoked, rotated
from accounts.limits import Amount, LimitState, Payer, limits_of
from accounts.port import AccountedRequest
from accounts.reserve import amount_of
from core.call import Lane, Usage
from core.ledger_line import Kind, LedgerLine, Outcome
from core.settings.accounts import BudgetLimit, Measure, Rules
from deployments.gateway.admission import Admission
from deployments.names import LANE_HEADER as LANE
from tests.deployments.engines import Engine, answers, refuses
from tests.deployments.gateway.test_endpoint import app_of
from tests.deployments.rig import Rig, rig, settings_of
from tests.fakes import FakeAccounts, FakeBudgets, FakeClock, FakeNear
from tests.ledger.lines import until

CHAT, EMBED = "/v1/chat/completions", "/v1/embeddings"
BODY: dict[str, Any] = {
    "model": "small", "max_tokens": 20, "messages": [{"role": "user", "content": "Hello"}],
}  # fmt: skip
TEXT: dict[str, Any] = {"model": "small", "max_tokens": 20, "prompt": "Hello"}


@dataclass
class Desk:
    """A gateway with accounts, and its store."""

    http: httpx.AsyncClient
    path: Rig
    store: FakeAccounts
    admission: Admission
    secrets: dict[str, Key] = field(default_factory=dict)

    def key(self, rules: Rules = Rules(), **more: Any) -> tuple[Key, str]:  # noqa: B008
        key, secret = new_key("acme", self.path.clock.wall_s(), rules=rules, **more)
        self.store.records[hashed(secret)] = key
        return key, secret

    async def ask(self, secret: str = "", **more: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {secret}"} if secret else {}
        headers |= more.pop("headers", {})
        return await self.http.post(CHAT, json=BODY | more, headers=headers)

    async def settled(self) -> None:
        accounts: Any = self.path.recorder.accounts
        await until(lambda: accounts.pending == 0 and not accounts._open)

    def standing(self, key: Key, measure: Measure) -> LimitState:
        now_s = self.path.clock.wall_s()
        (limit,) = [one for one in limits_of(key.rules, "key", key.id) if one.measure is measure]
        return self.store.standing(key.tenant, limit, now_s)


@asynccontextmanager
async def desk(
    folder: Path, *engines: Engine, near: FakeNear | None = None,
    budgets: FakeBudgets | None = None, **settings: Any,
) -> AsyncIterator[Desk]:  # fmt: skip
    of = settings_of(**settings)
    store = FakeAccounts(FakeClock())
    async with rig(
        folder, engines or [Engine(answers())], settings=of, accounts=store, near=near,
        budgets=budgets,
    ) as path:  # fmt: skip
        store.clock = path.clock
        app, admission = app_of(path, of)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://hansom") as http:
            yield Desk(http, path, store, admission)


def error_of(answer: httpx.Response) -> dict[str, Any]:
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return dict(error)


def usd(words: str) -> Rules:
    return Rules(budgets=(BudgetLimit.read(words, "hard"),))


def required(**more: Any) -> dict[str, Any]:
    return {"accounts": {"keys": "required", **more}}


async def test_a_key_names_who_pays_whatever_the_headers_say(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        key, secret = at.key(team="red", tags=("web",))
        headers = {"x-hansom-team": "blue", "x-hansom-tags": "night"}
        assert (await at.ask(secret, headers=headers)).status_code == 200
        (line,) = await at.path.lines()
        assert (line.tenant, line.key, line.team) == ("acme", key.id, "red")
        assert line.tags == ("night", "web")


async def test_without_limits_and_with_the_key_in_memory_redis_is_asked_nothing(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path) as at:
        _, secret = at.key()
        for _ in range(5):
            assert (await at.ask(secret)).status_code == 200
            assert (await at.ask("sk-somebody")).status_code == 200
            assert (await at.ask()).status_code == 200
        await at.settled()
        assert at.store.operations == 1


@pytest.mark.parametrize("token", ["hk-wrong", "hk-" + "a" * 43])
@pytest.mark.parametrize("settings", [{}, required()], ids=["optional", "required"])
async def test_a_virtual_key_that_is_none_is_refused_in_either_mode(
    tmp_path: Path, token: str, settings: dict[str, Any]
) -> None:
    async with desk(tmp_path, **settings) as at:
        answer = await at.ask(token)
        assert (answer.status_code, error_of(answer)["code"]) == (401, "invalid_api_key")
        assert error_of(answer)["type"] == "invalid_request_error"
        assert await at.path.lines() == []
        assert at.path.recorder.metrics.refusals.labels("key")._value.get() == 1


@pytest.mark.parametrize("token", ["", "sk-somebody"])
async def test_where_keys_are_required_nothing_else_gets_in(tmp_path: Path, token: str) -> None:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    async with desk(tmp_path, **required()) as at:
        _, secret = at.key()
        embed = {"model": "all-MiniLM-L6-v2", "input": "a"}
        feedback = {"request_id": "r", "tier": "small", "right": 1}
        for wanted, sent in ((401, headers), (200, {"authorization": f"Bearer {secret}"})):
            answers_ = [
                await at.http.post(CHAT, json=BODY, headers=sent),
                await at.http.post(EMBED, json=embed, headers=sent),
                await at.http.get("/v1/models", headers=sent),
            ]
            assert [one.status_code for one in answers_] == [wanted] * 3
        told = await at.http.post("/v1/feedback", json=feedback, headers=headers)
        assert told.status_code == 401
        assert (await at.http.get("/healthz")).status_code == 200
    assert at.admission.in_flight == 0


@pytest.mark.parametrize("name", ["api-key", "x-api-key", "x-goog-api-key"])
@pytest.mark.parametrize("settings", [{}, required()], ids=["optional", "required"])
async def test_a_key_works_in_every_usual_header_on_every_route(
    tmp_path: Path, name: str, settings: dict[str, Any]
) -> None:
    async with desk(tmp_path, **settings) as at:
        key, secret = at.key(Rules(requests_per_minute=3))
        embed = {"model": "all-MiniLM-L6-v2", "input": "a"}
        feedback = {"request_id": "r", "tier": "small", "right": 1}
        sent = {name: secret}
        answers_ = [
            await at.http.post(CHAT, json=BODY, headers=sent),
            await at.http.post("/v1/completions", json=TEXT, headers=sent),
            await at.http.post(EMBED, json=embed, headers=sent),
            await at.http.get("/v1/models", headers=sent),
            await at.http.get("/v1/models/small", headers=sent),
            await at.http.post("/v1/feedback", json=feedback, headers=sent),
        ]
        assert [one.status_code for one in answers_] == [200] * 5 + [404]
        assert {line.key for line in await at.path.lines()} == {key.id}
        for other in ("authorization", name):  # one budget, whichever header carries the key
            given = {other: f"Bearer {secret}" if other == "authorization" else secret}
            assert (await at.http.post(CHAT, json=BODY, headers=given)).status_code == 429


@pytest.mark.parametrize(
    "sent",
    [
        {"authorization": "Basic sk-secret"}, {"authorization": "sk-secret"},
        {"authorization": ""}, {"x-api-key": ""}, {"api-key": "sk secret"},
    ],
)  # fmt: skip
async def test_a_credential_that_cannot_be_read_is_a_401_on_every_route(
    tmp_path: Path, sent: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    async with desk(tmp_path) as at:
        bodies: dict[str, Any] = {
            CHAT: BODY,
            "/v1/completions": TEXT,
            EMBED: {"model": "all-MiniLM-L6-v2", "input": "a"},
            "/v1/feedback": {"request_id": "r", "tier": "small", "right": 1},
        }
        refused = [await at.http.post(path, json=bodies[path], headers=sent) for path in bodies]
        refused += [await at.http.get("/v1/models", headers=sent)]
        for answer in refused:
            assert (answer.status_code, error_of(answer)["code"]) == (401, "invalid_api_key")
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert "secret" not in answer.text
        assert at.path.recorder.metrics.refusals.labels("key")._value.get() == len(refused)
        assert await at.path.lines() == []
    assert "secret" not in caplog.text


async def test_a_credential_in_the_address_or_beside_another_is_refused(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        answer = await at.http.post(f"{CHAT}?api-key=sk-secret", json=BODY)
        assert (answer.status_code, error_of(answer)["code"]) == (401, "invalid_api_key")
        two = {"authorization": "Bearer sk-secret", "x-api-key": "sk-other"}
        answer = await at.http.post(CHAT, json=BODY, headers=two)
        assert (answer.status_code, error_of(answer)["code"]) == (400, "conflicting_credentials")
        azure = f"{CHAT}?api-version=2024-10-21"
        assert (await at.http.post(azure, json=BODY, headers={"api-key": "a"})).status_code == 200


async def test_a_revoked_expired_or_replaced_key_is_refused_and_told_why(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        now_s = at.path.clock.wall_s()
        gone, secret = at.key()
        at.store.records[hashed(secret)] = revoked(gone, now_s)
        old, late = at.key(expires_s=now_s)
        turned, before = at.key()
        after, new = rotated(turned, now_s, grace_s=60)
        at.store.records |= {hashed(before): after, hashed(new): after}
        assert "was revoked" in error_of(await at.ask(secret))["message"]
        assert "has expired" in error_of(await at.ask(late))["message"]
        assert [(await at.ask(one)).status_code for one in (before, new)] == [200, 200]
        at.path.clock.advance(61)
        assert "was replaced" in error_of(await at.ask(before))["message"]
        assert (await at.ask(new)).status_code == 200
        assert old.state == "active"


async def test_while_redis_is_away_an_unknown_key_is_never_let_in(tmp_path: Path) -> None:
    async with desk(tmp_path, **required()) as at:
        _, known = at.key()
        _, other = at.key()
        assert (await at.ask(known)).status_code == 200
        at.store.failure = ConnectionError("gone")
        at.path.clock.advance(60)
        assert (await at.ask(known)).status_code == 200
        answer = await at.ask(other)
        assert (answer.status_code, error_of(answer)["code"]) == (503, "accounts_unavailable")
        assert answer.headers["retry-after"] == "2"


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_what_was_used_takes_the_place_of_what_was_reserved(
    tmp_path: Path, stream: bool
) -> None:
    async with desk(tmp_path) as at:
        key, secret = at.key(Rules(
            budgets=(
                BudgetLimit.read("1 USD/day", "hard"),
                BudgetLimit.read("9000 tokens/day", "soft"),
            ),
            concurrency=1, requests_per_minute=9,
        ))  # fmt: skip
        for number in (1, 2, 3):
            assert (await at.ask(secret, stream=stream)).status_code == 200
            await at.settled()
            lines = await at.path.lines()
            assert len(lines) == number
            cost = sum(line.cost_usd_micros for line in lines)
            tokens = sum(line.usage.total_tokens for line in lines)
            told = {
                measure: (one.spent, one.held)
                for measure in Measure
                for one in [at.standing(key, measure)]
            }
            assert cost > 0
            assert told == {
                Measure.USD: (cost, 0),
                Measure.TOKENS: (tokens, 0),
                Measure.CONCURRENCY: (0, 0),
                Measure.REQUESTS: (number, 0),
            }


async def test_a_refusal_says_what_openai_would_and_leaves_one_line(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        key, secret = at.key(usd("0.000001 USD/day"))
        answer = await at.ask(secret, headers={"x-request-id": "mine", LANE: "batch"})
        error = error_of(answer)
        assert (answer.status_code, error["type"], error["code"]) == (
            429, "rate_limit_error", "budget_exceeded",
        )  # fmt: skip
        for words in ("0.000001 USD a day", f"key {key.id}", "0.000000 USD spent", "resets at 20"):
            assert words in error["message"]
        assert 0 < int(answer.headers["retry-after"]) <= 86_400
        (line,) = await at.path.lines()
        assert (line.kind, line.outcome, line.error_code) == (
            Kind.ANSWER, Outcome.REFUSED, "budget_exceeded",
        )  # fmt: skip
        assert (line.cost_usd_micros, line.saved_usd_micros, line.usage) == (0, 0, Usage())
        assert (line.request_id, line.tenant, line.key) == ("mine", "acme", key.id)
        assert line.lane is Lane.BATCH
        assert at.path.recorder.metrics.refusals.labels("usd")._value.get() == 1
        assert (await at.ask(secret)).status_code == 429
        assert len(await at.path.lines()) == 2
        assert at.admission.in_flight == 0


@pytest.mark.parametrize(
    ("rules", "limit"),
    [
        (Rules(requests_per_minute=2), "requests"),
        (Rules(tokens_per_minute=1), "tokens"),
        (Rules(budgets=(BudgetLimit.read("1 tokens/hour", "hard"),)), "tokens"),
    ],
)
async def test_every_rate_refuses_and_is_counted_by_what_it_measures(
    tmp_path: Path, rules: Rules, limit: str
) -> None:
    async with desk(tmp_path) as at:
        _, secret = at.key(rules)
        statuses = [(await at.ask(secret)).status_code for _ in range(3)]
        assert statuses == ([200, 200, 429] if limit == "requests" else [429] * 3)
        told = at.path.recorder.metrics.refusals.labels(limit)._value.get()
        assert told == statuses.count(429)


async def test_open_requests_are_counted_until_their_last_byte(tmp_path: Path) -> None:
    async with desk(tmp_path, Engine(answers(wait_s=0.3))) as at:
        _, secret = at.key(Rules(concurrency=2))
        got = await asyncio.gather(*(at.ask(secret) for _ in range(4)))
        assert sorted(one.status_code for one in got) == [200, 200, 429, 429]
        refused = next(one for one in got if one.status_code == 429)
        assert error_of(refused)["code"] == "rate_limited"
        assert "2 are open" in error_of(refused)["message"]
        assert (await at.ask(secret)).status_code == 200


async def test_a_caller_with_one_place_may_ask_again_at_once(tmp_path: Path) -> None:
    """A place that is on its way back is waited for."""
    async with desk(tmp_path) as at:
        _, secret = at.key(Rules(concurrency=1))
        assert [(await at.ask(secret)).status_code for _ in range(10)] == [200] * 10


async def test_a_soft_budget_is_told_and_refuses_nobody(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        key, secret = at.key(
            Rules(
                budgets=(
                    BudgetLimit.read("0.000001 USD/day", "soft"),
                    BudgetLimit.read("1 USD/day", "hard"),
                )
            )
        )
        answer = await at.ask(secret)
        assert answer.status_code == 200
        assert answer.headers["x-hansom-budget"] == (
            f"soft-exceeded; 0.000001 USD a day of key {key.id}, 0.000000 USD spent"
        )
        assert at.path.recorder.metrics.soft_limits.labels("usd")._value.get() == 1
        _, roomy = at.key(usd("1 USD/day"))
        assert "x-hansom-budget" not in (await at.ask(roomy)).headers


async def test_a_call_with_a_budget_carries_what_is_left_of_it(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        _, secret = at.key(usd("0.01 USD/day"))
        seen: list[float | None] = []
        ride = at.path.pipeline.look_up

        async def noted(call: Any, directives: Any) -> Any:
            seen.append(call.budget_left)
            return await ride(call, directives)

        at.path.pipeline.look_up = noted  # type: ignore[method-assign]
        for _ in range(2):
            await at.ask(secret)
            await at.settled()
        await at.ask()
        assert seen[0] == 1.0
        assert seen[1] is not None and 0.9 < seen[1] < 1.0
        assert seen[2] is None


async def test_an_engine_that_refuses_gives_everything_back(tmp_path: Path) -> None:
    async with desk(tmp_path, Engine(refuses(400))) as at:
        key, secret = at.key(Rules(concurrency=1, budgets=usd("1 USD/day").budgets))
        assert (await at.ask(secret)).status_code == 400
        await at.settled()
        one, places = at.standing(key, Measure.USD), at.standing(key, Measure.CONCURRENCY)
        assert (one.spent, one.held, places.held) == (0, 0, 0)


async def test_embeddings_have_limits_and_lines_too(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        key, secret = at.key(Rules(requests_per_minute=1, tokens_per_minute=1000))
        body = {"model": "all-MiniLM-L6-v2", "input": ["a", "b"]}
        headers = {"authorization": f"Bearer {secret}"}
        got = [await at.http.post(EMBED, json=body, headers=headers) for _ in range(2)]
        assert [one.status_code for one in got] == [200, 429]
        assert got[0].headers["x-hansom-cost-usd"] == "0.000000"
        await at.settled()
        standing = at.standing(key, Measure.TOKENS)
        assert (standing.spent, standing.held) == (2, 0)
        served, refused = await at.path.lines()
        assert (served.key, served.outcome) == (key.id, Outcome.SUCCESS)
        assert (refused.kind, refused.outcome) == (Kind.EMBEDDING, Outcome.REFUSED)


async def test_while_redis_is_away_calls_are_served_and_counted_later(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        key, secret = at.key(usd("1 USD/day"))
        assert (await at.ask(secret)).status_code == 200
        await at.settled()
        before = at.standing(key, Measure.USD).spent
        at.store.failure = ConnectionError("gone")
        for _ in range(3):
            assert (await at.ask(secret)).status_code == 200
        assert at.path.recorder.metrics.unchecked._value.get() == 3
        at.store.failure = None
        await at.settled()
        after = at.standing(key, Measure.USD)
        assert (after.spent, after.held) == (4 * before, 0)


async def test_where_redis_is_a_must_calls_are_refused_while_it_is_away(tmp_path: Path) -> None:
    async with desk(tmp_path, accounts={"on_redis_failure": "refuse"}) as at:
        _, secret = at.key(usd("1 USD/day"))
        _, free = at.key()
        assert (await at.ask(secret)).status_code == 200
        assert (await at.ask(free)).status_code == 200
        at.store.failure = ConnectionError("gone")
        answer = await at.ask(secret)
        assert (answer.status_code, error_of(answer)["code"]) == (503, "accounts_unavailable")
        assert (await at.ask(free)).status_code == 200, "nothing of it needs to be checked"
        at.store.failure = None
        at.path.clock.advance(2)
        assert (await at.ask(secret)).status_code == 200
        await at.settled()


def line(kind: Kind, cost: int) -> LedgerLine:
    return LedgerLine(
        call_id="c", request_id="r", attempt=0, kind=kind, tenant="t", endpoint="e", requested="m",
        tier="small", model="m", usage=Usage(10, 5, 7), cost_usd_micros=cost,
    )  # fmt: skip


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_of_line_counts_its_cost_and_the_tokens_that_were_made_for_it(
    kind: Kind,
) -> None:
    made = kind not in (Kind.CACHE_HIT, Kind.JOINED, Kind.CREDIT)
    assert amount_of(line(kind, -3)) == Amount(-3, 22 if made else 0)


async def test_a_reservation_is_held_until_every_attempt_is_written_down(tmp_path: Path) -> None:
    """Also one whose tokens an engine tells after the client left, and a credit after that."""
    async with desk(tmp_path) as at:
        key, _ = at.key(usd("1 USD/day"))
        accounts = at.path.recorder.accounts
        payer = Payer("acme", key.id, record=key)
        visit = AccountedRequest(payer, "c", "r", "e", "m", at.path.clock.now_s, 20.0)
        place = await accounts.reserve(visit, lambda: Amount(1000, 10))
        accounts.begun("c")
        accounts.begun("c")
        accounts.spent(line(Kind.ANSWER, 70))
        place.end()
        await asyncio.sleep(0.05)
        assert at.standing(key, Measure.USD).held == 1000
        accounts.spent(line(Kind.CANCELLED, 30))
        await at.settled()
        told = at.standing(key, Measure.USD)
        assert (told.spent, told.held) == (100, 0)
        accounts.spent(line(Kind.CREDIT, -60))
        accounts.spent(line(Kind.SHADOW, 5))
        await at.settled()
        assert at.standing(key, Measure.USD).spent == 45


async def test_closing_settles_what_is_open(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        key, _ = at.key(usd("1 USD/day"))
        visit = AccountedRequest(Payer("acme", key.id, record=key), "c", "r", "e", "m", 0.0, 20.0)
        accounts = at.path.recorder.accounts
        await accounts.reserve(visit, lambda: Amount(1000, 10))
        accounts.begun("c")
        accounts.spent(line(Kind.ANSWER, 70))
        accounts.begun("c")
    told = at.standing(key, Measure.USD)
    assert (told.spent, told.held) == (70, 0)


async def test_limits_of_a_tenant_hold_for_all_its_keys_and_default_for_strangers(
    tmp_path: Path,
) -> None:
    accounts = {"tenants": {"acme": {"requests_per_minute": 2}}, "default": {"concurrency": 1}}
    async with desk(tmp_path, Engine(answers(wait_s=0.1)), accounts=accounts) as at:
        (_, one), (_, other) = at.key(), at.key()
        assert [(await at.ask(key)).status_code for key in (one, other, one)] == [200, 200, 429]
        got = await asyncio.gather(*(at.ask("sk-somebody") for _ in range(2)))
        assert sorted(each.status_code for each in got) in ([200, 200], [200, 429])


async def test_a_body_that_is_wrong_takes_nothing(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        key, secret = at.key(Rules(requests_per_minute=1))
        headers = {"authorization": f"Bearer {secret}"}
        headers |= {"content-type": "application/json"}
        assert (await at.http.post(CHAT, content=b"{", headers=headers)).status_code == 400
        wrong = orjson.dumps(BODY | {"model": "gpt-4o"})
        assert (await at.http.post(CHAT, content=wrong, headers=headers)).status_code == 404
        assert at.standing(key, Measure.REQUESTS).spent == 0
        assert (await at.ask(secret)).status_code == 200


@pytest.mark.parametrize("on_failure", ["serve", "refuse"])
async def test_a_second_try_while_redis_is_away_is_as_the_first_would_be(
    on_failure: str, tmp_path: Path
) -> None:
    async with desk(tmp_path, accounts={"on_redis_failure": on_failure}) as at:
        key, _ = at.key(usd("1 USD/day"))
        accounts = at.path.recorder.accounts
        visit = AccountedRequest(Payer("acme", key.id, record=key), "c", "r", "e", "m", 0.0, 20.0)
        place = await accounts.reserve(visit, lambda: Amount(1000, 10))
        assert await accounts.reserve_again("c")
        assert at.standing(key, Measure.USD).held == 2000
        at.store.failure = ConnectionError("gone")
        assert await accounts.reserve_again("c") is (on_failure == "serve")
        at.store.failure = None
        accounts.begun("c")
        accounts.spent(line(Kind.ANSWER, 70))
        place.end()
        await at.settled()
        told = at.standing(key, Measure.USD)
        assert (told.spent, told.held) == (70, 0)


async def test_a_second_try_takes_no_request_and_no_place_and_needs_no_limits(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path) as at:
        key, _ = at.key(Rules(requests_per_minute=1, concurrency=1, tokens_per_minute=25))
        accounts = at.path.recorder.accounts
        visit = AccountedRequest(Payer("acme", key.id, record=key), "c", "r", "e", "m", 0.0, 20.0)
        place = await accounts.reserve(visit, lambda: Amount(1000, 10))
        assert [await accounts.reserve_again("c") for _ in range(3)] == [True, False, False]
        assert at.standing(key, Measure.TOKENS).held == 20
        place.end()
        await at.settled()
        for measure in (Measure.TOKENS, Measure.CONCURRENCY):
            assert at.standing(key, measure).held == 0
        assert at.standing(key, Measure.REQUESTS).spent == 1
        assert await accounts.reserve_again("nobody")


async def test_what_is_held_stays_reserved_until_it_is_released(tmp_path: Path) -> None:
    async with desk(tmp_path) as at:
        key, _ = at.key(usd("1 USD/day"))
        accounts = at.path.recorder.accounts
        visit = AccountedRequest(Payer("acme", key.id, record=key), "c", "r", "e", "m", 0.0, 20.0)
        place = await accounts.reserve(visit, lambda: Amount(1000, 10))
        accounts.hold("c")
        place.end()
        await asyncio.sleep(0.05)
        assert at.standing(key, Measure.USD).held == 1000
        accounts.begun("c")
        accounts.spent(line(Kind.SHADOW, 5))
        await asyncio.sleep(0.05)
        assert at.standing(key, Measure.USD).held == 1000
        accounts.release("c")
        accounts.release("nobody")
        await at.settled()
        told = at.standing(key, Measure.USD)
        assert (told.spent, told.held) == (5, 0)


@pytest.mark.parametrize(
    ("rules", "binds"),
    [
        (usd("1 USD/day"), True),
        (Rules(tokens_per_minute=5000), True),
        (Rules(budgets=(BudgetLimit.read("1 USD/day", "soft"),)), False),
        (Rules(requests_per_minute=5, concurrency=2), False),
    ],
)
async def test_only_a_hard_limit_of_what_is_used_binds_a_request(
    rules: Rules, binds: bool, tmp_path: Path
) -> None:
    async with desk(tmp_path) as at:
        key, _ = at.key(rules)
        visit = AccountedRequest(Payer("acme", key.id, record=key), "c", "r", "e", "m", 0.0, 20.0)
        place = await at.path.recorder.accounts.reserve(visit, lambda: Amount(1000, 10))
        assert place.binding is binds
