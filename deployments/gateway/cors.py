"""Apply the cross-origin rules: which web pages may call the endpoint.

Promises:
- Without `server.cors.origins` no answer has a CORS header, and a preflight allows nothing.
- A page of another origin cannot send JSON without a preflight, and nothing else is read
  (`deployments.gateway.body`).
Not covered: pages of the machine itself under `localhost` or an IP address, which are other ports
of the same host: they need a preflight as every other origin does.
"""

import ipaddress

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from core.settings.cors import Cors

EXPOSED = (
    "retry-after",
    "x-hansom-budget",
    "x-hansom-cache",
    "x-hansom-cost-usd",
    "x-hansom-difficulty",
    "x-hansom-model",
    "x-hansom-route-reason",
    "x-hansom-router",
    "x-hansom-tier",
    "x-hansom-truncated",
    "x-request-id",
)
"""Response headers that scripts of an allowed page may read."""


def with_cors(app: ASGIApp, cors: Cors) -> ASGIApp:
    """The application with the CORS headers of the allowed origins; itself where there are none.

    Credentials are allowed in headers only, never as cookies. A page on the internet may call a
    gateway in a private network when its origin is allowed.
    """
    if not cors.origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=cors.origins,
        allow_methods=("GET", "HEAD", "POST"),
        # Clients send headers of their own (`x-stainless-*`): each that is asked for is granted.
        allow_headers=("*",),
        allow_private_network=True,
        expose_headers=EXPOSED,
        max_age=cors.max_age_s,
    )


def rebound(origin: str, host: str) -> bool:
    """Whether a page's origin is this very host, under a name that is not the machine's own.

    Pages of other origins are stopped by the preflight. An IP address and `localhost` cannot be
    pointed at another machine.
    """
    if not host or origin.partition("://")[2].lower() != host.lower():
        return False
    name = host.lower().rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host.lower()
    if name == "localhost" or name.endswith(".localhost"):
        return False
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return True
    return False
