"""`hansom cluster check`: where tiers land, what it costs, and every problem with its advice."""

import json
from copy import deepcopy
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from cli.cluster import as_dict
from cli.cluster_file import read_cluster
from cli.cluster_problems import Checked, examine
from cli.main import app
from core.errors import SettingsError
from core.settings.load import Settings, load
from core.settings.machines import load_machines

ROOT = Path(__file__).parents[2]
TABLE = load_machines(ROOT / "config" / "nodes.yaml")
GPU = load(ROOT / "config" / "gpu.yaml")
UP: dict[str, Any] = yaml.safe_load((ROOT / "cluster.yaml").read_text())


def checked(folder: Path, raw: dict[str, Any], settings: Settings = GPU) -> Checked:
    path = folder / "cluster.yaml"
    path.write_text(yaml.safe_dump(raw))
    return examine(settings, read_cluster(path, TABLE), TABLE)


def with_node(name: str, **changes: Any) -> dict[str, Any]:
    raw = deepcopy(UP)
    raw["available_node_types"][name] |= changes
    return raw


def with_tier(name: str, **changes: Any) -> Settings:
    raw = GPU.model_dump(mode="json")
    for tier in raw["tiers"]:
        tier |= changes if tier["name"] == name else {}
    return Settings.model_validate(raw)


def test_the_shipped_files_cost_what_their_machines_do(tmp_path):
    told = as_dict(checked(tmp_path, UP))
    price = {name: TABLE.machines[name].usd_per_hour for name in TABLE.machines}
    least = price["m7i.2xlarge"] + price["g6.2xlarge"] + price["g6e.12xlarge"]
    most = price["m7i.2xlarge"] + 4 * price["g6.2xlarge"] + 2 * price["g6e.12xlarge"]
    assert told["usd_per_hour"] == {"min": str(least), "max": str(most)}
    assert [tier["at_max"] for tier in told["tiers"]] == [{"small-gpu": 4}, {"large-gpu": 2}]
    assert told["problems"] == []


def test_a_tier_that_fits_nowhere_is_told_with_what_each_type_lacks(tmp_path):
    (problem,) = checked(tmp_path, with_node("large-gpu", resources={"CPU": 48, "GPU": 2})).problems
    assert "tier large: no node type holds a replica" in problem.what
    assert "large-gpu lacks GPU (2 of 4), large_gpu (0 of 0.001)" in problem.what


def test_too_few_nodes_are_told_with_the_number_that_is_needed(tmp_path):
    (problem,) = checked(tmp_path, with_node("small-gpu", max_workers=3)).problems
    assert "small-gpu: 4 nodes are needed" in problem.what and "to 4" in problem.advice


def test_a_cluster_that_may_not_have_so_many_workers_is_told(tmp_path):
    (problem,) = checked(tmp_path, UP | {"max_workers": 5}).problems
    assert problem.advice == "raise max_workers to 6"


def test_a_cluster_without_max_workers_has_the_two_that_ray_takes(tmp_path):
    raw = {key: value for key, value in UP.items() if key != "max_workers"}
    (problem,) = checked(tmp_path, raw).problems
    assert "6 workers are needed" in problem.what and "max_workers is 2" in problem.what


def test_a_node_type_without_max_workers_has_those_of_the_cluster(tmp_path):
    raw = with_node("small-gpu")
    del raw["available_node_types"]["small-gpu"]["max_workers"]
    found = checked(tmp_path, raw)
    assert found.problems == ()
    assert {type.name: type.max_workers for type in found.cluster.types}["small-gpu"] == 6


def test_resources_that_are_left_out_are_those_of_the_machine(tmp_path):
    raw = with_node("small-gpu")
    del raw["available_node_types"]["small-gpu"]["resources"]
    found = checked(tmp_path, raw, with_tier("small", node_resources={}))
    resources = {type.name: type.resources for type in found.cluster.types}
    assert resources["small-gpu"] == {"CPU": 8, "GPU": 1}
    raw["available_node_types"]["small-gpu"]["node_config"] = {"InstanceType": "x9.huge"}
    with pytest.raises(SettingsError, match=r"small-gpu\.resources is missing.*x9\.huge"):
        checked(tmp_path, raw)


def test_two_groups_of_one_name_are_refused(tmp_path):
    raw = yaml.safe_load((ROOT / "config" / "kuberay.yaml").read_text())
    raw["spec"]["rayClusterConfig"]["workerGroupSpecs"][1]["groupName"] = "small-gpu"
    with pytest.raises(SettingsError, match="same groupName"):
        checked(tmp_path, raw)


def test_a_model_that_does_not_fit_its_gpus_is_told_as_by_the_doctor(tmp_path):
    settings = with_tier("small", quantization="none")
    (problem,) = checked(tmp_path, UP, settings).problems
    assert problem.what.startswith("tier small: does not fit")


def test_a_machine_with_smaller_gpus_than_the_tier_counts_on_is_told(tmp_path):
    config = {"InstanceType": "g6.2xlarge"}
    raw = with_node("small-gpu", node_config=config)
    accelerator = {"type": "L40S", "memory_gib": 44.4, "per_replica": 1}
    (problem,) = checked(tmp_path, raw, with_tier("small", accelerator=accelerator)).problems
    assert "counts on 44.4 GiB" in problem.what and "22.5 GiB" in problem.what


def with_budget(gpus: int) -> Settings:
    return Settings.model_validate(GPU.model_dump(mode="json") | {"cluster": {"max_gpus": gpus}})


