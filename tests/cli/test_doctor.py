"""`cli.doctor`: what is missing is told, and only what is required makes it fail."""

import json
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from rich.console import Console

from cli import doctor
from cli.doctor import Check
from core.settings.load import Settings, Tier, load
from deployments.machine import environment

ROOT = Path(__file__).parents[2]
SIMULATED = load(ROOT / "config" / "simulated.yaml")
GPU = load(ROOT / "config" / "gpu.yaml")
PRICE = {"input_usd_per_million_tokens": 0, "output_usd_per_million_tokens": 0}


def on_port(port: int, host: str = "127.0.0.1") -> Settings:
    return Settings.model_validate(
        SIMULATED.model_dump() | {"server": {"host": host, "port": port}}
    )


def on_cpu(parameters: float = 135e6, **tier: object) -> Settings:
    fields: dict[str, object] = {
        "name": "small",
        "model": "small-model",
        "source": {"kind": "hub", "id": "someone/small-model"},
        "engine": {"kind": "vllm", "env": {"VLLM_CPU_KVCACHE_SPACE": "1"}},
        "shape": {"parameters": parameters, "layers": 30, "kv_heads": 3, "head_dim": 64},
        "price": PRICE,
    }
    return Settings.model_validate({"tiers": [fields | tier]})


