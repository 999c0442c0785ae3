"""An attempt that was left before its end is written with the engine's own count."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from core.call import Usage
from core.ledger_line import Kind, LedgerLine, Outcome
from deployments.gateway.attempt import Recorder
from deployments.gateway.backends.connection import ReplicaGone
from deployments.gateway.backends.exchange import Connections
from deployments.gateway.backends.tier import Replica, TierReplicas
from deployments.gateway.usage_query import UsageQuery
from ledger.path.open_attempts import Provisional
from tests.deployments.gateway.test_attempt import Kept, attempt, recorder
from tests.deployments.rig import call
from tests.ledger.lines import until

SEEN = Usage(10, 0, 4)
TOLD = Usage(10, 0, 9)
NOWHERE = Replica("r0", ("127.0.0.1", 1))


class Telling(TierReplicas):
    """Replicas that say this of every request: an error is raised, `None` is silence."""

    def __init__(self, says: Usage | Exception | None) -> None:
        super().__init__("small", list, Connections(), 1.0)
        self.asked: list[tuple[str, str]] = []
        self._says = says

    async def usage(self, replica: Replica, engine_request_id: str) -> Usage:
        self.asked.append((replica.id, engine_request_id))
        if isinstance(self._says, Exception):
            raise self._says
        if self._says is None:
            await asyncio.sleep(60)
        return self._says


class Open:
    """A `ledger.path.open_attempts.OpenAttempts` that shows what it was told."""

    def __init__(self) -> None:
        self.begun: dict[str, Provisional] = {}
        self.ended: list[str] = []

    def begin(self, id: str, provisional: Provisional) -> None:
        assert id not in self.begun
        self.begun[id] = provisional

    def end(self, id: str) -> None:
        self.ended.append(id)


async def written(of: Recorder, kept: Kept) -> LedgerLine:
    await until(lambda: not of.late.waiting)
    (line,) = kept.lines
    return line


def of_late(ask_s: float = 5.0) -> tuple[Recorder, Kept]:
    of, kept, _ = recorder(Path("unused"))
    return replace(of, late=UsageQuery(ask_s)), kept


@pytest.mark.parametrize("outcome", [Outcome.CANCELLED, Outcome.TIMEOUT, Outcome.ERROR])
async def test_a_cut_attempt_is_written_once_the_engine_has_told_it(outcome: Outcome) -> None:
    (of, kept), replicas = of_late(), Telling(TOLD)
    one = attempt(of, call())
    one.sent_to(replicas, NOWHERE)
    one.close(outcome, SEEN, delivered_tokens=3)
    one.close(Outcome.ERROR, Usage(), error="later")
    assert kept.lines == [], "not before it is told"
    line = await written(of, kept)
    assert (line.usage, line.undelivered_tokens, line.estimated_tokens) == (TOLD, 6, False)
    assert line.cost_usd_micros == one.cost_usd_micros(TOLD) > one.cost_usd_micros(SEEN)
    assert line.saved_usd_micros == -line.cost_usd_micros
    assert line.outcome is outcome
    assert replicas.asked == [("r0", one.engine_request_id)]
    assert line.engine_request_id == one.engine_request_id
    assert 'hansom_tokens_total{kind="output",tier="small"} 9.0' in of.metrics.text()


@pytest.mark.parametrize(
    "says", [Usage(10, 0, 3), Usage(), None, ReplicaGone("gone"), ValueError("HTTP 500")], ids=repr
)
async def test_what_is_not_told_or_less_than_was_seen_is_an_estimate(
    says: Usage | Exception | None,
) -> None:
    of, kept = of_late(ask_s=0.01)
    one = attempt(of, call())
    one.sent_to(Telling(says), NOWHERE)
    one.close(Outcome.CANCELLED, SEEN, delivered_tokens=4)
    line = await written(of, kept)
    assert (line.usage, line.undelivered_tokens, line.estimated_tokens) == (SEEN, 0, True)
    assert line.cost_usd_micros == one.cost_usd_micros(SEEN)


async def test_what_was_left_before_the_engine_began_took_nothing_and_that_is_exact() -> None:
    of, kept = of_late()
    one = attempt(of, call())
    one.sent_to(Telling(Usage()), NOWHERE)
    one.close(Outcome.CANCELLED, Usage())
    line = await written(of, kept)
    assert (line.usage, line.cost_usd_micros, line.estimated_tokens) == (Usage(), 0, False)


@pytest.mark.parametrize("outcome", [Outcome.ERROR, Outcome.CANCELLED])
async def test_an_attempt_that_was_sent_nowhere_is_exactly_nothing_at_once(
    outcome: Outcome,
) -> None:
    of, kept = of_late()
    attempt(of, call()).close(outcome, Usage(), error="no_replica")
    (line,) = kept.lines
    assert (line.usage, line.cost_usd_micros, line.estimated_tokens) == (Usage(), 0, False)


@pytest.mark.parametrize("outcome", [Outcome.SUCCESS, Outcome.REFUSED])
async def test_an_answer_and_a_refusal_are_written_at_once(outcome: Outcome) -> None:
    (of, kept), replicas = of_late(), Telling(TOLD)
    one = attempt(of, call())
    one.sent_to(replicas, NOWHERE)
    one.close(outcome, SEEN)
    (line,) = kept.lines
    assert (line.usage, line.estimated_tokens) == (SEEN, False)
    assert line.undelivered_tokens == (0 if outcome is Outcome.SUCCESS else 4)
    assert replicas.asked == []


async def test_whoever_closes_it_may_know_better_whether_it_was_cut() -> None:
    (of, kept), replicas = of_late(), Telling(TOLD)
    for number, (outcome, cut) in enumerate([(Outcome.ERROR, False), (Outcome.SUCCESS, True)]):
        one = attempt(of, call(), number=number)
        one.sent_to(replicas, NOWHERE)
        one.close(outcome, SEEN, cut=cut)
    await until(lambda: len(kept.lines) == 2)
    assert [line.usage for line in kept.lines] == [SEEN, TOLD]
    assert kept.lines[1].undelivered_tokens == TOLD.output_tokens - SEEN.output_tokens
    assert kept.lines[1].saved_usd_micros > 0, "it served"


@pytest.mark.parametrize("kind", [Kind.CLASSIFIER, Kind.SHADOW])
async def test_an_answer_for_ourselves_is_never_undelivered(kind: Kind) -> None:
    of, kept = of_late()
    one = attempt(of, call(), kind)
    one.sent_to(Telling(TOLD), NOWHERE)
    one.close(Outcome.TIMEOUT, Usage())
    line = await written(of, kept)
    assert (line.usage, line.undelivered_tokens) == (TOLD, 0)


async def test_it_is_open_from_the_first_replica_to_its_line() -> None:
    of, kept = of_late()
    opened = Open()
    of = replace(of, open=opened)
    one, replicas = attempt(of, call()), Telling(TOLD)
    assert opened.begun == {}
    for replica in (Replica("r1", ("127.0.0.1", 1)), NOWHERE):
        one.sent_to(replicas, replica)
    (id_,) = opened.begun
    provisional = opened.begun[id_]()
    assert (provisional.outcome, provisional.error_code) == (Outcome.ERROR, "gateway_lost")
    assert (provisional.usage, provisional.cost_usd_micros) == (Usage(), 0)
    assert provisional.engine_request_id == one.engine_request_id
    one.close(Outcome.CANCELLED, SEEN)
    assert opened.ended == [], "its line is not recorded yet"
    line = await written(of, kept)
    assert opened.ended == [id_]
    assert line.identity == provisional.identity
    assert replicas.asked == [("r0", one.engine_request_id)], "the last one has it"


async def test_a_gateway_that_ends_writes_what_nobody_told() -> None:
    of, kept = of_late()
    one = attempt(of, call())
    one.sent_to(Telling(None), NOWHERE)
    one.close(Outcome.CANCELLED, SEEN)
    await of.late.close(grace_s=0.01)
    (line,) = kept.lines
    assert (line.usage, line.estimated_tokens) == (SEEN, True)


@pytest.mark.parametrize("asked_s", [0.0, 0.05], ids=["before it is told", "after"])
async def test_a_cost_that_a_client_is_told_is_that_of_the_line(asked_s: float) -> None:
    (of, kept), replicas = of_late(), Telling(TOLD)
    one = attempt(of, call())
    one.sent_to(replicas, NOWHERE)
    one.close(Outcome.SUCCESS, SEEN, served=False, cut=True)
    if asked_s:
        await asyncio.sleep(asked_s)
    cost = one.final_usd_micros()
    line = await written(of, kept)
    assert line.cost_usd_micros == cost == one.final_usd_micros()
    assert (line.usage, line.estimated_tokens) == ((TOLD, False) if asked_s else (SEEN, True))
