"""The curve of `hansom router calibrate` as a picture: quality over the share of strong calls.

Promises: no display and no global state of the plotting library is needed or touched.
"""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from router.tuning.guarantee import Guarantee

_INCHES = (6.4, 4.2)
_BLUE, _GREY, _RED = "#1f5fa8", "#888888", "#b3261e"


def draw(made: Guarantee, path: Path) -> None:
    """Write the picture; the suffix of `path` chooses SVG or PNG."""
    figure = Figure(figsize=_INCHES, layout="constrained")
    axes = figure.subplots()
    shares = [100 * point.strong_share for point in made.curve]
    axes.plot(shares, [point.quality for point in made.curve], color=_BLUE, label="one cut-off")
    ends = [made.curve[-1], made.curve[0]]
    axes.plot(
        [100 * point.strong_share for point in ends],
        [point.quality for point in ends],
        color=_GREY,
        linestyle=":",
        label="by chance",
    )
    axes.axhline(made.strong_quality, color=_GREY, linewidth=0.8, label="strong alone")
    if made.promised is not None:
        label = f"promised: {made.target:.1%} of strong"
        axes.axhline(made.promised, color=_RED, linestyle="--", label=label)
    axes.plot(100 * made.strong_share, made.quality, "o", color=_RED, label="chosen")
    axes.set_xlabel("calls to the strong model, %")
    axes.set_ylabel("quality (mean score)")
    axes.set_xlim(0, 100)
    axes.legend(frameon=False)
    figure.savefig(path)
