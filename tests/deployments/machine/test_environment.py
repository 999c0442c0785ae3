"""The environment of a cluster's processes: set once, and never over the caller's own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from core.errors import SettingsError
from deployments.machine import environment

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No Ray flag at the start, and none left behind."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(("RAY_", "HANSOM_")):
            monkeypatch.delenv(name)
    yield
    os.environ.clear()
    os.environ.update(before)


def flags() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("RAY_")}


def test_what_the_caller_has_set_stays(tmp_path: Path) -> None:
    os.environ["RAY_SERVE_HAPROXY_NBTHREAD"] = "7"
    environment.prepare(tmp_path)
    assert os.environ["RAY_SERVE_HAPROXY_NBTHREAD"] == "7"
    assert os.environ["RAY_SERVE_ENABLE_HA_PROXY"] == "1"


def test_a_cluster_of_many_machines_gets_nothing_of_this_one() -> None:
    environment.prepare()
    assert not set(environment.LOCAL_FLAGS) & set(flags())
    assert set(environment.RAY_FLAGS) <= set(flags())


def test_two_clusters_on_one_machine_share_no_port_and_no_socket(tmp_path: Path) -> None:
    found = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        environment.prepare(tmp_path / name)
        found.append({n: v for n, v in flags().items() if n.endswith(("_PORT", "_PATH", "_FILE"))})
        for flag in flags():
            del os.environ[flag]
    first, second = found
    shared = {name for name in first if first[name] == second[name]}
    assert shared == {
        "RAY_SERVE_HAPROXY_BINARY_PATH",
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH",
    }


def test_serves_haproxy_is_started_without_splicing(tmp_path: Path) -> None:
    environment.prepare(tmp_path)
    echo = tmp_path / "echo"
    echo.write_text('#!/bin/sh\necho "$@"\n')
    echo.chmod(0o755)
    assert os.access(os.environ["HANSOM_HAPROXY"], os.X_OK)
    said = subprocess.run(
        [os.environ["RAY_SERVE_HAPROXY_BINARY_PATH"], "-db", "-f", "a b.cfg"],
        env=os.environ | {"HANSOM_HAPROXY": str(echo)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == "-dS -db -f a b.cfg\n"


def test_home_is_where_the_caller_says_or_in_the_cache_folder(tmp_path: Path) -> None:
    assert environment.home() == Path.home() / ".cache" / "hansom"
    os.environ["HANSOM_HOME"] = str(tmp_path)
    assert environment.home() == tmp_path


def test_a_process_with_few_files_stops_the_start_in_words() -> None:
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024));"
        "from deployments.machine import environment; environment.open_files()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "may open 1,024 files here, and HAProxy needs 11,000" in done.stderr


def test_a_promise_for_other_tiers_stops_the_start(tmp_path: Path) -> None:
    promise = tmp_path / "cut-off.json"
    part = {"threshold": 0.3, "covers": []}
    promise.write_text(
        json.dumps({"router_version": "v3", "distance_limit": None, "parts": [part]})
    )
    content = yaml.safe_load((ROOT / "config" / "four-tiers.yaml").read_text())
    content["router"]["promise"] = str(promise)
    config = tmp_path / "serve.yaml"
    config.write_text(yaml.safe_dump(content))
    with pytest.raises(SettingsError, match=r"router\.promise: it was made for 2 tiers"):
        environment.settings(config)
    content["tiers"] = content["tiers"][::3]
    config.write_text(yaml.safe_dump(content))
    assert len(environment.settings(config).tiers) == 2
