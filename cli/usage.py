"""The error of a command line that cannot be meant: exit code 2, where failures are 1."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from core.errors import HansomError


class UsageError(HansomError):
    """The options are wrong, alone or together; `ctx` is the command's, once it is known."""

    ctx: Any = None


@contextmanager
def options() -> Iterator[None]:
    """Reading options: a `HansomError` raised inside is wrong usage."""
    try:
        yield
    except HansomError as error:
        raise UsageError(error.message) from error
