"""What `hansom router` prints for people: tables, then sentences.

Promises: the same figures as with `--json`, rounded; no line depends on the terminal's width.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from cli.router_rows import Scored
from cli.tables import show_table, terminal
from core.call import Decision
from learning.measures import Interval
from router.policy.cutoffs import spread
from router.score.explain import Explanation, Influence
from router.score.model import Score
from router.tuning.compare import StrategyLine
from router.tuning.evaluation import Exam
from router.tuning.guarantee import Guarantee

_CURVE_LINES = 11
_FEATURES_SHOWN = 8


def guarantee(made: Guarantee, scored: Scored) -> None:
    """Cut-offs, curve, conditions."""
    console = terminal()
    table = Table("rows of", "rows", "cut-off", "to strong", "quality", "strong", "kept")
    for part in made.parts:
        table.add_row(
            part.name,
            f"{part.rows:,}",
            f"{part.threshold:.4f}",
            f"{part.strong_share:.1%}",
            f"{part.quality:.3f} ± {part.error:.3f}",
            f"{part.strong_quality:.3f}",
            f"{part.kept:.1%}",
        )
    show_table(table, console)
    show_table(_curve(made), console)
    if made.target is not None:
        console.print(
            f"Promised: {made.target:.1%} of the strong model's quality, which is "
            f"{made.promised:.3f} on these rows. Expected: {made.quality:.3f} with "
            f"{made.strong_share:.1%} of calls to the strong model."
        )
    else:
        console.print(
            f"Budget {made.budget:g}: {made.cost:.4g} is spent. Expected quality: "
            f"{made.quality:.3f} with {made.strong_share:.1%} of calls to the strong model."
        )
    for condition in [*made.conditions, *_warnings(scored)]:
        console.print(f"- {condition}")
    if len(made.parts) == 1:
        part = made.parts[0]
        if made.tiers > 2:
            cuts = ", ".join(f"{cut:.4f}" for cut in spread(part.threshold, made.tiers))
            console.print(f"Calls of each tier: {_shares(part.shares)}. Their cut-offs: {cuts}.")
        console.print(f"In the settings: router.threshold: {part.threshold:.6g}")


def exam(marks: Exam) -> None:
    """Each measure with its interval."""
    told = marks.as_json()
    table = Table("measure", "value", "95 % interval")
    for name, value in told.items():
        if name.endswith(("_low", "_high")) or name == "caution":
            continue
        whole = getattr(marks, name)
        between = f"{whole.low:.3f} to {whole.high:.3f}" if isinstance(whole, Interval) else ""
        table.add_row(name, f"{value:.3f}" if isinstance(value, float) else str(value), between)
    show_table(table)
    if marks.caution:
        terminal().print(marks.caution)


def strategies(lines: Sequence[StrategyLine], scored: Scored) -> None:
    """A row for each strategy."""
    several = any(len(line.shares) > 2 for line in lines)
    calls = "calls of each tier" if several else "to strong"
    table = Table("strategy", calls, "quality", "PGR", "APGR (chance 0.500)")
    for line in lines:
        table.add_row(
            line.strategy.value,
            _shares(line.shares) if several else f"{line.strong_share:.1%}",
            f"{line.quality:.3f}",
            "–" if line.pgr is None else f"{line.pgr:.3f}",
            "–" if line.apgr is None else str(line.apgr),
        )
    show_table(table)
    for warning in _warnings(scored):
        terminal().print(f"- {warning}")


def explanation(decision: Decision, scored: Score, why: Explanation) -> None:
    """The decision, the inputs that moved it most, then the nearest training prompts."""
    console = terminal()
    console.print(f"To {decision.tier}: {decision.reason}.")
    console.print(
        f"P(small right) {scored.p_small:.3f}, P(large right) {scored.p_large:.3f}, rank "
        f"{why.rank:+.3f}, distance {scored.distance:.3f}, weights {scored.version}."
    )
    table = Table("input", "value", "usual", "effect", "linear half", "tree half")
    for one in (why.embedding, why.surface, *why.features[:_FEATURES_SHOWN]):
        table.add_row(*_influence(one))
    show_table(table, console)
    console.print(
        "Effect: how far the rank moves when the input takes its usual value, with the sign of "
        "what it does now; above 0 it speaks for the large model. The embedding has "
        f"{why.embedding_share:.0%} of it, the surface features the rest."
    )
    nearest = _nearest(why)
    if isinstance(nearest, Table):
        show_table(nearest, console)
    else:
        console.print(nearest)


def _shares(shares: Sequence[float]) -> str:
    return ", ".join(f"{share:.1%}" for share in shares)


def _curve(made: Guarantee) -> Table:
    """About as many lines as people read, evenly over the share of strong calls."""
    table = Table("to strong", "quality", "of strong", "cut-off", title="One cut-off for all rows")
    step = 1 / (_CURVE_LINES - 1)
    shown = {
        min(made.curve, key=lambda point: abs(point.strong_share - line * step))
        for line in range(_CURVE_LINES)
    }
    for point in sorted(shown, key=lambda point: point.threshold):
        table.add_row(
            f"{point.strong_share:.1%}",
            f"{point.quality:.3f}",
            f"{point.kept:.1%}",
            f"{point.threshold:.4f}",
        )
    return table


def _influence(one: Influence) -> tuple[str, ...]:
    group = one.value != one.value  # nan: a group has no value of its own
    return (
        f"all of the {one.name}" if group else one.name,
        "" if group else f"{one.value:.2f}",
        "" if group else f"{one.usual:.2f}",
        f"{one.effect:+.3f}",
        f"{one.linear:+.3f}",
        f"{one.trees:+.3f}",
    )


def _nearest(why: Explanation) -> Table | str:
    """The training prompts that are most alike, or how alike they are if they were not kept."""
    if why.nearest_prompts is None:
        cosines = ", ".join(f"{cosine:.2f}" for cosine in why.cosines)
        return (
            f"Cosines to the nearest of the sampled training prompts: {cosines}. "
            "The artefact has not kept the prompts themselves."
        )
    table = Table("cosine", "source", "nearest of the sampled training prompts")
    for one in why.nearest_prompts:
        table.add_row(f"{one.cosine:.2f}", escape(one.source), escape(one.prompt))
    return table


def _warnings(scored: Scored) -> list[str]:
    """What the rows themselves give away."""
    found = []
    if scored.labelled.left_out:
        found.append(f"Left out for want of a score, or contaminated: {scored.labelled.left_out}.")
    if scored.seen:
        found.append(
            f"{scored.seen} of these prompts are, or nearly are, in the artefact's sample of its "
            "training prompts: the router has seen rows of this file, and looks better than it is."
        )
    return found
