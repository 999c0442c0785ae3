"""What `hansom cost` reckons with: a workload, and for every input where it comes from.

Promised: an input is from the command line, the price table, the ledger, the settings, or a named
assumption, and says which. A mistake raises `HansomError` with one sentence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from cli.usage import UsageError
from core.errors import HansomError
from core.settings.load import Settings, Tier
from core.settings.prices import ApiVersion, HostedVersion, NoPrice, PriceTable, Version
from core.settings.tier_price import TierPrice
from ledger.cost.model import ModelPart, Tokens, Workload
from ledger.cost.usage_query import ModelUse, Observed

GIVEN = "command line"
REQUESTS_PER_DAY, INPUT_TOKENS, OUTPUT_TOKENS = 1_000_000, 500, 200
_SEED = "assumption: the seed notes' example"
_NONE = "assumption: none"
_HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class Input:
    """One number that the result rests on."""

    name: str
    value: str
    source: str


@dataclass(frozen=True, slots=True)
class CostOptions:
    """The options of the command; None was not given."""

    requests_per_day: float | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None
    cached_share: float | None = None
    hit_rate: float | None = None
    retries: float | None = None
    utilisation: float | None = None
    engineering_usd_per_month: float | None = None
    min_replicas: int | None = None

    def checked(self) -> "CostOptions":
        """Itself; raises `HansomError` for what no workload can be."""
        for name in ("requests_per_day", "utilisation"):
            _within(name, getattr(self, name), above=0)
        for name in ("hit_rate", "cached_share", "utilisation"):
            _within(name, getattr(self, name), most=1)
        for name in ("input_tokens", "output_tokens", "retries", "engineering_usd_per_month"):
            _within(name, getattr(self, name))
        if self.min_replicas is not None and self.min_replicas < 1:
            raise UsageError(f"--min-replicas must be 1 or more (got {self.min_replicas}).")
        return self

    def changed(self, rates: Version) -> Version:
        """The rates with what was given instead of the table's; APIs have none of it."""
        if isinstance(rates, ApiVersion):
            return rates
        given = {
            "utilisation": self.utilisation,
            "engineering_usd_per_month": self.engineering_usd_per_month,
        }
        told = {name: str(value) for name, value in given.items() if value is not None}
        if not told:
            return rates
        return HostedVersion.model_validate(rates.model_dump(by_alias=True) | told)


@dataclass(frozen=True, slots=True)
class CostFigures:
    """A workload and the inputs that made it."""

    workload: Workload
    inputs: tuple[Input, ...]


def version_at(table: PriceTable, model: str, wall_s: float) -> Version:
    """The table's entry; raises `HansomError` that lists the known models."""
    try:
        return table.version_at(model, wall_s)
    except NoPrice as error:
        raise HansomError(f"{error}.") from error


def for_model(asked: CostOptions, model: str, rates: Version) -> CostFigures:
    """Every request to one model, as the options and the seed notes' example say."""
    requests = _chosen(asked.requests_per_day, REQUESTS_PER_DAY, _SEED)
    prompt = _chosen(asked.input_tokens, INPUT_TOKENS, _SEED)
    answer = _chosen(asked.output_tokens, OUTPUT_TOKENS, _SEED)
    cached = _chosen(asked.cached_share, 0, _NONE)
    hits = _chosen(asked.hit_rate, 0, _NONE)
    retries = _chosen(asked.retries, 0, _NONE)
    if prompt[0] + answer[0] == 0:
        raise UsageError("A request needs tokens: give --input-tokens or --output-tokens.")
    rates = asked.changed(rates)
    tokens = Tokens(prompt[0], answer[0], prompt[0] * cached[0])
    part = ModelPart(model, rates, tokens, min_replicas=asked.min_replicas or 1)
    inputs = [
        Input("requests/day", f"{float(requests[0]):,.10g}", requests[1]),
        Input("input tokens", f"{float(prompt[0]):,.10g}", prompt[1]),
        Input("of them from a prefix cache", f"{float(cached[0]):.4g}", cached[1]),
        Input("output tokens", f"{float(answer[0]):,.10g}", answer[1]),
        Input("hit rate", f"{float(hits[0]):.4g}", hits[1]),
        Input("retries per request", f"{float(retries[0]):.4g}", retries[1]),
        *rate_inputs(asked, model, rates),
    ]
    return CostFigures(Workload(requests[0], (part,), hits[0], retries[0]), tuple(inputs))


