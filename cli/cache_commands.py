"""`hansom cache`: the options of its subcommands. What they do is imported when one is run."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import DEFAULT_CONFIG, AsJson, Config

cache = typer.Typer(
    no_args_is_help=True, help="What the cache holds, serves and should not, and how to steer it."
)

Labelled = Annotated[
    Path, typer.Argument(help="JSON lines, gzip or plain: pairs, a stream, context probes.")
]
Weights = Annotated[
    Path | None, typer.Option(help="Another folder of verifier weights than the shipped.")
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
    """How often the semantic cache serves a file's requests, and how often wrongly."""
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
    """Wrong share and recall of labelled prompts at every cut-off, and what to set."""
    from cli.cache_tune import tune

    tune(file, limit, weights, as_json=as_json)


@cache.command("stats")
def stats_command(
    tenant: Tenant = None,
    team: Team = "",
    config: Config = DEFAULT_CONFIG,
    as_json: AsJson = False,
) -> None:
    """What lies in Redis: answers, entries, scopes, sizes, error budgets, and Redis itself."""
    from cli.cache_stats import stats
    from core.settings import load

    stats(load(config), tenant, team, as_json=as_json)


@cache.command("explain")
def explain_command(
    prompt: Annotated[str, typer.Argument(help="The user's words, or - to read them from a pipe.")],
    tenant: Annotated[str, typer.Option(help="Who asks, as the ledger names them.")] = "anonymous",
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
    """What the cache would do with a request now, over which entries, and why."""
    import sys

    from cli import cache_explain, cache_explain_print, cache_redis
    from cli.cache_asked import Asked
    from core.settings import load

    text = sys.stdin.read() if prompt == "-" else prompt
    asked = Asked(text, tenant, team, system, model, risk, value, domain, fields)
    settings = load(config)
    url = cache_redis.url_of(settings)
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
    """Take cached answers back; what is given must hold together. --json does not ask."""
    from cli.cache_purge import Chosen, purge
    from core.settings import load

    chosen = Chosen(tenant, team, tag, entry, older_than, everything)
    purge(load(config), chosen, yes=yes, as_json=as_json)


@cache.command("warm")
def warm_command(
    file: Annotated[
        Path, typer.Argument(help="A request a line: OpenAI bodies, `prompt` objects, or text.")
    ],
    url: Annotated[str, typer.Option(help="The endpoint.")] = "http://127.0.0.1:8000",
    at_once: Annotated[int, typer.Option(min=1, max=256, help="Requests at once.")] = 4,
    api_key: Annotated[
        str | None,
        typer.Option(envvar="HANSOM_API_KEY", help="Of the tenant who is to have the answers."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask the running endpoint a file's requests, so that it has their answers."""
    from cli.cache_warm import warm

    warm(file, url, at_once, api_key, as_json=as_json)
