"""`hansom alerts`: each rule, its figures now, and which alerts fire; or a test of the webhook.

Promises: figures are read from the ledger's database at once, states are those of the running
ledger's last look. Nothing here changes an alert or tells anybody of one.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path

import typer
from rich.table import Table

from cli.ledger import open_store
from cli.tables import show_table, terminal
from core.errors import HansomError
from core.settings.alerts import AlertRules
from core.settings.load import load
from deployments.ledger.alerts import WebhookFailed, budgets_of, post, trial_message
from ledger.alerts import store
from ledger.alerts.figures import baselines, gather
from ledger.alerts.rules import readings
from ledger.alerts.states import AlertState, Phase, Rule, RuleReading, firing

_SUBJECTS = 5  # of a rule in the terminal; JSON has all of them
_UNITS = {
    Rule.SPEND_RATE: "USD/h",
    Rule.BUDGET_BURN: "times",
    Rule.COST_PER_SUCCESS: "USD",
    Rule.HIT_RATE_FALL: "points",
    Rule.ROUTE_MIX_DRIFT: "bits",
    Rule.TTFT_P95: "s",
}
_STYLES = {"firing": "bold red", "pending": "yellow", "off": "dim", "too few": "dim"}


def show(config: Path, *, as_json: bool) -> None:
    """Print every rule with its readings; raises `HansomError` when there is no ledger yet."""
    settings = load(config)
    rules, budgets, now_s = settings.alerts.rules, budgets_of(settings), time.time()
    with open_store(config).connect() as connection:
        standings = store.load(connection)
        before = baselines(connection, rules, now_s)
        found = readings(gather(connection, rules, budgets, before, now_s), rules, budgets)
    told = settings.alerts.webhook_url is not None
    if as_json:
        typer.echo(json.dumps(_as_json(found, standings, rules, told)))
        return
    console = terminal()
    show_table(_table(found, standings, rules), console)
    count = len(firing(standings))
    where = "the webhook is told" if told else "no webhook is set (alerts.webhook_url)"
    console.print(f"{count} firing; {where}.")


def test(config: Path, *, as_json: bool) -> None:
    """Post a test message; raises `HansomError` when no webhook is set or it does not take it."""
    settings = load(config).alerts
    if settings.webhook_url is None:
        raise HansomError("No webhook is set: give alerts.webhook_url in the settings file.")
    try:
        asyncio.run(post(settings.webhook_url, trial_message(), settings))
    except WebhookFailed as error:
        raise HansomError(str(error)) from error
    typer.echo(json.dumps({"sent": True}) if as_json else "The webhook took the test message.")


def _as_json(
    found: Sequence[RuleReading], standings: Sequence[AlertState], rules: AlertRules, told: bool
) -> dict[str, object]:
    known = {standing.key: standing for standing in standings}
    return {
        "webhook": told,
        "firing": [
            {
                "rule": alert.rule.value,
                "subject": alert.subject,
                "since_s": alert.since_s,
                "value": alert.value,
                "threshold": alert.threshold,
                "words": alert.words,
            }
            for alert in firing(standings)
        ],
        "rules": [
            {
                "rule": rule.value,
                **getattr(rules, rule).model_dump(),
                "readings": [
                    {
                        "subject": reading.subject,
                        "state": _state(reading, known.get(reading.key)),
                        "value": reading.value,
                        "threshold": reading.threshold,
                        "counted": reading.counted,
                        "least": reading.least,
                        "words": reading.words,
                    }
                    for reading in found
                    if reading.rule is rule
                ],
            }
            for rule in Rule
        ],
    }


def _table(
    found: Sequence[RuleReading], standings: Sequence[AlertState], rules: AlertRules
) -> Table:
    known = {standing.key: standing for standing in standings}
    table = Table(
        "rule", "of", "state", "now", "fires at", "sample", box=None, padding=(0, 2, 0, 0)
    )
    for rule in Rule:
        own = sorted((one for one in found if one.rule is rule), key=lambda one: -one.level)
        fired = (one for one in firing(standings) if one.rule is rule)
        gone = [one for one in fired if one.subject not in {reading.subject for reading in own}]
        for alert in gone:  # it fired at the last look, and has no traffic now
            table.add_row(
                rule.value, alert.subject, "firing", "–",
                _amount(rule, alert.subject, alert.threshold), "0",
                style=_STYLES["firing"],
            )  # fmt: skip
        if not own and not gone:
            state = "nothing yet" if getattr(rules, rule).enabled else "off"
            table.add_row(rule.value, "", state, "", "", "", style=_STYLES.get(state))
        for one in own[:_SUBJECTS]:
            state = _state(one, known.get(one.key))
            table.add_row(
                rule.value, one.subject, state, _amount(rule, one.subject, one.value),
                _amount(rule, one.subject, one.threshold),
                f"{one.counted:,} of {one.least:,}", style=_STYLES.get(state),
            )  # fmt: skip
        if len(own) > _SUBJECTS:
            table.add_row(rule.value, f"and {len(own) - _SUBJECTS} more", style="dim")
    return table


def _amount(rule: Rule, subject: str, value: float) -> str:
    """A figure with its unit; costs are also compared with what they were, as a ratio."""
    unit = "times" if subject.endswith("against before") else _UNITS.get(rule, "")
    return f"{value:.4g} {unit}".rstrip()


def _state(reading: RuleReading, standing: AlertState | None) -> str:
    if standing is not None and standing.phase is not Phase.RESOLVED:
        return standing.phase.value
    return "fine" if reading.counted >= reading.least else "too few"
