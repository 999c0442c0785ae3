"""Send a `HansomError` over Redis by its name and fields; nothing read from there is executed."""

import orjson

import core.errors
from core.errors import EngineFailed, HansomError


def to_bytes(error: HansomError) -> bytes:
    """JSON that `from_bytes` reads."""
    return orjson.dumps(
        {
            "class": type(error).__name__,
            "message": error.message,
            "param": error.param,
            "code": error.code,
            "retry_after_s": error.retry_after_s,
        }
    )


def from_bytes(raw: bytes) -> HansomError:
    """The error that was written; one of a class that is not known here is an `EngineFailed`.

    Raises `ValueError` for what is no error.
    """
    try:
        fields = orjson.loads(raw)
        cls = getattr(core.errors, str(fields.pop("class")), EngineFailed)
        message = str(fields.pop("message"))
        known = isinstance(cls, type) and issubclass(cls, HansomError)
        return (cls if known else EngineFailed)(message, **fields)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not an error: {error!r}") from error
