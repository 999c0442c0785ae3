"""Where the running endpoint is, and what to say when it does not answer."""

from pathlib import Path

import httpx

from core.errors import HansomError
from core.settings.load import Settings, load


def base_url(settings: Settings) -> str:
    """Where the endpoint is, seen from this machine."""
    host = settings.server.host
    return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{settings.server.port}"


def endpoint(config: Path, url: str | None) -> str:
    """The URL that was given, else the settings' own."""
    return url or base_url(load(config))


def silent(url: str, error: Exception) -> HansomError:
    """The error of an endpoint that does not answer, with what to do."""
    return HansomError(
        f"Nothing answers at {url} ({reason(error)}). Start it with `hansom serve`, or name "
        "another endpoint with --url or another settings file with --config."
    )


def reason(error: Exception) -> str:
    """Why there was no answer: in words, without the name of an exception."""
    known = ((httpx.TimeoutException, "it took too long"), (httpx.InvalidURL, "no such URL"))
    for kind, words in known:
        if isinstance(error, kind):
            return words
    text = f"{error} {error.__cause__ or ''}".lower()
    for sign, words in (
        ("refused", "connection refused"),
        ("name or service", "unknown host"),
        ("nodename", "unknown host"),
        ("disconnected", "it closed the connection"),
    ):
        if sign in text:
            return words
    return "no connection"
