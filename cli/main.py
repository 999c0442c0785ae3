"""`hansom`: the command line, its commands and its entry point.

Exit codes: 0 done; 1 the thing asked for failed, or something needed is missing; 2 wrong usage;
130 interrupted.
"""

import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli.cache_commands import cache
from cli.cluster_commands import cluster
from cli.command import Commands
from cli.cost_commands import cost_command, reprice_command
from cli.failure import PIPE_CLOSED, failure_of, wants_json
from cli.keys_commands import keys
from cli.ledger_commands import ledger
from cli.options import DEFAULT_CONFIG, AsJson, Config, Key, Url
from cli.plan import plan
from cli.router_commands import router
from cli.scale_commands import scale

_ABOUT = """Hansom serves language models behind one OpenAI endpoint: each prompt goes to the
cheapest model that can answer it, a repeated one to a cache, and a ledger says what each took and
cost."""
_EXAMPLES = """\b
Examples:
  hansom init my.yaml                        write a settings file with comments
  hansom serve --config my.yaml              serve until Ctrl-C
  hansom ask "What is the capital of France?" --explain
  hansom ledger report --hours 24 --by tier  what the last day cost
  hansom cost --model gpt-4o                 what a workload would cost

\b
HANSOM_CONFIG names the settings file where --config does not; HANSOM_API_KEY
the key to ask with. Exit codes: 0 done, 1 failed, 2 wrong usage. With --json a
command prints JSON, and so does its error."""
_START, _LOOK, _MONEY, _TUNE = "Start", "Look", "Costs", "Tune"

app = Commands(_ABOUT, _EXAMPLES, completion=True)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"hansom {version('hansom')}")
        raise typer.Exit


@app.callback()
def _hansom(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Carry the options of `hansom` itself."""


class AlertsWhat(StrEnum):
    """What `hansom alerts` does."""

    SHOW = "show"
    TEST = "test"


@app.command("init", rich_help_panel=_START)
def init_command(
    path: Annotated[
        Path, typer.Argument(metavar="[PATH]", help="The file, or a folder for it.")
    ] = Path("hansom.yaml"),
    laptop: Annotated[bool, typer.Option("--laptop", help="Two small models, CPU only.")] = False,
    gpu: Annotated[bool, typer.Option("--gpu", help="Two models on NVIDIA GPUs.")] = False,
    simulated: Annotated[
        bool, typer.Option("--simulated", help="No models: for tries and load tests.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a settings file with comments for this machine."""
    from cli.init import init

    init(path, laptop=laptop, gpu=gpu, simulated=simulated, force=force, as_json=as_json)


@app.command("doctor", rich_help_panel=_START)
def doctor_command(config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Check this machine, and say what to do.

    Looks at Python, memory, disk, ports, GPU, Redis and weights.
    """
    from cli import doctor
    from core.settings.load import load
    from deployments.machine import environment

    doctor.show(doctor.run_checks(load(config), environment.home()), as_json=as_json)


@app.command("serve", rich_help_panel=_START)
def serve_command(config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Start everything here and serve until Ctrl-C."""
    from cli.serve import serve

    serve(config, as_json)


@app.command("ask", rich_help_panel=_START)
def ask_command(
    prompt: Annotated[str, typer.Argument(help="What to ask, or - to read it from a pipe.")],
    tier: Annotated[str, typer.Option(help="A tier or model instead of `auto`.")] = "auto",
    explain: Annotated[bool, typer.Option("--explain", help="Show the routing reason.")] = False,
    max_tokens: Annotated[
        int, typer.Option(min=1, max=1_000_000, help="Longest answer, tokens.")
    ] = 256,
    key: Key = None,
    url: Url = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Stream one answer, with its tier, reason, tokens and cost."""
    from cli.ask import AskedQuestion, ask

    ask(AskedQuestion(prompt, tier, max_tokens, key), config, url, explain=explain, as_json=as_json)


@app.command("status", rich_help_panel=_LOOK)
def status_command(
    url: Url = None, config: Config = DEFAULT_CONFIG, as_json: AsJson = False
) -> None:
    """Show what runs, what is wrong, and what to do."""
    from cli.status import status

    status(config, url, as_json=as_json)


app.add_typer(ledger, name="ledger", rich_help_panel=_LOOK)
ledger.command("reprice")(reprice_command)


@app.command("alerts", rich_help_panel=_LOOK)
def alerts_command(
    what: Annotated[
        AlertsWhat, typer.Argument(help="`show`, or `test` to send the webhook a message.")
    ] = AlertsWhat.SHOW,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Show alert rules, their figures and which fire."""
    from cli import alerts

    (alerts.show if what is AlertsWhat.SHOW else alerts.test)(config, as_json=as_json)


app.add_typer(scale, name="scale", rich_help_panel=_LOOK)
app.command("cost", rich_help_panel=_MONEY)(cost_command)
app.add_typer(plan, name="plan", rich_help_panel=_MONEY)
app.add_typer(cluster, name="cluster", rich_help_panel=_MONEY)
app.add_typer(keys, name="keys", rich_help_panel=_MONEY)
app.add_typer(router, name="router", rich_help_panel=_TUNE)
app.add_typer(cache, name="cache", rich_help_panel=_TUNE)


def main(args: Sequence[str] | None = None) -> int:
    """Run one command line; print its error, if any, and return the exit code."""
    words = list(sys.argv[1:] if args is None else args)
    try:
        code = typer.main.get_command(app).main(words, prog_name="hansom", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except (Exception, KeyboardInterrupt) as error:
        failure = failure_of(error)
    if failure.kind == PIPE_CLOSED:
        # Python would complain of the closed pipe once more while it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return failure.exit_code
    failure.show(as_json=wants_json(words))
    return failure.exit_code


def run() -> None:
    """The entry point."""
    raise SystemExit(main())


if __name__ == "__main__":
    run()
