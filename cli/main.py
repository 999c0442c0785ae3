"""`hansom`: the command line. Each subcommand takes `--json` for machines.

Exit codes: 0 done; 1 the thing asked for failed, or something needed is missing; 2 wrong usage.
"""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.exc import SQLAlchemyError

from cli.cache_commands import cache
from cli.cluster_commands import cluster
from cli.cost_commands import cost_command, reprice_command
from cli.keys_commands import keys
from cli.ledger_commands import ledger
from cli.options import DEFAULT_CONFIG, AsJson, Config
from cli.plan import plan
from cli.scale_commands import scale
from core.errors import HansomError

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
app.add_typer(ledger, name="ledger")
router = typer.Typer(no_args_is_help=True, help="Choose a cut-off, measure it, see what moves it.")
app.add_typer(router, name="router")
app.add_typer(cache, name="cache")
app.add_typer(cluster, name="cluster")
app.add_typer(keys, name="keys")
app.add_typer(plan, name="plan")
app.add_typer(scale, name="scale")
app.command("cost")(cost_command)
ledger.command("reprice")(reprice_command)

Graded = Annotated[
    Path, typer.Argument(help="Parquet with `prompt` and `score::<model>` columns, in 0 to 1.")
]
Weak = Annotated[str, typer.Option(help="The small model, as in its `score::` column.")]
Strong = Annotated[str, typer.Option(help="The large model, as in its `score::` column.")]
Weights = Annotated[
    Path | None, typer.Option(help="Another folder of router weights than the settings'.")
]


class AlertsWhat(StrEnum):
    """What `hansom alerts` does."""

    SHOW = "show"
    TEST = "test"


