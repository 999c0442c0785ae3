"""Record each request's usage of an engine and the engine's capabilities, for the gateways.

Promises: the tokens are those that the engine counted, also for a request that was aborted, plain
or as a stream, in the form of OpenAI's `usage`: each prompt once, however many choices read it, and
the output of all choices; `POST /hansom/usage` tells them once the engine has let go of the
request, and `null` where it never heard of it. A request that the engine did not begin took none.
`POST /hansom/capabilities` tells what the engine itself said at its start.
Not covered: what a process that dies had counted; several prompts under beam search count as one.
"""

import asyncio
import re
from collections.abc import Callable, Iterable
from typing import Any

import orjson

from core.call import Lane, Usage
from core.capability import UNKNOWN
from core.errors import BodyTooLarge
from deployments.client import Client, ClientLeft
from deployments.names import CAPABILITIES_PATH, LANE_HEADER, USAGE_PATH

_KEPT = 20_000
_MAX_BYTES = 4096
_JSON = [(b"content-type", b"application/json")]
# An engine lets go of a request when its handler has ended, or as soon as its garbage is collected.
_LET_GO_S = 1.0
# The question may overtake the request that it is about, on another connection.
_ON_ITS_WAY_S = 0.2
_BATCH = (LANE_HEADER.encode(), Lane.BATCH.value.encode())
# What vLLM puts behind a request's id for each beam of each step.
_BEAM = re.compile(r"-[0-9a-f]{16,}-beam-\d+$")
_BEAMS = "beams"
Note = Callable[[str, Usage], None]


class _Taken:
    """One request: its lane, its tokens so far, whether they were told, its handler's end."""

    __slots__ = ("batch", "ended", "output_tokens", "prompts", "told")

    def __init__(self, *, batch: bool) -> None:
        self.batch = batch
        self.prompts: dict[str, Usage] = {}
        self.output_tokens = 0
        self.told = asyncio.Event()
        self.ended = asyncio.Event()

    def add(self, prompt: str, usage: Usage) -> None:
        """One choice of that prompt took this.

        The prompt is counted as the choice read it that found the least of it in the prefix cache:
        the others found what that one had computed. A beam's later steps read a longer one.
        """
        self.output_tokens += usage.output_tokens
        known = self.prompts.get(prompt)
        if usage.input_tokens and (known is None or _read(usage) < _read(known)):
            self.prompts[prompt] = usage

    @property
    def usage(self) -> Usage:
        """All prompts and all choices together."""
        read = self.prompts.values()
        fresh = sum(one.fresh_input_tokens for one in read)
        return Usage(fresh, sum(one.cached_input_tokens for one in read), self.output_tokens)


def _read(usage: Usage) -> tuple[int, int]:
    """Input tokens in all and from the cache, to compare two usages by."""
    return usage.input_tokens, usage.cached_input_tokens


