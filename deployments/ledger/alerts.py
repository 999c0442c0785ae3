"""Evaluate the alert rules periodically, and notify a webhook.

Promises: a failed look or message is logged, counted and made up for at the next turn; an alert
is told at least once, even when the process ends in between, and not again while it fires before
`repeat_s` has passed. The queries have a thread of their own, so the drain never waits for them.
Neither the webhook's path nor its headers are ever logged: they often are the secret.
Not covered: what an alert is (`ledger.alerts.states`, `ledger.alerts.rules`).
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn, TypeVar

import aiohttp
from prometheus_client import CollectorRegistry, Counter, Gauge
from sqlalchemy import Connection

from core.log import SystemClock, event
from core.ports import Clock
from core.settings.alerts import AlertSettings
from core.settings.load import Settings
from ledger.alerts import store as alert_store
from ledger.alerts.budgets import Budgets
from ledger.alerts.figures import baseline_kept_s, baselines, gather
from ledger.alerts.rules import Baselines, hold_s, readings
from ledger.alerts.states import AlertState, Phase, Rule, due, firing, step, told
from ledger.path.sql_store import SqlStore

log = logging.getLogger("hansom.alerts")

_TRIES = 3
_LINES = 20  # of `text`; Slack folds longer ones, and `alerts` has them all

Made = TypeVar("Made")


class WebhookFailed(Exception):
    """The webhook did not take a message; the text says why, and nothing of the URL's path."""


