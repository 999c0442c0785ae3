"""Write the router's model card: its measures, as a page beside the weights.

Promises: every number on the page comes from the `Study` it is given; the words around them are
here and nowhere else.
Not covered: serving never needs this module.
"""

from __future__ import annotations

from dataclasses import dataclass

from learning.measures import Interval


@dataclass(frozen=True, slots=True)
class SourceLine:
    """How the score routes one source. Shares and probabilities in [0, 1]."""

    name: str
    rows: int
    small_right: float
    large_right: float
    apgr: Interval
    cpt50: float
    cpt80: float
    auroc: Interval
    ece_small: float
    ece_large: float


@dataclass(frozen=True, slots=True)
class ModelCandidate:
    """APGR of one model, all sources pooled, ranked by gain and by P(small wrong)."""

    name: str
    folds_gain: float
    folds_difficulty: float
    left_out_gain: float
    left_out_difficulty: float


@dataclass(frozen=True, slots=True)
class Own:
    """Prompts of our own and the share of each label that was sent where the label says."""

    easy: int
    easy_to_small: float
    hard: int
    hard_to_large: float


@dataclass(frozen=True, slots=True)
class Learning:
    """One source left out: APGR and ECE of P(small right), by number of its labels."""

    name: str
    apgr: tuple[float, ...]
    ece: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Reworded:
    """APGR after one change of wording, and 1 - the correlation of the ranks before and after."""

    name: str
    apgr: float
    moved: float


@dataclass(frozen=True, slots=True)
class Gates:
    """What is asked of the score, imitated. new_subjects: APGR, its least and greatest part."""

    new_subjects: tuple[float, float, float]
    learning: tuple[Learning, ...]
    reworded: tuple[Reworded, ...]


@dataclass(frozen=True, slots=True)
class Study:
    """All that a training run measured."""

    candidates: tuple[ModelCandidate, ...]
    folds: tuple[SourceLine, ...]
    left_out: tuple[SourceLine, ...]
    own_by_family: Own
    own_held_out: Own
    gates: Gates
    threshold: float
    target_pgr: float
    large_share: float
    reach: tuple[float, float, float]


_DATA = """\
| source | rows of | pair (small, large) | licence |
|---|---|---|---|
| routellm_mmlu | MMLU | Mixtral-8x7B-Instruct, GPT-4-1106 | Apache-2.0 / MIT |
| routerbench_arc_mbpp_winogrande | ARC-c, MBPP | Mixtral-8x7B-chat, GPT-4-1106 | MIT |
| llmrouter_uiuc | eight tasks | Mistral-7B-v0.3, Nemotron-51B | MIT |
| zeroeval_math-l5 | MATH level 5 | Qwen2.5-7B, Qwen2.5-72B | Apache-2.0 |
| mmlu_pro | MMLU-Pro | Llama-3.1-8B, Llama-3.1-70B | Apache-2.0 |
| own | `prompts.toml`, `stories.toml` | labels by construction, not measured | ours, Apache-2.0 |

Left out of the weights on purpose: BBH scores and the seven-small-models set, whose licences are
not stated. Rows that RouteLLM marks as contaminated are dropped. Where other models of about the
same strength answered the same prompts, half of what is learned is their mean; what is measured is
the pair alone.

`sample.jsonl` quotes how 512 of these prompts begin (160 characters at most), those whose
embeddings the weights keep; they stay under the licences above. `hansom router explain` shows the
nearest of them; nothing else reads them."""

_LIMITS = """\
- The public data are exam questions in English, one turn each. Traffic is not. Small talk, plain
  requests and build-me-this work enter only through our own prompts, whose labels are opinions.
- No conversation of several turns, no tool calls, no image was in the data: the features that
  count them weigh nothing. Chinese and other languages: a handful of our own prompts.
- Two models of other families than these pairs may differ in other places. With a few hundred
  labelled calls of your own pair, adapt the score or train again.
- P(small right) and P(large right) are calibrated for the first pair. For any other pair, or other
  kind of task, they are wrong by up to 0.3 until some 200 labels set their level.
- Without labels of a domain, routing is near chance: see the second table.
- The cut-off was chosen on the rows it is reported on; it is no guarantee for other traffic.
- How often our own prompts count, and the share of the gap that sets the cut-off, were chosen with
  the held-out families in view: their figures flatter a little. Distance tells familiar from
  strange prompts only weakly (AUROC about 0.65), so it moves `need` gently.
- Choices of form (levels of sources, peers, advantage, equal slopes) were made on the rows of the
  tables above: those flatter a little, too."""