class UsageMeter:
    """An ASGI application around an engine's own.

    It counts the gateway's requests: those `open` now, of them the batch lane's, and since the
    start those that `arrived` and `finished`, with the `output_tokens` that they took; of the batch
    lane's that ended also the prompt tokens that were computed, `batch_input_tokens`.
    `capabilities` are its engine's, which sets them when it has started.
    """

    def __init__(self, app: Any, *, kept: int = _KEPT) -> None:
        self._app = app
        self._kept = kept
        self.capabilities = UNKNOWN
        self._taken: dict[str, _Taken] = {}
        self.open = self.batch_open = 0
        self.arrived = self.batch_arrived = self.finished = self.output_tokens = 0
        self.batch_input_tokens = 0

    def note(self, id: str, usage: Usage, prompt: str = "") -> None:
        """The engine let go of a request, or of one choice of its `prompt`, that took `usage`."""
        taken = self._taken.get(id)
        if taken is not None:
            taken.add(prompt, usage)
            taken.told.set()
            self.output_tokens += usage.output_tokens
            self.batch_input_tokens += usage.fresh_input_tokens * taken.batch

    def batch(self, id: str) -> bool:
        """Whether the gateway's request `id` came in the batch lane."""
        taken = self._taken.get(id)
        return taken is not None and taken.batch

    def find(self, external: str) -> str:
        """The gateway's id in the one that vLLM made of it; empty when there is none.

        `chatcmpl-ID` for a chat, `cmpl-ID-N` for prompt N of a completion; under beam search
        `-STEP-beam-N` stands behind the ID.
        """
        _, _, id = external.partition("-")
        for candidate in (id, id.rpartition("-")[0], _BEAM.sub("", id)):
            if candidate in self._taken:
                return candidate
        return ""

    async def usage(self, id: str) -> Usage | None:
        """What the request took, once it is over; None for one that never came here."""
        if id not in self._taken:
            await asyncio.sleep(_ON_ITS_WAY_S)
        taken = self._taken.get(id)
        if taken is None:
            return None
        await taken.ended.wait()
        try:
            async with asyncio.timeout(_LET_GO_S):
                await taken.told.wait()
        except TimeoutError:
            pass  # it was refused before the engine began
        return taken.usage

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Pass a request on, and remember that it came; answer what the gateways ask."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] == USAGE_PATH:
            await self._tell(receive, send)
        elif scope["path"] == CAPABILITIES_PATH:
            await _reply(send, 200, self.capabilities)
        elif id := request_id(scope):
            batch = _BATCH in scope["headers"]
            taken = self._taken[id] = _Taken(batch=batch)
            while len(self._taken) > self._kept:
                del self._taken[next(iter(self._taken))]
            self._count(1, batch)
            try:
                await self._app(scope, receive, send)
            finally:
                self._count(-1, batch)
                taken.ended.set()
        else:
            await self._app(scope, receive, send)

    def _count(self, change: int, batch: bool) -> None:
        """One request more or less."""
        self.open += change
        self.batch_open += change * batch
        if change > 0:
            self.arrived += 1
            self.batch_arrived += batch
        else:
            self.finished += 1

    async def _tell(self, receive: Any, send: Any) -> None:
        try:
            id = orjson.loads(await Client(receive).body(_MAX_BYTES))["id"]
        except ClientLeft:
            return
        except (BodyTooLarge, orjson.JSONDecodeError, KeyError, TypeError):
            await _reply(send, 400, {"error": {"message": "needs a JSON object with `id`"}})
            return
        await _reply(send, 200, await self.usage(str(id)))


def prompt_of(external: str) -> str:
    """What tells one prompt of a request from another in the id that vLLM made of it."""
    return _BEAMS if _BEAM.search(external) else external


def request_id(scope: dict[str, Any]) -> str:
    """The `x-request-id` that the gateway sent; empty without one."""
    return next((v.decode("latin-1") for k, v in scope["headers"] if k == b"x-request-id"), "")


def note_ends(
    processor: Any,
    note: Callable[[str, Usage], None],
    ended: Callable[[Any], None] | None = None,
) -> None:
    """Have vLLM's output processor tell the tokens of every request that it lets go of.

    `ended` gets vLLM's own state of that request, too, before it is dropped.

    A request leaves it in two places, by its end or by an abort. vLLM has no hook for either, so
    both methods are wrapped (private; `tests/live/test_real_small.py` fails when they move).
    """
    abort, finish = processor.abort_requests, processor._finish_request

    def tell(state: Any) -> None:
        if state is not None:
            note(state.external_req_id, taken_of(state))
            if ended is not None:
                ended(state)

    def abort_requests(request_ids: Iterable[str], internal: bool) -> list[str]:
        ids = list(request_ids)
        for id in ids:
            for one in [id] if internal else list(processor.external_req_ids.get(id, ())):
                tell(processor.request_states.get(one))
        stopped: list[str] = abort(ids, internal)
        return stopped

    def finish_request(state: Any) -> None:
        tell(state)
        finish(state)

    processor.abort_requests, processor._finish_request = abort_requests, finish_request


def taken_of(state: Any) -> Usage:
    """What vLLM's counters grew by for one of its request states: nothing before its prefill."""
    if state.is_prefilling:
        return Usage()
    cached = int(state.num_cached_tokens or 0)
    made = state.detokenizer.num_output_tokens() if state.stats is None else None
    output = state.stats.num_generation_tokens if made is None else made
    return Usage(int(state.prompt_len) - cached, cached, int(output))


async def _reply(send: Any, status: int, body: object) -> None:
    await send({"type": "http.response.start", "status": status, "headers": _JSON})
    await send({"type": "http.response.body", "body": orjson.dumps(body)})
