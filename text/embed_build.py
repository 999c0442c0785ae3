"""Build the embedder's int8 graph from the published float32 weights.

Promises: the same weights give the same bytes; every large product is of int8 numbers, and no sum
in it can overflow on any CPU; the rest (attention, GELU, layer norms, the mean over the tokens) is
float32. Made in memory in half a second: a stored file would have to be named, locked, renamed and
checked, and a node's home be writable, to save that half second.
Not covered: padding. Texts of one run are of one length, so there is no mask in the graph.

Weights are scaled per output channel and activations per product, over all tokens of a run: for
256 tokens ONNX Runtime's blockwise kernels (`MatMulNBits`) come nearer to float32, a cosine of
.9997 instead of .993, at twice the time. Biases are added in the products, and the sum before a
layer norm is a node of its own: ONNX Runtime 1.31 takes 408 us for `SkipLayerNormalization`
of 256 tokens and 63 us for the sum and the norm.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from safetensors import safe_open

LAYERS = 6
HEADS = 12
SIZE = 384
POSITIONS = 256
INPUT, OUTPUT = "input_ids", "row"

# Seven bits: 2 x 255 x 64 still fits the 16 bits in which CPUs without VNNI add two products. With
# eight they would cut the sum off, and a prompt's row would depend on the machine.
WEIGHT_LIMIT = 64
_EPSILON = 1e-12
_CONTRIB = "com.microsoft"
# Written down, because what `onnx` writes by default may be newer than what ONNX Runtime reads.
_IR_VERSION, _OPSET = 10, 18

Tensors = Callable[[str], NDArray[np.float32]]


def graph_bytes(weights: Path) -> bytes:
    """The ONNX model of a `model.safetensors`: (N, T) int64 token ids to (N, 384) unit rows.

    Raises `OSError` or `safetensors.SafetensorError` for a file that cannot be read or lacks a
    tensor.
    """
    with safe_open(weights, "np") as file:
        graph: bytes = _model(file.get_tensor).SerializeToString()
    return graph


def quantized(
    weight: NDArray[np.float32], limit: int
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """(R, C) int8 in [-limit, limit] and the (R, 1) scales that give a (R, C) matrix back."""
    scale = np.maximum(np.abs(weight).max(axis=1, keepdims=True), 1e-8) / np.float32(limit)
    return np.round(weight / scale).astype(np.int8), scale


class _Graph:
    """Nodes and constants of a model in the making; a value is known by its name."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(
        self, kind: str, inputs: list[str], name: str, domain: str = "", **told: float | str
    ) -> str:
        self.spread(kind, inputs, [name], domain, **told)
        return name

    def spread(
        self, kind: str, inputs: list[str], names: list[str], domain: str = "", **told: float | str
    ) -> None:
        """A node of as many values as `names`."""
        attributes = [helper.make_attribute(key, value) for key, value in told.items()]
        self.nodes.append(
            NodeProto(op_type=kind, input=inputs, output=names, domain=domain, attribute=attributes)
        )

    def linear(
        self, given: str, weight: NDArray[np.float32], bias: NDArray[np.float32], name: str
    ) -> str:
        """`given` times an (out, in) weight in int8, plus an (out,) bias in float32."""
        rows, scale = quantized(weight, WEIGHT_LIMIT)
        inputs = [
            given,
            self.constant(f"{name}.weight", rows.T),
            self.constant(f"{name}.scale", scale[:, 0]),
            self.constant(f"{name}.zero", np.zeros(len(rows), dtype=np.int8)),
            self.constant(f"{name}.bias", bias),
        ]
        return self.node("DynamicQuantizeMatMul", inputs, name, _CONTRIB)

    def norm(self, given: str, tensors: Tensors, name: str) -> str:
        """The layer norm called `name` in the weights."""
        inputs = [
            given,
            self.constant(f"{name}.weight", tensors(f"{name}.weight")),
            self.constant(f"{name}.bias", tensors(f"{name}.bias")),
        ]
        return self.node("LayerNormalization", inputs, name, axis=-1, epsilon=_EPSILON)


