"""The cluster files and `config/serve.yaml`: accepted by Ray, alike, and in step with gpu.yaml."""

import json
import os
import re
import signal
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.serve.schema import (
    DeploymentSchema,
    HTTPOptionsSchema,
    ServeApplicationSchema,
    ServeDeploySchema,
)

from cli.cluster_file import read_cluster
from cli.cluster_problems import examine
from core.settings.load import load
from core.settings.machines import load_machines
from deployments.machine.environment import RAY_FLAGS
from tests.live.raylets import NODE_ENV, variables
from tests.packages import SOURCES

ROOT = Path(__file__).parents[1]
SETTINGS = load(ROOT / "config" / "gpu.yaml")
FILES = ("cluster.yaml", *(f"config/clusters/{name}.yaml" for name in ("aws", "gcp", "local")))
CLOUDS = FILES[:-1]
ALIKE = (
    "file_mounts",
    "rsync_exclude",
    "setup_commands",
    "worker_setup_commands",
    "idle_timeout_minutes",
    "upscaling_speed",
)


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    return content


CLUSTER = read("cluster.yaml")
SERVE = read("config/serve.yaml")


def ray_accepts(cluster: dict[str, Any]) -> None:
    validate_config(prepare_config(deepcopy(cluster)))


@pytest.mark.parametrize("name", FILES)
def test_ray_accepts_every_cluster_file(name):
    ray_accepts(read(name))


def test_an_unknown_key_in_the_cluster_file_is_refused():
    with pytest.raises(jsonschema.ValidationError, match="surprise"):
        ray_accepts(CLUSTER | {"surprise": 1})


def test_an_unknown_key_in_a_node_type_is_refused():
    broken = deepcopy(CLUSTER)
    broken["available_node_types"]["head"]["surprise"] = 1
    with pytest.raises(jsonschema.ValidationError, match="surprise"):
        ray_accepts(broken)


def test_more_workers_than_the_cluster_may_have_are_refused():
    with pytest.raises(ValueError, match="max_workers"):
        ray_accepts(CLUSTER | {"max_workers": 1})


@pytest.mark.parametrize("name", [*FILES, "config/kuberay.yaml"])
def test_every_tier_has_one_kind_of_node_and_nodes_for_its_most_replicas(name):
    table = load_machines(ROOT / "config" / "nodes.yaml")
    cluster = read_cluster(ROOT / name, table)
    checked = examine(SETTINGS, cluster, table)
    assert checked.problems == ()
    assert not [note for note in checked.notes if "fits" in note or "no price" in note]
    for tier in SETTINGS.tiers:
        assert len(checked.most.where(tier.name)) == 1
    # A node is not let go while replicas are still held.
    assert cluster.idle_timeout_s >= max(tier.scaling.hold_s for tier in SETTINGS.tiers)


@pytest.mark.parametrize("name", CLOUDS)
def test_the_cluster_may_have_all_workers_of_all_types_at_once(name):
    cluster = read(name)
    types = cluster["available_node_types"]
    assert types.keys() == {"head", "small-gpu", "large-gpu"}
    most = sum(node.get("max_workers", 0) for node in types.values())
    assert cluster["max_workers"] >= most


@pytest.mark.parametrize("name", FILES[1:])
def test_what_is_no_cloud_of_its_own_is_the_same_in_every_file(name):
    other = read(name)
    assert {key: other[key] for key in ALIKE} == {key: CLUSTER[key] for key in ALIKE}
    assert CLUSTER["upscaling_speed"] == 5


def started(command: str, folder: Path, gpus: int = 1) -> tuple[list[str], dict[str, str]]:
    """The arguments and the environment that `ray` gets from a start command."""
    tools = {
        "ray": 'printf "%s\\n" "$@" > "$TOLD/arguments" && env > "$TOLD/environment"'
        ' && pwd > "$TOLD/folder"',
        "nvidia-smi": "\n".join(["echo GPU"] * gpus),
    }
    for tool, script in tools.items():
        (folder / tool).write_text(f"#!/bin/sh\n{script}\n")
        (folder / tool).chmod(0o755)
    (folder / "hansom").symlink_to(ROOT)
    environment = {"HOME": str(folder), "TOLD": str(folder), "RAY_HEAD_IP": "10.0.0.1"}
    environment["PATH"] = f"{folder}:{os.environ['PATH']}"
    # This machine may not allow as many open files.
    whole = "ulimit() { test \"$*\" = '-n 65536'; }; " + command
    subprocess.run(["bash", "-c", whole], env=environment, check=True)
    assert (folder / "folder").read_text().strip().endswith("hansom")
    lines = (folder / "environment").read_text().splitlines()
    got = dict(line.split("=", 1) for line in lines if "=" in line)
    return (folder / "arguments").read_text().splitlines(), got


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["head", "worker"])
def test_every_ray_start_has_our_flags_and_the_projects_folder(name, kind, tmp_path):
    stop, start = read(name)[f"{kind}_start_ray_commands"]
    assert stop.split(";")[0] == "ray stop"
    arguments, environment = started(start, tmp_path)
    wanted = RAY_FLAGS | {"RAY_AUTH_MODE": "token"}
    assert {key: environment.get(key) for key in wanted} == wanted
    haproxy = Path(environment["RAY_SERVE_HAPROXY_BINARY_PATH"])
    assert os.access(haproxy, os.X_OK)
    joins = ["--head", "--port=6379"] if kind == "head" else ["--address=10.0.0.1:6379"]
    assert arguments[: 1 + len(joins)] == ["start", *joins]


