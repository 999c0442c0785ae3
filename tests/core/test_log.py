"""Logging: one JSON object a line."""

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from core import log

LOGGER = logging.getLogger("hansom.test")


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What the root logger `hansom` writes, and the logger as it was afterwards."""
    root = logging.getLogger("hansom")
    before = (root.handlers[:], root.level, root.propagate)
    root.handlers = []
    log.set_up("info")
    written = io.StringIO()
    (handler,) = root.handlers
    assert isinstance(handler, logging.StreamHandler)
    assert handler.stream is sys.__stderr__
    handler.setStream(written)
    yield written
    root.handlers, root.level, root.propagate = before


def test_an_event_is_one_json_line_with_its_fields(lines: io.StringIO) -> None:
    log.event(LOGGER, "request", request_id="r\n1", total_s=0.5)
    (line,) = lines.getvalue().splitlines()
    told = json.loads(line)
    assert told.pop("ts") > 1_700_000_000
    assert told == {
        "level": "info",
        "logger": "hansom.test",
        "event": "request",
        "request_id": "r\n1",
        "total_s": 0.5,
    }


def test_an_exception_stays_on_its_line(lines: io.StringIO) -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        LOGGER.exception("failed")
    (line,) = lines.getvalue().splitlines()
    assert "two\nlines" in json.loads(line)["exception"]


def test_what_json_does_not_know_is_written_as_text(lines: io.StringIO) -> None:
    log.event(LOGGER, "odd", value={1, 2}.__class__)
    assert json.loads(lines.getvalue())["value"] == "<class 'set'>"


def test_setting_up_again_changes_the_level_only(lines: io.StringIO) -> None:
    log.set_up("warning")
    log.event(LOGGER, "quiet")
    LOGGER.warning("loud")
    assert [json.loads(line)["event"] for line in lines.getvalue().splitlines()] == ["loud"]


def test_the_real_clock_only_goes_on() -> None:
    clock = log.SystemClock()
    first = (clock.monotonic_s(), clock.wall_s())
    assert clock.monotonic_s() >= first[0]
    assert first[1] > 1_700_000_000
