"""`hansom plan capacity`."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner, Result

from cli.main import app
from core.call import Usage
from core.errors import HansomError
from ledger.path.sql_store import SqlStore, sqlite_url
from tests.deployments.serving import simulated
from tests.ledger.lines import line

ROOT = Path(__file__).parents[2]
HOUR_S = 3600.0


def plan(*words: str) -> Result:
    folder = ROOT / "config"
    files = ("--profiles", str(folder / "profiles.yaml"), "--machines", str(folder / "nodes.yaml"))
    return CliRunner().invoke(app, ["plan", "capacity", *files, *words])


def told(*words: str) -> dict[str, Any]:
    made = plan(*words, "--days", "60", "--json")
    assert made.exception is None, made.exception
    return dict(json.loads(made.stdout))


def wrong(*words: str) -> str:
    error = plan(*words).exception
    assert isinstance(error, HansomError)
    return error.message


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> str:
    rng = np.random.default_rng(0)
    at_s = np.sort(rng.uniform(0, 1200, 12_000))
    columns = {
        "t_seconds": at_s,
        "input_tokens": rng.integers(100, 1500, len(at_s)),
        "output_tokens": rng.integers(10, 400, len(at_s)),
    }
    path = tmp_path_factory.mktemp("trace") / "chat.parquet"
    pq.write_table(pa.table(columns), path)
    return str(path)


def sources(made: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["source"] for one in made["inputs"]}


def test_a_trace_gives_replicas_nodes_cost_and_a_date(trace: str):
    made = told(trace, "--growth", "200", "--ended", "2026-11-20", "--nodes", "a2-ultragpu-4g")
    (tier,) = made["tiers"]
    assert tier["today"]["replicas"] > 1
    assert tier["today"]["slo_attainment"] >= 0.99
    assert tier["replicas_on_a_node"] == 4
    assert [day["date"] for day in tier["days"][:2]] == ["2026-11-20", "2026-11-21"]
    first = tier["days"][0]
    assert first["nodes"]["upper"] == -(-first["replicas"]["upper"] // 4) + 1
    assert made["usd_per_hour"]["upper"] == pytest.approx(20.2752 * first["nodes"]["upper"])
    assert tier["nodes_there"] == first["nodes"]["upper"]
    assert made["next_gpu"]["earliest"] > "2026-11-20"
    assert any("no weekly season" in note for note in made["notes"])


def test_every_input_says_where_it_is_from(trace: str):
    made = told(trace, "--growth", "5", "--launch", "2027-01-01:2:search")
    found = sources(made)
    assert found["requests of the design day"] == "trace chat"
    assert found["the trace ended"] == "assumption: it ended now"
    assert found["launch search"] == "assumption, command line"
    assert found["growth a month"] == "assumption, command line"
    assert found["hit rate"] == "assumption: none"
    assert all(found.values())
    assert sources(told(trace))["growth a month"].endswith("the history is too short")


def test_a_launch_moves_its_day_and_no_other(trace: str):
    plain = told(trace, "--ended", "2026-11-20")
    made = told(trace, "--ended", "2026-11-20", "--launch", "2026-12-01:2:search")
    loads = [[day["load"]["expected"] for day in one["tiers"][0]["days"]] for one in (plain, made)]
    assert loads[1][:11] == pytest.approx(loads[0][:11])
    assert loads[1][11:] == pytest.approx([2 * load for load in loads[0][11:]])
    assert made["next_gpu"]["expected"] == "2026-12-01"


def test_what_ifs_are_rows_with_replicas_cost_and_date(trace: str, tmp_path: Path):
    kept = tmp_path / "promise.json"
    kept.write_text(json.dumps({"strong_share": 0.5}))
    made = told(
        trace, "--scale", "4", "--profile", "small=A100-8B", "--profile", "large=L40S-8B",
        "--share", "large=0.2",
        "--what-if", "hit-rate=0.6", "--what-if", f"quality={kept}",
        "--what-if", "quantization=small:L40S-8B", "--what-if", "model=third:A100-8B:0.5",
    )  # fmt: skip
    hits, quality, quantized, third = made["what_ifs"]
    base = hits["replicas_as_it_is"]
    assert hits["replicas"]["small"]["expected"] < base["small"]["expected"]
    assert hits["usd_per_month_more"]["upper"] < 0
    assert quality["change"] == "0.5 to large"
    assert quality["replicas"]["large"]["expected"] > base["large"]["expected"]
    assert quantized["replicas"]["small"]["expected"] > base["small"]["expected"]
    assert set(third["replicas"]) == {"small", "large", "third"}
    assert {"earliest", "expected", "latest"} == set(third["next_gpu"])


def test_tables_and_a_picture_for_people(trace: str, tmp_path: Path):
    picture = tmp_path / "plan.svg"
    made = plan(trace, "--days", "30", "--plot", str(picture), "--what-if", "hit-rate=0.3")
    assert made.exception is None, made.exception
    for words in ("Days to come", "What if", "What it rests on", "no weekly season"):
        assert words in made.stdout
    assert picture.read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "Give a TRACE or --from-ledger"),
        (("TRACE", "--hours", "2"), "--hours is for --from-ledger"),
        (("TRACE", "--hit-rate", "1"), "--hit-rate is a share from 0 to 1"),
        (("TRACE", "--slo-share", "1"), "--slo-share must be between 0 and 1"),
        (("TRACE", "--growth", "-100"), "--growth must be above -100"),
        (("TRACE", "--slo-tpot", "0"), "--slo-tpot must be above 0"),
        (("TRACE", "--launch", "2027-01-01:search"), "--launch is DATE:FACTOR:NAME"),
        (("TRACE", "--launch", "soon:2:search"), "'soon' is no day or moment"),
        (("TRACE", "--profile", "huge"), "has no profile huge"),
        (("TRACE", "--nodes", "toaster"), "--nodes: there is no machine toaster"),
        (("TRACE", "--nodes", "m7i.2xlarge"), "needs 1 GPUs, m7i.2xlarge has 0"),
        (("TRACE", "--have", "many"), "--have is a whole number"),
        (("TRACE", "--share", "large=0.5"), "--share: there is no tier large"),
        (("TRACE", "--share", "0.5"), "the shares come to 0.5, not to 1"),
        (("TRACE", "--routing", "fate"), "--routing is one of prefix, tokens"),
        (("TRACE", "--quality", "none.json"), "no such file: none.json"),
        (("TRACE", "--what-if", "luck=1"), "--what-if is quantization="),
        (("TRACE", "--what-if", "model=third"), "--what-if model= is NAME:PROFILE:SHARE"),
        (("TRACE", "--what-if", "quality=0.5"), "A quality is a share of the last of two tiers"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, tuple) else "",
)
def test_a_mistake_is_one_clear_sentence(trace: str, words: tuple[str, ...], message: str):
    assert message in wrong(*(trace if word == "TRACE" else word for word in words))


def test_settings_that_are_named_and_missing_are_refused_also_where_a_trace_needs_none(trace: str):
    assert "none.yaml" in wrong(trace, "--config", "none.yaml")


def test_the_load_can_come_from_the_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HANSOM_HOME", str(tmp_path))
    config = tmp_path / "serve.yaml"
    config.write_text(yaml.safe_dump(simulated()))
    now_s = time.time()
    SqlStore(sqlite_url(tmp_path / "ledger.sqlite3")).insert(
        [
            line(n, tier="small" if n % 4 else "large", usage=Usage(300, 100, 50),
                 created_s=now_s - 5 * HOUR_S + n * 30)
            for n in range(600)
        ]
    )  # fmt: skip
    words = ("--from-ledger", "--config", str(config))
    made = told(*words, "--profile", "A100-8B")
    assert {tier["name"]: tier["today"]["replicas"] for tier in made["tiers"]} == {
        "small": 1, "large": 1,
    }  # fmt: skip
    found = {one["name"]: one for one in made["inputs"]}
    assert found["large: share"]["value"] == "0.25"
    assert found["small: requests of the design day"]["source"].startswith("ledger, the last 5.0 h")
    assert found["small: input tokens, mean"]["value"] == "400"
    assert "--profile: say TIER=PROFILE for large" in wrong(*words, "--profile", "small=A100-8B")
