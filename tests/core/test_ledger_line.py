from decimal import Decimal

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.call import Usage
from core.ledger_line import LedgerLine, saved_usd_micros
from core.money import Price
from tests.ledger.lines import line

LARGE = Price(Decimal("2.0"), Decimal("0.5"), Decimal("8.0"), "p1")


@given(st.from_type(LedgerLine))
def test_a_line_survives_its_bytes_and_is_one_line(some: LedgerLine) -> None:
    try:
        raw = some.to_bytes()
    except TypeError:  # integers beyond 64 bits, text that is not UTF-8
        return
    assert b"\n" not in raw
    if b"null" not in raw:  # JSON has no NaN and no infinity
        assert LedgerLine.from_bytes(raw) == some


def test_lines_of_older_and_newer_versions_are_readable() -> None:
    fields = orjson.loads(line(1).to_bytes())
    del fields["estimated_tokens"], fields["usage"]
    fields["a_field_of_next_year"] = 1
    assert LedgerLine.from_bytes(orjson.dumps(fields)) == line(1, usage=Usage())


@pytest.mark.parametrize("raw", [b"", b"7", b"{}", b'{"kind": "answer"}', b'{"kind": "no such"}'])
def test_what_is_not_a_line_is_a_value_error(raw: bytes) -> None:
    with pytest.raises(ValueError):
        LedgerLine.from_bytes(raw)


def test_saving_is_against_the_same_tokens_on_the_largest_tier() -> None:
    usage = Usage(100, 20, 30)
    assert saved_usd_micros(usage, 50, LARGE, served=True) == 200 + 10 + 240 - 50


def test_a_cache_hit_saves_all_and_an_attempt_that_did_not_serve_saves_less_than_nothing() -> None:
    usage = Usage(100, 0, 0)
    assert saved_usd_micros(usage, 0, LARGE, served=True) == 200
    assert saved_usd_micros(usage, 30, LARGE, served=False) == -30
