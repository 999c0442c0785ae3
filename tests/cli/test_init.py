"""`hansom init`: a settings file with comments, which is valid as it is and stays what it was."""

import json
import re
from pathlib import Path

import pytest
import yaml

from cli.init import settings_text
from core.files.shipped import shipped
from core.settings.load import load
from deployments.machine import environment
from tests.cli.commands import hansom

KINDS = ["laptop", "gpu", "simulated"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_writes_is_valid_and_has_the_shipped_tiers(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    ran = hansom("init", path, f"--{kind}", "--json")
    assert (ran.code, json.loads(ran.out)) == (0, {"path": str(path), "kind": kind})
    made, whole = environment.settings(path), load(shipped(f"{kind}.yaml"))
    assert [tier.name for tier in made.tiers] == [tier.name for tier in whole.tiers]
    assert [tier.source for tier in made.tiers] == [tier.source for tier in whole.tiers]
    assert made.server.host == "127.0.0.1" and made.cache.redis_url is None
    assert all(not tier.node_resources for tier in made.tiers), "it is for one machine"
    assert path.read_text().count("\n#") >= 10


def test_every_setting_that_it_offers_in_a_comment_is_one(tmp_path: Path) -> None:
    """A user takes the `#` away; what then stands there must be valid beside the rest."""
    text = settings_text("simulated")
    offered = re.findall(r"^  # (\w+: .*|  \w+: .*)$|^  # (\w+:)$", text, re.M)
    assert len(offered) >= 8
    every = re.sub(r"^  # (?=\w+:( |$)| +\w+: )", "  ", text, flags=re.M)
    path = tmp_path / "every.yaml"
    path.write_text(every.replace("promise: promise.json", "promise: null"))
    settings = load(path)
    assert settings.cache.redis_url and settings.ledger.database_url and settings.ledger.keep_days
    assert settings.accounts.default.budgets and settings.alerts.rules.spend_rate.usd_per_hour == 10


def test_a_file_that_is_there_stays_unless_it_is_forced(tmp_path: Path) -> None:
    path = tmp_path / "hansom.yaml"
    path.write_text("mine")
    ran = hansom("init", tmp_path, "--simulated")
    assert ran.code == 1 and "is there already" in ran.err and path.read_text() == "mine"
    assert hansom("init", tmp_path, "--simulated", "--force").code == 0
    assert yaml.safe_load(path.read_text())["tiers"]


def test_it_says_what_comes_next(tmp_path: Path) -> None:
    said = hansom("init", tmp_path / "a b.yaml", "--simulated").out
    assert f"export HANSOM_CONFIG='{tmp_path}/a b.yaml'" in said
    assert said.index("hansom doctor") < said.index("hansom serve") < said.index("hansom ask")


def test_without_a_kind_the_machine_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert json.loads(hansom("init", tmp_path / "cpu.yaml", "--json").out)["kind"] == "laptop"
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert json.loads(hansom("init", tmp_path / "gpu.yaml", "--json").out)["kind"] == "gpu"


def test_two_kinds_are_wrong_usage_and_a_folder_that_is_not_there_a_failure(
    tmp_path: Path,
) -> None:
    assert hansom("init", tmp_path / "x.yaml", "--gpu", "--laptop").code == 2
    ran = hansom("init", tmp_path / "gone" / "x.yaml", "--laptop")
    assert ran.code == 1 and "no such folder" in ran.err
