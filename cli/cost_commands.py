"""The options of `hansom cost` and `hansom ledger reprice`.

The modules that do the work are imported when a command runs: `hansom --help` stays quick.
"""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import DEFAULT_CONFIG, AsJson, Config
from core.errors import HansomError

Prices = Annotated[
    Path | None,
    typer.Option(help="Another price table than the settings' `prices`, or config/prices.yaml."),
]
Day = Annotated[str | None, typer.Option(help="Prices of this UTC day; today's if left out.")]


def cost_command(
    model: Annotated[str | None, typer.Option(help="A model of the price table.")] = None,
    requests_per_day: Annotated[float | None, typer.Option(help="1,000,000 if left out.")] = None,
    input_tokens: Annotated[
        float | None, typer.Option(help="Mean prompt tokens; 500 if left out.")
    ] = None,
    output_tokens: Annotated[
        float | None, typer.Option(help="Mean output tokens; 200 if left out.")
    ] = None,
    cached_share: Annotated[
        float | None, typer.Option(help="Share of the prompt from a prefix cache.")
    ] = None,
    hit_rate: Annotated[
        float | None, typer.Option(help="Share of requests that a cache answers.")
    ] = None,
    retries: Annotated[float | None, typer.Option(help="Further attempts per request.")] = None,
    utilisation: Annotated[
        float | None, typer.Option(help="Share of the paid GPU-hours that is used.")
    ] = None,
    engineering: Annotated[
        float | None, typer.Option(help="USD a month for the people of a self-hosted model.")
    ] = None,
    min_replicas: Annotated[
        int | None, typer.Option(help="Replicas of a self-hosted model that always run.")
    ] = None,
    against: Annotated[str | None, typer.Option(help="Break-even against this model only.")] = None,
    from_ledger: Annotated[
        bool, typer.Option("--from-ledger", help="Take load, hit rate and mix from the ledger.")
    ] = False,
    hours: Annotated[
        float | None, typer.Option(help="Only the ledger's last so many hours.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the levers as a tornado: .svg or .png.")
    ] = None,
    day: Day = None,
    prices: Prices = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Cost for each request, day and month; break-even with self-hosting; what would change it."""
    from cli import cost
    from cli.cost_inputs import Asked

    asked = Asked(
        requests_per_day, input_tokens, output_tokens, cached_share, hit_rate, retries,
        utilisation, engineering, min_replicas,
    )  # fmt: skip
    if from_ledger:
        fixed = (model, input_tokens, output_tokens, cached_share)
        if any(one is not None for one in fixed):
            raise HansomError(
                "--from-ledger has its models and tokens from the ledger: leave out --model, "
                "--input-tokens, --output-tokens and --cached-share."
            )
        cost.from_ledger(asked, hours, against, prices, day, config, plot=plot, as_json=as_json)
        return
    if hours is not None:
        raise HansomError("--hours is for --from-ledger.")
    if model is not None:
        cost.one_model(asked, model, against, prices, day, config, plot=plot, as_json=as_json)
        return
    if plot is not None or against is not None:
        raise HansomError("--plot and --against need --model or --from-ledger.")
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
    """Recorded cost against the price table's, by model and day; no line is changed."""
    from cli.ledger_reprice import show

    show(config, since, until, as_of, prices, as_json=as_json)
