"""A client's `x-request-id` is kept when it is valid and replaced when it is not.

Ray Serve echoes whatever a client sends in that header. This middleware stands outside Serve's own
and drops an invalid one, so that Serve makes a new id and only valid ones reach a header, the
engine or the ledger. Serve finds it through an environment variable (`deployments.environment`).
"""

import re

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

VALID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_HEADER = b"x-request-id"


class ValidRequestId:
    """Drops an invalid `x-request-id` from the request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http" and any(
            name == _HEADER and not VALID.fullmatch(value) for name, value in scope["headers"]
        ):
            headers = [pair for pair in scope["headers"] if pair[0] != _HEADER]
            scope = {**scope, "headers": headers}
        await self._app(scope, receive, send)


def middlewares() -> list[Middleware]:
    """Ray Serve's callback: what stands around every replica's HTTP server."""
    return [Middleware(ValidRequestId)]
