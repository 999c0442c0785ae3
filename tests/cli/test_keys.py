"""`hansom keys` against a real Redis: a secret is told once, and what is changed is changed."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml
from typer.testing import CliRunner, Result

from accounts.keys import hashed, well_formed
from accounts.limits import Amount, Payer, applicable
from accounts.redis_store import RedisAccounts, ReservationRequest, Settling
from cli.main import app
from core.errors import HansomError
from core.settings.load import load
from tests.conftest import RedisServer
from tests.deployments.serving import simulated

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Live:
    """A running system's Redis and settings."""

    config: Path
    url: str

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(app, ["keys", *words, "--config", str(self.config)])

    def told(self, *words: str) -> Any:
        done = self.run(*words, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    def store(self, work: Callable[[RedisAccounts], Awaitable[Answer]]) -> Answer:
        async def done() -> Answer:
            store = RedisAccounts(self.url)
            try:
                return await work(store)
            finally:
                await store.close()

        return asyncio.run(done())

    def refusal(self, secret: str) -> str | None:
        key = self.store(lambda store: store.find_key(hashed(secret)))
        return key.refusal(hashed(secret), time.time()) if key else None


@pytest.fixture
def live(tmp_path: Path, redis_server: RedisServer) -> Live:
    config = tmp_path / "serve.yaml"
    accounts = {"tenants": {"acme": {"concurrency": 5}}}
    settings = simulated(cache={"redis_url": redis_server.url}, accounts=accounts)
    config.write_text(yaml.safe_dump(settings))
    return Live(config, redis_server.url)


def test_a_new_key_tells_its_secret_once(live: Live) -> None:
    made = live.told(
        "create", "--tenant", "acme", "--name", "ci", "--team", "red", "--tag", "b", "--tag", "a",
        "--budget", "10 USD/day", "--soft", "8 USD/day", "--budget", "2000000 tokens/month",
        "--requests-per-minute", "60", "--tokens-per-minute", "9000", "--concurrency", "4",
        "--expires-days", "30",
    )  # fmt: skip
    assert well_formed(made["secret"])
    assert live.refusal(made["secret"]) == ""
    assert made["expires_s"] - made["created_s"] == 30 * 86_400
    shown = live.run("list")
    for output in (shown.stdout, json.dumps(live.told("list"))):
        assert made["secret"] not in output
        assert hashed(made["secret"]) not in output
        assert made["id"] in "".join(output.split())
    (listed,) = live.told("list")
    assert {name: listed[name] for name in ("name", "tenant", "team", "tags")} == {
        "name": "ci", "tenant": "acme", "team": "red", "tags": ["a", "b"],
    }  # fmt: skip
    told = {(one["of"], one["measure"], one["window"]): one["hard"] for one in listed["limits"]}
    assert told == {
        ("key", "usd", "day"): 10_000_000, ("key", "tokens", "month"): 2_000_000,
        ("key", "tokens", "minute"): 9000, ("key", "requests", "minute"): 60,
        ("key", "concurrency", None): 4, ("tenant", "concurrency", None): 5,
    }  # fmt: skip


def test_the_secret_is_printed_for_people_too(live: Live) -> None:
    done = live.run("create", "--tenant", "acme")
    secret = done.stdout.split()[0]
    assert well_formed(secret)
    assert live.refusal(secret) == ""


def test_the_list_shows_what_is_spent_and_reserved(live: Live) -> None:
    made = live.told("create", "--tenant", "acme", "--budget", "10 USD/month")

    async def spend(store: RedisAccounts) -> None:
        (key,) = await store.keys()
        found = applicable(load(live.config).accounts, Payer("acme", key.id, record=key))
        for id, amount in (("a", 4_000_000), ("b", 1_000_000)):
            await store.reserve(
                ReservationRequest("acme", id, found, Amount(amount), 60.0), time.time()
            )
        await store.send([Settling("acme", "a", 1, Amount(3_000_000), True)], time.time())

    live.store(spend)
    (listed,) = live.told("list", "--tenant", "acme")
    assert listed["id"] == made["id"]
    by = {one["measure"]: (one["spent"], one["reserved"]) for one in listed["limits"]}
    assert by == {"usd": (3_000_000, 1_000_000), "concurrency": (0, 1)}
    shown = live.run("list").stdout.splitlines()
    assert shown[0] == made["id"]
    assert shown[1] == "  tenant acme; active"
    assert shown[2].startswith("  4.000000 of 10.000000 USD a month; resets 20")
    assert shown[3] == "  1 of 5 open requests of tenant acme"
    assert live.told("list", "--tenant", "other") == []


def test_a_revoked_key_stays_in_the_list_and_out_of_use(live: Live) -> None:
    made = live.told("create", "--tenant", "acme", "--name", "ci")
    assert live.told("revoke", "ci")["revoked_s"] is not None
    assert live.refusal(made["secret"]) == "was revoked"
    assert live.run("revoke", made["id"]).exit_code == 0, "a second time changes nothing"
    (listed,) = live.told("list")
    assert listed["revoked_s"] is not None
    rotating = live.run("rotate", "ci")
    assert isinstance(rotating.exception, HansomError)
    assert "was revoked" in rotating.exception.message


def test_a_rotated_key_has_another_secret_and_the_same_id(live: Live) -> None:
    made = live.told("create", "--tenant", "acme", "--concurrency", "2")
    first = live.told("rotate", made["id"])
    assert (first["id"], first["rules"]) == (made["id"], made["rules"])
    assert live.refusal(made["secret"]) is None
    second = live.told("rotate", made["id"], "--grace", "60")
    assert [live.refusal(one["secret"]) for one in (first, second)] == ["", ""]


@pytest.mark.parametrize(
    "words",
    [
        ("create", "--tenant", ""),
        ("create", "--tenant", "a,b"),
        ("create", "--tenant", "a", "--tag", "x" * 101),
        ("create", "--tenant", "a", "--budget", "10 EUR/day"),
        ("create", "--tenant", "a", "--soft", "0 USD/day"),
        ("create", "--tenant", "a", "--concurrency", "0"),
        ("create",),
    ],
)
def test_wrong_words_are_wrong_usage(live: Live, words: tuple[str, ...]) -> None:
    assert live.run(*words).exit_code == 2
    assert live.told("list") == []


def test_a_name_is_taken_once_and_an_unknown_one_is_said(live: Live) -> None:
    live.told("create", "--tenant", "acme", "--name", "ci")
    again = live.run("create", "--tenant", "acme", "--name", "ci")
    assert isinstance(again.exception, HansomError)
    assert "already" in again.exception.message
    gone = live.run("revoke", "cd")
    assert isinstance(gone.exception, HansomError)
    assert "hansom keys list" in gone.exception.message


def test_without_redis_it_is_said_what_to_do(live: Live, redis_server: RedisServer) -> None:
    redis_server.kill()
    done = live.run("list")
    assert isinstance(done.exception, HansomError)
    assert "Is Hansom running?" in done.exception.message
