"""The HTTP endpoint: OpenAI's routes in, OpenAI's answers out.

Promises: every answer and every error has the OpenAI shape (Serve adds `x-request-id`); a client
that hangs up ends the request's work, which closes the engine's connection. No logic of the
request itself stands here (`deployments.gateway.pipeline`).
"""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import replace

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route
from starlette.types import Lifespan, Receive, Scope, Send

from accounts.credential import received, refuse_in_query
from accounts.port import NO_RESERVATION, Reservation
from cache.exact.eligible import directives
from core import log
from core.call import Call, Endpoint, Lane
from core.errors import HansomError
from core.metrics import Metrics
from core.ports import Clock
from deployments.client import Client, ClientLeft
from deployments.gateway.admission import Admission, request_id
from deployments.gateway.body import plain
from deployments.gateway.pipeline import Pipeline
from deployments.gateway.reply import Reply
from deployments.gateway.reply import error_reply as error_reply
from deployments.gateway.routes import Routes as Routes
from deployments.gateway.routes import on_error, on_missing
from deployments.gateway.tracing import trace
from deployments.names import LANE_HEADER

_logger = logging.getLogger("hansom.request")


class GuardedRoute:
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
        self, caller: Client, raw: bytes, sent: Mapping[str, str], id_: str, arrived_s: float
    ) -> Reply:
        """Answer one body; raises `HansomError` for what the client must be told.

        `caller.watch` is for whatever takes longer than reading an answer that is there.
        """
        raise NotImplementedError

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request and log its one event."""
        arrived_s = self._clock.monotonic_s()
        # Read once: Starlette's own look-up goes through all headers for each name.
        sent = received(scope["headers"])
        id_ = request_id(sent)
        status = 499
        caller = Client(receive)
        batch = sent.get(LANE_HEADER) == Lane.BATCH
        try:
            self._admission.enter(batch=batch)
            try:
                refuse_in_query(scope.get("query_string", b""))
                self._admission.check_origin(sent)
                raw = await caller.body(self._max_body_bytes)
                raw = plain(raw, sent, self._max_body_bytes)
                reply = await self.answer(caller, raw, sent, id_, arrived_s)
                status = reply.status
                await _send(reply, send)
            finally:
                caller.close()
                self._admission.leave(batch=batch)
        except ClientLeft:
            pass  # the client has left
        except asyncio.CancelledError:
            if not caller.absorb_cancel():
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


class Generation(GuardedRoute):
    """`POST /v1/chat/completions` or `/v1/completions`."""

    def __init__(
        self, endpoint: Endpoint, admission: Admission, pipeline: Pipeline, metrics: Metrics,
        clock: Clock, max_body_bytes: int,
    ) -> None:  # fmt: skip
        super().__init__(endpoint.value, admission, metrics, clock, max_body_bytes)
        self._endpoint = endpoint
        self._pipeline = pipeline

    async def answer(
        self, caller: Client, raw: bytes, sent: Mapping[str, str], id_: str, arrived_s: float
    ) -> Reply:
        """Find out who pays, admit the call, reserve what it may take, and have it answered."""
        payer = await self._admission.accounts.identify(sent)
        call = self._admission.admit(self._endpoint, raw, sent, id_, arrived_s, payer)
        trace.current().admitted(call)
        call, place = await self._admission.reserve(call, payer, len(raw), self._clock.wall_s())
        if place is NO_RESERVATION:
            return await self._answered(caller, call, sent)
        caller.on_close(place.end)
        return warned(await self._answered(caller, call, sent), place)

    async def _answered(self, caller: Client, call: Call, sent: Mapping[str, str]) -> Reply:
        found = await self._pipeline.look_up(call, directives(sent))
        if isinstance(found, Reply):
            return found
        caller.watch()
        return await self._pipeline.ride(call, found)


class Application:
    """All routes on one screen.

    Those that carry load are found by one look-up; Starlette has the rest, and tells what is
    no route or another method.
    """

    def __init__(
        self,
        chat: GuardedRoute,
        completion: GuardedRoute,
        embeddings: GuardedRoute,
        feedback: GuardedRoute,
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
                Route("/v1/models/{id:path}", routes.model),
                Route("/health", routes.healthz),
                Route("/healthz", routes.healthz),
                Route("/readyz", routes.readyz),
                Route("/metrics", routes.metrics),
                Route("/scalez", routes.scale),
            ],
            lifespan=lifespan,
            exception_handlers={HansomError: on_error, 404: on_missing, 405: on_missing},
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


def warned(reply: Reply, place: Reservation) -> Reply:
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


def _header(value: str) -> bytes:
    """Header values are Latin-1 on the wire; what does not fit is replaced, never an error."""
    return value.replace("\n", " ").replace("\r", " ").encode("latin-1", "replace")