@pytest.mark.parametrize(("gpus", "small", "large"), [(5, 1, 1), (8, 4, 1), (9, 1, 2), (12, 4, 2)])
def test_gpus_that_tiers_share_bound_the_fleet_at_most_by_the_dearest(tmp_path, gpus, small, large):
    """A replica of small takes one GPU, one of large four; a node of large costs more."""
    found = checked(tmp_path, UP, with_budget(gpus))
    told = as_dict(found)
    assert [tier["at_max"] for tier in told["tiers"]] == [
        {"small-gpu": small},
        {"large-gpu": large},
    ]
    assert any("max_gpus" in note for note in found.notes) is (gpus < 12)


def test_workers_that_a_budget_never_asks_for_are_no_problem(tmp_path):
    """With 9 GPUs there may be 4 of small and 1 of large, or 1 and 2, but never 4 and 2."""
    few = UP | {"max_workers": 5}
    assert checked(tmp_path, few, with_budget(9)).problems == ()
    (problem,) = checked(tmp_path, few).problems
    assert "6 workers" in problem.what
    (problem,) = checked(tmp_path, few | {"max_workers": 4}, with_budget(9)).problems
    assert "5 workers" in problem.what


def test_resources_that_the_machine_does_not_have_are_told(tmp_path):
    resources = {"CPU": 8, "GPU": 2, "small_gpu": 1}
    (problem,) = checked(tmp_path, with_node("small-gpu", resources=resources)).problems
    assert "say GPU: 2, and a g6.2xlarge has 1" in problem.what


def test_nodes_that_go_before_their_replicas_are_told(tmp_path):
    (problem,) = checked(tmp_path, UP | {"idle_timeout_minutes": 5}).problems
    assert "idle" in problem.what and "10" in problem.advice


@pytest.mark.parametrize("url", ["redis://localhost:6379/0", "unix:///run/redis.sock", None])
def test_a_redis_of_one_node_only_is_told(tmp_path, url):
    raw = GPU.model_dump(mode="json")
    raw["cache"]["redis_url"] = url
    (problem,) = checked(tmp_path, UP, Settings.model_validate(raw)).problems
    assert problem.what.startswith("cache.redis_url")


def test_control_parts_that_no_node_holds_are_told(tmp_path):
    (problem,) = checked(tmp_path, with_node("head", resources={"CPU": 8})).problems
    assert "control" in problem.what


def test_an_unknown_machine_has_no_price_and_the_cluster_none_either(tmp_path):
    told = checked(tmp_path, with_node("small-gpu", node_config={"InstanceType": "x9.huge"}))
    assert as_dict(told)["usd_per_hour"] == {"min": None, "max": None}
    assert any("no price for x9.huge" in note for note in told.notes)


def test_a_tier_without_a_custom_resource_may_land_on_two_types(tmp_path):
    told = checked(tmp_path, UP, with_tier("small", node_resources={}))
    (note,) = [note for note in told.notes if note.startswith("tier small fits")]
    assert "small-gpu" in note and "large-gpu" in note


def test_ones_own_hosts_are_counted_by_their_kind():
    cluster = read_cluster(ROOT / "config" / "clusters" / "local.yaml", TABLE)
    found = {type.name: (type.min_workers, type.max_workers) for type in cluster.types}
    assert found == {"head": (0, 0), "own-one-l4": (4, 4), "own-four-l40s": (2, 2)}
    assert cluster.types[1].resources == {"CPU": 16, "GPU": 1, "small_gpu": 1}


def test_a_rayservice_is_read_with_its_limits_and_start_parameters():
    cluster = read_cluster(ROOT / "config" / "kuberay.yaml", TABLE)
    head, small, large = cluster.types
    assert (head.head, head.resources) == (True, {"CPU": 7, "control": 1})
    assert small.resources == {"CPU": 7, "GPU": 1, "small_gpu": 1}
    assert (large.min_workers, large.max_workers, large.usd_per_hour) == (1, 2, Decimal("10.49264"))
    assert cluster.idle_timeout_s == 900


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[]", "neither"),
        ("provider: {type: aws}", "available_node_types"),
        ("a: [", "is not YAML: line 1, column 5"),
    ],
)
def test_a_file_of_another_kind_is_refused_by_its_name(tmp_path, text, told):
    path = tmp_path / "other.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=told) as error:
        read_cluster(path, TABLE)
    assert "other.yaml" in str(error.value)


def test_an_unknown_host_is_refused(tmp_path):
    path = tmp_path / "local.yaml"
    path.write_text("provider: {type: local, head_ip: 10.9.9.9, worker_ips: []}")
    with pytest.raises(SettingsError, match=r"10\.9\.9\.9"):
        read_cluster(path, TABLE)


def test_the_command_exits_with_1_only_for_problems(tmp_path):
    files = ["--config", str(ROOT / "config/gpu.yaml"), "--nodes", str(ROOT / "config/nodes.yaml")]
    good = ["--cluster", str(ROOT / "cluster.yaml"), *files]
    done = CliRunner().invoke(app, ["cluster", "check", *good, "--json"])
    assert done.exit_code == 0 and json.loads(done.stdout)["problems"] == []
    bad = tmp_path / "cluster.yaml"
    bad.write_text(yaml.safe_dump(with_node("small-gpu", max_workers=1)))
    done = CliRunner().invoke(app, ["cluster", "check", "--cluster", str(bad), *files])
    assert done.exit_code == 1 and "problem:" in done.stdout and "max_workers" in done.stdout
    bad.write_text(yaml.safe_dump(UP | {"surprise": 1}))
    refused = CliRunner().invoke(app, ["cluster", "check", "--cluster", str(bad), *files])
    assert isinstance(refused.exception, SettingsError) and "surprise" in str(refused.exception)
    good_words = CliRunner().invoke(app, ["cluster", "check", *good])
    assert good_words.exit_code == 0 and "25.30 USD/h" in good_words.stdout
