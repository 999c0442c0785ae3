"""Change a workload's cost drivers one by one: model, quantization, prompt, cache, route, batch.

Promised: pure; each lever changes one thing, and every end of it has a source: the price table, or
an assumption that is named here.
Not covered: what a lever does to quality, and what it comes to (`ledger.cost.tornado`).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

from core.settings.prices import ApiVersion, HostedVersion, Version
from ledger.cost.model import ModelPart, Tokens, Workload, cost
from ledger.cost.tornado import End, Lever

SHORTER_PROMPT = Fraction(2, 5)
LONGER_PROMPT = Fraction(2)
SHORTER_ANSWER, LONGER_ANSWER = Fraction(1, 2), Fraction(2)
HIT_RATE_LOW, HIT_RATE_HIGH = Fraction(5, 100), Fraction(30, 100)
EASY_SHARE = Fraction(8, 10)
INT4_SPEED = Decimal(2)
LARGER_BATCH, SMALLER_BATCH = Decimal(2), Decimal("0.5")
FULLER, EMPTIER = Decimal("0.8"), Decimal("0.2")
MORE_RETRIES = Fraction(10, 100)

_SEED = "assumption, seed notes of 2024"


def levers(base: Workload, others: Sequence[tuple[str, Version]]) -> tuple[Lever, ...]:
    """The levers that this workload has; `others` are the models it could use instead."""
    found = [
        _prompt_length(base),
        _answer_length(base),
        _hit_rate(base),
        _retries(base),
        *_models(base, others),
    ]
    if any(isinstance(part.rates, HostedVersion) for part in base.parts):
        found += [_quantization(base), _batch_size(base), _utilisation(base)]
    return tuple(found)


def _prompt_length(base: Workload) -> Lever:
    return Lever(
        "prompt length",
        End("x 0.4", _scaled(base, input_by=SHORTER_PROMPT)),
        "x 1",
        End("x 2", _scaled(base, input_by=LONGER_PROMPT)),
        f"{_SEED}: 500 to 200 tokens by leaner prompts; twice as long with retrieved context",
    )


def _answer_length(base: Workload) -> Lever:
    return Lever(
        "answer length",
        End("x 0.5", _scaled(base, output_by=SHORTER_ANSWER)),
        "x 1",
        End("x 2", _scaled(base, output_by=LONGER_ANSWER)),
        "assumption: half and twice as many output tokens",
    )


def _hit_rate(base: Workload) -> Lever:
    high = max(HIT_RATE_HIGH, base.hit_rate)
    low = min(HIT_RATE_LOW, base.hit_rate)
    return Lever(
        "hit rate",
        End(_percent(high), replace(base, hit_rate=high)),
        _percent(base.hit_rate),
        End(_percent(low), replace(base, hit_rate=low)),
        f"{_SEED}: exact caches answer 5 to 30 % of chat",
    )


def _retries(base: Workload) -> Lever:
    high = max(MORE_RETRIES, 2 * base.retries)
    return Lever(
        "retries",
        End("0%", replace(base, retries=Fraction(0))),
        _percent(base.retries),
        End(_percent(high), replace(base, retries=high)),
        "assumption: none, and the larger of 10 % and twice as many",
    )


def _models(base: Workload, others: Sequence[tuple[str, Version]]) -> list[Lever]:
    """Model size and route mix, where there is another model of the same kind to choose.

    API and self-hosted models are not set against one another here: break-even does that.
    """
    main = max(base.parts, key=lambda part: part.share)
    own = [(part.model, part.rates) for part in base.parts]
    alike = [one for one in [*own, *others] if type(one[1]) is type(main.rates)]
    by_cost = sorted(
        dict(alike).items(), key=lambda one: cost(_all_to(base, main, *one)).usd_per_day
    )
    if len(by_cost) < 2:
        return []
    cheapest, dearest = by_cost[0], by_cost[-1]
    now = " + ".join(f"{_percent(part.share)} {part.model}" for part in base.parts)
    size = Lever(
        "model size",
        End(cheapest[0], _all_to(base, main, *cheapest)),
        now,
        End(dearest[0], _all_to(base, main, *dearest)),
        "the price table: every request to the cheapest, and to the dearest, of its kind",
    )
    if cheapest[0] == main.model:
        return [size]
    routed = _routed(base, main, cheapest)
    mix = Lever(
        "route mix",
        End(f"{_percent(EASY_SHARE)} to {cheapest[0]}", routed),
        now,
        End(f"100% to {main.model}", _all_to(base, main, main.model, main.rates)),
        f"{_SEED}: 80 % of requests are easy",
    )
    return [size, mix]


def _quantization(base: Workload) -> Lever:
    faster = _hosted(base, lambda rates: _speed(rates, INT4_SPEED, INT4_SPEED))
    return Lever(
        "quantization",
        End("INT4", faster),
        "as it is",
        End("as it is", base),
        f"{_SEED}: INT4 is about twice as fast as FP16; none if it is quantized already",
    )


def _batch_size(base: Workload) -> Lever:
    return Lever(
        "batch size",
        End("x 2", _hosted(base, lambda rates: _speed(rates, Decimal(1), LARGER_BATCH))),
        "x 1",
        End("x 0.5", _hosted(base, lambda rates: _speed(rates, Decimal(1), SMALLER_BATCH))),
        "assumption: decoding waits for memory, so tokens/s grow with the batch; prefill does not",
    )


def _utilisation(base: Workload) -> Lever:
    part = max(
        (part for part in base.parts if isinstance(part.rates, HostedVersion)),
        key=lambda part: part.share,
    )
    assert isinstance(part.rates, HostedVersion)
    own = part.rates.utilisation
    full, empty = max(FULLER, own), min(EMPTIER, own)
    return Lever(
        "utilisation",
        End(
            _percent(full),
            _hosted(base, lambda rates: rates.model_copy(update={"utilisation": full})),
        ),
        _percent(own),
        End(
            _percent(empty),
            _hosted(base, lambda rates: rates.model_copy(update={"utilisation": empty})),
        ),
        "assumption: 80 % with even traffic or batch work, 20 % for office hours only",
    )


def _scaled(
    base: Workload, input_by: Fraction = Fraction(1), output_by: Fraction = Fraction(1)
) -> Workload:
    def scaled(tokens: Tokens) -> Tokens:
        return Tokens(
            tokens.input * input_by,
            tokens.output * output_by,
            tokens.cached_input * input_by,
            tokens.cache_write * input_by,
        )

    parts = tuple(replace(part, tokens=scaled(part.tokens)) for part in base.parts)
    return replace(base, parts=parts)


def _all_to(base: Workload, main: ModelPart, model: str, rates: Version) -> Workload:
    return replace(
        base, parts=(ModelPart(model, rates, _mean(base), Fraction(1), main.min_replicas),)
    )


def _routed(base: Workload, main: ModelPart, small: tuple[str, Version]) -> Workload:
    tokens = _mean(base)
    return replace(
        base,
        parts=(
            ModelPart(*small, tokens, EASY_SHARE, main.min_replicas),
            ModelPart(main.model, main.rates, tokens, 1 - EASY_SHARE, main.min_replicas),
        ),
    )


def _mean(base: Workload) -> Tokens:
    """Tokens of a mean attempt over all parts."""

    def mean(count: Callable[[Tokens], Fraction]) -> Fraction:
        return sum((part.share * count(part.tokens) for part in base.parts), Fraction(0))

    return Tokens(
        mean(lambda tokens: tokens.input),
        mean(lambda tokens: tokens.output),
        mean(lambda tokens: tokens.cached_input),
        mean(lambda tokens: tokens.cache_write),
    )


def _hosted(base: Workload, change: Callable[[HostedVersion], HostedVersion]) -> Workload:
    return replace(
        base,
        parts=tuple(
            part if isinstance(part.rates, ApiVersion) else replace(part, rates=change(part.rates))
            for part in base.parts
        ),
    )


def _speed(rates: HostedVersion, prefill: Decimal, decode: Decimal) -> HostedVersion:
    return rates.model_copy(
        update={
            "prefill_tokens_per_s": rates.prefill_tokens_per_s * prefill,
            "decode_tokens_per_s": rates.decode_tokens_per_s * decode,
        }
    )


def _percent(share: Fraction | Decimal) -> str:
    return f"{float(100 * share):.3g}%"
