"""`hansom scale`: the options of its subcommands. What they do is imported when one is run."""

from typing import Annotated

import typer

from cli.command import Commands
from cli.options import DEFAULT_CONFIG, AsJson, Config, Url

scale = Commands("Show how many replicas the tiers have, and why.")


@scale.callback()
def together() -> None:
    """Keep `explain` a subcommand of its own while it is the only one."""


@scale.command("explain")
def explain_command(
    tier: Annotated[str | None, typer.Argument(help="One tier only.")] = None,
    url: Url = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Show what the scaling sees, decided last, and why."""
    from cli.scale import explain

    explain(config, url, tier, as_json=as_json)
