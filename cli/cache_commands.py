"""`hansom cache`: the options of its subcommands. What they do is imported when one is run."""

from pathlib import Path
from typing import Annotated

import typer

from cli.command import Commands
from cli.options import DEFAULT_CONFIG, FILE, FOLDER, AsJson, Config, Key, Url

cache = Commands("Show what the cache holds and serves, and steer it.")

Labelled = Annotated[
    Path,
    typer.Argument(
        metavar=FILE, help="JSON lines, gzip or plain: pairs, a stream, context probes."
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(metavar=FOLDER, help="Another folder of verifier weights than the shipped."),
]
Tenant = Annotated[str | None, typer.Option(help="Only this tenant's, as the ledger names it.")]
Team = Annotated[str, typer.Option(help="Of the tenant, where `cache.scope` is `team`.")]


@cache.command("evaluate")
def evaluate_command(
    file: Labelled,
    level: Annotated[
        str, typer.Option(help="Which frozen cut-off, named after the wrong share it allows.")
    ] = "0.025",
    weights: Weights = None,
    as_json: AsJson = False,
) -> None:
    """Measure hits and wrong hits on labelled prompts."""
    from cli.cache import evaluate

    evaluate(file, weights, level, as_json=as_json)


@cache.command("tune")
def tune_command(
    file: Labelled,
    limit: Annotated[
        float, typer.Option(min=0.0001, max=0.2, help="Share of hits that may be wrong.")
    ] = 0.01,
    weights: Weights = None,
    as_json: AsJson = False,
) -> None:
    """Find the cut-off for a wrong share you allow."""
    from cli.cache_tune import tune

    tune(file, limit, weights, as_json=as_json)


@cache.command("stats")
def stats_command(
    tenant: Tenant = None,
    team: Team = "",
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Show what is stored in Redis, whose, and how large."""
    from cli.cache_stats import stats
    from core.settings.load import load

    stats(load(config), tenant, team, as_json=as_json)


@cache.command("explain")
def explain_command(
    prompt: Annotated[str, typer.Argument(help="The user's words, or - to read them from a pipe.")],
    key: Key = None,
    tenant: Annotated[
        str | None, typer.Option(help="Who asks, as the ledger names them; instead of a key.")
    ] = None,
    team: Team = "",
    system: Annotated[str | None, typer.Option(help="The system prompt.")] = None,
    model: Annotated[str, typer.Option(help="The model field.")] = "auto",
    risk: Annotated[str, typer.Option(help="As in `x-hansom-risk`.")] = "normal",
    value: Annotated[str, typer.Option(help="As in `x-hansom-value`.")] = "normal",
    domain: Annotated[str, typer.Option(help="As in `x-hansom-domain`.")] = "",
    fields: Annotated[
        str, typer.Option(help="More of the request's body, as JSON: what differs, misses.")
    ] = "{}",
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Show what the cache would do with a request."""
    from cli import cache_explain, cache_explain_print, cache_redis
    from cli.cache_asked import CacheOptions
    from cli.cache_caller import caller
    from cli.prompt import text_of
    from core.settings.load import load

    text = text_of(prompt)
    settings = load(config)
    url = cache_redis.url_of(settings)
    who = caller(settings, url, key, tenant, team)
    asked = CacheOptions(
        text, who.tenant, who.team, system, model, risk, value, domain, fields, who.key
    )
    told = cache_redis.run(url, cache_explain.explain(url, settings, asked))
    if as_json:
        typer.echo(told.as_json())
    else:
        cache_explain_print.show(told)


@cache.command("purge")
def purge_command(
    tenant: Tenant = None,
    team: Team = "",
    tag: Annotated[
        str | None, typer.Option(help="A word that `x-hansom-cache-tags` gave answers.")
    ] = None,
    entry: Annotated[
        str | None, typer.Option(help="The key of an answer or entry, from `explain`.")
    ] = None,
    older_than: Annotated[str | None, typer.Option(help="An age: 90s, 30m, 2h, 7d, 1w.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All answers of all tenants.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Purge cached answers; filters combine with AND.

    Asks first, unless --yes is given.
    """
    from cli.cache_purge import Chosen, purge
    from core.settings.load import load

    chosen = Chosen(tenant, team, tag, entry, older_than, everything)
    purge(load(config), chosen, yes=yes, as_json=as_json)


@cache.command("warm")
def warm_command(
    file: Annotated[
        Path,
        typer.Argument(
            metavar=FILE,
            help="A request a line: OpenAI bodies, batch lines, `prompt` objects, text.",
        ),
    ],
    url: Url = None,
    at_once: Annotated[int, typer.Option(min=1, max=256, help="Requests at once.")] = 4,
    key: Key = None,
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """Send a file's requests, so that they are cached."""
    from cli.cache_warm import warm
    from cli.endpoint import endpoint

    warm(file, endpoint(config, url), at_once, key, as_json=as_json)
