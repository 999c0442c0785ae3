"""From ledger lines to a webhook: each rule fires, and tells somebody once."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry
from sqlalchemy import event

from core.ledger_line import Kind, LedgerLine, Outcome
from core.settings.alerts import AlertSettings
from core.settings.load import Settings
from deployments.ledger.alerts import Alerts, WebhookFailed, message, post
from deployments.ledger.drain import Ledger
from ledger.alerts import store as alert_store
from ledger.alerts.budgets import NO_BUDGETS, Budgets, SpendBudget
from ledger.alerts.states import Alert, AlertState, Phase, Rule
from ledger.path.sql_store import SqlStore, sqlite_url
from tests.deployments.serving import simulated
from tests.fakes import FakeClock
from tests.ledger.lines import line

HOUR_S = 3600.0
HOLD_S = 720.0  # longer than any rule must hold
TIGHT = Budgets({"acme": (SpendBudget(0.5, 24 * HOUR_S),)})
WIDE = Budgets({"acme": (SpendBudget(500.0, 24 * HOUR_S),)})


@dataclass
class Webhook:
    """A real server that keeps what it is sent; `statuses` are its next answers, 200 after them."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[Any] = field(default_factory=list)
    hangs: bool = False
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.json())
        self.headers.append(request.headers)
        self.asked.set()
        if self.hangs:
            await asyncio.sleep(60)
        status = self.statuses.pop(0) if self.statuses else 200
        return web.Response(status=status, headers={"location": f"{self.url}/elsewhere"})

    @property
    def heard(self) -> list[tuple[str, str]]:
        """Rule and state of every alert, in order."""
        return [(one["rule"], one["state"]) for body in self.bodies for one in body["alerts"]]


@pytest.fixture
async def webhook() -> AsyncIterator[Webhook]:
    hook = Webhook()
    app = web.Application()
    app.router.add_post("/T0/secret", hook.answer)
    async with TestServer(app) as server:
        hook.url = str(server.make_url("/T0/secret"))
        yield hook


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    opened = SqlStore(sqlite_url(tmp_path / "ledger.sqlite3"))
    yield opened
    opened.close()


def ordinary(number: int, at_s: float, **changes: Any) -> LedgerLine:
    """Every second request is a cache hit; of the others two in five go to the large tier."""
    if number % 2 == 0:
        hit: dict[str, Any] = {"kind": Kind.CACHE_HIT, "cache": "exact", "cost_usd_micros": 0}
        return line(number, created_s=at_s, **hit)
    tier = "large" if number % 10 in (7, 9) else "small"
    fields: dict[str, Any] = {"tier": tier, "cost_usd_micros": 1000, "ttft_s": 0.2, "stream": True}
    return line(number, created_s=at_s, **(fields | changes))


def traffic(now_s: float, trouble: Rule | None, few: bool = False) -> list[LedgerLine]:
    """A day of ordinary traffic, then an hour, and what comes in `HOLD_S`, with trouble in it."""
    lines = []
    each = {"cost_usd_micros": 60_000} if trouble is Rule.SPEND_RATE else {}
    before = range(int(now_s - 25 * HOUR_S), int(now_s - HOUR_S), 60)
    after = range(int(now_s - HOUR_S), int(now_s + HOLD_S), 400 if few else 3)
    for number, at_s in enumerate(before):
        lines.append(ordinary(number, at_s, **({} if few else each)))
    for number, at_s in enumerate(after, start=len(before)):
        lines += troubled(number, at_s, trouble, each)
    return lines


def troubled(number: int, at_s: float, rule: Rule | None, each: dict[str, Any]) -> list[LedgerLine]:
    """One request in trouble."""
    if rule is Rule.COST_PER_SUCCESS:
        return [ordinary(number, at_s, cost_usd_micros=3000)]
    if rule is Rule.TTFT_P95:
        return [ordinary(number, at_s, ttft_s=8.0)]
    if rule is Rule.ROUTE_MIX_DRIFT:
        return [ordinary(number, at_s, tier="large")]
    if rule is Rule.HIT_RATE_FALL and number % 4 == 0:
        return [
            line(
                number, created_s=at_s, cost_usd_micros=0, tier=("small", "large")[number % 20 < 8]
            )
        ]
    if rule is Rule.RETRY_STORM and number % 2:
        failed = ordinary(number, at_s, outcome=Outcome.ERROR, cost_usd_micros=0)
        return [failed, line(number, 1, kind=Kind.RETRY, created_s=at_s, cost_usd_micros=1000)]
    return [ordinary(number, at_s, **each)]


class Watched:
    """Alerts on a clock that tests move."""

    def __init__(self, store: SqlStore, webhook: Webhook | None, budgets: Budgets = WIDE) -> None:
        self.clock = FakeClock()
        self.settings = AlertSettings(
            webhook_url=webhook.url if webhook else None,
            webhook_headers={"x-token": "t0"},
            webhook_timeout_s=2.0,
        )
        self.store, self.budgets = store, budgets
        self.start()

    def start(self) -> None:
        """A new process on the same database."""
        self.registry = CollectorRegistry()
        self.alerts = Alerts(self.store, self.settings, self.budgets, self.registry, self.clock)

    async def turns(self, for_s: float = HOLD_S) -> None:
        for _ in range(int(for_s / 60)):
            await self.alerts.turn()
            self.clock.advance(60)

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


