"""Relative paths of a settings file: beside it, then where Hansom is started, then what ships."""

from pathlib import Path

import pytest
import yaml

from core.files.shipped import ROOT, located, shipped
from core.settings.load import load


def test_what_ships_is_there() -> None:
    for name in ("laptop.yaml", "prices.yaml", "nodes.yaml", "profiles.yaml", "cluster.yaml"):
        assert shipped(name).is_file(), name


def test_a_relative_path_is_beside_the_file_then_here_then_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside, here = tmp_path / "beside", tmp_path / "here"
    (here / "config").mkdir(parents=True)
    beside.mkdir()
    monkeypatch.chdir(here)
    name = Path("config/prices.yaml")
    assert located(name, beside) == ROOT / name
    (here / name).touch()
    assert located(name, beside) == here / name
    (beside / "config").mkdir()
    (beside / name).touch()
    assert located(name, beside) == beside / name
    assert located(Path("gone.yaml"), beside) == beside / "gone.yaml"
    assert located(tmp_path, beside) == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path))
    assert located(Path("~/x.yaml"), beside) == tmp_path / "x.yaml"


def test_settings_name_the_same_files_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A price table beside the file, the shipped profiles and weights, from a third folder."""
    raw = yaml.safe_load(shipped("simulated.yaml").read_text())
    raw["prices"] = "mine.yaml"
    (tmp_path / "mine.yaml").write_text(shipped("prices.yaml").read_text())
    (tmp_path / "serve.yaml").write_text(yaml.safe_dump(raw))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    settings = load(Path("../serve.yaml"))
    assert settings.prices is not None and settings.prices.samefile(tmp_path / "mine.yaml")
    assert settings.profiles == shipped("profiles.yaml")
    assert settings.router.weights == ROOT / "router" / "weights" / "v3"
