"""The nouns of a request: call, decision, usage, lane.

Every value here is frozen; derived facts are properties. Nothing in this module does I/O.
Not covered: the OpenAI wire bodies (`wire.requests`) and the ledger's line (`core.ledger_line`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from core.parameters import Parameters


class Risk(StrEnum):
    """How much a wrong answer costs the caller; `high` is never sent to a weaker tier."""

    NORMAL = "normal"
    HIGH = "high"


class Value(StrEnum):
    """How much a good answer is worth to the caller; it moves the cut-off, never the risk."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


class Lane(StrEnum):
    """How soon a call must be answered: `batch` runs on what interactive calls leave."""

    INTERACTIVE = "interactive"
    BATCH = "batch"


class Endpoint(StrEnum):
    """Which OpenAI generation endpoint a call came through."""

    CHAT = "chat/completions"
    COMPLETION = "completions"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one attempt, split the way they are priced."""

    fresh_input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0

    @property
    def input_tokens(self) -> int:
        """All prompt tokens, whether computed or taken from the prefix cache."""
        return self.fresh_input_tokens + self.cached_input_tokens

    @property
    def total_tokens(self) -> int:
        """Prompt and completion tokens together."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class Call:
    """One admitted request.

    `call_id` is unique; `request_id` may be the client's own and is then not.
    `requested` is the model field as sent: `auto`, a tier's name or a model's name.
    `body` is the JSON object of the request as it will be passed to an engine; `asked` is what the
    client asks for in it, whatever is added to the body later.
    `deadline_s` counts from `arrived_s`, both on the monotonic clock; `ttft_deadline_s` is the
    longest wait for the first token that the caller accepts, None when it named none; `domain` is
    the caller's word for what the call is about; `team` and `key` are who of the tenant asks;
    `lane` says whether it waits behind others;
    `cache_tags` name what the answer rests on, so that it can be taken back when that changes;
    `tags` are what the bill is to be split by, `prompt_version` is the caller's name for its
    prompt; `budget_left` is the share in [0, 1] that its tightest hard budget has left, None
    without one. `output_caps` are output tokens of a choice by tier, for a call whose reservation
    rests on them because it names no limit itself.
    """

    call_id: str
    request_id: str
    endpoint: Endpoint
    tenant: str
    requested: str
    body: dict[str, object]
    asked: Parameters
    stream: bool
    include_usage: bool
    arrived_s: float
    deadline_s: float
    risk: Risk = Risk.NORMAL
    value: Value = Value.NORMAL
    lane: Lane = Lane.INTERACTIVE
    ttft_deadline_s: float | None = None
    domain: str = ""
    team: str = ""
    key: str = ""
    cache_tags: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    prompt_version: str = ""
    budget_left: float | None = None
    output_caps: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a call goes and why.

    `score` is what was compared with `threshold`; `difficulty` in [0, 1] is P(small wrong) and
    `gain` in [-1, 1] is P(large right) - P(small right). All are None when nothing was scored.
    `code` is one word for metrics and the response header; `reason` says it in words. An answer of
    this tier is to be judged when `doubt` is set, and kept when its doubt is below it. `arm` names
    the part of an experiment that decided, `version` the weights that scored.
    """

    tier: str
    code: str
    reason: str
    score: float | None = None
    threshold: float | None = None
    difficulty: float | None = None
    gain: float | None = None
    fallbacks: tuple[str, ...] = field(default=())
    doubt: float | None = None
    arm: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class TierSignal:
    """What is known of one tier at one moment.

    `tokens_per_s` is what it works off of its queue, 0 while unknown; `cold_start_s` what a tier
    that is not warm takes to start; `error_ratio` the share of its last attempts that failed.
    """

    available: bool = True
    running: int = 0
    waiting: int = 0
    waiting_tokens: int = 0
    kv_use_ratio: float = 0.0
    tokens_per_s: float = 0.0
    warm: bool = True
    cold_start_s: float = 0.0
    error_ratio: float = 0.0

    @property
    def wait_s(self) -> float:
        """Seconds until a call that comes now would begin, as far as is known."""
        queue_s = self.waiting_tokens / self.tokens_per_s if self.tokens_per_s > 0 else 0.0
        return queue_s + (0.0 if self.warm else self.cold_start_s)
