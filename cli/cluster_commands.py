"""`hansom cluster`: the options of its subcommands. What they do is imported when one is run."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import AsJson, Config

cluster = typer.Typer(no_args_is_help=True, help="The nodes that a cluster file makes.")


@cluster.callback()
def together() -> None:
    """Keep `check` a subcommand of its own while it is the only one."""


@cluster.command("check")
def check_command(
    file: Annotated[
        Path, typer.Option("--cluster", help="A cluster file of `ray up`, or a RayService.")
    ] = Path("cluster.yaml"),
    nodes: Annotated[Path, typer.Option(help="The table of machines and their prices.")] = Path(
        "config/nodes.yaml"
    ),
    config: Config = Path("config/gpu.yaml"),
    as_json: AsJson = False,
) -> None:
    """Which tier lands on which node type, how many nodes that takes, what an hour costs."""
    from cli.cluster import check

    check(file, config, nodes, as_json=as_json)
