"""Write the card of the semantic cache's verifier: its data and its measures.

Promises: every figure is passed in; this module only says it. Not covered: measuring.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cache.semantic.verify import Thresholds

_LICENCES = {
    "redis_nearmiss": "Redis' near-miss pairs, MIT",
    "probes": "near-miss and paraphrase probes, CC0",
    "negation_cannot": "CANNOT negation pairs, CC BY-SA 4.0",
    "stsb_and_language": "STS benchmark and its translations, CC BY-SA 4.0",
    "own": "`training/cache/verifier_pairs.toml`, ours, Apache-2.0",
    "respelled": "its wordings, spelled or begun otherwise, ours, Apache-2.0",
}


@dataclass(frozen=True, slots=True)
class PairMark:
    """One set at one cut-off: rows, share served, wrong of those, recall, near misses served."""

    rows: int
    hits: float
    wrong: float
    recall: float
    near_misses_served: float


@dataclass(frozen=True, slots=True)
class Mark:
    """One pair of cut-offs; streams as (share served, wrong of those)."""

    name: str
    thresholds: Thresholds
    pairs: Mapping[str, PairMark]
    streams: Mapping[str, tuple[float, float]]


def render(version: str, marks: Iterable[Mark], weights: Mapping[str, float]) -> str:
    """The card as Markdown."""
    lines = [
        f"# Verifier of the semantic cache, {version}",
        "",
        "Two small forests of boosted trees over hand-made features, for requests in English: one",
        "judges a cached prompt and a new one, the other what a prompt's nearest entries say",
        "together. Neither holds text. Gates (`cache/language/mismatch.py`) come first; the trees",
        "decide on what passes. Made by",
        f"`python -m training.cache.train DATA_DIR --out cache/weights/{version}`.",
        "",
        "## Data",
        "",
        "| set | weight of a row |",
        "|---|---|",
        *(f"| {_LICENCES[name]} | {weight:g} |" for name, weight in weights.items()),
        "| Banking77 (Casanueva et al. 2020), CC BY 4.0, as a stream | 1 |",
        "| CLINC150 (Larson et al. 2019), CC BY 3.0, as a stream | 1 |",
        "",
        "Thanks to their makers; the sets were changed (pairs drawn, features computed). Trees are",
        "statistics of these sets and hold none of their text, so we take them not to be adapted",
        "material; whoever reads CC BY-SA otherwise may take this folder under CC BY-SA 4.0.",
        "Medical question pairs, Quora's pairs and PAWS have no licence to train and only test.",
        "",
        "## Out of fold",
        "",
        "Trees that saw nothing of a pair's group, or of a request's intent, decide here; five",
        "folds. A cut-off is named after the share of wrong answers among those served that it is",
        "meant to keep to; it was set a little below that, on the first two sets and ours, each",
        "counting alike. `0.025` is the default. A pair is served here if it passes the gates,",
        "nothing in it is left unexplained, and the trees are sure.",
    ]
    for mark in marks:
        lines += _level(mark)
    lines += [
        "",
        "## Not for",
        "",
        "Prompts beyond 2,000 characters, other languages than English (five of them are served",
        "word for word), and answers that must be right: a semantic cache is wrong now and then.",
    ]
    return "\n".join(lines) + "\n"


def _level(mark: Mark) -> list[str]:
    cut = mark.thresholds
    return [
        "",
        f"### {mark.name}: pair {cut.pair:.4f}, consensus {cut.consensus:g}",
        "",
        "| set | rows | served | wrong of served | recall | near misses served |",
        "|---|---|---|---|---|---|",
        *(
            f"| {name} | {one.rows:,} | {one.hits:.1%} | {one.wrong:.1%} | {one.recall:.1%} "
            f"| {one.near_misses_served:.1%} |"
            for name, one in mark.pairs.items()
        ),
        *(
            f"| {name} stream, cold | | {hits:.1%} | {wrong:.2%} | | |"
            for name, (hits, wrong) in mark.streams.items()
        ),
    ]
