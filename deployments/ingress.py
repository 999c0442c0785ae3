"""The HTTP endpoint: OpenAI's routes in, OpenAI's shapes out.

Promises: every answer and every error has the OpenAI shape (Serve adds `x-request-id`); a client
that hangs up ends the request's work, which closes the engine's connection. No logic of the
request itself stands here (`deployments.pipeline`).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Lifespan, Receive, Scope, Send

from cache.eligible import directives
from core import log
from core.call import Call, Endpoint, Lane
from core.errors import BadRequest, HansomError
from core.metrics import Metrics
from core.ports import Clock
from core.settings import Settings
from core.wire import EMBEDDING_MODEL
from deployments import trace
from deployments.admission import AUTO, Admission, request_id
from deployments.caller import Caller, CallerLeft
from deployments.lane import HEADER
from deployments.pipeline import Pipeline
from deployments.purse import NO_PLACE, NO_PURSE, Place, Purse
from deployments.reply import JSON, Reply

_logger = logging.getLogger("hansom.request")
Ready = Callable[[], Awaitable[dict[str, Any]]]
Scrape = Callable[[], Awaitable[str]]
Scale = Callable[[], Awaitable[Mapping[str, Any]]]


class Guarded:
    """A POST route as a bare ASGI application: slot, bounded body, OpenAI's errors, one event."""

    def __init__(
        self, name: str, admission: Admission, metrics: Metrics, clock: Clock, max_body_bytes: int
    ) -> None:
        self._name = name
        self._admission = admission
        self._metrics = metrics
        self._clock = clock
        self._max_body_bytes = max_body_bytes

    async def answer(
        self, caller: Caller, raw: bytes, sent: Mapping[str, str], id_: str, arrived_s: float
    ) -> Reply:
        """Answer one body; raises `HansomError` for what the client must be told.

        `caller.watch` is for whatever takes longer than reading an answer that is there.
        """
        raise NotImplementedError

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request and log its one event."""
        arrived_s = self._clock.monotonic_s()
        # Read once: Starlette's own look-up goes through all headers for each name.
        sent = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        id_ = request_id(sent)
        status = 499
        caller = Caller(receive)
        batch = sent.get(HEADER) == Lane.BATCH
        try:
            self._admission.enter(batch=batch)
            try:
                raw = await caller.body(self._max_body_bytes)
                reply = await self.answer(caller, raw, sent, id_, arrived_s)
                status = reply.status
                await _send(reply, send)
            finally:
                caller.close()
                self._admission.leave(batch=batch)
        except CallerLeft:
            pass  # there is nobody to answer
        except asyncio.CancelledError:
            if not caller.forgive():
                raise
        except HansomError as error:
            status = error.status
            await _send(error_reply(error), send)
        except Exception:
            status = 500
            _logger.exception("request_failed", extra={"fields": {"request_id": id_}})
            fault = HansomError("Internal error; the request id is in the log.", code="internal")
            await _send(error_reply(fault), send)
        finally:
            self._metrics.requests.labels(self._name, str(status)).inc()
            total_s = round(self._clock.monotonic_s() - arrived_s, 4)
            log.event(_logger, "request", request_id=id_, status=status, total_s=total_s)


class Generation(Guarded):
    """`POST /v1/chat/completions` or `/v1/completions`."""

    def __init__(
        self, endpoint: Endpoint, admission: Admission, pipeline: Pipeline, metrics: Metrics,
        clock: Clock, max_body_bytes: int,
    ) -> None:  # fmt: skip
        super().__init__(endpoint.value, admission, metrics, clock, max_body_bytes)
        self._endpoint = endpoint
        self._pipeline = pipeline

    async def answer(
        self, caller: Caller, raw: bytes, sent: Mapping[str, str], id_: str, arrived_s: float
    ) -> Reply:
        """Find out who pays, admit the call, reserve what it may take, and have it answered."""
        payer = await self._admission.purse.identify(sent)
        call = self._admission.admit(self._endpoint, raw, sent, id_, arrived_s, payer)
        trace.current().admitted(call)
        place = await self._admission.reserve(call, payer, len(raw), self._clock.wall_s())
        if place is NO_PLACE:
            return await self._answered(caller, call, sent)
        caller.then(place.end)
        call = replace(call, budget_left=place.budget_left)
        return warned(await self._answered(caller, call, sent), place)

    async def _answered(self, caller: Caller, call: Call, sent: Mapping[str, str]) -> Reply:
        found = await self._pipeline.look_up(call, directives(sent))
        if isinstance(found, Reply):
            return found
        caller.watch()
        return await self._pipeline.ride(call, found)


class Routes:
    """Everything else: models, health and metrics."""

    def __init__(
        self,
        settings: Settings,
        ready: Ready,
        scrape: Scrape,
        purse: Purse = NO_PURSE,
        scale: Scale | None = None,
    ) -> None:
        self._settings = settings
        self._purse = purse
        self._ready = ready
        self._scrape = scrape
        self._scale = scale

    async def models(self, request: Request) -> Response:
        """`GET /v1/models`: `auto`, each tier's name, each model's name, and the embedder.

        For those who may ask something of them; raises `InvalidKey`.
        """
        await self._purse.identify(request.headers)
        names = [AUTO]
        for tier in self._settings.tiers:
            names += [tier.name, tier.model]
        names.append(EMBEDDING_MODEL)
        data = [
            {"id": name, "object": "model", "created": 0, "owned_by": "hansom"} for name in names
        ]
        return _json({"object": "list", "data": data})

    async def healthz(self, _request: Request) -> Response:
        """Live: this process answers."""
        return _json({"status": "ok"})

    async def readyz(self, _request: Request) -> Response:
        """Ready: each part, and 503 while one that is needed is missing."""
        parts = await self._ready()
        return _json(parts, status=200 if parts["ready"] else 503)

    async def scale(self, _request: Request) -> Response:
        """What the scaling of each tier last saw and decided."""
        return _json({"tiers": await self._scale() if self._scale else {}})

    async def metrics(self, _request: Request) -> Response:
        """Prometheus text of every replica of every deployment."""
        return PlainTextResponse(
            await self._scrape(), media_type="text/plain; version=0.0.4; charset=utf-8"
        )


class Application:
    """All routes on one screen.

    Those that carry load are found by one look-up; Starlette has the rest, and tells what is
    no route or another method.
    """

    def __init__(
        self,
        chat: Guarded,
        completion: Guarded,
        embeddings: Guarded,
        feedback: Guarded,
        routes: Routes,
        lifespan: Lifespan[Starlette],
    ) -> None:
        self._posts = {
            "/v1/chat/completions": chat,
            "/v1/completions": completion,
            "/v1/embeddings": embeddings,
            "/v1/feedback": feedback,
        }
        self._others = Starlette(
            routes=[
                *(Route(path, app, methods=["POST"]) for path, app in self._posts.items()),
                Route("/v1/models", routes.models),
                Route("/healthz", routes.healthz),
                Route("/readyz", routes.readyz),
                Route("/metrics", routes.metrics),
                Route("/scalez", routes.scale),
            ],
            lifespan=lifespan,
            exception_handlers={HansomError: _on_error, 404: _on_missing, 405: _on_missing},
        )

    @property
    def routes(self) -> list[BaseRoute]:
        """Every route, for the documentation's test."""
        return self._others.routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on to its route."""
        if scope["type"] == "http" and scope["method"] == "POST":
            app = self._posts.get(scope["path"])
            if app is not None:
                await app(scope, receive, send)
                return
        await self._others(scope, receive, send)


def warned(reply: Reply, place: Place) -> Reply:
    """The reply with what is to be said of soft budgets."""
    if not place.warning:
        return reply
    return replace(reply, headers={**reply.headers, "x-hansom-budget": place.warning})


async def _send(reply: Reply, send: Send) -> None:
    """Write a reply; a streamed body is closed however this ends."""
    head = [(name.encode(), _header(value)) for name, value in reply.headers.items()]
    if isinstance(reply.body, bytes):
        head.append((b"content-length", str(len(reply.body)).encode()))
        await send({"type": "http.response.start", "status": reply.status, "headers": head})
        await send({"type": "http.response.body", "body": reply.body})
        return
    async with aclosing(reply.body) as blocks:
        await send({"type": "http.response.start", "status": reply.status, "headers": head})
        async for block in blocks:
            await send({"type": "http.response.body", "body": block, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def error_reply(error: HansomError) -> Reply:
    """An error as OpenAI's clients expect it."""
    sent = {"content-type": JSON}
    if error.retry_after_s is not None:
        sent["retry-after"] = str(error.retry_after_s)
    return Reply(error.status, orjson.dumps(error.body()), sent)


async def _on_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HansomError)
    reply = error_reply(error)
    assert isinstance(reply.body, bytes)
    return Response(reply.body, reply.status, dict(reply.headers))


async def _on_missing(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    words = "does not exist" if status == 404 else f"does not accept {request.method}"
    fault = BadRequest(f"{request.url.path} {words}.", code="unknown_route")
    fault.status = status
    return await _on_error(request, fault)


def _json(body: object, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type=JSON)


def _header(value: str) -> bytes:
    """Header values are Latin-1 on the wire; what does not fit is replaced, never an error."""
    return value.replace("\n", " ").replace("\r", " ").encode("latin-1", "replace")
