"""Settings of the cache, and what they mean for one request.

Promises: a wish against caching, by a tenant or by a domain, always wins; the shorter of two times
to live holds.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from core.settings.base import Frozen

Scope = Literal["tenant", "team", "key", "shared"]
# YAML reads a bare `off` as false.
Verify = Annotated[
    Literal["off", "large"], BeforeValidator(lambda given: "off" if given is False else given)
]


@dataclass(frozen=True, slots=True)
class CacheRules:
    """What holds for one request.

    `exact`: whether the exact cache is used at all; `sampled`: also where the answer is drawn at
    random; `tool_calls`: also where tools are offered; `ttl_s`: how long an answer is kept;
    `semantic`: whether a request in other words may be served, `wrong_share` of them wrongly;
    `verify`: who is asked about the pairs that are refused.
    """

    exact: bool = True
    sampled: bool = False
    tool_calls: bool = False
    ttl_s: int = 3600
    semantic: bool = True
    wrong_share: float = 0.01
    verify: Verify = "off"


class CacheClass(Frozen):
    """Rules of one tenant or one domain; what is None is as everywhere."""

    exact: bool | None = None
    sampled: bool | None = None
    tool_calls: bool | None = None
    ttl_s: int | None = Field(None, ge=1)
    semantic: bool | None = None
    wrong_share: float | None = Field(None, gt=0, le=0.2)
    verify: Verify | None = None


class CacheSettings(Frozen):
    """The caches. `redis_url` None means the Redis that `hansom serve` starts itself."""

    redis_url: str | None = None
    exact: bool = True
    scope: Scope = "tenant"
    sampled: bool = False
    tool_calls: bool = False
    ttl_s: int = Field(3600, ge=1)
    ttl_jitter: float = Field(0.1, ge=0, le=0.9)
    lookup_timeout_s: float = Field(0.005, gt=0)
    timeout_s: float = Field(0.25, gt=0)
    max_answer_bytes: int = Field(1_048_576, ge=1024)
    semantic: bool = True
    semantic_entries: int = Field(10_000, ge=1)
    semantic_timeout_s: float = Field(0.05, gt=0)
    wrong_share: float = Field(0.01, gt=0, le=0.2)
    verify: Verify = "off"
    verify_wait: bool = False
    verify_least: float = Field(0.95, gt=0.5, lt=1)
    verify_timeout_s: float = Field(1.0, gt=0)
    single_flight: bool = True
    flight_lease_s: float = Field(3.0, ge=0.5)
    domains: dict[str, CacheClass] = Field(default_factory=dict)
    tenants: dict[str, CacheClass] = Field(default_factory=dict)

    @property
    def verifies(self) -> bool:
        """Whether a model is asked about anybody's pairs."""
        own = [*self.tenants.values(), *self.domains.values()]
        return self.verify != "off" or any(one.verify == "large" for one in own)

    def rules(self, tenant: str, domain: str) -> CacheRules:
        """What holds for a request of this tenant that names this domain."""
        own = [one for one in (self.tenants.get(tenant), self.domains.get(domain)) if one]
        return self._rules(own) if own else self._everywhere

    @cached_property
    def _everywhere(self) -> CacheRules:
        return self._rules([])

    def _rules(self, own: list[CacheClass]) -> CacheRules:
        return CacheRules(
            exact=self.exact and all(one.exact is not False for one in own),
            sampled=_allowed(self.sampled, [one.sampled for one in own]),
            tool_calls=_allowed(self.tool_calls, [one.tool_calls for one in own]),
            ttl_s=min((one.ttl_s for one in own if one.ttl_s is not None), default=self.ttl_s),
            semantic=self.semantic and all(one.semantic is not False for one in own),
            wrong_share=min(
                (one.wrong_share for one in own if one.wrong_share is not None),
                default=self.wrong_share,
            ),
            verify="large"
            if _allowed(self.verify != "off", [_on(one.verify) for one in own])
            else "off",
        )


def _on(verify: Verify | None) -> bool | None:
    return None if verify is None else verify != "off"


def _allowed(everywhere: bool, own: list[bool | None]) -> bool:
    """One refusal forbids; without a word of either, what holds everywhere does."""
    told = [one for one in own if one is not None]
    return all(told) if told else everywhere
