"""Logging: one JSON object a line under the root logger `hansom`.

One event per request outcome; prompts and answers are never logged.
"""

import json
import logging
import sys
import time


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
        return json.dumps(line, default=str)


def set_up(level: str) -> None:
    """Send `hansom.*` to standard error at `level`; a second call changes the level only."""
    root = logging.getLogger("hansom")
    root.setLevel(level.upper())
    root.propagate = False
    if not root.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonFormatter())
        root.addHandler(handler)


def event(logger: logging.Logger, name: str, **fields: object) -> None:
    """Log one event with its fields at info level."""
    if logger.isEnabledFor(logging.INFO):
        logger.info(name, extra={"fields": fields})


class SystemClock:
    """The real `Clock`."""

    def monotonic_s(self) -> float:
        """Seconds on the monotonic clock."""
        return time.monotonic()

    def wall_s(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        return time.time()
