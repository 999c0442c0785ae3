"""`hansom keys`: the options of its subcommands. What they do is imported when one is run."""

from typing import Annotated

import typer

from cli.command import Commands
from cli.options import DEFAULT_CONFIG, AsJson, Config

keys = Commands("Make and end virtual keys: who may ask, and how much.")

MOST = 1_000_000_000
Which = Annotated[str, typer.Argument(help="A key's id, or its name if no other has it.")]


@keys.command("create")
def create_command(
    tenant: Annotated[str, typer.Option(help="Who pays.")],
    name: Annotated[str, typer.Option(help="What people call the key.")] = "",
    team: Annotated[str, typer.Option(help="Of the tenant; no header changes it.")] = "",
    tag: Annotated[list[str], typer.Option(help="On every request of the key; may repeat.")] = [],  # noqa: B006
    expires_days: Annotated[
        float | None,
        typer.Option(min=0, max=36_500, help="How many days it works; for ever if left out."),
    ] = None,
    budget: Annotated[
        list[str], typer.Option(help="Hard: `10 USD/day`, `2000000 tokens/month`; may repeat.")
    ] = [],  # noqa: B006
    soft: Annotated[
        list[str], typer.Option(help="Only told when it is exceeded; may repeat.")
    ] = [],  # noqa: B006
    requests_per_minute: Annotated[
        int | None, typer.Option(min=1, max=MOST, help="Requests.")
    ] = None,
    tokens_per_minute: Annotated[
        int | None, typer.Option(min=1, max=MOST, help="Tokens, in and out.")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, max=MOST, help="Requests open at once.")
    ] = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Make a key and print its secret, once."""
    from cli.keys import WantedKey, create
    from core.settings.load import load

    wanted = WantedKey(
        tenant, name, team, tuple(tag), expires_days, tuple(budget), tuple(soft),
        requests_per_minute, tokens_per_minute, concurrency,
    )  # fmt: skip
    create(load(config), wanted, as_json=as_json)


@keys.command("list")
def list_command(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's.")] = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Show all keys and what their limits have left."""
    from cli.keys import show
    from core.settings.load import load

    show(load(config), tenant, as_json=as_json)


@keys.command("revoke")
def revoke_command(key: Which, config: Config = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """End a key for ever, within 5 seconds everywhere."""
    from cli.keys import revoke
    from core.settings.load import load

    revoke(load(config), key, as_json=as_json)


@keys.command("rotate")
def rotate_command(
    key: Which,
    grace: Annotated[
        float,
        typer.Option(min=0, max=31_536_000, help="Seconds for which the old secret works too."),
    ] = 0.0,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Give a key a new secret; its limits stay."""
    from cli.keys import rotate
    from core.settings.load import load

    rotate(load(config), key, grace, as_json=as_json)
