"""`hansom router`: the options of its subcommands. What they do is imported when one is run."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli.command import Commands
from cli.options import DEFAULT_CONFIG, FILE, FOLDER, MOST_SEED, NEW_FILE, AsJson, Config, Plot

router = Commands("Choose a cut-off, measure it, see what moves it, teach it.")


class MethodName(StrEnum):
    """How a promise is proved; the same as `router.tuning.guarantee.Method`."""

    CLT = "clt"
    BERNSTEIN = "bernstein"


Graded = Annotated[
    Path,
    typer.Argument(
        metavar=FILE, help="Parquet or CSV with `prompt` and `score::<model>` columns, in 0 to 1."
    ),
]
Weak = Annotated[str, typer.Option(help="The small model, as in its `score::` column.")]
Strong = Annotated[str, typer.Option(help="The large model, as in its `score::` column.")]
Between = Annotated[
    list[str] | None,
    typer.Option(help="A model of a tier between them; once for each, cheapest first."),
]
Weights = Annotated[
    Path | None,
    typer.Option(metavar=FOLDER, help="Another folder of router weights than the settings'."),
]


@router.command("calibrate")
def router_calibrate_command(
    file: Graded,
    weak: Weak,
    strong: Strong,
    quality: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Share of the strong model's quality to promise; 0.95 if left out."
        ),
    ] = None,
    cost: Annotated[
        float | None,
        typer.Option(min=0, max=1e9, help="A budget instead: share of strong calls, or USD."),
    ] = None,
    prices: Annotated[
        str | None,
        typer.Option(help="WEAK,STRONG USD per 1,000 calls, or `columns` (`cost::<model>`)."),
    ] = None,
    delta: Annotated[
        float, typer.Option(min=0, max=0.5, help="How often the promise may be missed.")
    ] = 0.05,
    method: Annotated[
        MethodName, typer.Option(help="`clt`, or the careful `bernstein`.")
    ] = MethodName.CLT,
    by: Annotated[str | None, typer.Option(help="A column: a cut-off for each value.")] = None,
    plot: Plot = None,
    out: Annotated[
        Path | None, typer.Option(metavar=NEW_FILE, help="Keep the result as JSON.")
    ] = None,
    between: Between = None,
    weights: Weights = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Find the cut-off that keeps a promise of quality.

    Or, with --cost, the best one within a budget.
    """
    from cli.router import with_weights
    from cli.router_calibrate import WantedShare, calibrate

    wanted = WantedShare.read(quality, cost, prices, delta, method.value, by, between or ())
    folder = with_weights(config, weights).router.weights
    calibrate(file, weak, strong, folder, wanted, plot=plot, out=out, as_json=as_json)


@router.command("evaluate")
def router_evaluate_command(
    file: Graded,
    weak: Weak,
    strong: Strong,
    adapt: Annotated[
        int | None,
        typer.Option(min=0, max=10_000_000, help="Labelled rows to adapt to before the rest."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Which rows those are.")] = 0,
    answers: Annotated[
        bool, typer.Option("--answers", help="Read the small model's answers, too.")
    ] = False,
    weights: Weights = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Measure how well the score routes graded prompts."""
    from cli.router import evaluate, with_weights

    folder = with_weights(config, weights).router.weights
    evaluate(file, weak, strong, folder, adapt=adapt, seed=seed, answers=answers, as_json=as_json)


@router.command("curve")
def router_curve_command(
    file: Graded,
    weak: Weak,
    strong: Strong,
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Which rows are labelled.")] = 0,
    answers: Annotated[
        bool, typer.Option("--answers", help="Read the small model's answers, too.")
    ] = False,
    weights: Weights = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Show how the score gets better with labels."""
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
    """Give graded prompts to the running router."""
    from cli.router_teach import teach
    from core.settings.load import load

    teach(file, weak, strong, load(config), as_json=as_json)


@router.command("use")
def router_use_command(
    weights: Annotated[
        Path, typer.Argument(metavar=FOLDER, help="Folder of the weights, on every router's node.")
    ],
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Swap the weights of the running router."""
    from cli.router_teach import use
    from core.settings.load import load

    use(weights, load(config), as_json=as_json)


@router.command("train")
def router_train_command(
    data: Annotated[
        Path, typer.Argument(metavar=FOLDER, help="Folder with parquet files and pairs.json.")
    ],
    out: Annotated[Path, typer.Option(metavar="NEW_FOLDER", help="Folder of the new version.")],
    cache: Annotated[
        Path | None, typer.Option(metavar="NEW_FOLDER", help="Keeps embeddings between runs.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train new weights, with a card of how good they are."""
    from cli.router import train

    train(data, out, cache, as_json=as_json)


@router.command("compare")
def router_compare_command(
    file: Graded,
    weak: Weak,
    strong: Strong,
    between: Between = None,
    weights: Weights = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Compare the strategies on graded prompts."""
    from cli.router import side_by_side, with_weights

    chosen = with_weights(config, weights)
    side_by_side(file, weak, strong, chosen, between=between or (), as_json=as_json)


@router.command("explain")
def router_explain_command(
    prompt: Annotated[str, typer.Argument(help="The prompt, or - to read it from a pipe.")],
    weights: Weights = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Explain one decision: score, tier, reason, inputs."""
    from cli.router import explain_prompt, with_weights

    explain_prompt(prompt, with_weights(config, weights), as_json=as_json)
