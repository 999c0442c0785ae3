"""The int8 graph is the published model, and its sums fit every CPU."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from safetensors import SafetensorError, safe_open

from text.embed import WEIGHTS_FILE, WEIGHTS_PACKAGE, MiniLM, packaged_file
from text.embed_build import HEADS, LAYERS, SIZE, graph_bytes, quantized

TEXTS = [
    "Hi",
    "What is the capital of France?",
    "Prove that the square root of two is irrational, and say where evenness is used.",
    "def add(a: int, b: int) -> int:\n    return a + b\n\nWhy does this fail for strings?",
    "A cab leaves at 9:40 and drives 12 km at 30 km/h. When does it arrive? " * 12,
]
Array = NDArray[np.float64]
erf = np.vectorize(math.erf)


@pytest.fixture(scope="module")
def weights() -> Path:
    return packaged_file(WEIGHTS_PACKAGE, WEIGHTS_FILE)


@pytest.fixture(scope="module")
def graph(weights: Path) -> onnx.GraphProto:
    return onnx.load_from_string(graph_bytes(weights)).graph


def norm(x: Array, get: Callable[[str], Array], name: str) -> Array:
    centred = x - x.mean(axis=-1, keepdims=True)
    unit = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
    return unit * get(f"{name}.weight") + get(f"{name}.bias")


def published(get: Callable[[str], Array], ids: list[int]) -> Array:
    """(384,) by the model's definition, in the plainest way."""

    def linear(x: Array, name: str) -> Array:
        return x @ get(f"{name}.weight").T + get(f"{name}.bias")

    tables = [f"embeddings.{kind}_embeddings.weight" for kind in ("word", "position", "token_type")]
    word, position, kind = (get(name) for name in tables)
    x = norm(word[ids] + position[: len(ids)] + kind[0], get, "embeddings.LayerNorm")
    for number in range(LAYERS):
        layer = f"encoder.layer.{number}"
        query, key, value = (
            linear(x, f"{layer}.attention.self.{part}").reshape(len(ids), HEADS, -1).swapaxes(0, 1)
            for part in ("query", "key", "value")
        )
        share = np.exp(query @ key.swapaxes(1, 2) / math.sqrt(SIZE / HEADS))
        seen = (share / share.sum(axis=-1, keepdims=True)) @ value
        seen = linear(
            seen.swapaxes(0, 1).reshape(len(ids), SIZE), f"{layer}.attention.output.dense"
        )
        x = norm(x + seen, get, f"{layer}.attention.output.LayerNorm")
        wide = linear(x, f"{layer}.intermediate.dense")
        wide = wide * (1 + erf(wide / math.sqrt(2))) / 2
        x = norm(x + linear(wide, f"{layer}.output.dense"), get, f"{layer}.output.LayerNorm")
    mean = x.mean(axis=0)
    return mean / np.linalg.norm(mean)


def test_rows_are_those_of_the_published_weights(weights: Path):
    embedder = MiniLM.installed()
    with safe_open(weights, "np") as file:
        true = [published(file.get_tensor, embedder.token_ids(text)) for text in TEXTS]
    cosines = (embedder.embed(TEXTS) * np.array(true)).sum(axis=1)
    assert cosines.min() > 0.98
    assert cosines.mean() > 0.99


def test_every_product_with_weights_is_of_int8_numbers(graph: onnx.GraphProto):
    kinds = [node.op_type for node in graph.node]
    assert kinds.count("DynamicQuantizeMatMul") == 4 * LAYERS
    assert not {"MatMul", "Gemm"} & set(kinds)


def test_two_products_fit_16_bits_on_a_cpu_without_vnni(graph: onnx.GraphProto):
    constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    products = [node for node in graph.node if node.op_type == "DynamicQuantizeMatMul"]
    for node in products:
        largest = int(np.abs(constants[node.input[1]].astype(int)).max())
        assert 2 * 255 * largest <= 2**15 - 1


def test_the_same_weights_give_the_same_bytes(weights: Path):
    assert graph_bytes(weights) == graph_bytes(weights)


@pytest.mark.parametrize("limit", [64, 127])
def test_a_matrix_comes_back_to_within_half_a_step(limit: int):
    matrix = np.random.default_rng(0).normal(size=(8, 32)).astype(np.float32)
    whole, scale = quantized(matrix, limit)
    assert (np.abs(whole).max(axis=1) == limit).all()
    assert (np.abs(whole * scale - matrix) <= scale * 0.501).all()


def test_a_row_of_zeros_stays_one():
    whole, scale = quantized(np.zeros((1, 4), dtype=np.float32), 64)
    assert not (whole * scale).any()


def test_a_file_that_holds_no_weights_is_refused(tmp_path: Path):
    broken = tmp_path / "model.safetensors"
    broken.write_bytes(b"not weights")
    with pytest.raises(SafetensorError):
        graph_bytes(broken)
