"""Model folders without weights: the real shapes, and text for every token."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.dummy_model import SHAPES, write


def tokenizer_of(folder: Path) -> Any:
    """The folder's tokenizer. Transformers takes seconds to import, so no collection does it."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize(("name", "parameters"), [("8b", 8.03e9), ("70b", 70.55e9)])
def test_a_shape_has_as_many_parameters_as_the_model_it_stands_for(name, parameters) -> None:
    assert SHAPES[name].parameters == pytest.approx(parameters, rel=0.002)


def test_the_folder_says_the_shape_and_reads_and_writes_text(tmp_path) -> None:
    folder = write(tmp_path / "model", SHAPES["tiny"])
    config = json.loads((folder / "config.json").read_text())
    assert config["hidden_size"] == SHAPES["tiny"].hidden_size
    tokenizer = tokenizer_of(folder)
    assert len(tokenizer) == config["vocab_size"]
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "w1 w2 surely unknown"}], tokenize=False
    )
    ids = tokenizer(asked)["input_ids"]
    assert len(ids) == 5  # the role, two known words, two that are not
    assert tokenizer.decode([10, 11, 12]).split() == ["w7", "w8", "w9"]


def test_every_id_is_text_of_its_own(tmp_path) -> None:
    tokenizer = tokenizer_of(write(tmp_path, SHAPES["tiny"]))
    words = [tokenizer.decode([id_]) for id_ in range(len(tokenizer))]
    assert len(set(words)) == len(words) and all(words)
