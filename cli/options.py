"""Options that most subcommands of `hansom` have."""

from pathlib import Path
from typing import Annotated

import typer

from cli.command import FILE as FILE
from cli.command import FOLDER as FOLDER
from cli.command import NEW_FILE as NEW_FILE
from cli.command import PICTURE
from cli.usage import UsageError

# As `core.files.shipped.shipped`, which imports pydantic: the help is shown without.
SHIPPED = Path(__file__).absolute().parents[1] / "config"
DEFAULT_CONFIG = SHIPPED / "laptop.yaml"
DEFAULT_PROFILES = SHIPPED / "profiles.yaml"
DEFAULT_MACHINES = SHIPPED / "nodes.yaml"
LONGEST_HOURS = 876_000.0  # a century
MOST_SEED = 2**32 - 1


def _url(url: str | None) -> str | None:
    """The URL without a slash or `/v1` at its end; raises `UsageError` for what is none."""
    if url is None:
        return None
    scheme, _, rest = url.partition("://")
    if scheme not in ("http", "https") or not rest.strip("/"):
        raise UsageError(f"--url: must begin with http:// or https:// (got {url}).")
    return url.rstrip("/").removesuffix("/v1")


Config = Annotated[
    Path,
    typer.Option(
        "--config", "-c", metavar=FILE, envvar="HANSOM_CONFIG", help="The settings file.",
        show_default="the shipped laptop.yaml",
    ),
]  # fmt: skip
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, errors too.")]
Url = Annotated[
    str | None,
    typer.Option(
        metavar="URL", callback=_url, help="The endpoint.", show_default="the settings' own"
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key", "--api-key", envvar="HANSOM_API_KEY", metavar="KEY",
        help="The API key to ask with; without one the tenant is `anonymous`.",
    ),
]  # fmt: skip
Hours = Annotated[
    float | None, typer.Option(min=0, max=LONGEST_HOURS, help="Only the last so many hours.")
]
Plot = Annotated[
    Path | None, typer.Option(metavar=PICTURE, help="Draw it into this file: .svg or .png.")
]
Profiles = Annotated[
    Path,
    typer.Option(metavar=FILE, help="Engine profiles.", show_default="the shipped profiles.yaml"),
]
Machines = Annotated[
    Path,
    typer.Option(
        metavar=FILE, help="Machines and their prices.", show_default="the shipped nodes.yaml"
    ),
]
