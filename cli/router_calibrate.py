"""`hansom router calibrate`: cut-offs that keep a promise of quality, or the best within a budget.

Promises: options that contradict each other are exit code 2 before anything is read; a file that
does not fit is 1. Nothing is changed but the files that were asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import typer

from cli import router_print
from cli.router_rows import Scored, read_labelled, score
from core.errors import HansomError
from router.score.model import Scorer
from router.tuning.guarantee import Guarantee, Method, promise, within
from router.tuning.points import Floats
from text.embed import MiniLM

COLUMNS = "columns"
QUALITY = 0.95
_PICTURES = (".svg", ".png")


@dataclass(frozen=True, slots=True)
class WantedShare:
    """What a calibration is to keep: a share of the strong model's quality, or a budget.

    `budget` is a share of strong calls, or with `prices` USD per 1,000 calls; None for a promise.
    `prices` is "WEAK,STRONG" in that unit, with those of the `between` models between, or "columns"
    for those of the file.
    """

    quality: float
    budget: float | None
    prices: str | None
    delta: float
    method: Method
    by: str | None
    between: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse options that contradict each other, before minutes are spent on scoring."""
        if not 0 < self.quality <= 1:
            raise typer.BadParameter("must be above 0 and at most 1", param_hint="--quality")
        if not 0 < self.delta < 0.5:
            raise typer.BadParameter("must lie between 0 and 0.5", param_hint="--delta")
        if self.budget is None:
            if self.prices:
                raise typer.BadParameter("needs --cost", param_hint="--prices")
        elif self.by:
            raise typer.BadParameter("a budget is kept over all rows", param_hint="--by")
        elif self.prices is None and not 0 <= self.budget <= 1:
            reason = "without --prices it is a share of strong calls, from 0 to 1"
            raise typer.BadParameter(reason, param_hint="--cost")
        self.fixed_prices()

    @classmethod
    def read(
        cls,
        quality: float | None,
        budget: float | None,
        prices: str | None,
        delta: float,
        method: str,
        by: str | None,
        between: Sequence[str] = (),
    ) -> WantedShare:
        """From the command line's options; a promise and a budget exclude each other."""
        if quality is not None and budget is not None:
            raise typer.BadParameter("give either --quality or --cost", param_hint="--cost")
        if method not in list(Method):
            raise typer.BadParameter(f"must be one of {', '.join(Method)}", param_hint="--method")
        return cls(
            QUALITY if quality is None else quality, budget, prices, delta, Method(method), by,
            tuple(between),
        )  # fmt: skip

    def fixed_prices(self) -> tuple[float, ...] | None:
        """Each model's, cheapest first, as told on the command line; None where it told none."""
        models = 2 + len(self.between)
        if self.prices is None:
            return (*[0.0] * (models - 1), 1.0)
        if self.prices == COLUMNS:
            return None
        try:
            prices = tuple(map(float, self.prices.split(",")))
        except ValueError:
            prices = ()
        if len(prices) != models:
            each = "WEAK,STRONG" if models == 2 else f"{models} prices, cheapest model first,"
            reason = f"must be {each} in USD per 1,000 calls, or '{COLUMNS}'"
            raise typer.BadParameter(reason, param_hint="--prices")
        return prices


def calibrate(
    path: Path,
    weak: str,
    strong: str,
    weights: Path,
    wanted: WantedShare,
    *,
    plot: Path | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Print cut-offs, what they promise or cost, the curve and the conditions."""
    if plot is not None and plot.suffix not in _PICTURES:
        raise typer.BadParameter("must end in .svg or .png", param_hint="--plot")
    scorer = Scorer.load(weights)
    labelled = read_labelled(path, weak, strong, wanted.by, wanted.between)
    scored = score(labelled, scorer, MiniLM.installed(), quiet=as_json)
    try:
        made = _made(scored, wanted)
    except ValueError as error:
        raise HansomError(f"{path}: {error}") from error
    told = {
        "file": str(path),
        "weak": weak,
        "strong": strong,
        "between": wanted.between,
        "router_version": scorer.version,
        "rows": len(labelled.prompts),
        "left_out": labelled.left_out,
        "seen_in_training": scored.seen,
        "promised_quality": made.promised,
        **asdict(made),
    }
    _kept(told, made, out, plot)
    if as_json:
        typer.echo(json.dumps(told))
    else:
        router_print.guarantee(made, scored)


def _made(scored: Scored, wanted: WantedShare) -> Guarantee:
    if wanted.budget is None:
        return promise(scored.rows, wanted.quality, delta=wanted.delta, method=wanted.method)
    costs: Sequence[Floats | float]
    if fixed := wanted.fixed_prices():
        costs = fixed
    else:
        if scored.labelled.cost_usd is None:
            raise ValueError("there are no columns cost::<model> with numbers for all models")
        costs = tuple(1000 * scored.labelled.cost_usd.T)
    weak, *between, strong = costs
    return within(scored.rows, wanted.budget, weak, strong, between)


def _kept(told: Mapping[str, object], made: Guarantee, out: Path | None, plot: Path | None) -> None:
    """Write what was asked to be written."""
    try:
        if out is not None:
            out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        if plot is not None:
            from cli.router_plot import draw

            draw(made, plot)
    except OSError as error:
        raise HansomError(f"{error.filename} cannot be written: {error.strerror}") from error