def render(version: str, study: Study) -> str:
    """The card in Markdown."""
    return (
        "\n\n".join(
            (
                f"# Router weights {version}",
                "Two calibrated probabilities for a prompt, P(small model right) and P(large "
                "model right): the mean logit of logistic regression (MiniLM embedding and surface "
                "features) and of 200 boosted trees of depth 4 per head (surface features), "
                "learned beside the level of each source, then Platt scaling on MMLU: the "
                "probabilities are those of Mixtral-8x7B and GPT-4-1106.",
                "## Data\n\n" + _DATA,
                "## Candidates\n\nAPGR, all public sources pooled; chance is 0.500.\n\n"
                + _candidates(study.candidates),
                "## Routing by `need`, five folds\n\nEqual prompts share a fold. Brackets: 95 % "
                "bootstrap intervals over rows. CPT: percent of calls to the large model. "
                "AUROC: for 'small is wrong', by P(small wrong). ECE: of the two probabilities.\n\n"
                + _lines(study.folds),
                "## Routing by `need`, each source left out whole\n\n" + _lines(study.left_out),
                "## New subjects, few labels, other wording\n\n" + _gates(study.gates),
                "## Our own prompts\n\n" + _own(study),
                "## Cut-off and reach\n\n" + _cut_off(study),
                "## What it has not seen, and does not promise\n\n" + _LIMITS,
            )
        )
        + "\n"
    )


def _cut_off(study: Study) -> str:
    near, far, repaired = study.reach
    return (
        f"Default cut-off {study.threshold:.4f}: the highest that recovers "
        f"{study.target_pgr:.0%} of the gap between the two models on the out-of-fold public "
        f"rows; it sends {study.large_share:.1%} of those to the large model.\n\n"
        f"`need` is the large model's advantage (the mean of the expected gain and of the gap of "
        f"the two logits) up to a distance of {near:.3f}. From {far:.3f} on it is "
        f"{repaired:.3f} x P(small wrong), which is the share of the small model's mistakes that "
        "the large one repairs; between the two it is a blend."
    )


def _candidates(candidates: tuple[ModelCandidate, ...]) -> str:
    rows = [
        "| model | folds, by gain | folds, by P(small wrong) | left out, by gain "
        "| left out, by P(small wrong) |",
        "|---|---|---|---|---|",
    ]
    rows += [
        f"| {one.name} | {one.folds_gain:.3f} | {one.folds_difficulty:.3f} "
        f"| {one.left_out_gain:.3f} | {one.left_out_difficulty:.3f} |"
        for one in candidates
    ]
    return "\n".join(rows)


def _lines(lines: tuple[SourceLine, ...]) -> str:
    rows = [
        "| source | rows | small / large right | APGR | CPT50 | CPT80 | AUROC "
        "| ECE small / large |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rows += [
        f"| {one.name} | {one.rows:,} | {one.small_right:.3f} / {one.large_right:.3f} "
        f"| {one.apgr} | {100 * one.cpt50:.1f} | {100 * one.cpt80:.1f} | {one.auroc} "
        f"| {one.ece_small:.3f} / {one.ece_large:.3f} |"
        for one in lines
    ]
    return "\n".join(rows)


def _gates(gates: Gates) -> str:
    mean, least, greatest = gates.new_subjects
    rows = [
        f"A third of the MMLU subjects left out, six times: APGR {mean:.3f}, "
        f"between {least:.3f} and {greatest:.3f}.",
        "",
        "A source left out, then labels of it: APGR (ECE of P(small right)), means of five draws.",
        "",
        "| source | no label | 100 | 200 | 500 |",
        "|---|---|---|---|---|",
    ]
    for one in gates.learning:
        cells = [f"{area:.3f} ({ece:.3f})" for area, ece in zip(one.apgr, one.ece, strict=True)]
        rows.append(f"| {one.name} | " + " | ".join(cells) + " |")
    rows += ["", "| MMLU, out of fold | APGR | 1 - correlation of ranks |", "|---|---|---|"]
    rows += [f"| {one.name} | {one.apgr:.3f} | {one.moved:.4f} |" for one in gates.reworded]
    return "\n".join(rows)


def _own(study: Study) -> str:
    rows = ["| prompts | easy sent to small | hard sent to large |", "|---|---|---|"]
    for name, own in (
        ("trained families, each predicted without its fold", study.own_by_family),
        ("held-out families, never trained on", study.own_held_out),
    ):
        rows.append(
            f"| {name} | {own.easy_to_small:.1%} of {own.easy} "
            f"| {own.hard_to_large:.1%} of {own.hard} |"
        )
    return "\n".join(rows)