def test_the_environment_of_nodes_is_our_flags_and_what_only_clusters_need():
    told = variables(NODE_ENV)
    assert {name: told[name] for name in RAY_FLAGS} == RAY_FLAGS
    more = told.keys() - RAY_FLAGS.keys()
    assert more - {"RAY_AUTH_MODE", "RAY_SERVE_HAPROXY_BINARY_PATH"} == {
        f"RAY_health_check_{name}"
        for name in ("initial_delay_ms", "period_ms", "timeout_ms", "failure_threshold")
    }


@pytest.mark.parametrize(("gpus", "resource"), [(1, "small_gpu"), (4, "large_gpu")])
def test_a_host_of_ones_own_gets_its_resource_by_its_gpus(gpus, resource, tmp_path):
    (_, start) = read("config/clusters/local.yaml")["worker_start_ray_commands"]
    arguments, _ = started(start, tmp_path, gpus)
    assert arguments[-1] == f'--resources={{"{resource}": 1}}'


def test_ones_own_hosts_are_started_by_the_autoscaler_that_can(tmp_path):
    (_, start) = read("config/clusters/local.yaml")["head_start_ray_commands"]
    arguments, environment = started(start, tmp_path)
    assert environment["RAY_enable_autoscaler_v2"] == "0"
    assert '--resources={"control": 1}' in arguments


def test_ones_own_head_is_known_by_the_address_in_the_cluster_file(tmp_path):
    cluster = read("config/clusters/local.yaml")
    # What `ray up` leaves on the head.
    told = cluster["provider"] | {"external_head_ip": "203.0.113.7"}
    (tmp_path / "ray_bootstrap_config.yaml").write_text(json.dumps({"provider": told}))
    (_, start) = cluster["head_start_ray_commands"]
    arguments, _ = started(start, tmp_path)
    assert arguments[-1] == f"--node-ip-address={cluster['provider']['head_ip']}"


@pytest.mark.parametrize("kind", ["head", "worker"])
def test_a_haproxy_that_outlived_its_ray_is_ended_on_hosts_of_ones_own(kind, tmp_path):
    stop, _ = read("config/clusters/local.yaml")[f"{kind}_start_ray_commands"]
    (tmp_path / "ray").write_text("#!/bin/sh\n")
    (tmp_path / "ray").chmod(0o755)
    # Below a folder of the test's own: there may be a real one on this machine.
    own = f"{tmp_path}/haproxy-serve/"
    command = stop.replace("[h]aproxy-serve/", f"{tmp_path}/[h]aproxy-serve/")
    orphan = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()", own])
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    try:
        subprocess.run(["bash", "-c", command], env=environment, check=True)
        assert orphan.wait(10) == -signal.SIGTERM
        subprocess.run(["bash", "-c", command], env=environment, check=True)  # none is there
    finally:
        orphan.kill()


@pytest.mark.parametrize("name", FILES)
def test_every_node_is_installed_by_make(name):
    cluster = read(name)
    assert any("make install" in command for command in cluster["head_setup_commands"])
    assert any("make install-gpu" in command for command in cluster["worker_setup_commands"])


def test_every_package_is_copied_to_the_nodes_and_no_path_belongs_to_one_machine():
    mounts: dict[str, str] = CLUSTER["file_mounts"]
    wanted = {*SOURCES, "config", "requirements", "Makefile", "pyproject.toml", "README.md"}
    assert [name for name in sorted(wanted) if mounts.get(f"~/hansom/{name}") != name] == []
    assert [path for path in mounts.values() if path.startswith("/")] == []
    assert mounts["~/.ray/auth_token"] == "~/.ray/auth_token"


def test_what_all_nodes_must_reach_is_no_address_of_one_of_them():
    assert SETTINGS.cache.redis_url is not None
    assert not re.search(r"unix:|localhost|127\.", SETTINGS.cache.redis_url)
    assert SETTINGS.server.node_resources == {"control": 0.001}


def test_serve_accepts_the_deploy_file():
    deploy = ServeDeploySchema.model_validate(SERVE)
    assert [app.name for app in deploy.applications] == [
        "gateway",
        "router",
        "ledger",
        *(f"tier-{tier.name}" for tier in SETTINGS.tiers),
    ]


def test_the_deploy_file_has_no_key_that_serve_would_silently_pass_over():
    # ServeDeploySchema allows what it does not know, for the sake of newer files.
    assert SERVE.keys() <= ServeDeploySchema.model_fields.keys()
    assert SERVE["http_options"].keys() <= HTTPOptionsSchema.model_fields.keys()
    for app in SERVE["applications"]:
        assert app.keys() <= ServeApplicationSchema.model_fields.keys()
        for deployment in app.get("deployments", []):
            assert deployment.keys() <= DeploymentSchema.model_fields.keys()


def test_only_the_gateway_has_a_route():
    routes = {app["name"]: app["route_prefix"] for app in SERVE["applications"]}
    assert routes.pop("gateway") == "/"
    assert set(routes.values()) == {None}


def test_the_deploy_file_has_the_tiers_and_the_port_of_the_settings():
    args = [app["args"] for app in SERVE["applications"]]
    assert {each["config"] for each in args} == {"config/gpu.yaml"}
    named = [each["tier"] for each in args if "tier" in each]
    assert named == [tier.name for tier in SETTINGS.tiers]
    assert SERVE["http_options"]["port"] == SETTINGS.server.port
    assert SERVE["http_options"]["host"] == SETTINGS.server.host
