"""`hansom`: the command line. Each subcommand takes `--json` for machines.

Exit codes: 0 done; 1 the thing asked for failed, or something needed is missing; 2 wrong usage.
"""

import json
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.exc import SQLAlchemyError

from core.errors import HansomError

DEFAULT_CONFIG = Path("config/laptop.yaml")

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
ledger = typer.Typer(no_args_is_help=True, help="What was spent, on what, and what was saved.")
app.add_typer(ledger, name="ledger")

Config = Annotated[Path, typer.Option("--config", "-c", help="The settings file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


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


@ledger.command("tail")
def tail_command(
    count: Annotated[int, typer.Option("--lines", "-n", help="How many lines.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines come.")] = False,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """The last lines of the ledger, one attempt each."""
    from cli.ledger import tail

    tail(config, count, follow=follow, as_json=as_json)


@ledger.command("report")
def report_command(
    hours: Annotated[float | None, typer.Option(help="Only the last so many hours.")] = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Requests, tokens by kind, cost, savings against always-large, and waits."""
    from cli.ledger import report

    report(config, hours, as_json=as_json)


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
