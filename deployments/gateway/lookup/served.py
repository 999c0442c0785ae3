"""The record of a served semantic hit, and the port that counts its outcomes.

Not covered: how it is stored (`deployments.gateway.lookup.error_budgets`), and what is done with it
(`deployments.gateway.lookup.semantic`).
"""

from typing import Protocol

import msgspec

from cache.error_budget.budget import Change, OutcomeSource, State


class Served(msgspec.Struct, frozen=True, array_like=True):
    """A hit as it must be known to judge it later; `share` is that of hits like it checked.

    `text` is the answer, for a comparison at once; what is remembered for feedback has none. `own`
    is the entry that stands for the request's very words: it goes when it proves wrong, because
    equal words are served without a look at the entry's outcomes.
    """

    scope_key: str
    entry: str
    cosine: float
    owner: str
    domain: str
    level: str
    limit: float
    share: float
    text: str
    tier: str
    own: str = ""


class ErrorBudgets(Protocol):
    """What is known of each owner's domains, and who was served what. Nothing raises."""

    async def state(self, owner: str, domain: str) -> State:
        """All that is known of a domain; of an unknown one, nothing."""

    async def count(
        self, served: Served, *, wrong: bool | None, source: OutcomeSource
    ) -> Change | None:
        """Add an outcome, None of an unclear one; the change of level that it made, if any."""

    async def remember(self, tenant: str, request_id: str, served: Served) -> None:
        """Keep for a day who was served what."""

    async def served(self, tenant: str, request_id: str) -> Served | None:
        """What this tenant's request was served."""

    async def close(self) -> None:
        """Close all connections."""
