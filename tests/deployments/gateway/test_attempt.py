"""An attempt leaves exactly one line, however it ends."""

from pathlib import Path

import hypothesis.strategies as st
import pytest
import yaml
from hypothesis import given

from core.call import Call, Decision, Usage
from core.ledger_line import Kind, LedgerLine, Outcome
from core.metrics import Metrics
from core.settings.load import load
from deployments.gateway.attempt import Attempt, Recorder
from ledger.path.spool import Spool
from ledger.path.writer import StreamWriter
from tests.deployments.rig import call, settings_of
from tests.fakes import FakeClock, FakeStream

SETTINGS = settings_of()
DECISION = Decision("small", "easy", "short", score=0.3, difficulty=0.1)


class Kept(StreamWriter):
    """A writer that is never started, and shows what it was handed."""

    def __init__(self, folder: Path) -> None:
        super().__init__(FakeStream(), Spool(folder))

    @property
    def lines(self) -> list[LedgerLine]:
        return [LedgerLine.from_bytes(payload) for payload in self._queue]


def recorder(folder: Path) -> tuple[Recorder, Kept, FakeClock]:
    kept, clock = Kept(folder), FakeClock()
    return Recorder(Metrics(), kept, clock, SETTINGS, "router-v1"), kept, clock


def attempt(of: Recorder, asked: Call, kind: Kind = Kind.ANSWER, number: int = 0) -> Attempt:
    return Attempt(of, asked, DECISION, SETTINGS.tier("small"), kind, number)


USAGES = st.builds(Usage, *[st.integers(0, 10**6)] * 3)


@given(
    st.sampled_from([Kind.ANSWER, Kind.RETRY, Kind.FALLBACK, Kind.CACHE_HIT]),
    st.sampled_from(Outcome),
    USAGES,
    st.lists(st.sampled_from(Outcome), max_size=3),
)
def test_however_often_it_is_closed_the_first_end_is_its_only_line(
    kind: Kind, outcome: Outcome, usage: Usage, later: list[Outcome]
) -> None:
    of, kept, _ = recorder(Path("unused"))
    one = attempt(of, call(), kind)
    one.close(outcome, usage)
    for again in later:
        one.close(again, Usage(1, 1, 1), error="later")
    (line,) = kept.lines
    assert (line.outcome, line.usage, line.error_code) == (outcome, usage, None)
    assert line.kind is (Kind.CANCELLED if outcome is Outcome.CANCELLED else kind)
    cost = 0 if kind is Kind.CACHE_HIT else one.cost_usd_micros(usage)
    assert line.cost_usd_micros == cost
    largest = SETTINGS.tier("large").price.price().cost_usd_micros(usage)
    assert line.saved_usd_micros == (largest if outcome is Outcome.SUCCESS else 0) - cost


def test_times_count_from_the_arrival_of_the_request(tmp_path: Path) -> None:
    of, kept, clock = recorder(tmp_path)
    asked = call(stream=True)
    clock.advance(1.0)
    one = attempt(of, asked)
    clock.advance(0.5)
    one.first_byte()
    clock.advance(2.0)
    one.first_byte()
    one.close(Outcome.SUCCESS, Usage(10, 0, 5))
    (line,) = kept.lines
    assert (line.queue_s, line.ttft_s, line.tpot_s, line.total_s) == (1.0, 1.5, 0.5, 3.5)
    assert line.created_s == clock.wall_s()


@pytest.mark.parametrize("output_tokens", [0, 1])
def test_one_token_has_no_time_per_further_token(tmp_path: Path, output_tokens: int) -> None:
    of, kept, clock = recorder(tmp_path)
    one = attempt(of, call())
    one.first_byte()
    clock.advance(1.0)
    one.close(Outcome.SUCCESS, Usage(1, 0, output_tokens))
    assert kept.lines[0].tpot_s is None


def test_an_answer_without_a_stream_has_no_first_byte(tmp_path: Path) -> None:
    of, kept, _ = recorder(tmp_path)
    attempt(of, call()).close(Outcome.SUCCESS, Usage(1, 0, 9))
    assert (kept.lines[0].ttft_s, kept.lines[0].tpot_s) == (None, None)


