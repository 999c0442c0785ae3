"""`bench.planning`: what it asks of peers, how it reads them, and how it counts coverage."""

from pathlib import Path

import numpy as np
import pytest

from autoscale.capacity.season import History
from autoscale.replay.trace import Trace
from bench.planning import ask_aiconfigurator, ask_sr_sim, covered, known_law

SR_SIM = """
  Best (analytical): γ=1.0  n_s=3  n_l=7  total=11  $193.6K/yr
  Best (simulated):  γ=1.1  n_s=3  n_l=7  total=10  $193.6K/yr
"""
AICONFIGURATOR = """
agg Top Configurations: (Ranked by total_gpus_needed)
| Rank | backend | tokens/s/gpu | tokens/s/user | req/s |  TTFT  | request_latency |  concurrency  |
|  1   |   vllm  |   1960.48    |     10.34     | 74.69 | 249.06 |     20566.37    | 1536 (=192x8) \
|     8 (8=8x1)     |    8     |
"""


def trace() -> Trace:
    at_s = np.arange(100.0)
    return Trace("t", at_s, np.full(100, 1000), np.arange(100) + 1)


def peer(folder: Path, says: str) -> str:
    """A program that keeps its arguments and says so much."""
    path = folder / "peer"
    path.write_text(f"#!/bin/sh\necho \"$@\" > {folder}/asked\ncat <<'END'\n{says}\nEND\n")
    path.chmod(0o755)
    return str(path)


def test_the_simulated_fleet_of_sr_sim_counts(tmp_path: Path):
    assert ask_sr_sim(peer(tmp_path, SR_SIM), trace(), 66.4) == 10
    assert "--lam 66.400 --slo 2000" in (tmp_path / "asked").read_text()


def test_the_gpus_of_aiconfigurators_first_row_count(tmp_path: Path):
    assert ask_aiconfigurator(peer(tmp_path, AICONFIGURATOR), trace(), 66.4) == 8
    assert "--isl 1000 --osl 50" in (tmp_path / "asked").read_text()


def test_a_peer_without_an_answer_stops_with_what_it_said(tmp_path: Path):
    with pytest.raises(SystemExit, match="out of memory"):
        ask_sr_sim(peer(tmp_path, "out of memory"), trace(), 66.4)


def test_coverage_counts_every_hour_of_the_next_days():
    hours, peaks, forecasts = covered(known_law(0, 44), 42, 0.9)
    assert forecasts == 5
    assert 0.7 < hours <= 1
    assert 0 <= peaks <= 1
    steady = History(0.0, 3600.0, np.full(24 * 44, 100.0))
    assert covered(steady, 42, 0.9) == (1.0, 1.0, 5)
    jump = History(0.0, 3600.0, np.concatenate([steady.values[: 24 * 42], np.full(24, 1e6)]))
    assert covered(jump, 42, 0.9) == (0.0, 0.0, 1)
