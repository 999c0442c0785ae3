"""Preparing weights: what is whole stays, what is not is made again, and errors name the tier."""

import concurrent.futures
import json
import pathlib

import pytest

from core.settings.load import PathSource, Tier, VllmEngine
from core.settings.tier_price import TierPrice
from deployments.machine import convert, weights
from deployments.machine.fetch import WeightsError

CONVERTER = """
import pathlib, sys
source, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
if (source / "broken").exists():
    sys.exit("the tensors are damaged")
folder.mkdir()
(folder / "config.json").write_text("{}")
(folder / "model.safetensors").write_bytes(b"x" * 1000)
with (source / "runs").open("a") as runs:
    runs.write(" ".join(sys.argv[3:]) + "\\n")
"""


class Told:
    """A Progress that keeps what it was told."""

    def __init__(self) -> None:
        self.labels: list[str] = []
        self.open = 0

    def start(self, label: str, total: int | None) -> None:
        self.labels.append(label)
        self.open += 1

    def advance(self, units: int) -> None:
        pass

    def done(self) -> None:
        self.open -= 1


def tier(folder: pathlib.Path | None, quantization: str = "w8a8") -> Tier:
    return Tier.model_validate(
        {
            "name": "small",
            "model": "tiny",
            "source": None if folder is None else PathSource(kind="path", path=folder),
            "quantization": quantization,
            "engine": VllmEngine() if folder else {"kind": "simulated"},
            "price": TierPrice(input_usd_per_million_tokens=1, output_usd_per_million_tokens=1),
        }
    )


@pytest.fixture
def plain(tmp_path: pathlib.Path) -> pathlib.Path:
    """A checkpoint folder in bfloat16, as far as its configuration says."""
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder


@pytest.fixture
def runs(
    tmp_path: pathlib.Path, plain: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> pathlib.Path:
    """The converter is a script that copies nothing; this file gets a line for each of its runs."""
    script = tmp_path / "converter.py"
    script.write_text(CONVERTER)
    monkeypatch.setattr(convert, "__file__", str(script))
    # The count lies in the source folder, whose state is part of the key: hidden from it.
    file = plain / "runs"
    monkeypatch.setattr(weights, "_folder_name", lambda tier: f"small-{tier.quantization}-key")
    return file


def test_a_path_that_vllm_loads_as_it_stands_is_returned_as_it_stands(plain, tmp_path):
    assert weights.prepare(tier(plain, "none"), tmp_path, Told()) == plain


def test_a_path_that_is_quantized_already_is_not_quantized_again(plain, tmp_path):
    (plain / "config.json").write_text(json.dumps({"quantization_config": {"bits": 8}}))
    assert weights.prepare(tier(plain), tmp_path, Told()) == plain


def test_a_folder_without_a_model_is_refused_with_the_tiers_name(tmp_path):
    with pytest.raises(WeightsError, match=r"tier small: .* holds no config\.json"):
        weights.prepare(tier(tmp_path / "nowhere"), tmp_path, Told())


def test_a_tier_without_weights_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="tier small"):
        weights.prepare(tier(None), tmp_path, Told())


def test_the_prepared_folder_says_what_it_was_made_from(plain, runs, tmp_path):
    told = Told()
    folder = weights.prepare(tier(plain), tmp_path, told)
    manifest = weights.Manifest.model_validate_json((folder / "hansom.json").read_bytes())
    assert manifest.source == {"kind": "path", "path": str(plain)}
    assert manifest.quantization == "w8a8"
    assert manifest.files["model.safetensors"].size_bytes == 1000
    assert runs.read_text() == "--quantization w8a8\n"
    assert told.labels == ["small: converting tiny (w8a8)"]
    assert told.open == 0


def test_a_second_call_makes_nothing(plain, runs, tmp_path):
    first = weights.prepare(tier(plain), tmp_path, Told())
    assert weights.prepare(tier(plain), tmp_path, Told(), verify=True) == first
    assert len(runs.read_text().splitlines()) == 1


def test_a_folder_that_lost_bytes_is_made_again(plain, runs, tmp_path):
    folder = weights.prepare(tier(plain), tmp_path, Told())
    (folder / "model.safetensors").write_bytes(b"x" * 10)
    weights.prepare(tier(plain), tmp_path, Told())
    assert (folder / "model.safetensors").stat().st_size == 1000


def test_only_verify_sees_a_changed_byte(plain, runs, tmp_path):
    folder = weights.prepare(tier(plain), tmp_path, Told())
    (folder / "model.safetensors").write_bytes(b"y" * 1000)
    weights.prepare(tier(plain), tmp_path, Told())
    assert (folder / "model.safetensors").read_bytes()[:1] == b"y"
    weights.prepare(tier(plain), tmp_path, Told(), verify=True)
    assert (folder / "model.safetensors").read_bytes()[:1] == b"x"


def test_a_folder_without_its_manifest_is_not_taken_for_whole(plain, runs, tmp_path):
    folder = tmp_path / "models" / "small-w8a8-key"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    weights.prepare(tier(plain), tmp_path, Told())
    assert (folder / "model.safetensors").is_file()


def test_what_a_killed_run_left_is_cleared_away(plain, runs, tmp_path):
    partial = tmp_path / "models" / "small-w8a8-key.partial"
    (partial / "whole").mkdir(parents=True)
    (partial / "whole" / "model.safetensors").write_bytes(b"half")
    folder = weights.prepare(tier(plain), tmp_path, Told())
    assert not partial.exists()
    assert (folder / "model.safetensors").stat().st_size == 1000


def test_a_failed_conversion_leaves_nothing_and_says_why(plain, runs, tmp_path):
    (plain / "broken").touch()
    with pytest.raises(WeightsError, match="tier small: could not convert tiny: the tensors are"):
        weights.prepare(tier(plain), tmp_path, Told())
    assert [p.name for p in (tmp_path / "models").iterdir() if p.is_dir()] == []


def test_a_home_that_cannot_be_written_is_told_with_the_tier(plain, tmp_path):
    (tmp_path / "models").write_text("a file, not a folder")
    with pytest.raises(WeightsError, match="tier small: its weights cannot be prepared"):
        weights.prepare(tier(plain), tmp_path, Told())


def test_two_at_once_convert_once(plain, runs, tmp_path):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda _: weights.prepare(tier(plain), tmp_path, Told()), range(2)))
    assert made[0] == made[1]
    assert len(runs.read_text().splitlines()) == 1


def test_another_content_of_the_same_path_is_another_folder(plain, tmp_path):
    before = weights._folder_name(tier(plain))
    (plain / "model.safetensors").write_bytes(b"new")
    assert weights._folder_name(tier(plain)) != before


def test_the_embedders_files_are_found_and_are_the_pinned_ones():
    files = weights.prepare_embedder()
    assert files.model.name == "model.safetensors"
    assert files.tokenizer.name == "tokenizer.json"


@pytest.mark.parametrize("quantization", ["none", "w8a8", "awq", "gptq"])
def test_what_config_json_says_is_not_said_again(quantization):
    assert weights.engine_arguments(quantization) == {}


def test_online_formats_are_vllms_arguments():
    assert weights.engine_arguments("bitsandbytes_nf4") == {
        "quantization": "bitsandbytes",
        "load_format": "bitsandbytes",
    }
