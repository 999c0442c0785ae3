"""Calculate the cost of requests in seconds of a replica as busy as its SLO allows.

Under a steady load each step of continuous batching holds B sequences and C prompt tokens. Calls
that take x = in / P + E[out] (b + c ctx) seconds of compute each, beside the a seconds of every
step (`policy.profile` has a, b, c and P), come at a rate r with B = r E[out] s and C = r in s,
so a step takes s = a + r x s, and a replica carries r = (s - a) / (s x): the longer a step may be,
the more. What bounds s is the TPOT SLO, the KV cache (B ctx) and the step's budget of tokens (C +
B). Of these the tightest decides; n calls with X = n x are then

    work = max( X s / (s - a),  X + a * n E[out] ctx / KV,  X + a * (tokens + n E[out]) / chunk )

Promises: pure; more requests or more tokens never cost less.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from autoscale.policy.forecast import Decayed
from autoscale.policy.profile import EngineProfile
from core.settings.scaling import Slo

TPOT_SHARE = 0.8
KV_SHARE = 0.8
"""How much of the TPOT SLO, and of the KV cache, the mean may take."""
LEAST_ROOM = 0.1
"""For an SLO that is shorter than an empty step: what is left of a step, in units of a."""
PRIOR_INPUT_TOKENS = 500.0
PRIOR_OUTPUT_TOKENS = 200.0
PRIOR_REQUESTS = 1.0
"""The lengths until calls have come and ended, and how many calls these weigh as much as."""
MOST_TOKENS = 1e7
"""Of one request; no model's context is longer."""


@dataclass(frozen=True, slots=True)
class Costs:
    """Mean tokens of a call's answer and of its KV cache, and the profile they are counted with."""

    output_tokens: float
    context_tokens: float
    slo: Slo
    profile: EngineProfile

    @classmethod
    def of(
        cls,
        inputs: Decayed,
        outputs: Decayed,
        slo: Slo,
        profile: EngineProfile,
        held: Decayed | None = None,
    ) -> Costs:
        """By tokens of recent calls (sums over calls, weighted by calls).

        `held` are tokens in the KV cache of a call that makes an output token, weighted by output
        tokens: long answers make most of them, and hold more than the mean of those that come.
        """
        input_tokens = min(_mean(inputs, PRIOR_INPUT_TOKENS), MOST_TOKENS)
        output_tokens = min(_mean(outputs, PRIOR_OUTPUT_TOKENS), MOST_TOKENS)
        context_tokens = input_tokens + output_tokens / 2
        if held is not None:
            context_tokens = max(context_tokens, min(held.mean(), MOST_TOKENS))
        return cls(output_tokens, context_tokens, slo, profile)

    @property
    def prefill_s(self) -> float:
        """Seconds of a prompt token."""
        return 1 / self.profile.prefill_tokens_per_s

    def work(self, fresh_tokens: float, requests: float) -> float:
        """Replica-seconds of so many calls with so many prompt tokens to compute."""
        profile, out = self.profile, requests * self.output_tokens
        base_s = profile.base_s
        each_s = profile.per_sequence_s + profile.per_kv_token_s * self.context_tokens
        compute_s = fresh_tokens * self.prefill_s + out * each_s
        step_s = max(TPOT_SHARE * self.slo.tpot_s, (1 + LEAST_ROOM) * base_s)
        return max(
            compute_s * step_s / (step_s - base_s),
            compute_s + base_s * out * self.context_tokens / (KV_SHARE * profile.kv_tokens),
            compute_s + base_s * (fresh_tokens + out) / profile.chunk_tokens,
        )

    def held_work(self, tokens: float, requests: float) -> float:
        """The same of calls that are known to have prompts of so many tokens, none cached."""
        if not requests:
            return self.work(tokens, 0)
        context_tokens = min(tokens / requests, MOST_TOKENS) + self.output_tokens / 2
        return replace(self, context_tokens=context_tokens).work(tokens, requests)


def _mean(lengths: Decayed, prior: float) -> float:
    return (lengths.total + prior * PRIOR_REQUESTS) / (lengths.weight + PRIOR_REQUESTS)
