"""`hansom cluster`: the options of its subcommands. What they do is imported when one is run."""

from pathlib import Path
from typing import Annotated

import typer

from cli.command import Commands
from cli.options import DEFAULT_MACHINES, FILE, SHIPPED, AsJson, Machines

cluster = Commands("Check the nodes that a cluster file makes.")


@cluster.callback()
def together() -> None:
    """Keep `check` a subcommand of its own while it is the only one."""


@cluster.command("check")
def check_command(
    file: Annotated[
        Path | None,
        typer.Option(
            "--cluster",
            metavar=FILE,
            help="A cluster file of `ray up`, or a RayService.",
            show_default="cluster.yaml of this folder, else the shipped one",
        ),
    ] = None,
    nodes: Machines = DEFAULT_MACHINES,
    config: Annotated[
        Path,
        typer.Option(
            "--config",
            "-c",
            metavar=FILE,
            envvar="HANSOM_CONFIG",
            help="The settings file.",
            show_default="the shipped gpu.yaml",
        ),
    ] = SHIPPED / "gpu.yaml",
    as_json: AsJson = False,
) -> None:
    """Show where each tier lands, and what an hour costs.

    Which node type, how many nodes that takes, and what is wrong.
    """
    from cli.cluster import check

    own = Path("cluster.yaml")
    check(
        file or (own if own.exists() else SHIPPED / "cluster.yaml"), config, nodes, as_json=as_json
    )
