"""Calculate a replica's limits at a steady load, in closed form.

With requests at rate r, of `i` prompt and `o` output tokens, a step of s seconds holds on average
B = r o s sequences (Little's law) with i + o/2 tokens each, and r i s prompt tokens to prefill. Put
into the step of `autoscale.policy.profile`:

    s = base + (per_sequence + per_kv_token (i + o/2)) r o s + r i s / prefill = base / (1 - r w)
    w = i / prefill + o (per_sequence + per_kv_token (i + o/2))

so w is the replica's own seconds for a request when batches are large, and each limit on s or B is
one on r: s <= TPOT SLO, B (i + o) <= KV tokens, B <= max sequences, B + r i s <= chunk tokens.

Promises: pure; more tokens never carry more requests. Not covered: bursts and the spread of
lengths, which a replay has (`autoscale.capacity.sizing`): requests wait long before this rate is
reached.
"""

from dataclasses import dataclass

from autoscale.policy.profile import EngineProfile, Slo


@dataclass(frozen=True, slots=True)
class ReplicaLimits:
    """Requests per second of one replica at most, by each limit; 0 where a step is too long."""

    tpot: float
    kv: float
    sequences: float
    chunk: float

    @property
    def requests_per_s(self) -> float:
        """The smallest."""
        return min(self.tpot, self.kv, self.sequences, self.chunk)

    @property
    def binding(self) -> str:
        """What ends first, in words."""
        words = {
            "TPOT SLO": self.tpot,
            "KV cache": self.kv,
            "max sequences": self.sequences,
            "chunk tokens": self.chunk,
        }
        return min(words, key=lambda name: words[name])


def limits(
    profile: EngineProfile, slo: Slo, input_tokens: float, output_tokens: float
) -> ReplicaLimits:
    """For requests of so many tokens on the mean; ValueError unless both are above 0."""
    if not (input_tokens > 0 and output_tokens > 0):
        raise ValueError("a request has input and output tokens")
    whole = input_tokens + output_tokens
    each_s = profile.per_sequence_s
    each_s += profile.per_kv_token_s * (input_tokens + output_tokens / 2)
    work_s = input_tokens / profile.prefill_tokens_per_s + output_tokens * each_s

    def at_most(sequences: float) -> float:
        """r where r o s = sequences."""
        return sequences / (output_tokens * profile.base_s + sequences * work_s)

    return ReplicaLimits(
        tpot=max(0.0, 1 - profile.base_s / slo.tpot_s) / work_s,
        kv=at_most(profile.kv_tokens / whole),
        sequences=at_most(profile.max_sequences),
        chunk=profile.chunk_tokens / (whole * profile.base_s + profile.chunk_tokens * work_s),
    )