@pytest.mark.parametrize("rule", list(Rule))
async def test_each_rule_fires_and_tells_the_webhook_once(
    rule: Rule, store: SqlStore, webhook: Webhook
):
    watched = Watched(store, webhook, TIGHT if rule is Rule.BUDGET_BURN else WIDE)
    store.insert(traffic(watched.clock.wall_s(), rule))
    await watched.turns()
    assert {one for one, _ in webhook.heard} == {rule.value}
    assert {state for _, state in webhook.heard} == {"firing"}
    told = [one for body in webhook.bodies for one in body["alerts"]]
    assert len({one["subject"] for one in told}) == len(told)
    assert all(one["value"] >= one["threshold"] for one in told)
    assert rule.value in webhook.bodies[0]["text"]
    assert watched.metric("hansom_alerts_firing", rule=rule.value) == len(told)
    assert watched.metric("hansom_alerts_untold") == 0


async def test_ordinary_traffic_fires_nothing(store: SqlStore, webhook: Webhook):
    watched = Watched(store, webhook)
    store.insert(traffic(watched.clock.wall_s(), None))
    await watched.turns()
    assert webhook.bodies == []
    for rule in Rule:
        assert watched.metric("hansom_alerts_firing", rule=rule.value) == 0
    assert watched.metric("hansom_alert_failures_total", step="look") == 0


@pytest.mark.parametrize("rule", list(Rule))
async def test_a_handful_of_requests_in_trouble_fires_nothing(
    rule: Rule, store: SqlStore, webhook: Webhook
):
    watched = Watched(store, webhook, TIGHT if rule is Rule.BUDGET_BURN else WIDE)
    store.insert(traffic(watched.clock.wall_s(), rule, few=True))
    await watched.turns()
    assert webhook.bodies == []


async def firing(store: SqlStore, webhook: Webhook | None) -> Watched:
    """A retry storm that lasts for `HOLD_S`, up to its first moment of firing."""
    watched = Watched(store, webhook)
    store.insert(traffic(watched.clock.wall_s(), Rule.RETRY_STORM))
    await watched.turns(180)
    return watched


async def test_an_alert_that_ends_is_told_as_resolved(store: SqlStore, webhook: Webhook):
    watched = await firing(store, webhook)
    await watched.turns(2 * HOLD_S)
    assert webhook.heard == [("retry_storm", "firing"), ("retry_storm", "resolved")]
    assert "[resolved]" in webhook.bodies[-1]["text"]
    assert watched.metric("hansom_alerts_firing", rule="retry_storm") == 0


async def test_a_restart_tells_nothing_again_and_forgets_nothing(store: SqlStore, webhook: Webhook):
    watched = await firing(store, webhook)
    watched.start()
    await watched.turns(120)
    assert webhook.heard == [("retry_storm", "firing")]
    assert watched.metric("hansom_alerts_firing", rule="retry_storm") == 1
    await watched.turns(2 * HOLD_S)
    assert webhook.heard[1:] == [("retry_storm", "resolved")]


async def test_what_the_webhook_refuses_is_told_at_a_later_turn(store: SqlStore, webhook: Webhook):
    webhook.statuses = [400, 404]
    watched = await firing(store, webhook)
    assert watched.metric("hansom_alerts_untold") == 1
    assert watched.metric("hansom_alert_failures_total", step="tell") == 1
    watched.start()  # not even a restart in between loses it
    await watched.turns(180)
    assert webhook.heard == [("retry_storm", "firing")] * 3
    assert watched.metric("hansom_alerts_untold") == 0


async def test_an_alert_that_still_fires_is_told_again_after_the_repeat(
    store: SqlStore, webhook: Webhook
):
    watched = await firing(store, webhook)
    watched.settings = watched.settings.model_copy(update={"repeat_s": 300.0})
    watched.start()
    await watched.turns(420)
    assert webhook.heard == [("retry_storm", "firing")] * 2


async def test_without_a_webhook_the_rules_are_still_looked_at(store: SqlStore):
    watched = await firing(store, None)
    assert watched.metric("hansom_alerts_firing", rule="retry_storm") == 1
    await watched.turns(2 * HOLD_S)
    assert watched.metric("hansom_alerts_firing", rule="retry_storm") == 0
    with store.connect() as connection:
        assert alert_store.load(connection) == []


async def test_the_drain_goes_on_while_the_webhook_hangs(store: SqlStore, webhook: Webhook):
    webhook.hangs = True
    watched = Watched(store, webhook)
    store.insert(traffic(watched.clock.wall_s(), Rule.RETRY_STORM))
    await watched.turns(120)
    stuck = asyncio.create_task(watched.alerts.turn())
    await webhook.asked.wait()
    async with asyncio.timeout(1):
        assert await asyncio.to_thread(store.insert, [line("new")]) == 1
    await stuck
    assert watched.metric("hansom_alert_failures_total", step="tell") == 1


