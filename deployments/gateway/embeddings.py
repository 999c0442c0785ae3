"""`POST /v1/embeddings`: MiniLM sentence vectors from the router's replicas.

The router embeds every prompt that it scores; this is the same model for anyone. The answer says
which texts were longer than what the model reads. A line in the ledger counts the tokens that were
embedded; it costs nothing until prices know embeddings.
"""

import asyncio
import base64
from array import array
from collections.abc import Mapping
from typing import Any

import orjson
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from accounts.limits import Payer
from accounts.port import AccountedRequest
from accounts.worst_case import embedding_worst_case
from core.call import Usage
from core.errors import BadRequest, Unavailable, UnknownModel
from core.ids import new_id
from core.ledger_line import Kind, LedgerLine, Outcome
from core.money import usd
from core.ports import Clock
from deployments.client import Client
from deployments.gateway.admission import decode
from deployments.gateway.attempt import Recorder
from deployments.gateway.endpoint import GuardedRoute, warned
from deployments.gateway.reply import JSON, Reply
from text.cl100k import text_of
from text.embed import Embedded
from wire.requests import EMBEDDING_MODEL, EMBEDDING_SIZE, EmbeddingsBody, check

EMBEDDER_TIER = "embedder"
_MAX_TEXTS = 2048


class Embeddings(GuardedRoute):
    """Checks the body, asks the router, writes one ledger line."""

    def __init__(self, recorder: Recorder, router: Any, timeout_s: float, *guarded: Any) -> None:
        super().__init__("embeddings", *guarded)
        self._recorder = recorder
        self._router = router
        self._timeout_s = timeout_s

    async def answer(
        self, caller: Client, raw: bytes, sent: Mapping[str, str], id_: str, arrived_s: float
    ) -> Reply:
        """Vectors for one text or many."""
        payer = await self._admission.accounts.identify(sent)
        body = check(EmbeddingsBody, decode(raw))
        _refuse_what_is_not_here(body)
        texts = await _texts(body)
        call_id = new_id()
        visit = AccountedRequest(
            payer, call_id, id_, "embeddings", EMBEDDING_MODEL, arrived_s, self._timeout_s,
            Kind.EMBEDDING,
        )  # fmt: skip
        place = await self._admission.accounts.reserve(visit, lambda: embedding_worst_case(texts))
        caller.on_close(place.end)
        outcome, found = Outcome.ERROR, Embedded([], [], [])
        caller.watch()
        try:
            found = await self._embed(texts)
            outcome = Outcome.SUCCESS
        except asyncio.CancelledError:
            outcome = Outcome.CANCELLED
            raise
        finally:
            line = _line(self._recorder, visit, outcome, sum(found.tokens))
            self._recorder.ledger.record(line)
            self._recorder.accounts.spent(line)
        return warned(_reply(found, id_, body.encoding_format == "base64"), place)

    async def _embed(self, texts: list[str]) -> Embedded:
        try:
            async with asyncio.timeout(self._timeout_s):
                answer: Embedded = await self._router.embed.remote(texts)
                return answer
        except (TimeoutError, RayError, RayServeException) as error:
            raise Unavailable(
                "The embedder did not answer in time. Try again, or send fewer texts at once.",
                code="embedder_unavailable",
                retry_after_s=1,
            ) from error


def _refuse_what_is_not_here(body: EmbeddingsBody) -> None:
    if body.model != EMBEDDING_MODEL:
        raise UnknownModel(
            f"The model `{body.model}` makes no embeddings. Use `{EMBEDDING_MODEL}`.",
            param="model",
            code="model_not_found",
        )
    if body.dimensions not in (None, EMBEDDING_SIZE):
        raise BadRequest(
            f"`dimensions` must be {EMBEDDING_SIZE}, the size of `{EMBEDDING_MODEL}`'s vectors, "
            f"which it cannot shorten; got {body.dimensions}.",
            param="dimensions",
        )


async def _texts(body: EmbeddingsBody) -> list[str]:
    """The texts of a body; token ids are read as text, in a thread: a vocabulary may be loaded."""
    given: Any = body.input
    items = [given] if isinstance(given, str) or isinstance(given[0], int) else given
    if len(items) > _MAX_TEXTS:
        raise BadRequest(f"`input` has more than {_MAX_TEXTS} texts.", param="input")
    for index, item in enumerate(items):
        if not item:
            field = f"input.{index}" if items is given else "input"
            raise BadRequest(f"`{field}` is empty: there is nothing to embed.", param=field)
    if isinstance(items[0], str):
        return list(items)
    return await asyncio.to_thread(lambda: [text_of(item) for item in items])


def _reply(found: Embedded, request_id: str, packed: bool) -> Reply:
    """The vectors, and which texts were longer than what the model reads."""
    data = [
        {"object": "embedding", "index": index, "embedding": _pack(vector) if packed else vector}
        for index, vector in enumerate(found.vectors)
    ]
    tokens = sum(found.tokens)
    body = {
        "object": "list",
        "model": EMBEDDING_MODEL,
        "data": data,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        "hansom": {
            "request_id": request_id,
            "tokens": found.tokens,
            "truncated": found.truncated,
        },
    }
    sent = {"content-type": JSON, "x-hansom-cost-usd": usd(0)}
    if found.truncated:
        sent["x-hansom-truncated"] = str(len(found.truncated))
    return Reply(200, orjson.dumps(body), sent)


def _pack(vector: list[float]) -> str:
    """Little-endian float32, which is what OpenAI's clients ask for by default."""
    return base64.b64encode(array("f", vector).tobytes()).decode()


def _line(recorder: Recorder, visit: AccountedRequest, outcome: Outcome, tokens: int) -> LedgerLine:
    clock: Clock = recorder.clock
    payer: Payer = visit.payer
    return LedgerLine(
        call_id=visit.call_id,
        request_id=visit.request_id,
        attempt=0,
        kind=visit.kind,
        tenant=payer.tenant,
        key=payer.key,
        team=payer.team,
        tags=payer.tags,
        endpoint=visit.endpoint,
        requested=visit.requested,
        tier=EMBEDDER_TIER,
        model=EMBEDDING_MODEL,
        route_code="explicit",
        usage=Usage(tokens),
        total_s=clock.monotonic_s() - visit.arrived_s,
        outcome=outcome,
        created_s=clock.wall_s(),
    )