@app.command("serve")
def serve_command(config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Start everything on this machine and serve until Ctrl-C."""
    from cli.serve import serve

    serve(config, as_json)


@app.command("ask")
def ask_command(
    prompt: Annotated[str, typer.Argument(help="What to ask.")],
    tier: Annotated[str, typer.Option(help="A tier or model instead of `auto`.")] = "auto",
    explain: Annotated[bool, typer.Option(help="Say why it went where it went.")] = False,
    max_tokens: Annotated[int, typer.Option(help="Longest answer, tokens.")] = 256,
    url: Annotated[str | None, typer.Option(help="Another endpoint than the settings'.")] = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Stream one answer, then its tier, reason, tokens, cost and TTFT."""
    from cli.ask import ask

    ask(config, url, prompt, tier, explain=explain, max_tokens=max_tokens, as_json=as_json)


@app.command("doctor")
def doctor_command(config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Check this machine: Python, memory, disk, ports, GPU, Redis, weights; say what to do."""
    from rich.console import Console

    from cli import doctor
    from core.settings import load
    from deployments import environment

    checks = doctor.run_checks(load(config), environment.home())
    if as_json:
        typer.echo(json.dumps(doctor.as_dicts(checks)))
    else:
        Console().print(doctor.table(checks))
    raise typer.Exit(doctor.exit_code(checks))


@router.command("calibrate")
def router_calibrate_command(
    file: Graded,
    weak: Weak,
    strong: Strong,
    quality: Annotated[
        float | None,
        typer.Option(help="Share of the strong model's quality to promise; 0.95 if left out."),
    ] = None,
    cost: Annotated[
        float | None, typer.Option(help="A budget instead: share of strong calls, or USD.")
    ] = None,
    prices: Annotated[
        str | None,
        typer.Option(help="WEAK,STRONG USD per 1,000 calls, or `columns` (`cost::<model>`)."),
    ] = None,
    delta: Annotated[float, typer.Option(help="How often the promise may be missed.")] = 0.05,
    method: Annotated[str, typer.Option(help="`clt`, or the careful `bernstein`.")] = "clt",
    by: Annotated[str | None, typer.Option(help="A column: a cut-off for each value.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the curve: .svg or .png.")] = None,
    out: Annotated[Path | None, typer.Option(help="Keep the result as JSON.")] = None,
    weights: Weights = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Find the cut-off that keeps a promise of quality, or the best one within a budget."""
    from cli.router import with_weights
    from cli.router_calibrate import Wanted, calibrate

    wanted = Wanted.read(quality, cost, prices, delta, method, by)
    folder = with_weights(config, weights).router.weights
    calibrate(file, weak, strong, folder, wanted, plot=plot, out=out, as_json=as_json)


@router.command("evaluate")
def router_evaluate_command(
    file: Graded,
    weak: Weak,
    strong: Strong,
    adapt: Annotated[
        int | None, typer.Option(min=0, help="Labelled rows to adapt to before the rest.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Which rows those are.")] = 0,
    answers: Annotated[bool, typer.Option(help="Read the small model's answers, too.")] = False,
    weights: Weights = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """How well the score routes a file's prompts, and whether it knows them at all."""
    from cli.router import evaluate, with_weights

    folder = with_weights(config, weights).router.weights
    evaluate(file, weak, strong, folder, adapt=adapt, seed=seed, answers=answers, as_json=as_json)


@router.command("curve")
def router_curve_command(
    file: Graded,
    weak: Weak,
    strong: Strong,
    seed: Annotated[int, typer.Option(min=0, help="Which rows are labelled.")] = 0,
    answers: Annotated[bool, typer.Option(help="Read the small model's answers, too.")] = False,
    weights: Weights = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """How the score gets better with labels of a file: its learning curve."""
    from cli.router import with_weights
    from cli.router_teach import curve

    folder = with_weights(config, weights).router.weights
    curve(file, weak, strong, folder, seed, answers=answers, as_json=as_json)


@router.command("teach")
def router_teach_command(
    file: Graded,
    weak: Weak,
    strong: Strong,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Give graded prompts to the running router, which learns from them while it serves."""
    from cli.router_teach import teach
    from core.settings import load

    teach(file, weak, strong, load(config), as_json=as_json)


@router.command("use")
def router_use_command(
    weights: Annotated[Path, typer.Argument(help="Folder of the weights, on every router's node.")],
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Swap the weights of the running router; no request is dropped."""
    from cli.router_teach import use
    from core.settings import load

    use(weights, load(config), as_json=as_json)


@router.command("train")
def router_train_command(
    data: Annotated[Path, typer.Argument(help="Folder with parquet files and pairs.json.")],
    out: Annotated[Path, typer.Option(help="Folder of the new version.")],
    cache: Annotated[Path | None, typer.Option(help="Keeps embeddings between runs.")] = None,
    as_json: AsJson = False,
) -> None:
    """Train new weights; their card says how good they are on rows they did not see."""
    from cli.router import train

    train(data, out, cache, as_json=as_json)


@router.command("compare")
def router_compare_command(
    file: Graded,
    weak: Weak,
    strong: Strong,
    weights: Weights = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Set the strategies side by side, each at its own cut-off."""
    from cli.router import side_by_side, with_weights

    side_by_side(file, weak, strong, with_weights(config, weights), as_json=as_json)


@router.command("explain")
def router_explain_command(
    prompt: Annotated[str, typer.Argument(help="The prompt, or - to read it from a pipe.")],
    weights: Weights = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """One decision: its score, tier and reason, and the inputs that moved it most."""
    from cli.router import explain_prompt, with_weights

    explain_prompt(prompt, with_weights(config, weights), as_json=as_json)


@app.command("alerts")
def alerts_command(
    what: Annotated[
        AlertsWhat, typer.Argument(help="`show`, or `test` to send the webhook a message.")
    ] = AlertsWhat.SHOW,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """The alert rules, their figures now, and which fire; `test` tries the webhook."""
    from cli import alerts

    (alerts.show if what is AlertsWhat.SHOW else alerts.test)(config, as_json=as_json)


def run() -> None:
    """The entry point: errors that users can mend are one line, never a traceback."""
    try:
        app()
    except HansomError as error:
        typer.secho(f"hansom: {error.message}", fg="red", err=True)
        raise SystemExit(1) from None
    except SQLAlchemyError as error:
        typer.secho(f"hansom: the ledger cannot be read: {error.__cause__}", fg="red", err=True)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    run()
