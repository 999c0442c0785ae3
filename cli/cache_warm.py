"""`hansom cache warm`: a file of requests through the running endpoint, so that it knows answers.

Promises: requests go the way of all others, so what may not be cached is not; one that fails stops
no other. An overloaded endpoint is waited for, as long as it asks and a few times.
Not covered: streams; an answer is in the cache a moment after it is told.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import orjson
import typer

from cli.endpoint import reason, silent
from cli.progress import TerminalProgress
from core.errors import HansomError
from core.files import text_file
from core.ports import Progress

NEW, HIT, UNCACHED, FAILED = "new", "hit", "not_cached", "failed"
_RESULTS = {"miss": NEW, "exact": HIT, "semantic": HIT}
_CHAT = "/v1/chat/completions"
_TRIES = 5
_WAIT_S, _LONGEST_WAIT_S = 1.0, 30.0
_TIMEOUT = httpx.Timeout(900.0, connect=10.0)
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Line:
    """A request of the file, counted from 1: the body to send, or what is wrong with the line."""

    number: int
    body: Mapping[str, object]
    error: str = ""


@dataclass(frozen=True, slots=True)
class WarmOutcome:
    """What became of a line."""

    line: int
    result: str
    error: str = ""


def warm(path: Path, url: str, at_once: int, api_key: str | None, *, as_json: bool) -> None:
    """Send every line, tell the counts; exit code 1 when one failed."""
    lines = read(path)
    headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
    with TerminalProgress(quiet=as_json) as progress:
        lane = progress.lane()
        lane.start(f"{len(lines):,} requests to {url}", len(lines))
        found = asyncio.run(send(lines, url, at_once, headers, lane))
        lane.done()
    counts = Counter(one.result for one in found)
    failures = sorted((one.line, one.error) for one in found if one.result == FAILED)
    if as_json:
        told: dict[str, object] = {name: counts[name] for name in (NEW, HIT, UNCACHED, FAILED)}
        told["failures"] = [{"line": line, "error": error} for line, error in failures]
        typer.echo(json.dumps(told))
    else:
        typer.echo(
            f"{counts[NEW]:,} new, {counts[HIT]:,} known before, {counts[UNCACHED]:,} that may not "
            f"be cached, {counts[FAILED]:,} failed."
        )
        for line, error in failures[:_SHOWN]:
            typer.echo(f"line {line}: {error}", err=True)
        if len(failures) > _SHOWN:
            typer.echo(f"… and {len(failures) - _SHOWN:,} more (--json has all).", err=True)
    if failures:
        raise typer.Exit(1)


def read(path: Path) -> list[Line]:
    """The requests of a file; raises `HansomError` where it cannot be read or is empty."""
    lines = [*text_file.lines(text_file.read(path))]
    if not lines:
        raise HansomError(f"{path} has no lines.")
    return [request(number, line.strip()) for number, line in lines]


def request(number: int, line: str) -> Line:
    """Make a chat request of a line.

    It is an OpenAI body, a line of OpenAI's batch files, an object with a `prompt`, a JSON string,
    or text. The model is `auto` and the temperature 0 where it does not say; nothing is streamed.
    """
    given: object = line
    if line[0] in '{"':
        try:
            given = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            if line[0] == "{":
                return Line(number, {}, f"not JSON: {error}")
    if isinstance(given, str):
        given = {"prompt": given}
    assert isinstance(given, dict)
    if isinstance(body := given.get("body"), dict):
        if (where := given.get("url", _CHAT)) != _CHAT:
            return Line(number, {}, f"{where} is not asked, only {_CHAT}")
        given = body
    body = {
        name: value for name, value in given.items() if name not in ("stream_options", "stream")
    }
    if "messages" not in body:
        prompt = body.pop("prompt", None)
        if not isinstance(prompt, str) or not prompt.strip():
            return Line(number, {}, "neither `messages` nor a `prompt` of text")
        body["messages"] = [{"role": "user", "content": prompt}]
    return Line(number, {"model": "auto", "temperature": 0, **body})


async def send(
    lines: Sequence[Line], url: str, at_once: int, headers: Mapping[str, str], progress: Progress
) -> list[WarmOutcome]:
    """Every line's outcome; raises `HansomError` where nothing answers at all."""
    places = asyncio.Semaphore(at_once)
    limits = httpx.Limits(max_connections=at_once)
    async with httpx.AsyncClient(
        base_url=url, headers=headers, timeout=_TIMEOUT, limits=limits
    ) as client:
        try:
            await client.get("/readyz")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise silent(url, error) from error

        async def one(line: Line) -> WarmOutcome:
            async with places:
                outcome = await _outcome(client, line)
            progress.advance(1)
            return outcome

        return list(await asyncio.gather(*map(one, lines)))


async def _outcome(client: httpx.AsyncClient, line: Line) -> WarmOutcome:
    if line.error:
        return WarmOutcome(line.number, FAILED, line.error)
    for left in reversed(range(_TRIES)):
        try:
            answer = await client.post(_CHAT, json=line.body)
        except httpx.HTTPError as error:
            return WarmOutcome(line.number, FAILED, f"no answer: {reason(error)}")
        if answer.status_code == 429 and left:
            await asyncio.sleep(_wait_s(answer.headers.get("retry-after", "")))
            continue
        if answer.status_code != 200:
            return WarmOutcome(line.number, FAILED, _words(answer))
        return WarmOutcome(
            line.number, _RESULTS.get(answer.headers.get("x-hansom-cache", ""), UNCACHED)
        )
    raise AssertionError("the last try returns")


def _wait_s(told: str) -> float:
    """Seconds of a Retry-After header; its other form, a date, counts as not told."""
    return min(float(told), _LONGEST_WAIT_S) if told.isdigit() else _WAIT_S


def _words(answer: httpx.Response) -> str:
    """The error in the server's words, as far as it has any."""
    try:
        return f"{answer.status_code}: {answer.json()['error']['message']}"
    except (ValueError, KeyError, TypeError):
        return f"{answer.status_code}: {answer.text[:200]}"