async def test_a_database_that_fails_is_waited_out(store: SqlStore, webhook: Webhook):
    watched = Watched(store, webhook)
    with store.connect() as connection:
        connection.exec_driver_sql("ALTER TABLE ledger_lines RENAME TO away")
        connection.commit()
        await watched.turns(120)
        assert watched.metric("hansom_alert_failures_total", step="look") == 2
        connection.exec_driver_sql("ALTER TABLE away RENAME TO ledger_lines")
        connection.commit()
    await watched.turns(60)
    assert watched.metric("hansom_alert_failures_total", step="look") == 2


async def test_the_day_before_is_not_asked_for_at_every_turn(store: SqlStore):
    watched = Watched(store, None)
    asked: list[str] = []
    with store.connect() as connection:
        event.listen(
            connection.engine, "before_cursor_execute", lambda *given: asked.append(given[2])
        )
    await watched.turns(180)
    assert len([one for one in asked if "DISTINCT" in one]) == 3 + 1
    watched.clock.advance(1740)
    await watched.turns(60)
    assert len([one for one in asked if "DISTINCT" in one]) == 4 + 2


@pytest.mark.filterwarnings("ignore:coroutine 'Ledger.__del__'")  # Serve awaits it
async def test_the_ledgers_replica_looks_at_the_rules(
    store: SqlStore, webhook: Webhook, redis_url: str
):
    storm = {"for_s": 0.0, "least_attempts": 10}
    settings = Settings.model_validate(
        simulated()
        | {
            "ledger": {"stream": "test:alerts"},
            "alerts": {
                "webhook_url": webhook.url,
                "every_s": 0.05,
                "rules": {"retry_storm": storm},
            },
        }
    )
    now_s = time.time() - 10
    store.insert([line(number, 1, kind=Kind.RETRY, created_s=now_s) for number in range(20)])
    with store.connect() as connection:
        database = connection.engine.url.render_as_string(hide_password=False)
    ledger = Ledger(settings, redis_url, database)
    await ledger.check_health()
    async with asyncio.timeout(20):
        await webhook.asked.wait()
    assert ("retry_storm", "firing") in webhook.heard
    assert 'hansom_alerts_firing{rule="retry_storm"} 1.0' in await ledger.metrics_text()
    await ledger.__del__()


async def test_the_task_ends_when_it_is_cancelled(store: SqlStore):
    alerts = Alerts(store, AlertSettings(every_s=0.01), NO_BUDGETS, CollectorRegistry())
    task = asyncio.create_task(alerts.run())
    await asyncio.sleep(0.1)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=5)
    assert done and task.cancelled()


async def test_headers_are_sent_and_a_busy_webhook_is_tried_again(webhook: Webhook):
    webhook.statuses = [503, 429]
    settings = AlertSettings(webhook_headers={"x-token": "t0"})
    await post(webhook.url, {"text": "hi", "alerts": []}, settings, pause_s=0.01)
    assert [one["text"] for one in webhook.bodies] == ["hi"] * 3
    assert {one["x-token"] for one in webhook.headers} == {"t0"}


@pytest.mark.parametrize(
    ("statuses", "tries", "reason"),
    [([503] * 9, 3, "status 503"), ([404] * 9, 1, "status 404"), ([302] * 9, 1, "status 302")],
)
async def test_a_webhook_that_does_not_take_it_is_told_without_its_path(
    webhook: Webhook, statuses: list[int], tries: int, reason: str
):
    webhook.statuses = statuses
    with pytest.raises(WebhookFailed) as failed:
        await post(webhook.url, {"alerts": []}, AlertSettings(), pause_s=0.01)
    assert reason in str(failed.value) and "secret" not in str(failed.value)
    assert len(webhook.bodies) == tries


async def test_nobody_at_the_address_is_a_failure_too():
    with pytest.raises(WebhookFailed, match="ClientConnectorError"):
        await post("http://127.0.0.1:9/x", {}, AlertSettings(), pause_s=0.01)


async def test_a_silent_webhook_is_left_after_its_time(webhook: Webhook):
    webhook.hangs = True
    with pytest.raises(WebhookFailed, match=r"no answer in time, within 0\.2 s"):
        await post(webhook.url, {}, AlertSettings(webhook_timeout_s=0.2))


def test_a_long_message_is_cut_in_its_text_only():
    standing = AlertState(Alert(Rule.TTFT_P95, "tier a", 0.0, 9.0, 5.0, "slow"), Phase.FIRING)
    made = message([standing] * 25)
    text = str(made["text"]).splitlines()
    assert text[0] == "[FIRING] ttft_p95 (tier a): slow"
    assert (len(text), text[-1], len(made["alerts"])) == (21, "and 5 more", 25)  # type: ignore[arg-type]
