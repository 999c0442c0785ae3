"""The picture of `hansom plan capacity`: nodes of each tier over the days, and what is there.

Promises: no display and no global state of the plotting library is needed or touched.
"""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from autoscale.capacity.forecast import CapacityPlan

_WIDTH, _ROW, _FRAME = 8.0, 2.4, 0.6  # inches
_BLUE, _RED = "#1f5fa8", "#b3261e"


def draw(plan: CapacityPlan, path: Path) -> None:
    """Write the picture; the suffix of `path` chooses SVG or PNG, others raise `ValueError`."""
    count = len(plan.tiers)
    figure = Figure(figsize=(_WIDTH, _FRAME + _ROW * count), layout="constrained")
    rows = figure.subplots(count, 1, sharex=True, squeeze=False)[:, 0]
    for axes, tier in zip(rows, plan.tiers, strict=True):
        dates = [day.date for day in tier.days]
        nodes = [day.nodes for day in tier.days]
        axes.fill_between(
            dates,
            [one.lower for one in nodes],
            [one.upper for one in nodes],
            step="post", color=_BLUE, alpha=0.2, label="band",
        )  # fmt: skip
        axes.step(dates, [one.expected for one in nodes], where="post", color=_BLUE,
                  label="expected")  # fmt: skip
        axes.axhline(tier.have, color=_RED, linewidth=0.9, label="there")
        if tier.next_gpu.earliest is not None:
            axes.axvline(tier.next_gpu.earliest, color=_RED, linewidth=0.9, linestyle=":")
        axes.set_ylim(bottom=0)
        axes.set_ylabel("nodes")
        axes.set_title(f"{tier.name} on {tier.node.name}", size=10)
    rows[0].legend(frameon=False, fontsize=8)
    figure.autofmt_xdate()
    figure.savefig(path)
