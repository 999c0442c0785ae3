"""Read what the scaling policies last decided, for routing, metrics and `/scaling`.

Records come from the shelf on which the policies put them (`autoscale.live.record_store`).
Promises: asking never raises and never blocks the event loop; a record that is missing or broken is
none.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import orjson
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from pydantic import TypeAdapter

from autoscale.live.record_store import KeyValue, record_key
from autoscale.policy.gpu_share import InSight, Outlook, outlook
from autoscale.policy.profile import EngineProfile
from autoscale.policy.signals import Load, Traffic, View
from core.call import TierSignal
from core.settings.load import Tier
from deployments.gateway.backends.tier import TierReplicas
from deployments.scaling import scales

REFRESH_S = 0.5
Record = Mapping[str, Any]
_VIEW = TypeAdapter(View)


def read_records(shelf: KeyValue, tiers: Sequence[str]) -> dict[str, Record]:
    """The records of those tiers that have one, less what is remembered. Blocks; never raises."""
    found: dict[str, Record] = {}
    for tier in tiers:
        with suppress(Exception):
            record = orjson.loads(shelf.get(record_key(tier)) or b"null")
            if isinstance(record, dict):
                found[tier] = {name: told for name, told in record.items() if name != "memory"}
    return found


class Scales:
    """The records of the tiers that scale, and the router's outlook from them; one per gateway."""

    def __init__(
        self,
        shelf: KeyValue,
        tiers: Sequence[Tier],
        replicas: Mapping[str, TierReplicas],
        profiles: Mapping[str, EngineProfile],
        cut_off: float,
    ) -> None:
        self._shelf = shelf
        self._tiers = tiers
        self._names = [tier.name for tier in tiers if scales(tier)]
        self._replicas = replicas
        self._profiles = profiles
        self._cut_off = cut_off
        self._outlook = Outlook({})
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to refresh the outlook, where any tier scales."""
        if self._names:
            self._task = asyncio.create_task(self._refresh())

    async def close(self) -> None:
        """Stop that."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def records(self) -> dict[str, Record]:
        """The last record of each tier that scales."""
        return await asyncio.to_thread(read_records, self._shelf, self._names)

    @property
    def outlook(self) -> Outlook:
        """What the router takes, at most `REFRESH_S` old; who is up now is told in `signals`."""
        return self._outlook

    def signals(self) -> dict[str, TierSignal]:
        """Each tier's signal: the policy's view, and what this gateway sees itself."""
        told = self._outlook.signals
        return {
            name: replace(
                told.get(name, TierSignal()),
                running=replicas.in_flight,
                available=(up := bool(replicas.running())) or replicas.wake_queue is not None,
                warm=up,
            )
            for name, replicas in self._replicas.items()
        }

    async def _refresh(self) -> None:
        while True:
            with suppress(Exception):  # a record of another version: the outlook stays
                self.look(await self.records())
            await asyncio.sleep(REFRESH_S)

    def look(self, records: Mapping[str, Record]) -> None:
        """Take the outlook of these records."""
        sights = [self._in_sight(tier, records.get(tier.name)) for tier in self._tiers]
        self._outlook = outlook(sights, self._cut_off)

    def _in_sight(self, tier: Tier, record: Record | None) -> InSight:
        profile = self._profiles[tier.name]
        if record is not None and "view" in record:
            view = _VIEW.validate_python(record["view"])
            lead_s = float(record["lead_s"])
        else:
            up = tuple(Load(one.id, 0.0, 0.0) for one in self._replicas[tier.name].running())
            view = View(0.0, len(up), up, (), Traffic(0.0))
            lead_s = profile.lead_s
        return InSight(tier.name, view, profile, tier.scaling.slo, lead_s)


def families(records: Mapping[str, Record]) -> list[Metric]:
    """The decisions as metrics. They are of the cluster, so they stand in a scrape once."""
    wanted = GaugeMetricFamily(
        "hansom_scale_wanted_replicas", "Replicas that the scaling policy wants.", labels=["tier"]
    )
    age = GaugeMetricFamily(
        "hansom_scale_start_seconds", "Seconds that a replica takes to start, as learned.",
        labels=["tier"],
    )  # fmt: skip
    within = GaugeMetricFamily(
        "hansom_scale_attainment_ratio", "Share of calls within the SLO, as the policy counts it.",
        labels=["tier"],
    )  # fmt: skip
    level = GaugeMetricFamily(
        "hansom_scale_headroom_level", "Room beyond the load: 0 is what the settings ask for.",
        labels=["tier"],
    )  # fmt: skip
    errors = CounterMetricFamily(
        "hansom_scale_errors", "Decisions that failed; the number of replicas stayed.",
        labels=["tier"],
    )  # fmt: skip
    codes = CounterMetricFamily(
        "hansom_scale_decisions", "Decisions by tier and code, four a second.",
        labels=["tier", "code"],
    )  # fmt: skip
    for tier, record in records.items():
        errors.add_metric([tier], record.get("errors", 0))
        for code, count in (record.get("decisions") or {}).items():
            codes.add_metric([tier, code], count)
        if "wanted" in record:
            wanted.add_metric([tier], record["wanted"]["replicas"])
            age.add_metric([tier], record["lead_s"])
            level.add_metric([tier], record.get("headroom_level", 0.0))
        if record.get("within_share") is not None:
            within.add_metric([tier], record["within_share"])
    return [wanted, age, within, level, errors, codes]
