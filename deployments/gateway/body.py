"""Read the body of a request: from bytes and headers to a JSON value.

Promises:
- Only JSON is read. A web page can send JSON to another origin only after a preflight, which
  the gateway grants to the origins in `server.cors.origins`.
- A compressed body is decompressed up to the same limit as any other, and never further.
- What `parse` returns can be encoded again by every library on the path.
Not covered: the fields (`wire.requests`).
"""

import zlib
from codecs import BOM_UTF8
from collections.abc import Mapping
from email.message import Message

import orjson

from core.errors import BadRequest, BodyTooLarge, UnsupportedMediaType

MAX_DEPTH = 100
"""Most levels of objects and arrays. orjson encodes 254, and vLLM's JSON schemas have fewer."""

_JSON = "application/json"
_SEND = "Send JSON with the header `content-type: application/json` (with curl: `-H`)."
_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii"})
_GZIP, _ZLIB, _DEFLATE = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS
_CODINGS = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _ZLIB}


def plain(raw: bytes, headers: Mapping[str, str], limit_bytes: int) -> bytes:
    """The JSON text of a body that came with these headers.

    Raises `UnsupportedMediaType` for what is no JSON by its headers or is compressed in another way
    than gzip or deflate, `BodyTooLarge` beyond `limit_bytes`, `BadRequest` for damaged compression.
    """
    kind = headers.get("content-type", "")
    if kind != _JSON:
        _require_json(kind)
    coding = headers.get("content-encoding")
    if coding is None:
        return raw
    return _decompressed(raw, coding.strip().lower(), limit_bytes)


def parse(raw: bytes) -> object:
    """The JSON value of a body; raises `BadRequest` with the place of the mistake.

    Also for one that is nested more than `MAX_DEPTH` deep.
    """
    if not raw:
        raise BadRequest("The body is not JSON: it is empty.")
    try:
        body = orjson.loads(raw.removeprefix(BOM_UTF8))  # some .NET clients send one
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"The body is not JSON: {error}.") from None
    # A body with fewer brackets cannot be deeper; most have, and counting them costs nothing.
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and _deeper(body, MAX_DEPTH):
        raise BadRequest(f"The body is nested more than {MAX_DEPTH} levels deep.")
    return body


def _deeper(body: object, levels: int) -> bool:
    """Whether objects and arrays are nested in more than so many levels."""
    level = [body]
    for _ in range(levels):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)  # type: ignore[attr-defined]  # lists else
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _require_json(kind: str) -> None:
    """Raise `UnsupportedMediaType` unless a content type is JSON in UTF-8."""
    if not kind:
        raise _unsupported(f"No content type was sent. {_SEND}")
    header = Message()
    header["content-type"] = kind
    media, charset = header.get_content_type(), header.get_content_charset("utf-8")
    is_json = media == _JSON or (media.startswith("application/") and media.endswith("+json"))
    if not is_json:
        raise _unsupported(f"The content type is {kind[:100]!r}. {_SEND}")
    if charset not in _CHARSETS:
        raise _unsupported(f"JSON is sent in UTF-8, not in {charset[:100]!r}.")


def _decompressed(raw: bytes, coding: str, limit_bytes: int) -> bytes:
    if coding in ("", "identity"):
        return raw
    bits = _CODINGS.get(coding)
    if bits is None:
        raise _unsupported(
            f"The content encoding {coding[:100]!r} is not read. Send gzip, deflate, or none."
        )
    # Some clients send deflate as it is, without the two bytes of zlib's head (RFC 9110, 8.4.1.2).
    if bits == _ZLIB and raw and (raw[0] & 0x0F) != 8:
        bits = _DEFLATE
    stream = zlib.decompressobj(bits)
    try:
        # One byte more than there is room for tells a body that ends there from a longer one.
        text = stream.decompress(raw, limit_bytes + 1)
    except zlib.error as error:
        raise BadRequest(f"The body is not {coding}: {error}.") from None
    if len(text) > limit_bytes:
        raise BodyTooLarge(
            f"The body is longer than {limit_bytes} bytes when decompressed "
            "(limits.max_body_bytes)."
        )
    if not stream.eof:
        raise BadRequest(f"The body is not whole: its {coding} ends too early.")
    if stream.unused_data:
        raise BadRequest(f"More follows after the {coding} of the body.")
    return text


def _unsupported(message: str) -> UnsupportedMediaType:
    return UnsupportedMediaType(message, code="unsupported_media_type")
