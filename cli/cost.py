"""`hansom cost`: what a workload costs for each request, day and month, and what moves it."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import typer

from cli import cost_print, usage
from cli.cost_inputs import (
    CostFigures,
    CostOptions,
    Input,
    for_ledger,
    for_model,
    known,
    rate_inputs,
    version_at,
)
from cli.ledger import open_store
from cli.usage import UsageError
from core.errors import HansomError
from core.files.shipped import shipped
from core.settings.load import load
from core.settings.prices import ApiVersion, HostedVersion, PriceTable, Version, load_prices
from ledger.cost.break_even import BreakEven, break_even
from ledger.cost.model import Cost, Workload, cost
from ledger.cost.sensitivity import levers
from ledger.cost.tornado import Swing, tornado
from ledger.cost.usage_query import Observed, observe
from ledger.reports.cost_share import shares
from ledger.reports.span import parse

_DAY_S = 86_400
_MICROS = 1_000_000


@dataclass(frozen=True, slots=True)
class Against:
    """An API and a self-hosted model set against one another, for the same tokens."""

    api: str
    hosted: str
    even: BreakEven
    attempts_per_request: Fraction

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; volumes also as requests a day, caches and retries counted."""
        even = self.even
        return {
            "api": self.api,
            "self_hosted": self.hosted,
            "requests_per_day": self.requests(even.attempts_per_day),
            "tokens_per_day": _number(even.tokens_per_day),
            "for_good_requests_per_day": self.requests(even.for_good_attempts_per_day),
            "replicas": even.replicas,
            "gpus": even.gpus,
            "usd_per_day": _number(even.usd_per_day),
            "reason": even.reason,
        }

    def requests(self, attempts_per_day: Fraction | None) -> float | None:
        """Requests a day that make so many attempts."""
        return (
            None
            if attempts_per_day is None
            else float(attempts_per_day / self.attempts_per_request)
        )


