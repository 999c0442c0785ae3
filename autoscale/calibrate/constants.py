"""Fit the constants of an engine's step to measured TTFT and TPOT.

TPOT of B sequences that hold K tokens together is base_s + per_sequence_s * B + per_kv_token_s * K.
TTFT of a prompt alone is overhead_s (the way there and back), base_s + per_sequence_s for each
chunk of `chunk_tokens`, whole or not, and 1 / prefill_tokens_per_s for each token.

Promises: pure; least squares of relative errors with no constant below 0, where a negative one is
left out and the rest fitted again. Not covered: chunk_tokens, max_sequences and start-up times,
which cannot be seen from outside.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoscale.replay.engine_state import Floats

FASTEST_TOKENS_PER_S = 1e7
"""Taken where TTFT does not grow with the prompt."""
_LEAST_S = 1e-6


@dataclass(frozen=True, slots=True)
class TimingSample:
    """One answer: `sequences` ran at once, `kv_tokens` is what they held together on average."""

    prompt_tokens: int
    sequences: int
    kv_tokens: float
    ttft_s: float
    tpot_s: float


@dataclass(frozen=True, slots=True)
class FittedConstants:
    """A step's constants; `overhead_s` is in every TTFT. Errors are medians, relative."""

    base_s: float
    per_sequence_s: float
    per_kv_token_s: float
    prefill_tokens_per_s: float
    overhead_s: float
    tpot_error: float
    ttft_error: float


def fit(samples: Sequence[TimingSample], chunk_tokens: int) -> FittedConstants:
    """The constants; ValueError without two prompt lengths that were sent alone."""
    base_s, per_sequence_s, per_kv_token_s = _pace(samples)
    alone = [one for one in samples if one.sequences == 1]
    tokens = np.array([one.prompt_tokens for one in alone], float)
    ttft_s = np.array([one.ttft_s for one in alone])
    if len(set(tokens)) < 2:
        raise ValueError("two prompt lengths at least must be sent alone")
    steps_s = np.ceil(tokens / chunk_tokens) * (base_s + per_sequence_s)
    each_s, overhead_s = _line(tokens, ttft_s - steps_s, 1 / ttft_s)
    told = np.array([one.tpot_s for one in samples])
    rows = _rows(samples) @ np.array([base_s, per_sequence_s, per_kv_token_s])
    return FittedConstants(
        base_s,
        per_sequence_s,
        per_kv_token_s,
        1 / each_s,
        overhead_s,
        _error(rows, told),
        _error(overhead_s + steps_s + each_s * tokens, ttft_s),
    )


def _pace(samples: Sequence[TimingSample]) -> tuple[float, float, float]:
    rows = _rows(samples)
    told = np.array([one.tpot_s for one in samples])
    kept = [0, 1, 2]
    while True:
        # Relative errors count alike: a slow step is measured no better than a fast one.
        found = np.linalg.lstsq(rows[:, kept] / told[:, None], np.ones(len(told)), rcond=None)[0]
        worst = min(range(len(kept)), key=lambda n: found[n] if kept[n] else np.inf)
        if len(kept) == 1 or found[worst] >= 0:
            break
        del kept[worst]
    constants = dict(zip(kept, found.tolist(), strict=True))
    return (
        max(_LEAST_S, constants.get(0, 0.0)),
        max(0.0, constants.get(1, 0.0)),
        max(0.0, constants.get(2, 0.0)),
    )


def _line(tokens: Floats, seconds: Floats, weights: Floats) -> tuple[float, float]:
    """Seconds of a token and of none: a weighted line that begins at 0 or above."""
    slope_s, zero_s = np.polyfit(tokens, seconds, 1, w=weights)
    if zero_s < 0:
        far = tokens * weights
        slope_s, zero_s = far @ (seconds * weights) / (far @ far), 0.0
    return max(float(slope_s), 1 / FASTEST_TOKENS_PER_S), float(zero_s)


def _rows(samples: Sequence[TimingSample]) -> Floats:
    return np.array([(1.0, one.sequences, one.kv_tokens) for one in samples])


def _error(found: Floats, told: Floats) -> float:
    return float(np.median(np.abs(found - told) / told))