def prepare(settings: Settings, home: Path, content: bytes = b"weights") -> Path:
    """A prepared folder as `deployments.machine.weights` leaves it."""
    (tier,) = settings.tiers
    assert tier.source is not None
    folder = home / "models" / f"{tier.name}-{tier.quantization}-0123456789ab"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(content)
    manifest = {
        "source": tier.source.model_dump(mode="json"),
        "quantization": tier.quantization,
        "converter": 1,
        "files": {"model.safetensors": {"size_bytes": len(content), "sha256": "0" * 64}},
    }
    (folder / "hansom.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


@pytest.fixture
def dead_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_busy_server_port_is_named_and_fails(busy_port):
    check = doctor.check_server_port(on_port(busy_port))
    assert check.ok is False
    assert f"127.0.0.1:{busy_port}" in check.found
    assert "running already" in check.advice


def test_a_free_server_port_passes(dead_port):
    assert doctor.check_server_port(on_port(dead_port)).ok is True


def test_an_address_that_is_not_this_machines_fails_and_names_the_setting(dead_port):
    check = doctor.check_server_port(on_port(dead_port, host="192.0.2.1"))
    assert check.ok is False
    assert check.advice == "set server.host"


def test_too_few_replica_ports_fail():
    crowd = {"replicas": {"min": 1, "max": 2000}}
    many = Settings.model_validate({"tiers": [SIMULATED.tiers[0].model_dump() | crowd]})
    check = doctor.check_serve_ports(many)
    assert check.ok is False


def test_a_redis_that_does_not_answer_fails_with_its_url(dead_port):
    check = doctor.check_redis(f"redis://127.0.0.1:{dead_port}/0")
    assert check.ok is False
    assert f"127.0.0.1:{dead_port}" in check.found


def test_a_unix_socket_that_is_not_there_fails(tmp_path):
    assert doctor.check_redis(f"unix://{tmp_path}/redis.sock").ok is False


def test_something_else_that_listens_is_not_taken_for_redis(busy_port):
    started_s = time.monotonic()
    assert doctor.check_redis(f"redis://127.0.0.1:{busy_port}").ok is False
    assert doctor.check_redis(f"http://127.0.0.1:{busy_port}").ok is False
    assert time.monotonic() - started_s < 3 * doctor.REDIS_TIMEOUT_S


@pytest.mark.redis
def test_a_live_redis_passes_and_one_with_a_password_too(redis_url):
    assert doctor.check_redis(redis_url).ok is True
    with Redis.from_url(redis_url) as client:
        client.config_set("requirepass", "secret")
        try:
            check = doctor.check_redis(redis_url)
        finally:
            client.config_set("requirepass", "")
    assert check.ok is True
    assert check.found.endswith("answers and asks for a password")


def test_a_url_with_a_password_in_it_is_never_shown_with_it(dead_port):
    check = doctor.check_redis(f"redis://user:secret@127.0.0.1:{dead_port}/0")
    assert "secret" not in check.found
    assert f"127.0.0.1:{dead_port}" in check.found


def test_without_a_url_the_redis_that_comes_along_is_found():
    check = doctor.check_redis(None)
    assert check.ok is True
    assert check.found.endswith("redis-server")


def test_a_home_that_is_not_there_yet_is_no_fault(tmp_path):
    check = doctor.check_disk(SIMULATED, tmp_path / "not" / "yet")
    assert check.ok is True
    assert "will be made" in check.advice
    assert not (tmp_path / "not").exists()


def test_a_home_that_is_a_file_fails(tmp_path):
    (tmp_path / "home").write_text("")
    assert doctor.check_disk(SIMULATED, tmp_path / "home").ok is False


def test_a_disk_too_small_for_the_weights_fails_with_both_numbers(tmp_path):
    check = doctor.check_disk(on_cpu(parameters=1e15), tmp_path)
    assert check.ok is False
    assert "free, about" in check.found


def test_too_little_memory_for_a_cpu_tier_fails(tmp_path):
    assert doctor.check_memory(on_cpu(parameters=1e15), tmp_path).ok is False
    assert doctor.check_memory(SIMULATED, tmp_path).ok is not False


def test_a_gpu_tier_takes_no_main_memory_for_its_weights(tmp_path):
    assert "about 3.0 GiB needed" in doctor.check_memory(GPU, tmp_path).found


def test_weights_that_can_be_fetched_are_no_fault(tmp_path):
    check = doctor.check_weights(on_cpu().tiers[0], tmp_path)
    assert check.ok is None
    assert check.advice == "fetched at the first start"


def test_prepared_weights_are_found_and_need_no_more_disk(tmp_path):
    settings = on_cpu(parameters=1e15)
    prepare(settings, tmp_path)
    assert doctor.check_weights(settings.tiers[0], tmp_path).ok is True
    assert doctor.check_disk(settings, tmp_path).ok is True


@pytest.mark.parametrize("damage", ["truncated", "missing", "manifest", "other source"])
def test_damaged_or_foreign_weights_do_not_count(tmp_path, damage):
    settings = on_cpu()
    folder = prepare(settings, tmp_path)
    if damage == "truncated":
        (folder / "model.safetensors").write_bytes(b"w")
    elif damage == "missing":
        (folder / "model.safetensors").unlink()
    elif damage == "manifest":
        (folder / "hansom.json").write_text("[]")
    else:
        settings = on_cpu(source={"kind": "hub", "id": "someone/else"})
    assert doctor.check_weights(settings.tiers[0], tmp_path).ok is None


def test_a_path_without_a_model_fails(tmp_path):
    settings = on_cpu(source={"kind": "path", "path": str(tmp_path / "nothing")})
    assert doctor.check_weights(settings.tiers[0], tmp_path).ok is False


def test_a_path_with_a_model_passes(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    settings = on_cpu(source={"kind": "path", "path": str(tmp_path)})
    assert doctor.check_weights(settings.tiers[0], tmp_path).ok is True


def test_gpus_are_asked_for_only_by_gpu_tiers():
    assert doctor.check_gpus(SIMULATED.tiers).ok is None


def wanting(tier: Tier, gpus: int) -> Tier:
    accelerator = tier.accelerator.model_copy(update={"per_replica": gpus})
    return tier.model_copy(update={"accelerator": accelerator})


def test_gpu_tiers_without_any_of_their_gpus_fail_and_are_named():
    check = doctor.check_gpus([wanting(tier, 1000) for tier in GPU.tiers])
    assert check.ok is False
    assert "small needs 1000 of 22.0 GiB, large needs 1000 of 44.4 GiB" in check.advice


@pytest.mark.parametrize(
    ("gpus_mib", "ok"),
    [
        ("23034\n", None),
        ("46068\n" * 4, True),
        ("46068\n" * 3, None),
        ("16384\n", False),
        ("", False),
    ],
)
def test_the_gpus_told_by_the_driver_decide(tmp_path, monkeypatch, gpus_mib, ok):
    told = tmp_path / "nvidia-smi"
    told.write_text(f"#!/bin/sh\ncat <<END\n{gpus_mib}END\n")
    told.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert doctor.check_gpus(GPU.tiers).ok is ok


def test_a_tier_too_large_for_its_gpu_fails_with_the_numbers():
    plain = GPU.tier("large").model_copy(
        update={"quantization": "none", "accelerator": GPU.tier("small").accelerator}
    )
    assert doctor.check_fit(GPU.tier("large")).ok is True
    check = doctor.check_fit(plain)
    assert check.ok is False
    assert "does not fit" in check.found
    assert doctor.check_fit(plain.model_copy(update={"shape": None})).ok is None


def test_haproxy_is_found_where_its_package_put_it(monkeypatch):
    assert doctor.check_haproxy().ok is True
    monkeypatch.setenv("RAY_SERVE_HAPROXY_BINARY_PATH", "nowhere")
    assert doctor.check_haproxy().ok is False


def test_this_machine_passes_for_the_simulated_configuration(tmp_path, dead_port):
    checks = doctor.run_checks(on_port(dead_port), tmp_path)
    failed = [check for check in checks if check.ok is False and check.name != "serve ports"]
    assert failed == []


def test_only_what_is_required_makes_the_exit_code_1():
    fine, unknown, missing = Check("a", True, ""), Check("b", None, ""), Check("c", False, "")
    assert doctor.exit_code([fine, unknown]) == 0
    assert doctor.exit_code([fine, missing, unknown]) == 1


def test_checks_are_told_as_json_and_as_a_table():
    checks = (Check("disk", False, "1 GiB", "more"), Check("gpu", None, "none"))
    assert json.loads(json.dumps(doctor.as_dicts(checks)))[0] == {
        "name": "disk", "ok": False, "found": "1 GiB", "advice": "more",
    }  # fmt: skip
    console = Console(record=True, width=80)
    console.print(doctor.table(checks))
    assert "disk" in console.export_text()


def test_the_table_shows_brackets_as_they_are():
    console = Console(record=True, width=80)
    console.print(doctor.table((Check("redis", False, "[red]is[/] in the path"),)))
    assert "[red]is[/] in the path" in console.export_text()


def test_too_few_open_files_are_told_with_what_to_raise(monkeypatch):
    assert doctor.check_open_files().ok is True
    monkeypatch.setattr(environment, "LEAST_OPEN_FILES", 2**62)
    check = doctor.check_open_files()
    assert check.ok is False
    assert "HAProxy needs" in check.found and "ulimit" in check.advice


@pytest.mark.parametrize(
    ("version", "ok"),
    [((3, 10), False), ((3, 11), True), ((3, 12), True), ((3, 13), True), ((3, 14), False)],
)
def test_every_python_that_make_takes_passes(monkeypatch, version, ok):
    monkeypatch.setattr(sys, "version_info", (*version, 0, "final", 0))
    check = doctor.check_python()
    assert check.ok is ok and ("3.11 to 3.13" in check.advice) is not ok
