"""A simulated engine: plays tokens at a set TTFT and TPOT, for load and scaling tests only.

It speaks the part of vLLM's OpenAI protocol that the gateway relies on (streams, running usage,
error bodies, a context limit, priorities), so the whole path around it is real. It holds no model:
what it says is filler, and no figure of quality or engine speed can come from it.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray
from prometheus_client import Gauge, generate_latest

from autoscale.live.observe import LoadReport
from core.call import Usage
from core.capability import Capabilities
from core.metrics import new_registry
from core.settings.load import SimulatedEngine
from core.settings.scaling import Slo
from deployments.client import Client, ClientLeft
from deployments.tier.load_report import LoadReporter, Queue, Totals
from deployments.tier.simulated.play import Play
from deployments.tier.simulated.slots import EngineSlots
from deployments.tier.slo_count import SloCount
from deployments.tier.usage_meter import UsageMeter, request_id

_HEADERS_SSE = [(b"content-type", b"text/event-stream; charset=utf-8")]
_HEADERS_JSON = [(b"content-type", b"application/json")]
_MAX_BODY_BYTES = 1 << 30  # the gateway's limit is the one that counts


class Simulated:
    """One simulated engine, as an ASGI application."""

    def __init__(self, settings: SimulatedEngine, model: str, kept: SloCount | None = None) -> None:
        self._settings = settings
        self._model = model
        self._slots = EngineSlots(settings.max_concurrent)
        self._registry = new_registry()
        self._gauges = {
            name: Gauge(f"hansom_simulated_{name}", text, registry=self._registry)
            for name, text in (
                ("running_requests", "Requests playing tokens now."),
                ("waiting_requests", "Requests waiting for a slot."),
                ("aborted_requests", "Requests whose client left, since the start."),
                ("prompt_tokens", "Prompt tokens of requests that began to play, since the start."),
                ("generation_tokens", "Tokens played, since the start."),
            )
        }
        self._running = self._waiting = self._aborted = 0
        self._waiting_tokens = self._held_tokens = 0
        self._batch_running = self._batch_waiting = self._batch_tokens = 0
        self._seen = Totals()
        self.meter = UsageMeter(self._app)
        self.meter.capabilities = Capabilities(context_tokens=settings.context_tokens)
        self._kept = kept or SloCount(Slo())
        self._teller = LoadReporter(self.meter, self._kept)
        self._counters = Counters(settings.counters)

    async def start(self) -> UsageMeter:
        """Nothing to load, which takes `start_s`."""
        await asyncio.sleep(self._settings.start_s)
        return self.meter

    async def check_health(self) -> None:
        """Always healthy."""

    def stop(self) -> None:
        """Nothing to stop."""

    def report(self) -> LoadReport:
        """Its load; a token of KV cache for each token of a request that plays."""
        kv_tokens = self._settings.max_concurrent * self._settings.context_tokens
        queue = Queue(
            self._running, self._waiting, self._waiting_tokens,
            min(1.0, self._held_tokens / kv_tokens),
            self._batch_running, self._batch_waiting, self._batch_tokens,
        )  # fmt: skip
        return self._teller.report(
            queue, replace(self._seen, made_tokens=self._counters.generation)
        )

    def metrics_text(self) -> str:
        """Its gauges in Prometheus text format."""
        self._gauges["running_requests"].set(self._running)
        self._gauges["waiting_requests"].set(self._waiting)
        self._gauges["aborted_requests"].set(self._aborted)
        self._gauges["prompt_tokens"].set(self._counters.prompt)
        self._gauges["generation_tokens"].set(self._counters.generation)
        return generate_latest(self._registry).decode()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """The ASGI entry, metered."""
        await self.meter(scope, receive, send)

    async def _app(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Two POST routes, 404 for the rest."""
        if scope["type"] != "http":
            return
        path = scope["path"]
        if path not in ("/v1/chat/completions", "/v1/completions"):
            await _reply(send, 404, {"error": {"message": f"no route {path}", "type": "not_found"}})
            return
        caller = Client(receive)
        try:
            await self._answer(caller, path, send, request_id(scope))
        except ClientLeft:
            self._aborted += 1
        except asyncio.CancelledError:
            self._aborted += 1
            if not caller.absorb_cancel():
                raise
        finally:
            caller.close()

    async def _answer(self, caller: Client, path: str, send: Any, id: str) -> None:
        body = orjson.loads(await caller.body(_MAX_BODY_BYTES))
        play = Play(body, self._settings, self._model, chat=path.endswith("chat/completions"))
        if play.longest_tokens > self._settings.context_tokens:
            await _reply(send, 400, play.too_long(self._settings.context_tokens))
            return
        if play.stream or self._settings.ttft_s or self._settings.tpot_s or self._slots.locked():
            caller.watch()
        play.batch = self.meter.batch(id)
        self._batch_tokens += play.prompt_tokens * play.batch
        try:
            await self._serve(play, send)
        finally:
            self._batch_tokens -= play.prompt_tokens * play.batch
            self.meter.note(id, Usage(play.prompt_tokens if play.made else 0, 0, play.made))

    async def _serve(self, play: Play, send: Any) -> None:
        self._waiting_tokens += play.prompt_tokens
        try:
            self._waiting += 1
            self._batch_waiting += play.batch
            try:
                await self._slots.acquire(play.priority)
            finally:
                self._waiting -= 1
                self._batch_waiting -= play.batch
            await self._run(play, send)
        finally:
            self._ended(play)

    async def _run(self, play: Play, send: Any) -> None:
        play.began_s = time.monotonic()
        self._running += 1
        self._batch_running += play.batch
        self._held_tokens += play.held_tokens
        try:
            if play.stream:
                await self._stream(play, send)
            else:
                try:
                    await self._pace(play, 1)
                    self._prefilled(play)
                    await self._pace(play, play.output_tokens)
                except BaseException:
                    self._count(play, self._due(play))
                    raise
                self._count(play, play.output_tokens)
                await _reply(send, 200, play.whole())
        finally:
            self._running -= 1
            self._batch_running -= play.batch
            self._held_tokens -= play.held_tokens
            self._slots.release()

    async def _pace(self, play: Play, tokens: int) -> None:
        """Sleep until token number `tokens` is due; the plan is absolute, so errors don't add."""
        due_s = play.began_s + self._settings.ttft_s + (tokens - 1) * self._settings.tpot_s
        if (left_s := due_s - time.monotonic()) > 0:
            await asyncio.sleep(left_s)

    def _due(self, play: Play) -> int:
        """Tokens that are made by now."""
        passed_s = time.monotonic() - play.began_s - self._settings.ttft_s
        if passed_s < 0:
            return 0
        if self._settings.tpot_s == 0:
            return play.output_tokens
        return min(play.output_tokens, 1 + int(passed_s / self._settings.tpot_s))

    def _count(self, play: Play, each: int) -> None:
        """Add what every choice has made since the last time to the engine's counters."""
        made = each * play.sequences
        if made > play.made:
            self._counters.add(0 if play.made else play.prompt_tokens, made - play.made)
            play.made = made

    def _prefilled(self, play: Play) -> None:
        """Its first token is there; a batch call's wait is no signal."""
        play.first_s = time.monotonic()
        self._waiting_tokens -= play.prompt_tokens
        seen = self._seen
        self._seen = replace(
            seen,
            prefilled_tokens=seen.prefilled_tokens + play.prompt_tokens,
            ttft_s=seen.ttft_s + (0.0 if play.batch else play.first_s - play.started_s),
            first_tokens=seen.first_tokens + (not play.batch),
        )
        if not play.batch:
            self._kept.began(play.id, play.prompt_tokens, play.first_s - play.started_s)

    def _ended(self, play: Play) -> None:
        """It is over, however it went."""
        now_s = time.monotonic()
        first_s = now_s if play.first_s is None else play.first_s
        tpot_s = None if play.first_s is None else (now_s - first_s) / max(1, play.made - 1)
        if not play.batch:
            self._kept.ended(play.id, play.prompt_tokens, first_s - play.started_s, tpot_s)
        if play.first_s is None:
            self._waiting_tokens -= play.prompt_tokens
        elif (each := play.made // play.sequences) > 1:
            seen = self._seen
            self._seen = replace(
                seen,
                tpot_s=seen.tpot_s + now_s - play.first_s,
                later_tokens=seen.later_tokens + each - 1,
            )

    async def _stream(self, play: Play, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS_SSE})
        async for chunk in self._chunks(play):
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})

    async def _chunks(self, play: Play) -> AsyncIterator[bytes]:
        paced = self._settings.tpot_s > 0
        for made in range(1, play.output_tokens + 1):
            if made == 1 or paced:
                await self._pace(play, made)
            if made == 1:
                self._prefilled(play)
            self._count(play, made)
            yield play.chunks(made)
        yield play.closing()
        if play.include_usage:
            yield play.usage_chunk()


class Counters:
    """Tokens since the start; with a folder also in a file, for a test that kills the process.

    The file is two int64 in shared memory, which a killed process leaves as they were.
    """

    def __init__(self, folder: Path | None) -> None:
        if folder is None:
            self._counts: NDArray[np.int64] = np.zeros(2, dtype=np.int64)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{uuid.uuid4().hex}.counts"
            self._counts = np.memmap(path, dtype=np.int64, mode="w+", shape=(2,))

    @property
    def prompt(self) -> int:
        """Prompt tokens of requests that began to play."""
        return int(self._counts[0])

    @property
    def generation(self) -> int:
        """Tokens played."""
        return int(self._counts[1])

    def add(self, prompt: int, generation: int) -> None:
        """Count what was played."""
        self._counts += (prompt, generation)


async def _reply(send: Any, status: int, body: dict[str, Any]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": _HEADERS_JSON})
    await send({"type": "http.response.body", "body": orjson.dumps(body)})