@dataclass(frozen=True, slots=True)
class CostAnswer:
    """Everything that the command tells of one workload."""

    title: str
    cost: Cost
    inputs: tuple[Input, ...]
    even: tuple[Against, ...]
    swings: tuple[Swing, ...]
    shares: dict[str, dict[str, int]]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; USD are numbers, and shares micro-USD."""
        return {
            "model": self.title,
            **totals(self.cost),
            "parts": [cost_print.part_dict(part) for part in self.cost.parts],
            "inputs": [
                {"name": one.name, "value": one.value, "source": one.source} for one in self.inputs
            ],
            "break_even": [one.as_dict() for one in self.even],
            "levers": [cost_print.swing_dict(swing) for swing in self.swings],
            "tenant_shares_usd_micros": self.shares,
        }


def every_model(
    asked: CostOptions, prices: Path | None, day: str | None, config: Path, *, as_json: bool
) -> None:
    """One workload at every model of the table."""
    table, wall_s = _table(prices, config), _moment(day)
    asked = asked.checked()
    found = [
        (name, version, for_model(asked, name, version)) for name, version in known(table, wall_s)
    ]
    rows = [
        (name, version.source, table.at(name, wall_s).version, cost(made.workload))
        for name, version, made in found
    ]
    inputs = [one for one in found[0][2].inputs if ":" not in one.name] if found else []
    if not as_json:
        cost_print.models(rows, inputs)
        return
    told = [
        {"model": name, **totals(of), "price_version": version, "source": source}
        for name, source, version, of in rows
    ]
    told_inputs = [{"name": i.name, "value": i.value, "source": i.source} for i in inputs]
    typer.echo(json.dumps({"models": told, "inputs": told_inputs}))


def one_model(
    asked: CostOptions,
    model: str,
    against: str | None,
    prices: Path | None,
    day: str | None,
    config: Path,
    *,
    plot: Path | None,
    as_json: bool,
) -> None:
    """One model: its cost, its break-even, its levers."""
    table, wall_s = _table(prices, config), _moment(day)
    made = for_model(asked.checked(), model, version_at(table, model, wall_s))
    _tell(_answer(model, made, asked, table, wall_s, against, {}), plot, as_json=as_json)


def from_ledger(
    asked: CostOptions,
    hours: float | None,
    against: str | None,
    prices: Path | None,
    day: str | None,
    config: Path,
    *,
    plot: Path | None,
    as_json: bool,
) -> None:
    """What the ledger's own load costs a day, and each tenant's share of self-hosted tiers."""
    asked, settings, now_s = asked.checked(), load(config), time.time()
    if hours is not None and not hours > 0:
        raise UsageError(f"--hours: must be above 0 (got {hours:g}).")
    table, wall_s = _table(prices, config), _moment(day)
    seen = observe(open_store(config), None if hours is None else now_s - hours * 3600, now_s)
    if seen is None:
        raise HansomError(
            "The ledger has no attempts in that time: there is nothing to reckon with."
        )
    made = for_ledger(asked, seen, settings, table, wall_s)
    title = " + ".join(part.model for part in made.workload.parts)
    split = _shares(made.workload, seen)
    _tell(_answer(title, made, asked, table, wall_s, against, split), plot, as_json=as_json)


def totals(made: Cost) -> dict[str, float]:
    """The three sums, in USD."""
    return {
        "usd_per_request": float(made.usd_per_request),
        "usd_per_day": float(made.usd_per_day),
        "usd_per_month": float(made.usd_per_month),
    }


def _answer(
    title: str,
    made: CostFigures,
    asked: CostOptions,
    table: PriceTable,
    wall_s: float,
    against: str | None,
    split: dict[str, dict[str, int]],
) -> CostAnswer:
    others = [(name, asked.changed(version)) for name, version in known(table, wall_s)]
    even = _against(made.workload, others, against)
    if against is not None and not even:
        version_at(table, against, wall_s)
        raise HansomError(f"{against} is of the same kind as {title}: there is no break-even.")
    swings = tornado(made.workload, levers(made.workload, others))
    compared = {name for one in even for name in (one.api, one.hosted)}
    own = {part.model for part in made.workload.parts}
    inputs = [
        one
        for name, rates in others
        if name in compared - own
        for one in rate_inputs(asked, name, rates)
    ]
    return CostAnswer(title, cost(made.workload), (*made.inputs, *inputs), even, swings, split)


def _against(
    workload: Workload, others: Sequence[tuple[str, Version]], chosen: str | None
) -> tuple[Against, ...]:
    """The workload's largest part against every model of the other kind, or against one."""
    main = max(workload.parts, key=lambda part: part.share)
    per_request = workload.attempts_per_request
    found = []
    for name, rates in others:
        if chosen not in (None, name) or not per_request or not main.tokens.total:
            continue
        if isinstance(main.rates, ApiVersion) and isinstance(rates, HostedVersion):
            even = break_even(main.rates, rates, main.tokens, main.min_replicas)
            found.append(Against(main.model, name, even, per_request))
        elif isinstance(main.rates, HostedVersion) and isinstance(rates, ApiVersion):
            even = break_even(rates, main.rates, main.tokens, main.min_replicas)
            found.append(Against(name, main.model, even, per_request))
    return tuple(found)


def _shares(workload: Workload, seen: Observed) -> dict[str, dict[str, int]]:
    """By tier and tenant: micro-USD of what a self-hosted tier costs in the observed time."""
    split = {}
    for use, part in zip(seen.models, cost(workload).parts, strict=True):
        if part.fleet is not None:
            bill = part.usd_per_day * _MICROS * Fraction(seen.span_s) / _DAY_S
            split[use.tier] = shares(round(bill), seen.held_s.get(use.tier, {}))
    return split


def _tell(answer: CostAnswer, plot: Path | None, *, as_json: bool) -> None:
    if plot is not None:
        _draw(answer, plot)
    if as_json:
        typer.echo(json.dumps(answer.as_dict()))
    else:
        cost_print.answer(
            answer.title,
            answer.cost,
            answer.inputs,
            [one.as_dict() for one in answer.even],
            answer.swings,
            answer.shares,
        )


def _draw(answer: CostAnswer, path: Path) -> None:
    from cli.cost_plot import draw

    try:
        draw(answer.swings, answer.title, path)
    except (OSError, ValueError) as error:
        raise HansomError(f"{path} cannot be drawn: {error}") from error


def _table(prices: Path | None, config: Path) -> PriceTable:
    """The table that is named here, else by the settings, else the shipped one."""
    return load_prices(prices or load(config).prices or shipped("prices.yaml"))


def _moment(day: str | None) -> float:
    with usage.options():
        return time.time() if day is None else parse(day)


def _number(value: Fraction | None) -> float | None:
    return None if value is None else float(value)
