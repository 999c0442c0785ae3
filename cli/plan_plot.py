"""The picture of `hansom plan replay`: load, replicas, and the share within the SLO, over time.

Promises: no display and no global state of the plotting library is needed or touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from autoscale.replay.baselines import BIN_S, load
from autoscale.replay.policies import Policy
from autoscale.replay.replay import Setup
from autoscale.replay.result import ReplayResult
from autoscale.replay.trace import Trace

_INCHES = (9.0, 7.0)
_COLOURS = ("#1f5fa8", "#b3261e", "#c77f00", "#888888", "#2e7d32")
_BINS = 120


def draw(trace: Trace, found: Mapping[Policy, ReplayResult], setup: Setup, path: Path) -> None:
    """Write the picture; the suffix of `path` chooses SVG or PNG, others raise `ValueError`."""
    figure = Figure(figsize=_INCHES, layout="constrained")
    rate, fleet, slo = figure.subplots(3, 1, sharex=True)
    edges_s = np.linspace(0, max(trace.span_s, 1.0), _BINS + 1)
    middle_h = (edges_s[:-1] + edges_s[1:]) / 2 / 3600
    arrived = np.histogram(trace.at_s, edges_s)[0]
    rate.plot(middle_h, arrived / np.diff(edges_s), color="black", linewidth=1)
    rate.set_ylabel("requests/s")
    rate.set_title(f"{trace.name} on {setup.profile.name}", size=10)
    work = load(trace, setup.profile, setup.slo)
    fleet.plot(np.arange(len(work)) * BIN_S / 3600, work, color="#cccccc", label="work")
    for colour, (name, one) in zip(_COLOURS, found.items(), strict=False):
        hours = [moment.at_s / 3600 for moment in one.moments]
        ready = [moment.ready for moment in one.moments]
        fleet.step(hours, ready, where="post", color=colour, label=name, linewidth=1)
        within = np.histogram(trace.at_s, edges_s, weights=one.within)[0]
        share = np.divide(100.0 * within, arrived, where=arrived > 0, out=np.full(_BINS, np.nan))
        slo.plot(middle_h, share, color=colour, linewidth=1, label=name)
    fleet.set_ylabel("replicas ready")
    fleet.legend(frameon=False, fontsize=8)
    slo.set_ylabel("within SLO, %")
    slo.set_ylim(top=100.5)
    slo.set_xlabel("hours")
    figure.savefig(path)
