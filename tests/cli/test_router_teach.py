"""Teaching a running router from a file, and what labels are worth."""

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from pyarrow import csv, parquet
from typer.testing import CliRunner

from cli.main import app
from core.errors import HansomError
from deployments.router.label_store import LabelStore
from router.adapt.labels import Label
from tests.conftest import RedisServer
from tests.deployments.serving import simulated

BOTH = ("--weak", "org/small", "--strong", "org/large")


def graded(rows: int) -> pa.Table:
    """Sums, of which the small model gets the long ones wrong."""
    generator = np.random.default_rng(1)
    lengths = generator.integers(2, 7, rows)
    prompts = [" + ".join(str(generator.integers(1, 99)) for _ in range(n)) for n in lengths]
    columns: dict[str, Any] = {
        "prompt": [f"{prompt} = ?" for prompt in prompts],
        "score::org/small": (lengths < 5).astype(float),
        "score::org/large": np.ones(rows),
    }
    return pa.table(columns)


def config(folder: Path, redis_url: str) -> Path:
    file = folder / "serve.yaml"
    file.write_text(yaml.safe_dump(simulated(cache={"redis_url": redis_url})))
    return file


def labels(url: str) -> list[Label]:
    async def read() -> list[Label]:
        memory = LabelStore(url, keep_s=60, max_labels=5000)
        try:
            return await memory.labels()
        finally:
            await memory.close()

    return asyncio.run(read())


@pytest.mark.redis
@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_every_row_becomes_two_labels_of_the_running_router(
    tmp_path: Path, redis_server: RedisServer, suffix: str
) -> None:
    file, table = tmp_path / f"graded.{suffix}", graded(5)
    (csv.write_csv if suffix == "csv" else parquet.write_table)(table, file)
    settings = config(tmp_path, redis_server.url)
    words = ["router", "teach", str(file), *BOTH, "--config", str(settings), "--json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"rows": 5, "labels": 10, "given": 10}
    found = labels(redis_server.url)
    assert [label.head for label in found] == [0, 1] * 5
    assert [label.right for label in found[::2]] == table["score::org/small"].to_pylist()
    assert all(label.fits for label in found)


def test_no_running_hansom_is_told_as_such(tmp_path: Path) -> None:
    file = tmp_path / "graded.parquet"
    parquet.write_table(graded(3), file)
    settings = config(tmp_path, f"unix://{tmp_path / 'nobody.sock'}")
    done = CliRunner().invoke(app, ["router", "teach", str(file), *BOTH, "--config", str(settings)])
    assert isinstance(done.exception, HansomError)
    assert "Is Hansom running?" in done.exception.message


def test_the_curve_stops_where_the_rows_do_and_gets_better_on_what_can_be_learned(
    tmp_path: Path,
) -> None:
    file = tmp_path / "graded.parquet"
    parquet.write_table(graded(160), file)
    done = CliRunner().invoke(app, ["router", "curve", str(file), *BOTH, "--json"])
    assert done.exit_code == 0, done.output
    curve = json.loads(done.stdout)["curve"]
    assert [row["labels"] for row in curve] == [0, 50, 100]
    assert [row["n"] for row in curve] == [160, 110, 60]
    assert curve[-1]["apgr"] > 0.7
    shown = CliRunner().invoke(app, ["router", "curve", str(file), *BOTH]).stdout
    assert "APGR" in shown
