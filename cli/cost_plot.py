"""The tornado plot of `hansom cost`: what each lever alone does to a day's cost.

Promises: no display and no global state of the plotting library is needed or touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from ledger.cost.tornado import Swing

_BLUE, _GREY, _RED = "#1f5fa8", "#888888", "#b3261e"
_WIDTH, _ROW, _FRAME = 7.2, 0.45, 1.4  # inches


def draw(swings: Sequence[Swing], title: str, path: Path) -> None:
    """Write the picture; the suffix of `path` chooses SVG or PNG, others raise `ValueError`."""
    figure = Figure(figsize=(_WIDTH, _FRAME + _ROW * len(swings)), layout="constrained")
    axes = figure.subplots()
    base = float(swings[0].base_usd_per_day)
    for place, swing in enumerate(swings):
        low, high = float(swing.low_usd_per_day), float(swing.high_usd_per_day)
        axes.barh(place, low - base, left=base, color=_BLUE)
        axes.barh(place, high - base, left=base, color=_RED)
        axes.text(min(low, base, high), place, f"{swing.low}  ", ha="right", va="center", size=8)
        axes.text(max(low, base, high), place, f"  {swing.high}", ha="left", va="center", size=8)
    axes.axvline(base, color=_GREY, linewidth=0.8)
    axes.set_yticks(range(len(swings)), [swing.name for swing in swings])
    axes.invert_yaxis()
    axes.margins(x=0.35)
    axes.set_xlabel("USD a day")
    axes.set_title(f"{title}: one lever at a time", size=10)
    figure.savefig(path)
