"""Middleware around every replica's HTTP server, outside Ray Serve's own.

Two things. A client's `x-request-id` is kept when it is valid and replaced when it is not: Serve
echoes whatever comes, and only valid ids may reach a header, the engine or the ledger. And Serve's
watch for clients that leave is switched off, whatever the client says in that header: the
applications behind it watch by themselves where they wait (`deployments.client`; vLLM's own server
does, too). Serve finds this through an environment variable (`deployments.machine.environment`).
"""

import re

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from core.ids import new_id

VALID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_ID = b"x-request-id"
_WATCH = b"x-request-disconnect-disabled"
_OURS = frozenset({_ID, _WATCH})


class RequestIds:
    """Gives every HTTP request one valid `x-request-id`, and takes the watch from Serve."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http":
            ids = [value for name, value in scope["headers"] if name == _ID]
            valid = bool(ids) and all(VALID.fullmatch(value) for value in ids)
            headers = [pair for pair in scope["headers"] if pair[0] not in _OURS]
            headers.append((_ID, ids[0] if valid else new_id().encode()))
            headers.append((_WATCH, b"?1"))
            scope = {**scope, "headers": headers}
        await self._app(scope, receive, send)


def middlewares() -> list[Middleware]:
    """Ray Serve's callback."""
    return [Middleware(RequestIds)]
