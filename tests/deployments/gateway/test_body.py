"""A body is JSON of bounded size and depth, or the error says what to send."""

import gzip
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadRequest, BodyTooLarge, HansomError, UnsupportedMediaType
from deployments.gateway.body import MAX_DEPTH, parse, plain

JSON = {"content-type": "application/json"}
TEXT = b'{"model": "auto", "prompt": "' + b"a" * 500 + b'"}'
LIMIT = 4096
LATIN = st.text(st.characters(max_codepoint=255))


def nested(levels: int) -> bytes:
    """An object with a value that is nested so that all are `levels` deep."""
    inner = levels - 1
    return (
        b'{"a":'
        + b"[" * (inner // 2)
        + b'{"b":' * (inner - inner // 2)
        + b"1"
        + (b"}" * (inner - inner // 2) + b"]" * (inner // 2) + b"}")
    )


def raw_deflate(text: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(text) + packer.flush()


@pytest.mark.parametrize(
    "kind",
    [
        "application/json", "application/json; charset=utf-8", 'application/json;charset="UTF-8"',
        "Application/JSON", "application/vnd.api+json", "application/json; v=1",
    ],
)  # fmt: skip
def test_json_is_taken_by_every_name_that_it_has(kind: str) -> None:
    assert plain(TEXT, {"content-type": kind}, LIMIT) is TEXT


@pytest.mark.parametrize(
    "kind",
    [
        "", "text/plain", "text/plain; application/json", "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x", "text/json", "json", "application/json, text/plain",
        "text/plain, application/json", "application/jsonp", "application/octet-stream", ";", "/",
    ],
)  # fmt: skip
def test_what_is_no_json_is_told_what_to_send(kind: str) -> None:
    with pytest.raises(UnsupportedMediaType, match="content-type: application/json") as refused:
        plain(TEXT, {"content-type": kind}, LIMIT)
    assert refused.value.status == 415
    with pytest.raises(UnsupportedMediaType, match="No content type"):
        plain(TEXT, {}, LIMIT)


@given(LATIN | st.builds("application/json; {}".format, LATIN), LATIN)
def test_no_header_is_a_fault_of_ours(kind: str, coding: str) -> None:
    try:
        assert plain(TEXT, {"content-type": kind, "content-encoding": coding}, LIMIT) == TEXT
    except HansomError as error:
        assert error.status in (400, 415)


@pytest.mark.parametrize("charset", ["utf-16", "latin1"])
def test_json_is_utf8(charset: str) -> None:
    with pytest.raises(UnsupportedMediaType, match="UTF-8"):
        plain(TEXT, {"content-type": f"application/json; charset={charset}"}, LIMIT)


@pytest.mark.parametrize(
    ("coding", "packed"),
    [
        ("gzip", gzip.compress(TEXT, mtime=0)),
        ("GZIP", gzip.compress(TEXT, mtime=0)),
        ("x-gzip", gzip.compress(TEXT, mtime=0)),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", raw_deflate(TEXT)),
        ("identity", TEXT),
        ("", TEXT),
    ],
)
def test_a_compressed_body_is_the_body(coding: str, packed: bytes) -> None:
    assert plain(packed, JSON | {"content-encoding": coding}, LIMIT) == TEXT
    assert plain(packed, JSON | {"content-encoding": coding}, len(TEXT)) == TEXT


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, gzip", "deflate, gzip", "*"])
def test_another_compression_is_told_which_are_read(coding: str) -> None:
    with pytest.raises(UnsupportedMediaType, match="Send gzip, deflate, or none"):
        plain(TEXT, JSON | {"content-encoding": coding}, LIMIT)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_bomb_is_stopped_at_the_limit(coding: str) -> None:
    bomb = b"0" * 50_000_000
    packed = gzip.compress(bomb, mtime=0) if coding == "gzip" else zlib.compress(bomb)
    with pytest.raises(BodyTooLarge, match="max_body_bytes"):
        plain(packed, JSON | {"content-encoding": coding}, LIMIT)
    one_more = gzip.compress(b"1" * (LIMIT + 1))
    with pytest.raises(BodyTooLarge):
        plain(one_more, JSON | {"content-encoding": "gzip"}, LIMIT)


@pytest.mark.parametrize(
    "damaged",
    [
        b"", b"{}", gzip.compress(TEXT, mtime=0)[:-3], gzip.compress(TEXT, mtime=0) + b"x",
        gzip.compress(b"{}", mtime=0) * 2, gzip.compress(TEXT, mtime=0)[:-8] + b"\x00" * 8,
        zlib.compress(TEXT),
    ],
)  # fmt: skip
def test_damaged_compression_is_a_bad_request(damaged: bytes) -> None:
    with pytest.raises(BadRequest, match="gzip"):
        plain(damaged, JSON | {"content-encoding": "gzip"}, LIMIT)


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate", "br", "identity"]))
def test_no_bytes_are_a_fault_of_ours(raw: bytes, coding: str) -> None:
    try:
        parse(plain(raw, JSON | {"content-encoding": coding}, LIMIT))
    except HansomError as error:
        assert error.status in (400, 413, 415)


def test_depth_is_bounded_to_the_level() -> None:
    assert parse(nested(MAX_DEPTH)) == json.loads(nested(MAX_DEPTH))
    for levels in (MAX_DEPTH + 1, 300, 1000, 5000, 100_000):
        with pytest.raises(BadRequest):
            parse(nested(levels))
    with pytest.raises(BadRequest, match="more than 100 levels deep"):
        parse(nested(MAX_DEPTH + 1))


def test_many_brackets_are_not_depth() -> None:
    assert len(parse(b"[" + b",".join([b'[{"a":[]}]'] * 5000) + b"]")) == 5000  # type: ignore[arg-type]
    assert parse(b'{"a": "' + b"[{" * 5000 + b'"}') == {"a": "[{" * 5000}


@pytest.mark.parametrize(
    "raw",
    [b"", b" ", b"{", b"\xff", b'{"a": "\xff"}', b'{"a": "\\ud800"}', b"NaN", b"[Infinity]",
     b'{"a": 1e999}x', "{}".encode("utf-16"), b"{'a': 1}", b"[1,]"],
)  # fmt: skip
def test_what_is_no_json_is_a_bad_request(raw: bytes) -> None:
    with pytest.raises(BadRequest):
        parse(raw)
