"""Logging: one JSON object a line under the root logger `hansom`.

One event per request outcome; prompts and answers are never logged.
"""

import logging
import sys
import time

import orjson

_ROOT = logging.getLogger("hansom")


class JsonFormatter(logging.Formatter):
    """A record as one JSON line: `ts` (s since 1970), `level`, `logger`, `event`, fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Render one record."""
        line: dict[str, object] = {
            "ts": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def set_up(level: str) -> None:
    """Send `hansom.*` to standard error at `level`; a second call changes the level only."""
    _ROOT.setLevel(level.upper())
    _ROOT.propagate = False
    if not _ROOT.handlers:
        # Inside Serve `sys.stderr` is a logger that takes a stack trace for every write.
        handler = logging.StreamHandler(sys.__stderr__)
        handler.setFormatter(JsonFormatter())
        _ROOT.addHandler(handler)


def event(logger: logging.Logger, name: str, **fields: object) -> None:
    """Log one event with its fields at info level.

    Written past `logging`'s records: Ray's record factory makes one cost more than the rest of a
    request's bookkeeping.
    """
    if not logger.isEnabledFor(logging.INFO):
        return
    line = orjson.dumps(
        {
            "ts": round(time.time(), 3),
            "level": "info",
            "logger": logger.name,
            "event": name,
            **fields,
        },
        default=str,
    )
    for handler in _ROOT.handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.stream.write(line.decode() + "\n")
            handler.flush()


class SystemClock:
    """The real `Clock`."""

    def monotonic_s(self) -> float:
        """Seconds on the monotonic clock."""
        return time.monotonic()

    def wall_s(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        return time.time()
