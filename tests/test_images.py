"""Dockerfile, compose.yaml and what they name: complete, and in step with the rest."""

import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.settings.extends import extended, merged
from core.settings.load import load
from tests.packages import SOURCES
from tests.test_cluster_yaml import FILES, ray_accepts, read

ROOT = Path(__file__).parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
IGNORED = (ROOT / ".dockerignore").read_text().splitlines()
SENT = [line[1:] for line in IGNORED if line.startswith("!")]
IMAGE = "registry.example.com/hansom:gpu"


def instructions(text: str) -> list[str]:
    """A Dockerfile's instructions, each on one line and without comments."""
    kept = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return [line.strip() for line in kept.replace("\\\n", " ").splitlines() if line.strip()]


def test_every_package_and_file_that_an_installation_needs_is_sent_to_the_build():
    wanted = {*SOURCES, "Makefile", "README.md", "pyproject.toml", "requirements", "config"}
    assert wanted <= set(SENT)
    assert [name for name in SENT if not (ROOT / name).exists()] == []


def test_what_links_point_to_is_sent_too():
    links = [path for path in (ROOT / "config").rglob("*") if path.is_symlink()]
    targets = {path.resolve().relative_to(ROOT).parts[0] for path in links}
    assert targets and targets <= set(SENT)


def test_what_a_dockerfile_copies_is_there_and_sent():
    copied = [line.split()[2:-1] for line in instructions(DOCKERFILE) if line.startswith("COPY")]
    named = {name for names in copied for name in names if name != "."}
    assert named == {"Makefile", "requirements"}
    assert all(any(fnmatch(name, sent) for sent in SENT) for name in named)


def test_every_target_that_the_image_makes_is_in_the_makefile():
    asked = {
        word
        for line in instructions(DOCKERFILE)
        if line.startswith("RUN make")
        for word in line.split()[2:]
    }
    makefile = (ROOT / "Makefile").read_text()
    assert asked == {"requirements", "install", "requirements-gpu", "install-gpu"}
    assert all(re.search(rf"^{target}:", makefile, re.M) for target in asked)


def test_the_services_mount_files_that_are_there_and_volumes_that_are_declared():
    for name, service in SERVICES.items():
        for volume in service.get("volumes", ()):
            source, target, *_ = volume.split(":")
            assert target.startswith("/"), name
            if source.startswith("./"):
                assert (ROOT / source).exists(), volume
            else:
                assert source in COMPOSE["volumes"], volume


def test_ports_are_open_to_this_machine_only():
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert published and all(port.startswith("127.0.0.1:") for port in published)


def test_the_build_target_and_its_command_are_in_the_dockerfile():
    target = SERVICES["hansom"]["build"]["target"]
    assert re.search(rf"^FROM \S+ AS {target}$", DOCKERFILE, re.M)
    config = re.search(r'"--config", "([^"]+)"', DOCKERFILE)
    assert config is not None and (ROOT / config[1]).is_file()


def test_hansom_reaches_the_services_by_their_names():
    settings = load(ROOT / "config" / "compose" / "hansom.yaml")
    assert settings.cache.redis_url == "redis://redis:6379/0"
    assert settings.ledger.database_url == "postgresql://hansom@postgres:5432/hansom"
    assert {"redis", "postgres"} <= SERVICES.keys()
    assert settings.server.host == "0.0.0.0"
    made = SERVICES["postgres"]["environment"]
    assert (made["POSTGRES_USER"], made["POSTGRES_DB"]) == ("hansom", "hansom")
    assert made["POSTGRES_PASSWORD"] == SERVICES["hansom"]["environment"]["PGPASSWORD"]


def test_everything_else_is_the_laptops():
    whole = extended(ROOT / "config" / "compose" / "hansom.yaml", "tiers")
    laptop = yaml.safe_load((ROOT / "config" / "laptop.yaml").read_text())
    ours = {"server": {"host": "0.0.0.0"}} | {
        section: whole[section] for section in ("cache", "ledger")
    }
    assert whole == merged(laptop, ours)
    assert whole["tiers"] == laptop["tiers"]


@pytest.mark.parametrize(
    ("copy", "original", "address"),
    [
        ("prometheus.yaml", "prometheus/prometheus.yaml", ("hansom:8000", "127.0.0.1:8000")),
        (
            "grafana.yaml",
            "grafana/provisioning/datasources/hansom.yaml",
            ("http://prometheus:9090", "http://127.0.0.1:9090"),
        ),
    ],
)
def test_the_copies_differ_from_the_originals_in_one_address(copy, original, address):
    text = (ROOT / "config" / "compose" / copy).read_text()
    assert text.count(address[0]) == 1
    assert yaml.safe_load(text.replace(*address)) == yaml.safe_load(
        (ROOT / "config" / original).read_text()
    )


def test_redis_is_started_as_hansom_starts_its_own():
    source = (ROOT / "deployments" / "machine" / "redis_server.py").read_text()
    own = dict(
        re.findall(r'"(--(?:appendonly|save|maxmemory|maxmemory-policy))", "([^"]*)"', source)
    )
    assert own
    command = SERVICES["redis"]["command"].replace('""', "").split("--")[1:]
    assert {
        f"--{name}": value for name, _, value in (one.strip().partition(" ") for one in command)
    } == own


def test_kubernetes_and_the_cluster_files_name_the_image():
    for name in (*FILES, "config/kuberay.yaml", "docs/clusters.md"):
        assert IMAGE in (ROOT / name).read_text(), name


@pytest.mark.parametrize("name", FILES)
def test_ray_accepts_every_cluster_file_with_the_image_in_place_of_an_installation(name):
    page = (ROOT / "docs" / "clusters.md").read_text()
    (block,) = re.findall(r"```yaml\n(docker:.*?)```", page, re.S)
    lines = yaml.safe_load(block)
    assert lines["docker"]["image"] == IMAGE
    cluster = read(name) | lines
    ray_accepts(cluster)
    assert not any("make install" in one for one in cluster["head_setup_commands"])