def _model(tensors: Tensors) -> ModelProto:
    graph = _Graph()
    hidden = _embedded(graph, tensors)
    for number in range(LAYERS):
        hidden = _layer(graph, tensors, hidden, f"encoder.layer.{number}")
    mean = graph.node(
        "ReduceMean", [hidden, graph.constant("tokens", np.array([1]))], "mean", keepdims=0
    )
    graph.node("LpNormalization", [mean], OUTPUT, axis=-1, p=2)
    return helper.make_model(
        helper.make_graph(
            graph.nodes,
            "minilm",
            [helper.make_tensor_value_info(INPUT, TensorProto.INT64, ["N", "T"])],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["N", SIZE])],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", _OPSET), helper.make_opsetid(_CONTRIB, 1)],
        ir_version=_IR_VERSION,
    )


def _embedded(graph: _Graph, tensors: Tensors) -> str:
    """(1, T, 384): word and position; all tokens are of type 0, so that row is in the positions.

    The words, nine tenths of the bytes outside the layers, are stored as int8 too.
    """
    rows, scale = quantized(tensors("embeddings.word_embeddings.weight"), 127)
    found = graph.node("Gather", [graph.constant("words", rows), INPUT], "words.found")
    scales = graph.node("Gather", [graph.constant("words.scale", scale), INPUT], "words.scales")
    whole = graph.node("Cast", [found], "words.float", to=TensorProto.FLOAT)
    words = graph.node("Mul", [whole, scales], "words.scaled")

    position = tensors("embeddings.position_embeddings.weight")[:POSITIONS]
    table = (position + tensors("embeddings.token_type_embeddings.weight")[0])[None]
    length = graph.node("Shape", [INPUT], "length", start=1, end=2)
    first, axis = graph.constant("first", np.array([0])), graph.constant("axis", np.array([1]))
    inputs = [graph.constant("positions", table), first, length, axis]
    places = graph.node("Slice", inputs, "positions.found")
    return graph.norm(graph.node("Add", [words, places], "summed"), tensors, "embeddings.LayerNorm")


def _layer(graph: _Graph, tensors: Tensors, hidden: str, name: str) -> str:
    """(1, T, 384) to the same shape: attention and feed-forward, a sum and a norm after each."""

    def linear(given: str, part: str) -> str:
        full = f"{name}.{part}"
        return graph.linear(given, tensors(f"{full}.weight"), tensors(f"{full}.bias"), full)

    read = _attention(graph, tensors, hidden, f"{name}.attention.self")
    attended = linear(read, "attention.output.dense")
    summed = graph.node("Add", [attended, hidden], f"{name}.attention.summed")
    middle = graph.norm(summed, tensors, f"{name}.attention.output.LayerNorm")
    wide = linear(middle, "intermediate.dense")
    wide = graph.node("Gelu", [wide], f"{name}.intermediate", _CONTRIB)
    summed = graph.node("Add", [linear(wide, "output.dense"), middle], f"{name}.summed")
    return graph.norm(summed, tensors, f"{name}.output.LayerNorm")


def _attention(graph: _Graph, tensors: Tensors, hidden: str, name: str) -> str:
    """(1, T, 384): queries, keys and values in one product, because each reads the same input."""
    parts = ("query", "key", "value")
    weight = np.concatenate([tensors(f"{name}.{part}.weight") for part in parts])
    bias = np.concatenate([tensors(f"{name}.{part}.bias") for part in parts])
    thirds = [f"{name}.{part}" for part in parts]
    together = graph.linear(hidden, weight, bias, f"{name}.together")
    graph.spread("Split", [together], thirds, axis=2, num_outputs=3)
    return graph.node("MultiHeadAttention", thirds, name, _CONTRIB, num_heads=HEADS)