def for_ledger(
    asked: CostOptions, seen: Observed, settings: Settings, table: PriceTable, now_s: float
) -> CostFigures:
    """The load that the ledger saw, at the prices of the table, or the tier's own."""
    source = f"ledger, the last {_hours(seen.span_s)}"
    if seen.span_s < _HOUR_S:
        source += ", too short to speak for a day"
    requests = _chosen(asked.requests_per_day, seen.requests_per_day, source)
    hits = _chosen(asked.hit_rate, seen.hit_rate, source)
    retries = _chosen(asked.retries, seen.retries, source)
    parts, inputs = (
        [],
        [
            Input("requests/day", f"{float(requests[0]):,.6g}", requests[1]),
            Input("hit rate", f"{float(hits[0]):.4g}", hits[1]),
            Input("further attempts per request", f"{float(retries[0]):.4g}", retries[1]),
        ],
    )
    for use in seen.models:
        rates = asked.changed(_rates(use, settings, table, now_s))
        share = Fraction(use.attempts, seen.attempts)
        parts.append(ModelPart(use.model, rates, _mean(use), share, asked.min_replicas or 1))
        inputs += [
            Input(f"{use.model}: share of attempts", f"{float(share):.4g}", source),
            Input(
                f"{use.model}: input tokens",
                f"{use.usage.input_tokens / use.attempts:,.5g}",
                source,
            ),
            Input(f"{use.model}: of them from a prefix cache", _part_of(use), source),
            Input(
                f"{use.model}: output tokens",
                f"{use.usage.output_tokens / use.attempts:,.5g}",
                source,
            ),
            *rate_inputs(asked, use.model, rates),
        ]
    return CostFigures(Workload(requests[0], tuple(parts), hits[0], retries[0]), tuple(inputs))


def rate_inputs(asked: CostOptions, model: str, rates: Version) -> list[Input]:
    """What a model's cost rests on, and who says so."""
    if isinstance(rates, ApiVersion):
        prices = rates.tokens
        return [
            Input(f"{model}: USD/1M input, fresh", f"{prices.fresh_input}", rates.source),
            Input(f"{model}: USD/1M input, cached", f"{prices.cached_input}", rates.source),
            Input(f"{model}: USD/1M output", f"{prices.output}", rates.source),
        ]
    measured, table = rates.throughput_source, "price table"
    replicas = GIVEN if asked.min_replicas is not None else "assumption: one is always up"
    used = GIVEN if asked.utilisation is not None else f"{table}: mean over the paid hours"
    paid = GIVEN if asked.engineering_usd_per_month is not None else table
    return [
        Input(f"{model}: USD/hour for a GPU", f"{rates.gpu_usd_per_hour}", rates.source),
        Input(f"{model}: GPUs a replica", f"{rates.gpus}", rates.source),
        Input(f"{model}: prefill tokens/s", f"{rates.prefill_tokens_per_s}", measured),
        Input(f"{model}: decode tokens/s", f"{rates.decode_tokens_per_s}", measured),
        Input(f"{model}: utilisation", f"{rates.utilisation}", used),
        Input(f"{model}: engineering USD/month", f"{rates.engineering_usd_per_month}", paid),
        Input(f"{model}: least replicas", f"{asked.min_replicas or 1}", replicas),
    ]


def _chosen(given: float | None, otherwise: int | Fraction, source: str) -> tuple[Fraction, str]:
    """A number and its source; floats are taken as they are written."""
    return (Fraction(otherwise), source) if given is None else (Fraction(str(given)), GIVEN)


def _rates(use: ModelUse, settings: Settings, table: PriceTable, now_s: float) -> Version:
    tier = next((tier for tier in settings.tiers if tier.name == use.tier), None)
    if tier is not None and isinstance(tier.price, TierPrice):
        return _own(tier, tier.price)
    entry = use.model if tier is None or isinstance(tier.price, TierPrice) else tier.price.table
    return version_at(table, entry, now_s)


def _own(tier: Tier, price: TierPrice) -> ApiVersion:
    return ApiVersion.model_validate(
        {
            "from": "1970-01-01",
            "source": f"settings, tier {tier.name}, version {price.version}",
            "input_usd_per_million_tokens": price.input_usd_per_million_tokens,
            "cached_input_usd_per_million_tokens": price.cached_input_usd_per_million_tokens,
            "output_usd_per_million_tokens": price.output_usd_per_million_tokens,
        }
    )


def _mean(use: ModelUse) -> Tokens:
    return Tokens(
        Fraction(use.usage.input_tokens, use.attempts),
        Fraction(use.usage.output_tokens, use.attempts),
        Fraction(use.usage.cached_input_tokens, use.attempts),
    )


def _part_of(use: ModelUse) -> str:
    return f"{use.usage.cached_input_tokens / max(use.usage.input_tokens, 1):.4g}"


def _within(
    name: str, value: float | None, *, above: float | None = None, most: float | None = None
) -> None:
    """Raises `HansomError` unless a value is finite and in its bounds; at least 0 always."""
    if value is None:
        return
    option = f"--{name.replace('_', '-')}"
    if above is not None and not above < value < float("inf"):
        raise UsageError(f"{option} must be above {above:g} (got {value:g}).")
    if not 0 <= value < float("inf"):
        raise UsageError(f"{option} must be 0 or more (got {value:g}).")
    if most is not None and value > most:
        raise UsageError(f"{option} must be at most {most:g} (got {value:g}).")


def _hours(span_s: float) -> str:
    return f"{span_s / _HOUR_S:.3g} hours" if span_s >= _HOUR_S else f"{span_s / 60:.3g} minutes"


def known(table: PriceTable, wall_s: float) -> Sequence[tuple[str, Version]]:
    """Every model that has a price at that moment, as the table lists them."""
    found = []
    for model in table.models:
        try:
            found.append((model, table.version_at(model, wall_s)))
        except NoPrice:
            continue
    return found
