"""Admission: turn an HTTP request into a `Call`, or refuse it with a reason.

Pure apart from the in-flight counter. Not covered: who pays (`accounts.payer`), and whether they
may (`accounts.reserve`).
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import TypeVar

from accounts.limits import Payer
from accounts.payer import ANONYMOUS as ANONYMOUS
from accounts.payer import MAX_WORD_CHARS, without_key, words
from accounts.payer import tenant as tenant
from accounts.port import NO_ACCOUNTS, NO_RESERVATION, AccountedRequest, AccountsPort, Reservation
from accounts.worst_case import output_caps, worst_case
from core.call import Call, Endpoint, Lane, Risk, Value
from core.errors import BadRequest, ForeignOrigin, Overloaded, UnknownModel
from core.ids import new_id
from core.settings.load import Settings
from deployments.gateway.backends.lane import BATCH_SHARE
from deployments.gateway.body import parse
from deployments.gateway.cors import rebound
from deployments.names import LANE_HEADER
from wire.requests import normal, parameters

AUTO = "auto"
Choice = TypeVar("Choice", bound=StrEnum)


def request_id(headers: Mapping[str, str]) -> str:
    """The `x-request-id`, which `deployments.edge` has made valid, else a new one."""
    return headers.get("x-request-id") or new_id()


def risk(headers: Mapping[str, str]) -> Risk:
    """The class of `x-hansom-risk`; raises `BadRequest` for an unknown one."""
    return _choice(headers, "x-hansom-risk", Risk, Risk.NORMAL)


def value(headers: Mapping[str, str]) -> Value:
    """The worth of `x-hansom-value`; raises `BadRequest` for an unknown one."""
    return _choice(headers, "x-hansom-value", Value, Value.NORMAL)


def lane(headers: Mapping[str, str]) -> Lane:
    """The lane of `x-hansom-lane`; raises `BadRequest` for an unknown one."""
    return _choice(headers, LANE_HEADER, Lane, Lane.INTERACTIVE)


def deadline(headers: Mapping[str, str]) -> float | None:
    """Seconds of `x-hansom-deadline-s`; raises `BadRequest` for what is no positive number."""
    given = headers.get("x-hansom-deadline-s")
    if given is None:
        return None
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        name = "x-hansom-deadline-s"
        raise BadRequest(f"`{name}` must be a number of seconds; got {given!r}.", param=name)
    return seconds


def _choice(headers: Mapping[str, str], name: str, kind: type[Choice], default: Choice) -> Choice:
    given = headers.get(name)
    if given is None:
        return default
    try:
        return kind(given)
    except ValueError:
        allowed = ", ".join(kind)
        raise BadRequest(f"`{name}` must be one of {allowed}; got {given!r}.", param=name) from None


def decode(raw: bytes) -> object:
    """Decode a body to its `normal` form; raises `BadRequest` with the place of the mistake."""
    body = parse(raw)
    return normal(body) if isinstance(body, dict) else body


class Admission:
    """What one gateway replica lets in; `accounts` knows who pays, and whether they may."""

    def __init__(self, settings: Settings, accounts: AccountsPort = NO_ACCOUNTS) -> None:
        self.accounts = accounts
        self._settings = settings
        self._limits = settings.limits
        self._models = {AUTO: AUTO}
        for tier in settings.tiers:
            self._models[tier.name] = self._models[tier.model] = tier.name
        self._origins = frozenset(settings.server.cors.origins)
        self._keyless = settings.accounts.keys != "required"
        self.in_flight = self._batch = 0

    def check_origin(self, headers: Mapping[str, str]) -> None:
        """Refuse a web page that reached a keyless gateway by DNS rebinding: `ForeignOrigin`.

        Such a page is of the same origin as the gateway for its browser, which then asks for no
        preflight: its own host name leads to the gateway. Browsers send `Origin` with every POST.
        """
        origin = headers.get("origin")
        if origin is None or not self._keyless or not rebound(origin, headers.get("host", "")):
            return
        if not self._origins & {"*", origin}:
            raise ForeignOrigin(
                f"A page of {origin[:MAX_WORD_CHARS]!r} may not ask this gateway: it takes "
                "requests without a key. Add the origin to server.cors.origins.",
                code="foreign_origin",
            )

    def enter(self, *, batch: bool = False) -> None:
        """Take one of `limits.max_in_flight` places; raises `Overloaded` when all are taken.

        Batch calls have `BATCH_SHARE` of the places at most.
        """
        most = self._limits.max_in_flight
        most_batch = max(1, int(most * BATCH_SHARE))
        if self.in_flight >= most:
            raise self._full(f"{self.in_flight} requests are in flight, the limit of this gateway.")
        if batch and self._batch >= most_batch:
            raise self._full(
                f"{self._batch} requests of the batch lane are in flight, their part of the limit "
                f"of this gateway, {most}."
            )
        self.in_flight += 1
        self._batch += batch

    def leave(self, *, batch: bool = False) -> None:
        """Give the place back."""
        self.in_flight -= 1
        self._batch -= batch

    def _full(self, why: str) -> Overloaded:
        return Overloaded(
            f"{why} Try again shortly.",
            code="too_many_in_flight",
            retry_after_s=self._limits.retry_after_s,
        )

    def admit(
        self,
        endpoint: Endpoint,
        raw: bytes,
        headers: Mapping[str, str],
        id_: str,
        now_s: float,
        payer: Payer | None = None,
    ) -> Call:
        """Check the body as far as the gateway reads it; raises `BadRequest`, `UnknownModel`.

        `payer` is who was found to pay; None takes the caller for one without a virtual key.
        """
        body = decode(raw)
        asked = parameters(endpoint, body)
        assert isinstance(body, dict)
        self.tier_of(asked.model)
        payer = payer or without_key(headers)
        return Call(
            call_id=new_id(),
            request_id=id_,
            endpoint=endpoint,
            tenant=payer.tenant,
            requested=asked.model,
            body=body,
            asked=asked,
            stream=asked.stream,
            include_usage=asked.include_usage,
            arrived_s=now_s,
            deadline_s=self._limits.request_timeout_s,
            risk=risk(headers),
            value=value(headers),
            lane=lane(headers),
            ttft_deadline_s=deadline(headers),
            domain=headers.get("x-hansom-domain", "")[:MAX_WORD_CHARS],
            team=payer.team,
            key=payer.key,
            cache_tags=words(headers, "x-hansom-cache-tags"),
            tags=payer.tags,
            prompt_version=headers.get("x-hansom-prompt-version", "")[:MAX_WORD_CHARS],
        )

    async def reserve(
        self, call: Call, payer: Payer, body_bytes: int, wall_s: float
    ) -> tuple[Call, Reservation]:
        """A place for an admitted call, and the call as it fits into it.

        Raises `LimitReached`, `Unavailable`.
        """
        place = await self.accounts.reserve(
            AccountedRequest(
                payer, call.call_id, call.request_id, call.endpoint.value, call.requested,
                call.arrived_s, call.deadline_s, stream=call.stream, lane=call.lane,
            ),
            lambda: worst_case(self._settings, call, body_bytes, wall_s),
        )  # fmt: skip
        if place is NO_RESERVATION:
            return call, place
        caps = output_caps(self._settings, call, body_bytes) if place.binding else {}
        return replace(call, budget_left=place.budget_left, output_caps=caps), place

    def tier_of(self, model: str) -> str:
        """`auto` or the tier that a model field names; raises `UnknownModel`."""
        if (found := self._models.get(model)) is None:
            raise no_such_model(model, self._models)
        return found


def no_such_model(name: str, names: Iterable[str]) -> UnknownModel:
    """The error for a name that is no model; `names` are those that are."""
    allowed = ", ".join(f"`{one}`" for one in names)
    return UnknownModel(
        f"The model `{name}` does not exist. Use one of {allowed}.",
        param="model",
        code="model_not_found",
    )
