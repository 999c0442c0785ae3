"""List the models for `/v1/models`: `auto`, tiers, their models, and the embedder.

Promises: pure; each listed `id` is accepted as `model` by the routes of its kind.
"""

from typing import Any

from core.settings.load import Settings, SimulatedEngine, Tier
from deployments.gateway.admission import AUTO
from wire.requests import EMBEDDING_MODEL

EMBEDDER_TOKENS = 256


def models_of(settings: Settings, created_s: int) -> dict[str, dict[str, Any]]:
    """OpenAI's model objects by id; `created_s` (wall) is since when they are served.

    `max_model_len` is vLLM's field: the most tokens of prompt and answer together, null where only
    the engine knows. Of `auto` it is that of the tier with the most.
    """
    lengths = {tier.name: context_tokens(tier) for tier in settings.tiers}
    known = [length for length in lengths.values() if length is not None]
    listed = {AUTO: max(known) if len(known) == len(lengths) else None}
    for tier in settings.tiers:
        listed |= dict.fromkeys((tier.name, tier.model), lengths[tier.name])
    listed[EMBEDDING_MODEL] = EMBEDDER_TOKENS
    return {
        id_: {
            "id": id_,
            "object": "model",
            "created": created_s,
            "owned_by": "hansom",
            "max_model_len": length,
        }
        for id_, length in listed.items()
    }


def context_tokens(tier: Tier) -> int | None:
    """The context of a tier by its settings; None where the model's own is taken."""
    if isinstance(tier.engine, SimulatedEngine):
        return tier.engine.context_tokens
    given = tier.engine.args.get("max_model_len")
    return given if isinstance(given, int) and given > 0 else None
