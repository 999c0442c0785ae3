"""`hansom ask`: one question through the endpoint, with what it took."""

import json
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import openai
import typer

from cli.endpoint import endpoint, silent
from cli.prompt import text_of
from core.errors import HansomError


@dataclass(frozen=True, slots=True)
class AskOptions:
    """An answer and what it took; `cost_usd` is a decimal string."""

    text: str
    tier: str
    model: str
    reason: str
    difficulty: float | None
    cache: str
    request_id: str
    input_tokens: int
    output_tokens: int
    cost_usd: str
    ttft_s: float
    total_s: float


@dataclass(frozen=True, slots=True)
class AskedQuestion:
    """What to ask of which tier; without a `key` the tenant is `anonymous`."""

    prompt: str
    tier: str
    max_tokens: int
    key: str | None


def ask(
    question: AskedQuestion, config: Path, url: str | None, *, explain: bool, as_json: bool
) -> None:
    """Ask, print the answer as it comes, then the facts; raises `HansomError`."""
    question = replace(question, prompt=text_of(question.prompt))
    url = endpoint(config, url)
    try:
        asked = _stream(url, question, echo=not as_json)
    except (openai.APIConnectionError, httpx.HTTPError) as error:
        raise silent(url, error) from error
    except openai.APIError as error:
        raise HansomError(error.message) from error
    if as_json:
        typer.echo(json.dumps(asdict(asked)))
        return
    typer.echo(_facts(asked, explain))


def _stream(url: str, question: AskedQuestion, *, echo: bool) -> AskOptions:
    """Deterministic, so that the same question again is an exact hit."""
    # The client wants a key; without one the header is left out, so that the tenant is the one
    # of every other caller without a key, which `hansom cache explain` looks into too.
    headers: dict[str, Any] = {} if question.key else {"Authorization": openai.Omit()}
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=question.key or "none", max_retries=0)
    started_s = time.monotonic()
    raw = client.chat.completions.with_raw_response.create(
        model=question.tier,
        messages=[{"role": "user", "content": question.prompt}],
        temperature=0,
        max_tokens=question.max_tokens,
        stream=True,
        stream_options={"include_usage": True},
        extra_headers=headers,
    )
    first_s, text, usage = None, "", None
    extra: dict[str, object] = {}
    for chunk in raw.parse():
        first_s = first_s or time.monotonic()
        piece = chunk.choices[0].delta.content if chunk.choices else None
        if piece:
            text += piece
            if echo:
                sys.stdout.write(piece)
                sys.stdout.flush()
        usage = chunk.usage or usage
        extra = (chunk.model_extra or {}).get("hansom") or extra
    end_s = time.monotonic()
    sent = raw.headers
    difficulty = sent.get("x-hansom-difficulty")
    return AskOptions(
        text=text,
        tier=sent.get("x-hansom-tier", ""),
        model=sent.get("x-hansom-model", ""),
        reason=sent.get("x-hansom-route-reason", ""),
        difficulty=float(difficulty) if difficulty else None,
        cache=sent.get("x-hansom-cache", ""),
        request_id=sent.get("x-request-id", ""),
        input_tokens=usage.prompt_tokens if usage else 0,
        output_tokens=usage.completion_tokens if usage else 0,
        cost_usd=str(extra.get("cost_usd", "")),
        ttft_s=round((first_s or end_s) - started_s, 4),
        total_s=round(end_s - started_s, 4),
    )


def _facts(asked: AskOptions, explain: bool) -> str:
    code, _, words = asked.reason.partition("; ")
    lines = [
        "",
        f"{asked.tier} ({asked.model}) · {code} · cache {asked.cache} · "
        f"{asked.input_tokens} in, {asked.output_tokens} out · {asked.cost_usd} USD · "
        f"TTFT {asked.ttft_s * 1000:.0f} ms · total {asked.total_s:.2f} s",
    ]
    if explain:
        shown = "not scored" if asked.difficulty is None else f"{asked.difficulty:.3f}"
        lines += [
            f"reason: {words}",
            f"difficulty: {shown}",
            f"request id: {asked.request_id}",
        ]
    return "\n".join(lines)
