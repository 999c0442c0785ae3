"""Measure a model's uncertainty of its tokens from their log-probabilities.

Promises: `features` and `doubt` are finite for any list of natural log-probabilities, an empty one
and one with -inf or nan included. Nothing here is a sum over tokens: a summed or mean log-prob
carries a length bias and routes worse than chance on some tasks, while quantiles of token
uncertainty do not (arXiv 2404.10136). `doubt` uses no feature that grows with length alone.
`doubt` is P(wrong) at even odds, on short questions answered by a 135M and a 1.5B model; add the
logit of how often a model is wrong to read it as that model's own.
Not covered: what the tokens say. Sampling at another temperature than 1 shifts the values, not
their order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Surprise is -log p in nats; a token at the cap was as good as impossible (p = 2e-9).
MAX_SURPRISE = 20.0
_LEVELS = (0.5, 0.75, 0.9, 0.95, 0.99)
_CUTS = (0.9, 0.5, 0.1)  # probabilities
_WORST = (1, 5, 20)
_WORST_SHARE = 0.05
_FINAL_TOKENS = 8

NAMES: tuple[str, ...] = (
    *(f"surprise_q{round(100 * level)}" for level in _LEVELS),
    *(f"worst_{count}_mean" for count in _WORST),
    "worst_share_mean",
    *(f"share_below_p{round(100 * cut)}" for cut in _CUTS),
    "first",
    "final_mean",
    "final_max",
    "surprise_mean",
    "tokens",
)
# Of surprise in nats, learned by `training.router.fit_uncertainty`. More features did no better on
# kinds of questions and a model that the fit had not seen; these two are the usual token and the
# worst ones.
WEIGHTS = {"surprise_q75": 0.96, "worst_share_mean": 0.54}
_OFFSET = -1.23
_SCALE = np.array([WEIGHTS.get(name, 0.0) for name in NAMES], dtype=np.float32)


def features(logprobs: Sequence[float]) -> NDArray[np.float32]:
    """(Q,) float32, Q = len(NAMES), of an answer's tokens in their order; zeros without tokens.

    `tokens` is log(1 + count); the others are in nats, or shares in [0, 1].
    """
    surprise = _surprise(logprobs)
    if not len(surprise):
        return np.zeros(len(NAMES), dtype=np.float32)
    worst = np.sort(surprise)[::-1]
    share = math.ceil(_WORST_SHARE * len(worst))
    values = [
        *np.quantile(surprise, _LEVELS),
        *(worst[:count].mean() for count in _WORST),
        worst[:share].mean(),
        *((surprise > -math.log(cut)).mean() for cut in _CUTS),
        surprise[0],
        surprise[-_FINAL_TOKENS:].mean(),
        surprise[-_FINAL_TOKENS:].max(),
        surprise.mean(),
        math.log1p(len(surprise)),
    ]
    return np.array(values, dtype=np.float32)


def doubt(logprobs: Sequence[float]) -> float:
    """P(wrong) as far as the tokens tell, at even odds; a half without tokens."""
    if not len(logprobs):
        return 0.5
    logit = float(features(logprobs) @ _SCALE) + _OFFSET
    return 1.0 / (1.0 + math.exp(-logit))


def perplexity(prompt_logprobs: Sequence[float | None]) -> float:
    """The large model's perplexity of the small model's answer, at least 1; higher is worse.

    Pass the log-probabilities that a prefill of prompt and answer gave to the answer's tokens;
    None, which engines report for the very first token, is left out. This is CMP of arXiv
    2603.25450v2: one prefill, no decoding, and by that paper a mean AUROC for "the small one is
    wrong" of .727 on MMLU and .623 on GSM8K, against .595 and .584 of the small one's entropy.
    Raises `ValueError` when there is no token to judge.
    """
    surprise = _surprise([each for each in prompt_logprobs if each is not None])
    if not len(surprise):
        raise ValueError("perplexity wants at least one log-probability")
    return float(np.exp(surprise.mean()))


def _surprise(logprobs: Sequence[float]) -> NDArray[np.float64]:
    """(N,) -logprob within [0, MAX_SURPRISE]; nan counts as the worst."""
    surprise = np.nan_to_num(-np.asarray(logprobs, dtype=np.float64), nan=MAX_SURPRISE)
    return np.clip(surprise, 0.0, MAX_SURPRISE)
