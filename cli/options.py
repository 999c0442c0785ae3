"""Options that most subcommands of `hansom` have."""

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_CONFIG = Path("config/laptop.yaml")

Config = Annotated[Path, typer.Option("--config", "-c", help="The settings file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