class Alerts:
    """The owner of the alerts' state and of their metrics; one for each ledger."""

    def __init__(
        self,
        store: SqlStore,
        settings: AlertSettings,
        budgets: Budgets,
        registry: CollectorRegistry,
        clock: Clock | None = None,
    ) -> None:
        self._store = store
        self._settings = settings
        self._budgets = budgets
        self._clock = clock or SystemClock()
        self._before: Baselines | None = None
        self._before_s = 0.0
        self._thread = ThreadPoolExecutor(1, "ledger-alerts")
        self._firing = Gauge(
            "hansom_alerts_firing", "Subjects that an alert rule fires for.", ["rule"],
            registry=registry,
        )  # fmt: skip
        self._untold = Gauge(
            "hansom_alerts_untold", "Messages that the webhook has not taken yet.",
            registry=registry,
        )  # fmt: skip
        self._failures = Counter(
            "hansom_alert_failures", "Turns in which looking or telling failed.", ["step"],
            registry=registry,
        )  # fmt: skip
        for rule in Rule:
            self._firing.labels(rule.value)
        for part in ("look", "tell"):
            self._failures.labels(part)

    async def run(self) -> NoReturn:
        """Take a turn every `every_s` until cancelled."""
        try:
            while True:
                await self.turn()
                await asyncio.sleep(self._settings.every_s)
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def turn(self) -> None:
        """Look once, and tell what is due."""
        with self._counted("look"):
            standings = await self._on_thread(self._look)
            await self._tell(standings)

    async def _tell(self, standings: list[AlertState]) -> None:
        url = self._settings.webhook_url
        if url is None:
            return
        notices = due(standings, self._settings.repeat_s, self._clock.wall_s())
        self._untold.set(len(notices))
        if not notices:
            return
        with self._counted("tell"):
            await post(url, message(notices), self._settings)
            after = told(standings, notices, self._clock.wall_s())
            await self._on_thread(lambda: self._save(after))
            self._untold.set(0)

    def _look(self) -> list[AlertState]:
        now_s, settings = self._clock.wall_s(), self._settings
        with self._store.connect() as connection:
            before = alert_store.load(connection)
            before_it = self._baselines(connection, now_s)
            figures = gather(connection, settings.rules, self._budgets, before_it, now_s)
        found = readings(figures, settings.rules, self._budgets)
        after = step(before, found, hold_s(settings.rules), settings.clear, now_s)
        if settings.webhook_url is None:
            # Without a webhook nothing is delivered: a resolved alert would stay for ever.
            after = [standing for standing in after if standing.phase is not Phase.RESOLVED]
        if after != before:
            self._save(after)  # before it is told, so that a crash in between tells it again
        self._note(before, after)
        return after

    def _baselines(self, connection: Connection, now_s: float) -> Baselines:
        """On a million lines a day they take seconds: they are not asked for at every turn."""
        rules = self._settings.rules
        if self._before is None or now_s - self._before_s >= baseline_kept_s(rules):
            self._before, self._before_s = baselines(connection, rules, now_s), now_s
        return self._before

    def _note(self, before: Sequence[AlertState], after: Sequence[AlertState]) -> None:
        known = {(alert.rule, alert.subject) for alert in firing(before)}
        now = firing(after)
        for rule in Rule:
            self._firing.labels(rule.value).set(sum(alert.rule is rule for alert in now))
        for alert in now:
            if (alert.rule, alert.subject) not in known:
                event(
                    log, "alert_firing", rule=alert.rule, subject=alert.subject, words=alert.words
                )

    def _save(self, standings: Sequence[AlertState]) -> None:
        with self._store.connect() as connection:
            alert_store.save(connection, standings)

    async def _on_thread(self, work: Callable[[], Made]) -> Made:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    @contextlib.contextmanager
    def _counted(self, part: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # whatever the database's driver raises: the next turn tries
            self._failures.labels(part).inc()
            event(log, "alerts_failed", step=part, reason=repr(error))


def budgets_of(settings: Settings) -> Budgets:
    """The budgets that the accounts' settings name."""
    return Budgets.of(settings.accounts)


def message(notices: Sequence[AlertState]) -> dict[str, object]:
    """What the webhook gets: `text` as Slack and its like show it, `alerts` for programs."""
    lines = [_words(notice) for notice in notices[:_LINES]]
    if len(notices) > _LINES:
        lines.append(f"and {len(notices) - _LINES} more")
    return {"text": "\n".join(lines), "alerts": [_fields(notice) for notice in notices]}


def trial_message() -> dict[str, object]:
    """What `hansom alerts test` sends: the same form, and no alert."""
    return {"text": "Hansom: this is a test of the alerts' webhook.", "alerts": []}


async def post(
    url: str, body: Mapping[str, object], settings: AlertSettings, *, pause_s: float = 1.0
) -> None:
    """Post JSON, with up to three tries within `webhook_timeout_s`; raises `WebhookFailed`.

    No connection, 429 and 5xx are tried again after one and two pauses; any other status but 2xx
    is not.
    """
    reason = "no answer in time"
    try:
        async with asyncio.timeout(settings.webhook_timeout_s), aiohttp.ClientSession() as client:
            for tried in range(_TRIES):
                if tried:
                    await asyncio.sleep(pause_s * tried)
                try:
                    reason, again = await _post_once(client, url, body, settings.webhook_headers)
                except aiohttp.ClientError as error:
                    reason, again = type(error).__name__, True
                if not reason:
                    return
                if not again:
                    break
    except TimeoutError:
        reason += f", within {settings.webhook_timeout_s:g} s"
    raise WebhookFailed(f"The alerts' webhook did not take the message: {reason}.")


async def _post_once(
    client: aiohttp.ClientSession, url: str, body: Mapping[str, object], headers: Mapping[str, str]
) -> tuple[str, bool]:
    """Why it was not taken ("" when it was), and whether another try may help."""
    # A redirected POST would arrive as a GET, and the headers elsewhere.
    async with client.post(url, json=body, headers=headers, allow_redirects=False) as answer:
        if answer.ok and answer.status < 300:
            return "", False
        return f"status {answer.status}", answer.status == 429 or answer.status >= 500


def _words(notice: AlertState) -> str:
    alert = notice.alert
    began = "resolved" if notice.phase is Phase.RESOLVED else "FIRING"
    return f"[{began}] {alert.rule.value} ({alert.subject}): {alert.words}"


def _fields(notice: AlertState) -> dict[str, object]:
    alert = notice.alert
    return {
        "rule": alert.rule.value,
        "subject": alert.subject,
        "state": notice.phase.value,
        "since_s": alert.since_s,
        "value": alert.value,
        "threshold": alert.threshold,
        "words": alert.words,
    }
