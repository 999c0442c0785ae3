"""The built wheel holds everything that the commands read, and runs from any folder."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.packages import SOURCES

ROOT = Path(__file__).parents[1]
PACKAGES = (*SOURCES, "config")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but the wheel's files in it, built of a copy of what git knows."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in listed.stdout.split("\0"):
        if name and (ROOT / name).exists() and name.split("/")[0] not in ("tests", "docs"):
            copy = source / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((ROOT / name).read_bytes())
            copy.chmod((ROOT / name).stat().st_mode)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", ".", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(out)],
        cwd=source, check=True, timeout=240,
    )  # fmt: skip
    (wheel,) = out.glob("*.whl")
    target = tmp_path_factory.mktemp("site")
    subprocess.run(
        [*pip, "install", "--no-deps", "--no-index", "--target", str(target), str(wheel)],
        check=True, timeout=240,
    )  # fmt: skip
    (target / "the.whl").write_bytes(wheel.read_bytes())
    return target


def hansom(site: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The installed command in another folder; -S keeps this checkout out of sys.path."""
    environment = {name: value for name, value in os.environ.items() if "HANSOM" not in name}
    environment["PYTHONPATH"] = os.pathsep.join([str(site), sysconfig.get_path("purelib")])
    environment["HANSOM_HOME"] = str(folder / "home")
    return subprocess.run(
        [sys.executable, "-S", "-m", "cli.main", *words],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_every_data_file_of_the_packages_is_in_the_wheel(site: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=True
    )
    in_wheel = set(zipfile.ZipFile(site / "the.whl").namelist())
    assert [name for name in listed.stdout.split() if name not in in_wheel] == []


def test_the_wheels_own_files_are_found(site: Path, tmp_path: Path) -> None:
    done = hansom(site, tmp_path, "cluster", "check", "--json", "--cluster", "nowhere.yaml")
    assert "no such file: nowhere.yaml" in done.stdout
    script = "import core.files.shipped as s; print(s.ROOT, s.shipped('laptop.yaml').is_file())"
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(site), sysconfig.get_path("purelib")])
    }
    found = subprocess.run(
        [sys.executable, "-S", "-c", script],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert found.stdout.split() == [str(site), "True"]


@pytest.mark.parametrize(
    ("line", "shows"),
    [
        ("--help", "one OpenAI endpoint"),
        ("init mine.yaml --laptop", "Wrote mine.yaml"),
        ("cost --json", "gpt-4o"),
        ("cost --model gpt-4o", "0.003250 USD"),
        ("cluster check --json", "usd_per_hour"),
        ("router explain Hello!", "To small"),
    ],
)
def test_commands_run_from_another_folder(
    site: Path, tmp_path: Path, line: str, shows: str
) -> None:
    done = hansom(site, tmp_path, *line.split(" "))
    assert done.returncode == 0, done.stdout + done.stderr
    assert shows in done.stdout
