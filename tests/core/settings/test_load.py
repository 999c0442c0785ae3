"""The settings: what is wrong in a file is told by file, field and what is allowed."""

from copy import deepcopy
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from core import cpu
from core.errors import SettingsError
from core.settings.load import Tier, VllmEngine, load

ROOT = Path(__file__).parents[3]
GOOD: dict[str, Any] = {
    "tiers": [
        {
            "name": "small",
            "model": "small-model",
            "engine": {"kind": "simulated"},
            "price": {"input_usd_per_million_tokens": "0.10", "output_usd_per_million_tokens": 1},
        },
    ]
}


def write(folder: Path, content: object) -> Path:
    path = folder / "serve.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def changed(field: str, value: object) -> dict[str, Any]:
    """The good file with one value changed; `tiers.0.name` is a field."""
    content = deepcopy(GOOD)
    at: Any = content
    *folders, last = field.split(".")
    for name in folders:
        at = at[int(name)] if name.isdigit() else at.setdefault(name, {})
    at[last] = value
    return content


def problems(folder: Path, content: object) -> list[str]:
    path = write(folder, content)
    with pytest.raises(SettingsError) as caught:
        load(path)
    first, *rest = str(caught.value).splitlines()
    assert first == f"{path} is not valid:"
    return [line.removeprefix("  - ") for line in rest]


BAD = [
    ("tiers", [], "tiers: must have 1 or more entries"),
    ("tiers.0.name", "Small One", "tiers.0.name: must match the pattern"),
    ("tiers.0.model", "", "tiers.0.model: must match the pattern"),
    ("tiers.0.quantization", "int3", "tiers.0.quantization: must be 'none', 'w8a8'"),
    ("tiers.0.engine", {"kind": "oracle"}, "tiers.0.engine: `kind` must be one of 'vllm', 'sim"),
    ("tiers.0.engine", {"args": {}}, "tiers.0.engine: needs `kind`, one of 'vllm', 'simulated'"),
    ("tiers.0.engine", "vllm", "tiers.0.engine: must be a mapping"),
    (
        "tiers.0.engine",
        {"kind": "simulated", "ttft_s": -1},
        "tiers.0.engine.ttft_s: must be 0 or more (got -1)",
    ),
    (
        "tiers.0.engine",
        {"kind": "vllm", "args": {"max_model_len": [1]}},
        "tiers.0.engine.args.max_model_len: must be true or false or a whole number or a number",
    ),
    ("tiers.0.engine", {"kind": "vllm"}, "tiers.0: a vllm engine needs a source"),
    ("tiers.0.source", {"kind": "s3"}, "tiers.0.source: `kind` must be one of 'path', 'hub', 'wh"),
    ("tiers.0.source", {"id": "a/b"}, "tiers.0.source: needs `kind`, one of 'path', 'hub', 'whe"),
    ("tiers.0.source", {"kind": "path"}, "tiers.0.source.path: must be given"),
    (
        "tiers.0.source",
        {"kind": "wheels", "packages": ["p"], "files": ["f"], "sha256": "00"},
        "tiers.0.source.sha256: must match the pattern ^[0-9a-f]{64}$ (got '00')",
    ),
    ("tiers.0.replicas", {"min": 3, "max": 2}, "tiers.0.replicas: min (3) must not be above max"),
    ("tiers.0.tensor_parallel_size", 0, "tiers.0.tensor_parallel_size: must be 1 or more"),
    ("tiers.0.price", {}, "tiers.0.price.input_usd_per_million_tokens: must be given"),
    (
        "tiers.0.price.output_usd_per_million_tokens",
        "-1",
        "tiers.0.price.output_usd_per_million_tokens: must be 0 or more",
    ),
    ("router.strategy", "guess", "router.strategy: must be 'learned', 'heuristic', 'cas"),
    ("router.threshold", 1.5, "router.threshold: must be 1 or less"),
    ("router.timeout_s", 0, "router.timeout_s: must be above 0 (got 0)"),
    ("cache.ttl_s", 0, "cache.ttl_s: must be 1 or more (got 0)"),
    ("cache.exact", "perhaps", "cache.exact: must be true or false"),
    ("ledger.drain_interval_s", 0, "ledger.drain_interval_s: must be above 0"),
    ("limits.max_in_flight", 0, "limits.max_in_flight: must be 1 or more"),
    ("server.port", 99999, "server.port: must be 65535 or less (got 99999)"),
    ("log_level", "loud", "log_level: must be 'debug', 'info', 'warning' or 'error' (got"),
    ("limits.max_inflight", 5, "limits.max_inflight: is not a known setting (got 5)"),
    ("telemetry", {"on": True}, "telemetry: is not a known setting"),
]


@pytest.mark.parametrize(("field", "value", "told"), BAD, ids=[f"{b[0]}={b[1]}" for b in BAD])
def test_a_bad_value_names_the_file_the_field_and_what_is_allowed(
    tmp_path: Path, field: str, value: object, told: str
) -> None:
    assert any(line.startswith(told) for line in problems(tmp_path, changed(field, value)))


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    content = changed("server.port", 0) | {"log_level": "loud", "cash": 1}
    fields = [line.partition(":")[0] for line in problems(tmp_path, content)]
    assert sorted(fields) == ["cash", "log_level", "server.port"]


