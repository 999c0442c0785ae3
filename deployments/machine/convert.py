"""Convert a checkpoint (a GGUF file, a Hugging Face folder) into a folder that vLLM loads.

Promises: a whole folder (weights, config, tokenizer with its chat template, generation config) or a
non-zero exit. Run as a file in its own process, so that the gigabytes that torch takes go back when
it ends; it imports nothing of the project. Rounding is to nearest, without calibration data:
`docs/decisions/0002-laptop-quantization.md` says what that costs. Dense decoders only.
"""

import argparse
import dataclasses
import functools
import json
import pathlib
import sys
import typing

if typing.TYPE_CHECKING:  # torch takes seconds to import, and the parent asks only for the names
    import torch

VERSION = 1
"""Part of a prepared folder's key: raised whenever the same input gives other bytes."""


@dataclasses.dataclass(frozen=True)
class Format:
    """How the linear layers are stored: weights of `bits` each, one scale per `group` inputs."""

    bits: int
    group: int | None  # None: one scale per output channel
    activations: bool  # True: vLLM rounds activations to int8 per token as well
    symmetric: bool
    head: bool  # True: the output projection is quantized too, and untied from the embedding


FORMATS = {
    "w8a8": Format(bits=8, group=None, activations=True, symmetric=True, head=True),
    "w8a8-bf16head": Format(bits=8, group=None, activations=True, symmetric=True, head=False),
    "w4a16": Format(bits=4, group=32, activations=False, symmetric=False, head=False),
    "w4a16-sym": Format(bits=4, group=32, activations=False, symmetric=True, head=False),
    "w4a16-head": Format(bits=4, group=32, activations=False, symmetric=False, head=True),
}


def quantization_config(fmt: Format) -> dict[str, object]:
    """The `quantization_config` of config.json, in compressed-tensors' words."""
    weights = {
        "num_bits": fmt.bits,
        "type": "int",
        "symmetric": fmt.symmetric,
        "strategy": "group" if fmt.group else "channel",
        "group_size": fmt.group,
        "dynamic": False,
    }
    inputs = {
        "num_bits": 8,
        "type": "int",
        "symmetric": True,
        "strategy": "token",
        "dynamic": True,
    }
    name = "int-quantized" if fmt.activations else "pack-quantized"
    group = {
        "targets": ["Linear", "re:.*lm_head"] if fmt.head else ["Linear"],
        "weights": weights,
        "input_activations": inputs if fmt.activations else None,
        "output_activations": None,
        "format": name,
    }
    return {
        "quant_method": "compressed-tensors",
        "format": name,
        "quantization_status": "compressed",
        "config_groups": {"group_0": group},
        "ignore": [] if fmt.head else ["lm_head"],
    }


def quantize(weight: "torch.Tensor", fmt: Format) -> dict[str, "torch.Tensor"]:
    """Round one `(out, in)` weight; the stored tensors by their suffix."""
    import torch

    rows, columns = weight.shape
    blocks = weight.to(torch.float32, copy=True).reshape(rows, -1, fmt.group or columns)
    levels = 2 ** (fmt.bits - 1)
    if fmt.symmetric:
        scale = blocks.abs().amax(dim=2, keepdim=True) / (levels - 1)
        zero = torch.zeros_like(scale)
    else:
        low = blocks.amin(dim=2, keepdim=True).clamp(max=0)
        high = blocks.amax(dim=2, keepdim=True).clamp(min=0)
        scale = (high - low) / (2 * levels - 1)
        zero = None
    # The kernel reads bfloat16 group scales: rounding against the stored value, not the exact
    # one, keeps that rounding out of the error.
    scale = scale.clamp(min=1e-8)
    scale = scale if fmt.activations else scale.bfloat16().float()
    if zero is None:
        zero = (-levels - low / scale).round().clamp(-levels, levels - 1)
    codes = blocks.div_(scale).add_(zero).round_().clamp_(-levels, levels - 1)
    codes = codes.to(torch.int8).reshape(rows, columns)
    if fmt.activations:
        return {"weight": codes, "weight_scale": scale.reshape(rows, 1)}
    return _packed(codes, scale[..., 0], zero[..., 0], fmt)


