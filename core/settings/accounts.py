"""Settings of accounts: limits by tenant, team and key, and the limits that a key's record has.

Promises: a limit that could not be checked (no amount, two amounts, a window that is none) cannot
be made. Money is decimal here and integer micro-USD behind `BudgetLimit.limit`.
"""

import re
from decimal import Decimal
from enum import StrEnum
from typing import Literal, Self

from pydantic import Field, model_validator

from core.money import USD_MICROS_PER_USD
from core.settings.base import Frozen

_WORDS = re.compile(r"\s*([0-9][0-9_,]*(?:\.[0-9]+)?)\s*(usd|tokens?)\s*/\s*([a-z]+)\s*", re.I)


class Window(StrEnum):
    """Calendar windows in UTC; a week begins on Monday."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Measure(StrEnum):
    """What a limit counts."""

    REQUESTS = "requests"
    CONCURRENCY = "concurrency"
    TOKENS = "tokens"
    USD = "usd"


class BudgetLimit(Frozen):
    """An amount in a window: of `usd` or of `tokens`. A soft one is told, a hard one refuses."""

    usd: Decimal | None = Field(None, gt=0)
    tokens: int | None = Field(None, ge=1)
    window: Literal["minute", "hour", "day", "week", "month"]
    kind: Literal["hard", "soft"] = "hard"

    @model_validator(mode="after")
    def _one_amount(self) -> Self:
        if (self.usd is None) is (self.tokens is None):
            raise ValueError("a budget has either `usd` or `tokens`")
        if self.usd is not None and self.usd * USD_MICROS_PER_USD % 1:
            raise ValueError("`usd` may have six decimals")
        return self

    @property
    def measure(self) -> Measure:
        """What it counts."""
        return Measure.TOKENS if self.usd is None else Measure.USD

    @property
    def limit(self) -> int:
        """Micro-USD or tokens."""
        return int(self.usd * USD_MICROS_PER_USD) if self.usd is not None else self.tokens or 0

    @classmethod
    def read(cls, words: str, kind: Literal["hard", "soft"]) -> "BudgetLimit":
        """`10 USD/day`, `2,000,000 tokens/month`; raises `ValueError` for other words."""
        found = _WORDS.fullmatch(words)
        if found is None or found[3].lower() not in set(Window):
            raise ValueError(
                f"{words!r} is no budget: write `10 USD/day` or `2000000 tokens/month`, with one "
                f"of {', '.join(Window)}"
            )
        amount, unit = found[1].replace(",", "").replace("_", ""), found[2].lower()
        name = "usd" if unit == "usd" else "tokens"
        return cls.model_validate({name: amount, "window": found[3].lower(), "kind": kind})


class Rules(Frozen):
    """The limits of one key, tenant, team or tag; what is None is not limited."""

    budgets: tuple[BudgetLimit, ...] = ()
    requests_per_minute: int | None = Field(None, ge=1)
    tokens_per_minute: int | None = Field(None, ge=1)
    concurrency: int | None = Field(None, ge=1)


NO_RULES = Rules()


class AccountsSettings(Frozen):
    """Keys and limits.

    `default` holds for every tenant that `tenants` does not name. `teams` and `tags` are looked up
    as `TENANT/NAME` first, then as `NAME`; either way each tenant has counters of its own.
    """

    keys: Literal["optional", "required"] = "optional"
    on_redis_failure: Literal["serve", "refuse"] = "serve"
    timeout_s: float = Field(0.25, gt=0)
    keys_outage_s: float = Field(3600.0, ge=0)
    reserve_output_tokens: int = Field(4096, ge=1)
    reserve_template_tokens: int = Field(256, ge=0)
    default: Rules = NO_RULES
    tenants: dict[str, Rules] = Field(default_factory=dict)
    teams: dict[str, Rules] = Field(default_factory=dict)
    tags: dict[str, Rules] = Field(default_factory=dict)