def test_a_password_in_a_url_is_not_told(tmp_path: Path) -> None:
    wrong = changed("ledger", {"database_url": "mysql://hansom:s3cret@db.internal/ledger"})
    (found,) = problems(tmp_path, wrong)
    assert found.startswith("ledger.database_url: ")
    assert "://***@db.internal" in found
    assert "s3cret" not in found


def test_a_union_of_plain_types_is_one_problem(tmp_path: Path) -> None:
    engine = {"kind": "vllm", "args": {"dtype": ["bfloat16"]}}
    (found,) = problems(tmp_path, changed("tiers.0.engine", engine))
    assert found.endswith("text or a mapping")


def test_floors_that_do_not_fit_in_the_gpus_of_all_tiers_are_refused(tmp_path: Path) -> None:
    def given(max_gpus: int) -> dict[str, Any]:
        content = deepcopy(GOOD) | {"cluster": {"max_gpus": max_gpus}}
        small = content["tiers"][0]
        small |= {"accelerator": {"per_replica": 1}, "replicas": {"min": 2, "max": 4}}
        content["tiers"].append(small | {
            "name": "large", "model": "large-model", "accelerator": {"per_replica": 4},
            "replicas": {"min": 0, "max": 2}, "scaling": {"risk_floor": 1},
        })  # fmt: skip
        return content

    (problem,) = problems(tmp_path, given(5))
    assert "cluster.max_gpus (5)" in problem
    assert "6: small 2 x 1, large 1 x 4 (replicas.min or scaling.risk_floor" in problem
    assert load(write(tmp_path, given(6))).cluster.max_gpus == 6


@pytest.mark.parametrize("name", ["small", "small-model", "auto"])
def test_no_two_tiers_can_be_meant_by_one_name(tmp_path: Path, name: str) -> None:
    second = GOOD["tiers"][0] | {"name": "large", "model": name}
    (found,) = problems(tmp_path, {"tiers": [GOOD["tiers"][0], second]})
    assert name in found


def test_more_tensor_parallel_ranks_than_accelerators_are_refused(tmp_path: Path) -> None:
    content = changed("tiers.0.accelerator", {"type": "L4", "per_replica": 1})
    content["tiers"][0]["tensor_parallel_size"] = 2
    (found,) = problems(tmp_path, content)
    assert found.startswith("tiers.0: tensor_parallel_size (2) needs as many accelerators")


@pytest.mark.parametrize(
    ("text", "told"),
    [("- a\n- list\n", "must be a mapping"), ("a: [1\n", "is not YAML"), ("", "must be a mapping")],
)
def test_a_file_that_is_no_mapping_says_so(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "serve.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=told):
        load(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^no such file: .*nowhere\.yaml$"):
        load(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("name", ["laptop.yaml", "gpu.yaml", "simulated.yaml", "four-tiers.yaml"])
def test_the_settings_that_are_shipped_are_valid(name: str) -> None:
    tiers = load(ROOT / "config" / name).tiers
    outputs = [tier.price.output_usd_per_million_tokens for tier in tiers]
    assert outputs == sorted(outputs), "tiers are listed cheapest first"


def test_cached_input_costs_as_much_as_fresh_input_unless_it_is_priced(tmp_path: Path) -> None:
    (tier,) = load(write(tmp_path, GOOD)).tiers
    assert tier.price.price().cached_input_usd_per_million_tokens == Decimal("0.10")


def test_a_tier_is_found_by_its_name_only(tmp_path: Path) -> None:
    settings = load(write(tmp_path, GOOD))
    assert settings.tier("small").model == "small-model"
    with pytest.raises(KeyError):
        settings.tier("small-model")


def _tier_of(quantization: str, **args: object) -> Tier:
    return Tier.model_validate(
        {
            "name": "small",
            "model": "m",
            "source": {"kind": "path", "path": "m"},
            "quantization": quantization,
            "engine": {"kind": "vllm", "args": {"dtype": "bfloat16", **args}},
            "price": {"input_usd_per_million_tokens": "1", "output_usd_per_million_tokens": "1"},
        }
    )


@pytest.mark.parametrize(
    ("flags", "memory_gib", "quantization", "dtype"),
    [
        ({"avx512_vnni"}, 64, "w8a8", "bfloat16"),
        ({"avx512_vnni"}, 8, "w8a8", "bfloat16"),
        (set(), 8, "w8a8", "bfloat16"),
        (set(), 64, "none", "float32"),
    ],
)
def test_auto_takes_the_format_that_is_faster_on_this_cpu(
    monkeypatch, flags, memory_gib, quantization, dtype
):
    monkeypatch.setattr(cpu, "int8_flags", lambda: frozenset(flags))
    monkeypatch.setattr(cpu, "memory_gib", lambda: memory_gib)
    tier = _tier_of("auto", max_model_len=4096)
    assert isinstance(tier.engine, VllmEngine)
    assert (tier.quantization, tier.engine.args["dtype"]) == (quantization, dtype)
    assert tier.engine.args["max_model_len"] == 4096
    again = Tier.model_validate(tier.model_dump())
    assert (again.quantization, again.engine) == (tier.quantization, tier.engine)


def test_a_format_that_is_named_is_obeyed(monkeypatch):
    monkeypatch.setattr(cpu, "int8_flags", lambda: frozenset())
    assert _tier_of("w8a8").quantization == "w8a8"
