"""`POST /v1/feedback`: store how right an answer was, so that the router learns.

Promises: a label is taken only for a request of the same caller that was scored lately; what is
taken is told, and what is not says why. No text is sent or kept.
Not covered: whose opinion it is. A caller who labels wrongly misleads the score for all callers.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import Field
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from core.errors import BadRequest, Unavailable, UnknownRequest
from core.settings.load import Settings
from deployments.client import Client
from deployments.gateway.admission import decode
from deployments.gateway.endpoint import GuardedRoute
from deployments.gateway.lookup.semantic import Semantic
from deployments.gateway.reply import JSON, Reply
from wire.requests import WireModel, check


class FeedbackBody(WireModel):
    """`request_id` as in the answer's header, the tier that answered, and how right it was."""

    request_id: str = Field(min_length=1, max_length=200)
    tier: str = Field(min_length=1, max_length=200)
    right: float = Field(ge=0, le=1)


class Feedback(GuardedRoute):
    """Checks the body and hands the label to the router."""

    def __init__(
        self,
        settings: Settings,
        router: Any,
        semantic: Semantic | None,
        timeout_s: float,
        *guarded: Any,
    ) -> None:
        super().__init__("feedback", *guarded)
        self._settings = settings
        self._router = router
        self._semantic = semantic
        self._timeout_s = timeout_s

    async def answer(
        self, caller: Client, raw: bytes, sent: Mapping[str, str], *_id_and_time: object
    ) -> Reply:
        """Take one label."""
        who = (await self._admission.accounts.identify(sent)).tenant
        body = check(FeedbackBody, decode(raw))
        head = self._head(body.tier)
        caller.watch()
        hit = self._semantic is not None and await self._semantic.feedback(
            who, body.request_id, body.right
        )
        # The quality of a hit says nothing of the tier that answered another request.
        if not hit and not await self._taken(who, body.request_id, head, body.right):
            raise UnknownRequest(
                f"No request {body.request_id!r} of yours was scored lately: feedback is for "
                "`auto` under a learned strategy, within router.memory.keep_s of the answer, and "
                "for semantic hits, within a day.",
                param="request_id",
                code="unknown_request",
            )
        told = {"object": "feedback", "request_id": body.request_id, "accepted": True}
        return Reply(200, orjson.dumps(told), {"content-type": JSON})

    def _head(self, name: str) -> int:
        """0 for the first tier, 1 for the last: the score knows these two."""
        tiers = self._settings.tiers
        for head, tier in ((0, tiers[0]), (1, tiers[-1])):
            if name in (tier.name, tier.model):
                return head
        allowed = f"`{tiers[0].name}` or `{tiers[-1].name}`"
        raise BadRequest(f"`tier` must be {allowed}; got {name!r}.", param="tier")

    async def _taken(self, tenant_: str, request_id: str, head: int, right: float) -> bool:
        try:
            async with asyncio.timeout(self._timeout_s):
                return bool(await self._router.feedback.remote(tenant_, request_id, head, right))
        except (TimeoutError, RayError, RayServeException) as error:
            raise Unavailable(
                "The router's memory did not answer. Send the feedback again later.",
                code="memory_unavailable",
                retry_after_s=5,
            ) from error
