"""The options of `hansom cost` and `hansom ledger reprice`.

The modules that do the work are imported when a command runs: `hansom --help` stays quick.
"""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import DEFAULT_CONFIG, FILE, AsJson, Config, Hours, Plot
from cli.usage import UsageError

Prices = Annotated[
    Path | None,
    typer.Option(
        metavar=FILE, help="Another price table than the settings' `prices`, or the shipped one."
    ),
]
MOST = 1e12
Day = Annotated[str | None, typer.Option(help="Prices of this UTC day; today's if left out.")]


def cost_command(
    model: Annotated[str | None, typer.Option(help="A model of the price table.")] = None,
    requests_per_day: Annotated[
        float | None, typer.Option(min=0, max=MOST, help="1,000,000 if left out.")
    ] = None,
    input_tokens: Annotated[
        float | None, typer.Option(min=0, max=MOST, help="Mean prompt tokens; 500 if left out.")
    ] = None,
    output_tokens: Annotated[
        float | None, typer.Option(min=0, max=MOST, help="Mean output tokens; 200 if left out.")
    ] = None,
    cached_share: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of the prompt from a prefix cache.")
    ] = None,
    hit_rate: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of requests that a cache answers.")
    ] = None,
    retries: Annotated[
        float | None, typer.Option(min=0, max=1000, help="Further attempts per request.")
    ] = None,
    utilisation: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of the paid GPU-hours that is used.")
    ] = None,
    engineering: Annotated[
        float | None,
        typer.Option(min=0, max=MOST, help="USD a month for the people of a self-hosted model."),
    ] = None,
    min_replicas: Annotated[
        int | None,
        typer.Option(min=1, max=1_000_000, help="Replicas of a self-hosted model that always run."),
    ] = None,
    against: Annotated[str | None, typer.Option(help="Break-even against this model only.")] = None,
    from_ledger: Annotated[
        bool, typer.Option("--from-ledger", help="Take load, hit rate and mix from the ledger.")
    ] = False,
    hours: Hours = None,
    plot: Plot = None,
    day: Day = None,
    prices: Prices = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Compute what a workload costs, and what would change it.

    For each request, day and month, with the break-even with self-hosting.
    """
    from cli import cost
    from cli.cost_inputs import CostOptions

    asked = CostOptions(
        requests_per_day, input_tokens, output_tokens, cached_share, hit_rate, retries,
        utilisation, engineering, min_replicas,
    )  # fmt: skip
    if from_ledger:
        fixed = (model, input_tokens, output_tokens, cached_share)
        if any(one is not None for one in fixed):
            raise UsageError(
                "--from-ledger has its models and tokens from the ledger: leave out --model, "
                "--input-tokens, --output-tokens and --cached-share."
            )
        cost.from_ledger(asked, hours, against, prices, day, config, plot=plot, as_json=as_json)
        return
    if hours is not None:
        raise UsageError("--hours is for --from-ledger.")
    if model is not None:
        cost.one_model(asked, model, against, prices, day, config, plot=plot, as_json=as_json)
        return
    if plot is not None or against is not None:
        raise UsageError("--plot and --against need --model or --from-ledger.")
    cost.every_model(asked, prices, day, config, as_json=as_json)


def reprice_command(
    since: Annotated[str | None, typer.Option(help="From this UTC day or moment on.")] = None,
    until: Annotated[
        str | None, typer.Option(help="To this UTC day or moment, itself left out.")
    ] = None,
    as_of: Annotated[str | None, typer.Option(help="Prices of this UTC day for all lines.")] = None,
    prices: Prices = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Compare recorded cost with the price table's.

    By model and day; no line is changed.
    """
    from cli.ledger_reprice import show

    show(config, since, until, as_of, prices, as_json=as_json)
