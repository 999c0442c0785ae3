"""`hansom ledger report`, `export`, `diff` and `tail --tenant`, and what is wrong with words."""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner, Result

from cli.ledger_commands import DiffBy, ReportBy
from cli.ledger_prices import known_prices
from cli.main import app
from core.errors import HansomError
from core.ledger_line import Kind, LedgerLine
from core.settings.load import load
from ledger.path.sql_store import SqlStore, sqlite_url
from ledger.reports.queries_diff import VERSIONS
from ledger.reports.rows import BY
from ledger.reports.span import parse
from tests.cli.commands import hansom
from tests.deployments.serving import simulated
from tests.ledger.lines import line

W45_S, W46_S = parse("2026-11-03"), parse("2026-11-10")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings beside a home folder that has no ledger yet."""
    monkeypatch.setenv("HANSOM_HOME", str(tmp_path))
    path = tmp_path / "serve.yaml"
    path.write_text(yaml.safe_dump(simulated()))
    return path


@pytest.fixture
def filled(config: Path, tmp_path: Path) -> Path:
    """A week with one answer and a hit, and one with an answer at twice the price."""
    SqlStore(sqlite_url(tmp_path / "ledger.sqlite3")).insert(
        [
            line(1, created_s=W45_S, tags=("docs", "eu"), router_version="r1"),
            line(2, created_s=W45_S, tenant="zeta", kind=Kind.CACHE_HIT, cache="exact",
                 cost_usd_micros=0, router_version="r1"),
            line(3, created_s=W46_S, cost_usd_micros=20, router_version="r2"),
        ]
    )  # fmt: skip
    return config


def ledger(config: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["ledger", *words, "--config", str(config)])


def told(config: Path, *words: str) -> Any:
    found = ledger(config, *words)
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def test_the_choices_are_those_of_the_queries() -> None:
    assert [choice.value for choice in ReportBy] == list(BY)
    assert [choice.value for choice in DiffBy] == list(VERSIONS)


def test_a_report_by_tenant_has_rows_and_a_total(filled: Path) -> None:
    found = told(filled, "report", "--by", "tenant", "--json")
    assert [(row["group"], row["requests"]) for row in found["rows"]] == [("acme", 2), ("zeta", 1)]
    assert found["total_row"]["cost_per_success_usd_micros"] == 10
    assert found["requests"] == 3, "what was there before is still there"
    saved = found["cache_saved_usd_micros"] + found["routing_saved_usd_micros"]
    assert saved == found["saved_usd_micros"]
    assert len(found["notes"]) == 3


@pytest.mark.parametrize(
    ("words", "requests"),
    [
        (("--since", "2026-11-09"), 1),
        (("--until", "2026-11-09"), 2),
        (("--since", "2026-11-03", "--until", "2026-11-04", "--tenant", "acme"), 1),
        (("--tag", "eu"), 1),
    ],
)
def test_a_report_can_be_of_a_part(filled: Path, words: tuple[str], requests: int) -> None:
    assert told(filled, "report", "--format", "json", *words)["requests"] == requests


def test_a_report_in_a_terminal_has_groups_shares_waits_and_counterfactuals(filled: Path) -> None:
    shown = ledger(filled, "report", "--by", "tag").stdout
    for word in ("docs", "(none)", "all", "an answer", "exact hits", "TTFT p50 / p95 / p99",
                 "of it by the cache", "counts it once"):  # fmt: skip
        assert word in " ".join(shown.split()), word
    assert "…" not in shown, "nothing is cut off"


def test_a_report_is_written_as_csv_and_parquet(filled: Path, tmp_path: Path) -> None:
    shown = ledger(filled, "report", "--by", "tier", "--format", "csv").stdout.splitlines()
    assert shown[0].startswith("group,requests,successes")
    assert [row.split(",")[0] for row in shown[1:]] == ["small"]
    out = tmp_path / "report.parquet"
    assert not ledger(filled, "report", "--format", "parquet", "--out", str(out)).stdout
    assert pq.read_table(out).column("cost_usd_micros").to_pylist() == [30]


def test_the_tail_can_be_of_one_tenant_or_tag(filled: Path) -> None:
    rows = ledger(filled, "tail", "--format", "json", "--tenant", "zeta").stdout.splitlines()
    assert [json.loads(row)["request_id"] for row in rows] == ["r2"]
    rows = ledger(filled, "tail", "--json", "--tag", "eu").stdout.splitlines()
    assert [json.loads(row)["request_id"] for row in rows] == ["r1"]


def test_an_export_says_how_many_lines_it_has(filled: Path, tmp_path: Path) -> None:
    out = tmp_path / "lines.jsonl"
    found = ledger(filled, "export", "--format", "jsonl", "--out", str(out))
    assert found.stdout == f"3 lines in {out}\n"
    lines = [LedgerLine.from_bytes(raw) for raw in out.read_bytes().splitlines()]
    assert [one.request_id for one in lines] == ["r1", "r2", "r3"]


def test_an_export_to_stdout_is_the_lines_and_nothing_else(filled: Path) -> None:
    words = ("export", "--format", "csv", "--out", "-", "--tenant", "acme")
    found = ledger(filled, *words).stdout.splitlines()
    assert [row.split(",")[0] for row in found] == ["call_id", "c1", "c3"]


def test_a_diff_of_two_weeks_names_the_cause(filled: Path) -> None:
    found = told(filled, "diff", "--weeks", "2026-W45", "2026-W46", "--json")
    assert found["before"]["cost_per_success_usd_micros"] == 5
    assert found["after"]["cost_per_success_usd_micros"] == 20
    assert abs(sum(found["effects_usd_micros"].values()) - 15) < 1e-9
    shown = ledger(filled, "diff", "--weeks", "2026-W45", "2026-W46").stdout
    assert found["sentence"] in shown
    assert "Cost per answer rose 300%" in shown


def test_a_diff_can_be_of_versions_and_of_any_spans(filled: Path) -> None:
    found = told(filled, "diff", "--by", "router-version", "r1", "r2", "--json")
    assert found["before"]["name"] == "router-version r1"
    spans = ("--from", "2026-11-01..2026-11-08", "--to", "2026-11-08..2026-11-15")
    same = told(filled, "diff", *spans, "--json")
    assert same["effects_usd_micros"] == found["effects_usd_micros"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("report", "--by", "colour"), "--by: must be one of tenant, key, "),
        (("report", "--since", "2026-11-02", "--until", "2026-11-01"), "before it begins"),
        (("report", "--since", "soon"), "is no day or moment"),
        (("report", "--since", "2026-11-02", "--hours", "1"), "give one of them"),
        (("report", "--format", "parquet"), "name a file with --out"),
        (("report", "--out", "x.txt"), "--out goes with --format"),
        (("export", "--format", "parquet", "--out", "-"), "name a file with --out"),
        (("diff",), "Give two versions and --by, or --weeks"),
        (("diff", "--by", "model-version", "a"), "--by goes with two versions"),
        (("diff", "a", "b"), "--by goes with two versions"),
        (("diff", "--weeks", "2026-W99", "2026-W46"), "is no week"),
        (("diff", "--from", "2026-11-01..2026-11-02"), "--from and --to go together"),
        (("diff", "--weeks", "2026-W45", "2026-W46", "--hours", "2"), "go with --by"),
    ],
)
def test_wrong_usage_is_one_clear_sentence_and_exit_code_2(
    filled: Path, words: tuple[str], said: str
) -> None:
    found = hansom("ledger", *words, "--config", filled)
    assert found.code == 2
    assert said in found.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("diff", "--by", "router-version", "r1", "r9"), "No request has the router-version 'r9'"),
        (("diff", "--weeks", "2026-W01", "2026-W46"), "2026-W01 has no successful answer"),
        (("export", "--format", "csv", "--out", "/dev/null/x"), "is a file, not a folder"),
    ],
)
def test_what_cannot_be_done_is_one_clear_sentence(
    filled: Path, words: tuple[str], said: str
) -> None:
    error = ledger(filled, *words).exception
    assert isinstance(error, HansomError)
    assert said in error.message


@pytest.mark.parametrize(
    "words",
    [
        ("export", "--format", "csv", "--out", "-"),
        ("diff", "--weeks", "2026-W45", "2026-W46"),
        ("report", "--by", "day"),
    ],
)
def test_before_the_first_start_there_is_no_ledger(config: Path, words: tuple[str]) -> None:
    error = ledger(config, *words).exception
    assert isinstance(error, HansomError)
    assert "There is no ledger at" in error.message


def test_prices_are_known_from_the_settings_by_tier_and_version(tmp_path: Path) -> None:
    path = tmp_path / "serve.yaml"
    price = {"input_usd_per_million_tokens": "0.1", "output_usd_per_million_tokens": "0.4"}
    settings = simulated()
    settings["tiers"][0]["price"] = price | {"version": "v7"}
    settings["tiers"][1]["price"] = price
    path.write_text(yaml.safe_dump(settings))
    known = known_prices(load(path))
    small, large = (tier["name"] for tier in settings["tiers"])
    found = known(small, "v7")
    assert found is not None
    assert str(found.output_usd_per_million_tokens) == "0.4"
    assert known(small, "v6") is None
    assert known(large, "unversioned") is None, "it may have been another when a line was written"


@pytest.mark.parametrize(
    "words",
    [
        ("tail",),
        ("report",),
        ("report", "--by", "model-version"),
        ("diff", "--weeks", "2026-W45", "2026-W46"),
    ],
)
def test_tables_fit_80_columns_and_no_amount_is_without_its_unit(
    filled: Path, words: tuple[str, ...]
) -> None:
    shown = hansom("ledger", *words, "--config", filled).out
    tables = [line for line in shown.splitlines() if not line.startswith("Cost per answer")]
    assert max(map(len, tables)) <= 80
    assert "…" not in shown and "$" not in shown
    amounts = re.findall(r"[+-]?\d+\.\d{6,8}\b(?: \w+)?", "\n".join(tables))
    assert amounts and [one for one in amounts if not one.endswith("USD")] == []
