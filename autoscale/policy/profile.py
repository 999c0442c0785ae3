"""An engine profile: the constants of a replica's speed that policy and replay use.

A step of continuous batching with chunked prefill takes

    step_s = base_s + per_sequence_s * B + per_kv_token_s * K + C / prefill_tokens_per_s

for B running sequences whose KV caches hold K tokens together, and C prompt tokens prefilled in the
same step (C <= chunk_tokens). That is the linear model of Sarathi-Serve (arXiv 2403.02310) and
Vidur (arXiv 2405.05465), fitted to measurements of one's own engine.
"""

from pydantic import Field

from core.settings.base import Frozen
from core.settings.scaling import Slo as Slo


class EngineProfile(Frozen):
    """One replica of one tier on its accelerator; `source` says where the constants come from.

    `cold_start_s` is (least, most) seconds from the wish for a replica to its first token, on a
    node that is there; `node_start_s` comes on top where a node has to be rented. `overhead_s` is
    in every TTFT and no step: the way to the engine and back. KV cache is given out in blocks of
    `block_tokens` (vLLM's `block_size`); while others run, a request is admitted only if its prompt
    leaves the share `watermark` of the cache free (vLLM's `watermark`).
    """

    name: str
    source: str
    base_s: float = Field(gt=0)
    per_sequence_s: float = Field(ge=0)
    per_kv_token_s: float = Field(ge=0)
    prefill_tokens_per_s: float = Field(gt=0)
    chunk_tokens: int = Field(ge=1)
    kv_tokens: int = Field(ge=1)
    max_sequences: int = Field(256, ge=1)
    block_tokens: int = Field(16, ge=1)
    watermark: float = Field(0.05, ge=0, lt=1)
    cold_start_s: tuple[float, float] = (60.0, 120.0)
    node_start_s: float = Field(180.0, ge=0)
    gpus: int = Field(1, ge=0)
    usd_per_hour: float = Field(0.0, ge=0)
    overhead_s: float = Field(0.0, ge=0)

    @property
    def lead_s(self) -> float:
        """The longest from the wish for a replica to its first token."""
        return self.cold_start_s[1] + self.node_start_s

    def step_s(self, sequences: int, kv_tokens: int, chunk_tokens: int = 0) -> float:
        """One step's seconds; see the module docstring."""
        return (
            self.base_s
            + self.per_sequence_s * sequences
            + self.per_kv_token_s * kv_tokens
            + chunk_tokens / self.prefill_tokens_per_s
        )
