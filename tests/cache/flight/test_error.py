import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.flight.error import from_bytes, to_bytes
from core.errors import BadRequest, ContextTooLong, EngineFailed, HansomError, Unavailable

WORD = st.none() | st.text(max_size=9)


@settings(deadline=None)
@given(st.sampled_from([BadRequest, ContextTooLong, EngineFailed, Unavailable]), st.text(), WORD)
def test_an_error_survives_its_bytes(cls: type[HansomError], message: str, code: str) -> None:
    error = cls(message, code=code, param="messages", retry_after_s=3)
    read = from_bytes(to_bytes(error))
    assert type(read) is cls
    assert (read.body(), read.status, read.retry_after_s) == (error.body(), error.status, 3)


@pytest.mark.parametrize("name", ["Path", "SettingsErrors", "__name__", "_rebuild"])
def test_a_name_that_is_no_error_is_an_engine_that_failed(name: str) -> None:
    raw = to_bytes(EngineFailed("x")).replace(b"EngineFailed", name.encode())
    assert type(from_bytes(raw)) is EngineFailed


@pytest.mark.parametrize(
    "raw", [b"", b"{}", b"[]", b'{"class":"BadRequest"}', b'{"class":1,"x":2}']
)
def test_foreign_bytes_are_a_value_error(raw: bytes) -> None:
    with pytest.raises(ValueError):
        from_bytes(raw)
