"""The table of twelve traces: equal attainment, which targets are asked for, what is kept."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.scaling_promise import CASES, KeptShare, PromisePoint, around, at_equal_share, main

RAY = (
    PromisePoint(0.99, 40.0),
    PromisePoint(0.97, 20.0),
    PromisePoint(0.96, 30.0),
    PromisePoint(0.90, 10.0),
)
"""The third is dominated: it keeps less than the second for more hours."""


@pytest.mark.parametrize(
    ("share", "gpu_hours"), [(0.97, 20.0), (0.98, 30.0), (0.935, 15.0), (0.5, 10.0), (1.0, 40.0)]
)
def test_hours_at_equal_attainment_are_between_neighbours(share: float, gpu_hours: float):
    assert at_equal_share(share, RAY) == pytest.approx(gpu_hours)


@pytest.mark.parametrize("share", [0.0, 0.72, 0.8, 1.0])
def test_the_targets_on_either_side_are_asked_for(share: float):
    asked: list[float] = []

    def ask(target: float) -> PromisePoint:
        asked.append(target)
        return PromisePoint(1 - target / 100, 100 / target)

    points = around(share, (4, 8, 16, 24, 32, 48), ask)
    assert len(points) == len(asked) <= 3
    kept = [one for one in (4, 8, 16, 24, 32, 48) if 1 - one / 100 >= share]
    if kept:
        assert max(kept) in asked
    if len(kept) < 6:
        assert (4, 8, 16, 24, 32, 48)[len(kept)] in asked


def test_half_of_the_traces_were_left_out():
    assert Counter(case.half for case in CASES.values()) == {"design": 6, "held": 6}


def test_what_is_kept_is_not_made_again(tmp_path: Path):
    path = tmp_path / "kept.json"
    assert KeptShare(path).get("a", lambda: PromisePoint(0.9, 3.0)) == PromisePoint(0.9, 3.0)
    assert KeptShare(path).get("a", lambda: pytest.fail("made again")) == PromisePoint(0.9, 3.0)


def test_one_run_prints_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rng = np.random.default_rng(0)
    columns = {
        "t_seconds": np.sort(rng.uniform(0, 600, 300)),
        "input_tokens": rng.integers(10, 900, 300),
        "output_tokens": rng.integers(1, 200, 300),
    }
    pq.write_table(pa.table(columns), tmp_path / "azure2023_conv.parquet")
    main(["--only", "azure2023", "--scales", "1,2", "--ladder", "8,32", "--traces", str(tmp_path)])
    told = capsys.readouterr().out
    assert "| azure2023_conv ×1 | 100.00% |" in told and "| azure2023_conv ×2 |" in told
    assert "mean 100.00%, worst 100.00%, 1.00 of Ray's hours" in told
