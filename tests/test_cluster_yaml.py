"""`cluster.yaml` and `config/serve.yaml`: accepted by Ray itself, and in step with gpu.yaml."""

import tomllib
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

from core.settings import Tier, load
from deployments.environment import RAY_FLAGS

ROOT = Path(__file__).parents[1]
SETTINGS = load(ROOT / "config" / "gpu.yaml")
START_VARIABLES = (
    "RAY_SERVE_ENABLE_HA_PROXY=1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED=1",
    "RAY_AUTH_MODE=token",
)


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    return content


CLUSTER = read("cluster.yaml")
NODE_TYPES: dict[str, dict[str, Any]] = CLUSTER["available_node_types"]
SERVE = read("config/serve.yaml")


def ray_accepts(cluster: dict[str, Any]) -> None:
    validate_config(prepare_config(deepcopy(cluster)))


def needs(tier: Tier) -> dict[str, float]:
    return {
        "CPU": tier.cpus_per_replica,
        "GPU": float(tier.accelerator.per_replica),
        **tier.node_resources,
    }


def replicas_on(resources: dict[str, float], tier: Tier) -> int:
    """How many replicas of `tier` one node of these resources holds."""
    return min(
        int(resources.get(name, 0) / amount) for name, amount in needs(tier).items() if amount
    )


def test_ray_accepts_the_cluster_file():
    ray_accepts(CLUSTER)


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


@pytest.mark.parametrize("tier", SETTINGS.tiers, ids=lambda tier: tier.name)
def test_exactly_one_node_type_holds_a_replica_and_there_are_nodes_for_the_most(tier):
    holds = {
        name: replicas_on(node["resources"], tier)
        for name, node in NODE_TYPES.items()
        if replicas_on(node["resources"], tier)
    }
    assert len(holds) == 1, holds
    (name, per_node) = next(iter(holds.items()))
    assert NODE_TYPES[name]["max_workers"] * per_node >= tier.replicas.max
    assert NODE_TYPES[name]["min_workers"] * per_node >= tier.replicas.min


def test_the_cluster_may_have_all_workers_of_all_types_at_once():
    most = sum(node.get("max_workers", 0) for node in NODE_TYPES.values())
    assert CLUSTER["max_workers"] >= most


def test_every_ray_start_has_the_three_variables_and_the_projects_folder():
    commands = CLUSTER["head_start_ray_commands"] + CLUSTER["worker_start_ray_commands"]
    starts = [command for command in commands if "ray start" in command]
    assert len(starts) == 2
    for start in starts:
        assert start.startswith("cd ~/hansom && ")
        variables = start.split("ray start")[0].split()
        assert [each for each in START_VARIABLES if each not in variables] == []


def test_every_node_is_installed_by_make():
    assert any("make install" in command for command in CLUSTER["head_setup_commands"])
    assert any("make install-gpu" in command for command in CLUSTER["worker_setup_commands"])


def test_every_package_is_copied_to_the_nodes_and_no_path_belongs_to_one_machine():
    mounts: dict[str, str] = CLUSTER["file_mounts"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = set(project["tool"]["setuptools"]["packages"])
    wanted = packages | {"config", "requirements", "Makefile", "pyproject.toml", "README.md"}
    assert [name for name in sorted(wanted) if mounts.get(f"~/hansom/{name}") != name] == []
    assert [path for path in mounts.values() if path.startswith("/")] == []
    assert mounts["~/.ray/auth_token"] == "~/.ray/auth_token"


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


def test_every_ray_start_has_the_flags_that_a_local_cluster_gets() -> None:
    starts = [
        command
        for key in ("head_start_ray_commands", "worker_start_ray_commands")
        for command in CLUSTER[key]
        if "ray start" in command
    ]
    assert len(starts) == 2
    for command in starts:
        for name, value in RAY_FLAGS.items():
            assert f"{name}={value}" in command
        assert "RAY_SERVE_HAPROXY_BINARY_PATH=~/hansom/deployments/haproxy.sh" in command
