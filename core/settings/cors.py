"""Settings of `server.cors`: the web pages that may call the endpoint."""

from typing import Annotated

from pydantic import Field

from core.settings.base import Frozen

Origin = Annotated[str, Field(pattern=r"^(\*|[a-z][a-z0-9+.-]*://[^/\s*?#@A-Z]+)$")]


class Cors(Frozen):
    """Which web pages may call the endpoint: exact origins, or `*` for every page.

    A browser's preflight is valid for `max_age_s`.
    """

    origins: tuple[Origin, ...] = ()
    max_age_s: int = Field(600, ge=0)
