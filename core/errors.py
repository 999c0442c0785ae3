"""Every error that a client can get, with its HTTP status and OpenAI `type`.

    HansomError
    ├── BadRequest              400 invalid_request_error
    │   ├── ContextTooLong      400 invalid_request_error   context_length_exceeded
    │   └── NotSupported        400 invalid_request_error   not_supported
    ├── InvalidKey              401 invalid_request_error   invalid_api_key
    ├── ForeignOrigin           403 invalid_request_error   foreign_origin
    ├── UnknownModel            404 invalid_request_error   model_not_found
    ├── UnknownRequest          404 invalid_request_error   unknown_request
    ├── BodyTooLarge            413 invalid_request_error
    ├── UnsupportedMediaType    415 invalid_request_error   unsupported_media_type
    ├── Overloaded              429 rate_limit_error        + Retry-After
    ├── LimitReached            429 rate_limit_error        + Retry-After
    ├── Unavailable             503 server_error            + Retry-After
    ├── EngineFailed            502 server_error
    ├── DeadlineExceeded        504 server_error
    └── SettingsError           (start-up only; never crosses the wire)
        └── UnreadableFile      (a file that is named is missing, a folder, or forbidden)

The OpenAI client picks its exception class by status: 400 BadRequestError, 401
AuthenticationError, 403 PermissionDeniedError, 404 NotFoundError, 429 RateLimitError, 5xx
InternalServerError. All of them survive pickling.
"""

from pathlib import Path


class HansomError(Exception):
    """Base of all errors; carries what the OpenAI error body needs."""

    status = 500
    kind = "server_error"

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.retry_after_s = retry_after_s

    def body(self) -> dict[str, object]:
        """The OpenAI-shaped error object."""
        return {
            "error": {
                "message": self.message,
                "type": self.kind,
                "param": self.param,
                "code": self.code,
            }
        }

    def __reduce__(self) -> tuple[object, ...]:
        """Survive pickling: keyword arguments are not in `args`."""
        return (_rebuild, (type(self), self.message, dict(self.__dict__)))


def _rebuild(cls: type[HansomError], message: str, state: dict[str, object]) -> HansomError:
    error = cls.__new__(cls)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error


class BadRequest(HansomError):
    """The body or a header is wrong; `param` names the field."""

    status = 400
    kind = "invalid_request_error"


class ContextTooLong(BadRequest):
    """Prompt and output do not fit the model's context; the message has both token counts."""


class NotSupported(BadRequest):
    """No tier that may answer can do what the request asks for; `param` names the field."""


class InvalidKey(HansomError):
    """No key where one is needed, or one that is unknown, revoked, replaced or expired."""

    status = 401
    kind = "invalid_request_error"


class ForeignOrigin(HansomError):
    """A web page asks that reached a keyless gateway under a name of its own."""

    status = 403
    kind = "invalid_request_error"


class UnknownModel(HansomError):
    """`model` is neither `auto`, a tier nor a model."""

    status = 404
    kind = "invalid_request_error"


class UnknownRequest(HansomError):
    """Feedback for a request that was not scored for this caller lately."""

    status = 404
    kind = "invalid_request_error"


class BodyTooLarge(HansomError):
    """The body is longer than `limits.max_body_bytes`."""

    status = 413
    kind = "invalid_request_error"


class UnsupportedMediaType(HansomError):
    """The body is no JSON by its content type, or its compression is not read."""

    status = 415
    kind = "invalid_request_error"


class Overloaded(HansomError):
    """Too many requests in flight; come back after `retry_after_s`."""

    status = 429
    kind = "rate_limit_error"


class LimitReached(HansomError):
    """A budget or a rate of the caller's has no room; the message says which one and until when."""

    status = 429
    kind = "rate_limit_error"


class Unavailable(HansomError):
    """No replica of any permitted tier can take the call now."""

    status = 503
    kind = "server_error"


class EngineFailed(HansomError):
    """Every permitted engine failed on this call."""

    status = 502
    kind = "server_error"


class DeadlineExceeded(HansomError):
    """The call's deadline passed before the answer was complete."""

    status = 504
    kind = "server_error"


class SettingsError(HansomError):
    """A configuration file is wrong; names the file, the field and what is allowed."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        lines = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"{path} is not valid:\n{lines}")


class UnreadableFile(SettingsError):
    """A named file is missing, a folder, empty, not text or forbidden."""

    def __init__(self, message: str) -> None:
        HansomError.__init__(self, message)