def test_a_line_says_who_asked_and_what_decided(tmp_path: Path) -> None:
    of, kept, _ = recorder(tmp_path)
    attempt(of, call(), Kind.FALLBACK, 2).close(Outcome.ERROR, Usage(), error="engine_failed")
    (line,) = kept.lines
    assert (line.tenant, line.endpoint, line.requested) == ("acme", "chat/completions", "auto")
    assert (line.route_code, line.difficulty) == ("easy", 0.1)
    assert (line.router_version, line.price_version) == ("router-v1", "v1")
    assert (line.attempt, line.kind, line.error_code) == (2, Kind.FALLBACK, "engine_failed")


def test_the_time_left_shrinks_to_a_millisecond_and_not_below(tmp_path: Path) -> None:
    of, _, clock = recorder(tmp_path)
    asked = call(deadline_s=10.0)
    one = attempt(of, asked)
    clock.advance(4.0)
    assert one.left_s(asked) == 6.0
    clock.advance(60.0)
    assert one.left_s(asked) == 0.001


def test_two_attempts_have_two_ids_inside_engines(tmp_path: Path) -> None:
    of, _, _ = recorder(tmp_path)
    ids = {attempt(of, call(call_id=id_ * 32), number=n).engine_request_id
           for id_ in "ab" for n in (0, 1)}  # fmt: skip
    assert len(ids) == 4
    assert all(one.startswith("r-1-") for one in ids)


def test_a_cache_hit_counts_no_tokens_as_made_and_has_no_time_per_token(tmp_path: Path) -> None:
    of, kept, _ = recorder(tmp_path)
    hit = attempt(of, call(), Kind.CACHE_HIT)
    hit.first_byte()
    hit.close(Outcome.SUCCESS, Usage(10, 0, 5), cache="exact")
    (line,) = kept.lines
    assert (line.tpot_s, line.cost_usd_micros, line.usage) == (None, 0, Usage(10, 0, 5))
    assert "hansom_tokens_total{" not in of.metrics.text()


def test_an_attempt_keeps_the_price_of_its_begin_and_the_next_one_has_the_new(
    tmp_path: Path,
) -> None:
    versions = [
        {
            "from": day,
            "source": "test",
            "input_usd_per_million_tokens": price,
            "output_usd_per_million_tokens": 0,
        }
        for day, price in (("2023-01-01", 1), ("2024-01-01", 3))
    ]
    prices = tmp_path / "prices.yaml"
    prices.write_text(yaml.safe_dump({"models": {"entry": {"kind": "api", "versions": versions}}}))
    given = settings_of().model_dump(mode="json") | {"prices": str(prices)}
    for tier in given["tiers"]:
        tier["price"] = {"table": "entry"}
    path = tmp_path / "serve.yaml"
    path.write_text(yaml.safe_dump(given))
    settings = load(path)
    midnight_s = 1_704_067_200.0  # 2024-01-01 UTC
    kept, clock = Kept(tmp_path), FakeClock()
    clock.wall_offset_s = midnight_s - clock.now_s - 1
    of = Recorder(Metrics(), kept, clock, settings, "router-v1")
    before = Attempt(of, call(), DECISION, settings.tier("small"), Kind.ANSWER, 0)
    clock.advance(2.0)
    after = Attempt(of, call(), DECISION, settings.tier("small"), Kind.RETRY, 1)
    for one in (before, after):
        one.close(Outcome.SUCCESS, Usage(100, 0, 10))
    first, second = kept.lines
    assert (first.cost_usd_micros, second.cost_usd_micros) == (100, 300)
    assert first.price_version.startswith("entry@2023-01-01.")
    assert second.price_version.startswith("entry@2024-01-01.")
    assert (first.saved_usd_micros, second.saved_usd_micros) == (0, 0), "both are the dearest tier"


def test_the_baseline_less_the_cost_is_what_the_ledger_says_was_saved(tmp_path: Path) -> None:
    of, kept, _ = recorder(tmp_path)
    for kind, outcome, served in (
        (Kind.ANSWER, Outcome.SUCCESS, True),
        (Kind.CACHE_HIT, Outcome.SUCCESS, True),
        (Kind.ANSWER, Outcome.SUCCESS, False),
        (Kind.RETRY, Outcome.ERROR, True),
    ):
        attempt(of, call(), kind).close(outcome, Usage(100, 20, 10), served=served)
    labels = {"tier": "small"}
    found = [
        of.metrics.registry.get_sample_value(f"hansom_{name}_usd_total", labels) or 0.0
        for name in ("baseline", "cost")
    ]
    saved = sum(line.saved_usd_micros for line in kept.lines)
    assert found[0] - found[1] == pytest.approx(saved / 1e6)
    assert saved > 0
