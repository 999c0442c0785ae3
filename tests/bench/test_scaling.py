"""The table of docs/autoscaling.md: what is asked for, and how it is laid out."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from autoscale.replay.policies import PolicyChoice
from autoscale.replay.replay import Setup
from autoscale.replay.trace import Trace
from bench.scaling import DAY_S, TUESDAY, azure_tuesday, choice, main, measure, table


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("ours", PolicyChoice("ours")),
        ("ours:0.5", PolicyChoice("ours", utilisation=0.5)),
        ("ray:12", PolicyChoice("ray", target=12.0)),
        ("ray-damped:8", PolicyChoice("ray-damped", target=8.0)),
        ("fixed:20", PolicyChoice("fixed", replicas=20)),
        ("foresight:0.9", PolicyChoice("foresight", utilisation=0.9)),
    ],
)
def test_a_policy_may_carry_its_number(text: str, made: PolicyChoice):
    assert choice(text) == made


def test_an_unknown_policy_is_named():
    with pytest.raises(ValueError, match="magic is no policy; there are ours, ray"):
        choice("magic:3")


def row(workload: str, policy: str, share: float, hours: float) -> dict[str, Any]:
    return {
        "workload": workload, "policy": policy, "slo_attainment": share, "gpu_hours": hours,
        "replica_moves": 4,
    }  # fmt: skip


def test_the_table_means_over_seeds_and_workloads():
    rows = [row("a", "ours", 0.9, 10), row("a", "ours", 1.0, 20), row("b", "ours", 0.85, 5)]
    rows += [row("a", "ray", 1.0, 30), row("b", "ray", 1.0, 15)]
    assert table(rows).splitlines()[-2:] == [
        "| ours | 95.0%, 15.0 h, 4 | 85.0%, 5.0 h, 4 | 90.0% | 85.0% | 1.00 |",
        "| ray | 100.0%, 30.0 h, 4 | 100.0%, 15.0 h, 4 | 100.0% | 100.0% | 2.50 |",
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    columns = {
        "t_seconds": np.sort(rng.uniform(0, 600, 300)),
        "input_tokens": rng.integers(10, 900, 300),
        "output_tokens": rng.integers(1, 200, 300),
    }
    pq.write_table(pa.table(columns), tmp_path / "azure2023_conv.parquet")
    days = np.arange(8) * DAY_S
    rate = np.where(np.arange(8) == TUESDAY, 30.0, 0.0)
    pq.write_table(
        pa.table({"t_seconds": days, "rpm_mid": rate}),
        tmp_path / "azure2024_conv_week_rate.parquet",
    )
    return tmp_path


def test_tuesday_is_the_third_day_and_a_share_of_the_rate(folder: Path):
    """30 a minute at its start, none a day later: half of 30 on average, times 0.42."""
    made = azure_tuesday(folder, 1)
    assert len(made) == pytest.approx(0.42 * 15 * 24 * 60, rel=0.05)
    first, second = np.histogram(made.at_s, [0, DAY_S / 2, DAY_S])[0]
    assert first > 2.5 * second


def test_a_part_can_be_run_alone(folder: Path, capsys: pytest.CaptureFixture[str]):
    main(["--workloads", "azconv_x12", "--policies", "fixed:2,ray:8", "--traces", str(folder)])
    told = capsys.readouterr().out
    assert "azconv_x12    seed 0 fixed:2" in told
    assert "| ray:8 | " in told and "mooncake" not in told


@pytest.mark.parametrize(("words", "order"), [([], "late-last"), (["--order", "fcfs"], "fcfs")])
def test_the_order_of_a_queue_can_be_chosen(
    words: list[str], order: str, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    seen = []

    def keep(trace: Trace, text: str, setup: Setup) -> dict[str, Any]:
        seen.append(setup.order)
        return measure(trace, text, setup)

    monkeypatch.setattr("bench.scaling.measure", keep)
    part = ["--workloads", "azconv_x12", "--policies", "fixed:2", "--traces", str(folder)]
    main([*part, *words])
    assert seen == [order]
