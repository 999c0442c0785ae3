"""The ledger's line: what one attempt of one request took, its cost and its outcome.

Promised: a line is written once and never changed; (`call_id`, `attempt`) is its identity, so
that delivering it twice is harmless. Money is integer micro-USD.
Not covered: prompts and answers, which are never in the ledger.
"""

from enum import StrEnum
from typing import Any, Literal

import msgspec

from core.call import Lane, Usage
from core.money import Price

CacheResult = Literal["miss", "exact", "semantic", "flight", "off"]


class Kind(StrEnum):
    """What an attempt was for."""

    ANSWER = "answer"
    ESCALATION = "escalation"
    RETRY = "retry"
    FALLBACK = "fallback"
    CACHE_HIT = "cache_hit"
    JOINED = "joined"
    CREDIT = "credit"
    TOOL = "tool"
    EMBEDDING = "embedding"
    CLASSIFIER = "classifier"
    SHADOW = "shadow"
    BATCH = "batch"
    CANCELLED = "cancelled"


# What no engine made for its line: replayed and shared answers, and what is taken off for them.
NOT_MADE = (Kind.CACHE_HIT, Kind.JOINED, Kind.CREDIT)


class Outcome(StrEnum):
    """How an attempt ended."""

    SUCCESS = "success"
    ERROR = "error"
    CANCELLED = "cancelled"
    REFUSED = "refused"
    TIMEOUT = "timeout"


class LedgerLine(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt. Fields that are added later need a default: old lines must stay readable.

    `call_id` is unique; `request_id` is what the client sees and may have chosen itself, so two
    requests may bear the same. `requested` is the model field as the client sent it. `key`, `team`
    and `tags` are who of the tenant is to be billed, and for what. `model_version` names the
    weights and their quantization. `undelivered_tokens` of the output were made and never reached
    the client. `usage` of a cache hit, or of a joined flight, is that of the answer that was given
    again; a `credit` is what the others of a shared generation take over of its cost, and negative.
    `queue_s`, `ttft_s` and `total_s` count from the request's arrival, so that the last attempt
    holds what the client waited, in the batch `lane` by intent; `tpot_s` is per output token after
    the first. `created_s` is wall time. `estimated_tokens` says that the engine's own count is not
    known.
    """

    call_id: str
    request_id: str
    attempt: int
    kind: Kind
    tenant: str
    endpoint: str
    requested: str
    tier: str
    model: str
    key: str = ""
    team: str = ""
    tags: tuple[str, ...] = ()
    route_code: str = ""
    route_reason: str = ""
    difficulty: float | None = None
    router_version: str = ""
    model_version: str = ""
    prompt_version: str = ""
    lane: Lane = Lane.INTERACTIVE
    price_version: str = ""
    usage: Usage = Usage()
    undelivered_tokens: int = 0
    cost_usd_micros: int = 0
    saved_usd_micros: int = 0
    stream: bool = False
    queue_s: float | None = None
    ttft_s: float | None = None
    tpot_s: float | None = None
    total_s: float = 0.0
    outcome: Outcome = Outcome.SUCCESS
    error_code: str | None = None
    cache: CacheResult = "off"
    created_s: float = 0.0
    estimated_tokens: bool = False

    @property
    def identity(self) -> tuple[str, int]:
        """What makes two lines the same line."""
        return (self.call_id, self.attempt)

    @property
    def engine_request_id(self) -> str:
        """The attempt's id inside the engine."""
        return engine_request_id(self.request_id, self.call_id, self.attempt)

    def to_bytes(self) -> bytes:
        """One JSON object without line breaks; raises `TypeError` for text that is not UTF-8."""
        try:
            return _ENCODER.encode(self)
        except (UnicodeEncodeError, OverflowError, msgspec.MsgspecError) as error:
            raise TypeError(f"not to be written as JSON: {error}") from error

    @classmethod
    def from_bytes(cls, raw: bytes) -> "LedgerLine":
        """Read what `to_bytes` of this or another version wrote; raises `ValueError`."""
        try:
            return _DECODER.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ValueError(f"not a ledger line: {error}") from error

    @classmethod
    def from_fields(cls, given: dict[str, Any]) -> "LedgerLine":
        """A line from its plain fields, `usage` as a mapping; unknown fields are ignored.

        Raises `ValueError`.
        """
        try:
            return msgspec.convert(given, cls, strict=False)
        except msgspec.ValidationError as error:
            raise ValueError(f"not a ledger line: {error}") from error


# A line of 34 fields is made for every attempt; as a frozen
# dataclass making it was 3 to 4 % of the gateway's profile.
_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(LedgerLine)


def engine_request_id(request_id: str, call_id: str, attempt: int) -> str:
    """An attempt's id inside the engine, which may not see a client's own id twice at once."""
    return f"{request_id}-{call_id[-8:]}-{attempt}"


def saved_usd_micros(usage: Usage, cost_usd_micros: int, largest: Price, *, served: bool) -> int:
    """What an attempt saved against sending every request to the most expensive tier.

    For the attempt that the client was served from (a cache hit too, whose cost is 0): the same
    tokens at `largest`'s price, less the cost. For any other attempt always-large would not have
    made it, so all of its cost is a loss.
    """
    return (largest.cost_usd_micros(usage) if served else 0) - cost_usd_micros


# Whose answers are for ourselves.
SIDE_KINDS = (Kind.CLASSIFIER, Kind.SHADOW)
