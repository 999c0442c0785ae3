"""Routes without a pipeline: models, health, scaling, metrics, and unknown paths.

Promises: every error has the OpenAI shape; `OPTIONS` is answered for every route.
Not covered: the POST routes (`deployments.gateway.endpoint`), cross-origin headers
(`deployments.gateway.cors`).
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from accounts.credential import received, refuse_in_query
from accounts.port import NO_ACCOUNTS, AccountsPort
from core.errors import BadRequest, HansomError
from core.settings.load import Settings
from deployments.gateway.admission import no_such_model
from deployments.gateway.catalogue import models_of
from deployments.gateway.reply import JSON, error_reply

Ready = Callable[[], Awaitable[dict[str, Any]]]
Scrape = Callable[[], Awaitable[str]]
Scale = Callable[[], Awaitable[Mapping[str, Any]]]
_MAX_PATH_CHARS = 200
ASKED = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/feedback",
    "/v1/models",
)
"""Routes that clients ask, for the hint beside a path that does not exist."""


class Routes:
    """Everything else: models, health and metrics."""

    def __init__(
        self,
        settings: Settings,
        ready: Ready,
        scrape: Scrape,
        accounts: AccountsPort = NO_ACCOUNTS,
        scale: Scale | None = None,
    ) -> None:
        self._settings = settings
        self._accounts = accounts
        self._ready = ready
        self._scrape = scrape
        self._scale = scale
        self._models = models_of(settings, int(time.time()))

    async def models(self, request: Request) -> Response:
        """`GET /v1/models`: `auto`, each tier's name, each model's name, and the embedder.

        For those who may ask something of them; raises `InvalidKey`.
        """
        await self._identify(request)
        return _json({"object": "list", "data": list(self._models.values())})

    async def model(self, request: Request) -> Response:
        """`GET /v1/models/{id}`: one of them; raises `InvalidKey`, `UnknownModel`."""
        name = request.path_params["id"]
        if not name:
            return await self.models(request)
        await self._identify(request)
        found = self._models.get(name)
        if found is None:
            raise no_such_model(name[:_MAX_PATH_CHARS], self._models)
        return _json(found)

    async def _identify(self, request: Request) -> None:
        refuse_in_query(request.scope["query_string"])
        await self._accounts.identify(received(request.scope["headers"]))

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


async def on_error(_request: Request, error: Exception) -> Response:
    """An error of ours in OpenAI's shape."""
    assert isinstance(error, HansomError)
    reply = error_reply(error)
    assert isinstance(reply.body, bytes)
    return Response(reply.body, reply.status, dict(reply.headers))


async def on_missing(request: Request, error: Exception) -> Response:
    """No such route, or not with this method; `OPTIONS` is answered for every route."""
    path, method = request.url.path, request.method
    allow = (getattr(error, "headers", None) or {}).get("Allow") or ""
    status = getattr(error, "status_code", 404)
    if status == 405:
        allow = ", ".join(sorted({*allow.split(", "), "OPTIONS"}))
        if method == "OPTIONS":
            return Response(status_code=204, headers={"allow": allow})
        words = f"does not accept {method}: send one of {allow}."
    else:
        words = f"does not exist. {_hint(path)}"
    fault = BadRequest(f"{path[:_MAX_PATH_CHARS]} {words}", code="unknown_route")
    fault.status = status
    answer = await on_error(request, fault)
    if status == 405:
        answer.headers["allow"] = allow
    return answer


def _hint(path: str) -> str:
    """What to ask instead of a path that does not exist."""
    found = path.removeprefix("/v1").removeprefix("/v1").rstrip("/")
    if f"/v1{found}" in ASKED:
        return f"Did you mean /v1{found}? The base URL of an OpenAI client ends in /v1."
    return f"There are {', '.join(ASKED)}."


def _json(body: object, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type=JSON)
