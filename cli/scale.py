"""`hansom scale explain`: what the running cluster's scaling sees, decides, and did last."""

import json
import re
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import typer

from cli.endpoint import endpoint, silent
from core.errors import HansomError

_TIMEOUT_S = 10.0
Record = Mapping[str, Any]


def explain(config: Path, url: str | None, tier: str | None, *, as_json: bool) -> None:
    """Print each tier's record, or one tier's; raises `HansomError`."""
    records = fetch(endpoint(config, url))
    if tier is not None:
        if tier not in records:
            known = ", ".join(records) or "none does"
            raise HansomError(
                f"Tier {tier!r} does not scale, or has not yet. Those that do: {known}."
            )
        records = {tier: records[tier]}
    if as_json:
        typer.echo(json.dumps({"tiers": records}))
        return
    if not records:
        typer.echo("No tier scales: everywhere replicas.min is replicas.max.")
    for name, record in records.items():
        typer.echo("\n".join(lines(name, record, time.time())) + "\n")


def fetch(url: str) -> dict[str, Record]:
    """The records as the gateway has them; raises `HansomError`."""
    try:
        answer = httpx.get(f"{url}/scalez", timeout=_TIMEOUT_S)
        answer.raise_for_status()
        return dict(answer.json()["tiers"])
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise silent(f"{url}/scalez", error) from error


def lines(name: str, record: Record, now_s: float) -> Iterator[str]:
    """One tier in words: decision, view, replicas, failures, changes."""
    wanted = record.get("wanted")
    if wanted is None:
        yield f"{name}: no decision yet, {record['target']} replicas"
    else:
        age_s = now_s - record["at_s"]
        yield f"{name}: {wanted['replicas']} wanted ({wanted['code']}), decided {age_s:.1f} s ago"
        yield f"  because {wanted['reason']}"
        yield from _seen(record)
    if record.get("errors"):
        why = re.sub(r"^\w+(Error|Exception): ", "", record["error"])  # not the exception's name
        yield f"  {record['errors']} decisions failed and changed nothing; last: {why}"
    changes = record.get("changes") or []
    yield "  last changes:" if changes else "  no change yet"
    for change in reversed(changes):
        at = datetime.fromtimestamp(change["at_s"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        moved = f"{change['before']} to {change['wanted']}"
        yield f"    {at}  {moved} ({change['code']}): {change['reason']}"


def _seen(record: Record) -> Iterator[str]:
    view, lead_s = record["view"], record["lead_s"]
    traffic, ready, starting = view["traffic"], view["ready"], view["starting"]
    yield (
        f"  {view['target']} asked for of Serve, {len(ready)} ready, {len(starting)} starting, "
        f"which takes {lead_s:.1f} s; profile {record['profile']}"
    )
    if record.get("within_share") is not None:
        yield f"  {record['within_share']:.1%} of calls within the SLO over about four hours"
    if traffic["held"]:
        yield f"  {traffic['held']} calls held with {traffic['held_tokens']} prompt tokens"
    for load_ in ready:
        yield f"    {load_['id']}: {_load(load_, view['now_s'])}"


def _load(told: Record, now_s: float) -> str:
    if not told["at_s"]:
        return "has told nothing yet"
    kv = told["kv_use_ratio"]
    words = [
        f"{told['running']} running{_of_batch(told.get('batch_running'))}",
        f"{told['waiting']} waiting{_of_batch(told.get('batch_waiting'))}",
        f"{told['waiting_tokens']} tokens to prefill",
        "KV unknown" if kv is None else f"KV {kv:.0%}",
        f"{told['input_tokens_per_s']:.0f} tokens/s in",
        f"{told['output_tokens_per_s']:.0f} out",
    ]
    words += [f"TTFT {told['ttft_s']:.3f} s"] if told["ttft_s"] is not None else []
    words += [f"TPOT {told['tpot_s'] * 1e3:.1f} ms"] if told["tpot_s"] is not None else []
    words += [f"{told['preemptions']} preemptions"] if told["preemptions"] else []
    return f"{', '.join(words)}; heard {now_s - told['at_s']:.1f} s before"


def _of_batch(calls: int | None) -> str:
    return f" ({calls} of the batch lane)" if calls else ""
