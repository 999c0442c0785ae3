"""A cluster file as Ray reads it: its refusals in words, and its defaults filled in."""

import os
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from core.errors import SettingsError
from deployments.machine.ray_cluster import kuberay, launcher

ROOT = Path(__file__).parents[3]
FILE = Path("mine.yaml")
UP: dict[str, Any] = yaml.safe_load((ROOT / "cluster.yaml").read_text())
SERVICE: dict[str, Any] = yaml.safe_load((ROOT / "config" / "kuberay.yaml").read_text())
GONE = "(left out)"


def changed(raw: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """A copy with the value at a dotted place; `GONE` takes the place out."""
    raw = deepcopy(raw)
    *way, last = [int(step) if step.isdigit() else step for step in place.split(".")]
    inner: Any = raw
    for step in way:
        inner = inner[step]
    if value is GONE:
        del inner[last]
    else:
        inner[last] = value
    return raw


NODE = "available_node_types.small-gpu"
REFUSED = [
    ("surprise", 1, "surprise"),
    ("cluster_name", 7, "cluster_name: 7 is not of type"),
    ("max_workers", None, "max_workers: None is not of type"),
    ("max_workers", "6", "max_workers: '6' is not of type"),
    ("max_workers", -1, "max_workers: -1 is less than"),
    ("max_workers", 1, "max_workers"),
    ("head_node_type", "boss", "head_node_type"),
    ("head_node_type", GONE, "head_node_type"),
    ("idle_timeout_minutes", "soon", "idle_timeout_minutes: 'soon'"),
    ("file_mounts", ["a"], "file_mounts: ['a'] is not of type"),
    ("setup_commands", "make", "setup_commands: 'make' is not of type"),
    ("provider", GONE, "provider"),
    ("provider.type", GONE, "provider.type"),
    ("provider.type", "cloudy", "provider.type: 'cloudy' is none that Ray knows (local"),
    ("docker", {"image": "rayproject/ray"}, "container"),
    ("available_node_types", ["small"], "available_node_types: ['small'] is not of type"),
    (NODE, None, f"{NODE}: None is not of type"),
    (f"{NODE}.surprise", 1, f"{NODE}: Additional properties"),
    (f"{NODE}.max_workers", "4", f"{NODE}.max_workers: '4' is not of type"),
    (f"{NODE}.resources.CPU", 7.5, f"{NODE}.resources.CPU: 7.5 is not of type"),
    (f"{NODE}.resources.GPU", -1, f"{NODE}.resources.GPU: -1 is less than"),
    (f"{NODE}.node_config", "g6.2xlarge", f"{NODE}.node_config: 'g6.2xlarge' is not"),
    (f"{NODE}.node_config", GONE, "node_config"),
]


@pytest.mark.parametrize(("place", "value", "words"), REFUSED, ids=lambda one: str(one)[:30])
def test_what_ray_refuses_is_refused_in_words_with_its_place(place, value, words):
    raw = changed(UP, place, value)
    with pytest.raises(Exception):  # noqa: B017 - Ray's own refusals have no class in common
        validate_config(prepare_config(deepcopy(raw)))
    with pytest.raises(SettingsError) as refused:
        launcher(FILE, raw)
    assert "mine.yaml" in refused.value.message and words in refused.value.message


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (f"{NODE}.min_workers", 5, "min_workers 5 is above max_workers 4"),
        (f"{NODE}.min_workers", -1, "min_workers: -1 is below 0"),
    ],
)
def test_bounds_at_which_rays_autoscaler_stops_are_refused(place, value, words):
    raw = changed(changed(UP, place, value), "max_workers", 9)
    with pytest.raises(SettingsError, match=words):
        launcher(FILE, raw)


def test_all_wrong_values_are_told_at_once():
    raw = changed(changed(UP, "max_workers", "6"), f"{NODE}.min_workers", "1")
    with pytest.raises(SettingsError) as refused:
        launcher(FILE, raw)
    assert refused.value.message.count("is not of type") == 2


def test_what_is_left_out_is_what_ray_takes():
    raw = changed(changed(UP, "max_workers", GONE), f"{NODE}.max_workers", GONE)
    config = launcher(FILE, changed(raw, f"{NODE}.min_workers", GONE))
    assert config["max_workers"] == 2
    node = config["available_node_types"]["small-gpu"]
    assert (node["min_workers"], node["max_workers"]) == (0, 2)
    assert config["available_node_types"]["head"]["max_workers"] == 0


def test_resources_may_be_left_out_only_where_ray_asks_the_cloud_for_them():
    raw = changed(UP, f"{NODE}.resources", GONE)
    assert launcher(FILE, raw)["available_node_types"]["small-gpu"]["resources"] == {}
    other = yaml.safe_load((ROOT / "config/clusters/gcp.yaml").read_text())
    with pytest.raises(SettingsError, match="'resources' is a required property"):
        launcher(FILE, changed(other, f"{NODE}.resources", GONE))


def test_machines_of_ones_own_are_as_many_as_there_are_addresses():
    raw = yaml.safe_load((ROOT / "config/clusters/local.yaml").read_text())
    assert launcher(FILE, changed(raw, "max_workers", GONE))["max_workers"] == 6
    assert launcher(FILE, changed(raw, "max_workers", 9))["max_workers"] == 6
    with pytest.raises(SettingsError, match="head_ip"):
        launcher(FILE, changed(raw, "provider.head_ip", GONE))


GROUP = "spec.rayClusterConfig.workerGroupSpecs.0"


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("metadata", GONE, "metadata is missing"),
        (f"{GROUP}.minReplicas", GONE, "minReplicas is missing"),
        (f"{GROUP}.minReplicas", 9, "small-gpu: minReplicas 9, maxReplicas 4"),
        (f"{GROUP}.maxReplicas", -1, "small-gpu: minReplicas 1, maxReplicas -1"),
        (f"{GROUP}.groupName", GONE, "groupName is missing"),
        (
            f"{GROUP}.rayStartParams.resources",
            "{small_gpu: 1}",
            "rayStartParams.resources: 'small_gpu: 1' is not what Ray reads there",
        ),
        (f"{GROUP}.template.spec.containers.0.resources", {}, "CPU"),
    ],
)
def test_a_rayservice_that_the_autoscaler_cannot_read_is_refused(place, value, words):
    with pytest.raises(SettingsError) as refused:
        kuberay(FILE, changed(SERVICE, place, value))
    assert words in refused.value.message


def test_a_raycluster_is_read_like_the_one_inside_a_rayservice():
    spec = SERVICE["spec"]["rayClusterConfig"]
    alone = {"kind": "RayCluster", "metadata": {"name": "hansom"}, "spec": spec}
    assert kuberay(FILE, alone) == kuberay(FILE, SERVICE)
    assert kuberay(FILE, SERVICE)["max_workers"] == 6


def test_nothing_is_printed(capfd):
    local = yaml.safe_load((ROOT / "config/clusters/local.yaml").read_text())
    launcher(FILE, changed(local, "max_workers", 9))  # Ray warns of it
    with pytest.raises(SettingsError):
        launcher(FILE, changed(local, "provider.worker_ips", GONE))  # and aborts of this
    assert capfd.readouterr() == ("", "")
    assert os.environ.get("RAY_ADDRESS") is None  # and no cluster was asked for
