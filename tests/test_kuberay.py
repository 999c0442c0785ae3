"""`config/kuberay.yaml`: well-formed, and in step with the files for `ray up`."""

from copy import deepcopy
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from core.settings.load import load
from tests import kuberay
from tests.live.raylets import NODE_ENV, variables

ROOT = Path(__file__).parents[1]
MANIFEST = yaml.safe_load((ROOT / "config" / "kuberay.yaml").read_text())
SERVICE = kuberay.check(MANIFEST)
CLUSTER = SERVICE.spec.rayClusterConfig
UP = yaml.safe_load((ROOT / "cluster.yaml").read_text())
PODS = [CLUSTER.headGroupSpec, *CLUSTER.workerGroupSpecs]


def test_a_field_that_is_not_known_is_refused():
    broken = deepcopy(MANIFEST)
    broken["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["surprise"] = 1
    with pytest.raises(ValidationError, match="surprise"):
        kuberay.check(broken)


def test_limits_that_differ_from_requests_are_refused():
    broken = deepcopy(MANIFEST)
    pod = broken["spec"]["rayClusterConfig"]["workerGroupSpecs"][1]["template"]["spec"]
    pod["containers"][0]["resources"]["requests"] = {"cpu": "1", "memory": "1Gi"}
    with pytest.raises(ValidationError, match="limits"):
        kuberay.check(broken)


def test_the_serve_config_is_that_of_serve_yaml():
    assert yaml.safe_load(SERVICE.spec.serveConfigV2) == yaml.safe_load(
        (ROOT / "config" / "serve.yaml").read_text()
    )


def test_every_container_has_the_variables_of_every_other_cluster():
    wanted = {
        name: value.replace("$HOME/hansom", "/opt/hansom")
        for name, value in variables(NODE_ENV).items()
    }
    for pod in PODS:
        (container,) = pod.template.spec.containers
        assert {one.name: one.value for one in container.env} == wanted
        assert container.workingDir == "/opt/hansom"
    assert wanted["RAY_AUTH_MODE"] == CLUSTER.authOptions.mode


def test_groups_are_the_node_types_of_cluster_yaml():
    types = UP["available_node_types"]
    assert {one.groupName for one in CLUSTER.workerGroupSpecs} == types.keys() - {"head"}
    for group in CLUSTER.workerGroupSpecs:
        node = types[group.groupName]
        assert (group.minReplicas, group.maxReplicas) == (node["min_workers"], node["max_workers"])
        spec = group.template.spec
        assert (
            spec.nodeSelector["node.kubernetes.io/instance-type"]
            == (node["node_config"]["InstanceType"])
        )
        limits = spec.containers[0].resources.limits
        assert limits.gpus == node["resources"]["GPU"]
        assert int(limits.cpu) < node["resources"]["CPU"]  # Kubernetes keeps some for itself
    for name, pod in zip(("head", "small-gpu", "large-gpu"), PODS, strict=True):
        custom = yaml.safe_load(yaml.safe_load(pod.rayStartParams["resources"]))
        own = types[name]["resources"]
        assert custom == {key: own[key] for key in own if key not in ("CPU", "GPU")}


def test_idle_timeout_ray_and_port_are_those_of_the_other_files():
    assert CLUSTER.autoscalerOptions.idleTimeoutSeconds == 60 * UP["idle_timeout_minutes"]
    assert CLUSTER.rayVersion == version("ray")
    ports = {port.name: port.containerPort for port in PODS[0].template.spec.containers[0].ports}
    assert ports["serve"] == load(ROOT / "config" / "gpu.yaml").server.port
