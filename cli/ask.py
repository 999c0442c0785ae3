"""`hansom ask`: one question through the endpoint, with what it took."""

import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import openai
import typer

from cli.serve import base_url
from core.errors import HansomError
from core.settings import load


@dataclass(frozen=True, slots=True)
class Asked:
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


def ask(
    config: Path,
    url: str | None,
    prompt: str,
    tier: str,
    *,
    explain: bool,
    max_tokens: int,
    as_json: bool,
) -> None:
    """Ask, print the answer as it comes, then the facts; raises `HansomError`."""
    url = url or base_url(load(config))
    try:
        asked = _stream(url, prompt, tier, max_tokens, echo=not as_json)
    except openai.APIConnectionError as error:
        raise HansomError(
            f"Nothing answers at {url}. Is `make serve` (or `hansom serve`) running?"
        ) from error
    except openai.APIError as error:
        raise HansomError(error.message) from error
    if as_json:
        typer.echo(json.dumps(asdict(asked)))
        return
    typer.echo(_facts(asked, explain))


def _stream(url: str, prompt: str, tier: str, max_tokens: int, *, echo: bool) -> Asked:
    """Deterministic, so that the same question again is an exact hit."""
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="hansom-cli", max_retries=0)
    started_s = time.monotonic()
    raw = client.chat.completions.with_raw_response.create(
        model=tier,
        messages=[{"role": "user", "content": prompt}],
        temperature=0,
        max_tokens=max_tokens,
        stream=True,
        stream_options={"include_usage": True},
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
    return Asked(
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


def _facts(asked: Asked, explain: bool) -> str:
    code, _, words = asked.reason.partition("; ")
    lines = [
        "",
        f"{asked.tier} ({asked.model}) · {code} · cache {asked.cache} · "
        f"{asked.input_tokens} in, {asked.output_tokens} out · ${asked.cost_usd} · "
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