def _packed(
    codes: "torch.Tensor", scale: "torch.Tensor", zero: "torch.Tensor", fmt: Format
) -> dict[str, "torch.Tensor"]:
    """Eight 4-bit codes to an int32: weights along the input, zero points along the output."""
    import torch
    from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32

    stored = {
        "weight_packed": pack_to_int32(codes, fmt.bits),
        "weight_scale": scale.bfloat16().contiguous(),
        "weight_shape": torch.tensor(codes.shape),
    }
    if not fmt.symmetric:
        points = pack_to_int32(zero.to(torch.int8), fmt.bits, packed_dim=0)
        stored["weight_zero_point"] = points.contiguous()
    return stored


def quantized_state(model: "torch.nn.Module", fmt: Format) -> dict[str, "torch.Tensor"]:
    """The model's tensors under their checkpoint names, the linear layers quantized by `fmt`."""
    import torch

    linear = {n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    if not fmt.head:
        linear.discard("lm_head")
    state = {}
    for name, tensor in model.state_dict().items():
        layer, _, leaf = name.rpartition(".")
        if leaf == "weight" and layer in linear:
            for suffix, part in quantize(tensor, fmt).items():
                state[f"{layer}.{suffix}"] = part.contiguous()
        else:
            state[name] = tensor.contiguous()
    if model.config.tie_word_embeddings and not fmt.head:
        state.pop("lm_head.weight", None)
    return state


def load(source: pathlib.Path) -> tuple[typing.Any, typing.Any]:
    """Model (bfloat16) and tokenizer from a `.gguf` file or a Hugging Face folder."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    if source.suffix != ".gguf":
        model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.bfloat16)
        return model, AutoTokenizer.from_pretrained(source)
    _read_gguf_once()
    model = AutoModelForCausalLM.from_pretrained(
        source.parent,
        gguf_file=source.name,
        quantization_config=GgufConfig(dequantize=True),  # else transformers cannot save it
        dtype=torch.bfloat16,
    )
    return model, AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)


def _read_gguf_once() -> None:
    """Keep an opened GGUF file for the next reader.

    Transformers opens it for the config, the weights and the tokenizer, and each opening walks
    150,000 vocabulary entries in Python: a third of the whole conversion. This process does nothing
    else, so its `gguf.GGUFReader` may be a cached one.
    """
    import gguf

    gguf.GGUFReader = functools.cache(gguf.GGUFReader)


def convert(source: pathlib.Path, folder: pathlib.Path, quantization: str | None) -> None:
    """Write `folder` from `source`, its linear layers in `quantization` (None: bfloat16)."""
    from safetensors.torch import save_file

    model, tokenizer = load(source)
    if not tokenizer.chat_template:
        raise ValueError(f"{source} carries no chat template, so it cannot serve chat")
    folder.mkdir(parents=True)
    tokenizer.save_pretrained(folder)
    _set_special_tokens(model, tokenizer)
    model.generation_config.save_pretrained(folder)
    if quantization is None:
        model.save_pretrained(folder)
        return
    fmt = FORMATS[quantization]
    save_file(quantized_state(model, fmt), folder / "model.safetensors", metadata={"format": "pt"})
    if fmt.head:
        model.config.tie_word_embeddings = False
    model.config.save_pretrained(folder)
    file = folder / "config.json"
    config = json.loads(file.read_text()) | {"quantization_config": quantization_config(fmt)}
    file.write_text(json.dumps(config, indent=2) + "\n")


def _set_special_tokens(model: typing.Any, tokenizer: typing.Any) -> None:
    """Stop at the end of a turn and of a text; no sampling defaults of the author's.

    vLLM takes unset sampling fields from generation_config.json: what a client did not ask for
    should be OpenAI's default, not a checkpoint's.
    """
    from transformers import GenerationConfig

    words = tokenizer.get_vocab()
    stops = [words[w] for w in ("<|im_end|>", "<|endoftext|>") if w in words]
    if tokenizer.eos_token_id not in stops:
        stops.insert(0, tokenizer.eos_token_id)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=stops,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.config.eos_token_id = tokenizer.eos_token_id
    model.config.bos_token_id = tokenizer.bos_token_id
    model.config.pad_token_id = tokenizer.pad_token_id


def main(arguments: list[str]) -> None:
    """Command line: SOURCE FOLDER [--quantization NAME]."""
    parser = argparse.ArgumentParser(description="Convert a checkpoint for vLLM.")
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--quantization", choices=sorted(FORMATS))
    given = parser.parse_args(arguments)
    convert(given.source.resolve(), given.folder, given.quantization)


if __name__ == "__main__":
    main(sys.argv[1:])
