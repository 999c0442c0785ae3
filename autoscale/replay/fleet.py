"""A replay's replicas and nodes: requested, starting, serving, draining, paid for.

Promises: a replica has a node to itself. It starts on an idle node if there is one, else a node is
launched, which is there after `node_start_s`; from then on the replica takes U(`cold_start_s`). A
node is paid for from its launch until it was idle for `node_idle_s`; a launch cannot be taken back.
Fewer replicas: those that are starting go first, the youngest of them before others, then those
with the fewest requests; they take no new requests and finish what they have.
Not covered: several replicas on a node, failures, launches that the provider refuses.
"""

from dataclasses import dataclass, field

import numpy as np

from autoscale.policy.profile import EngineProfile
from autoscale.replay.engine_state import Ints, Records, new_lists, new_marks, new_slots

_SLOTS = 64


@dataclass(slots=True)
class ReplayNode:
    """A machine that is paid for from `launched_s` to `ended_s`."""

    launched_s: float
    up_s: float
    idle_since_s: float | None = None
    ended_s: float | None = None


@dataclass(slots=True)
class ReplayReplica:
    """One replica; `slot` is its row once it is ready, `left_s` when it was dropped."""

    number: int
    asked_s: float
    ready_s: float
    node: ReplayNode
    slot: int = -1
    left_s: float = 0.0


@dataclass(slots=True)
class ReplayFleet:
    """All replicas and nodes of one tier, moved by `wish`, `settle` and the clock.

    `blocks` are as many as prompts share; a replica that gets ready has none of them.
    """

    profile: EngineProfile
    node_idle_s: float
    instant: bool
    rng: np.random.Generator
    blocks: int = 0
    slots: Records = field(init=False)
    lists: Ints = field(init=False)
    marks: Ints = field(init=False)
    starting: list[ReplayReplica] = field(default_factory=list)
    ready: list[ReplayReplica] = field(default_factory=list)
    draining: list[ReplayReplica] = field(default_factory=list)
    nodes: list[ReplayNode] = field(default_factory=list)
    ended: list[ReplayNode] = field(default_factory=list)
    _free: list[int] = field(default_factory=list)
    _asked: int = 0

    def __post_init__(self) -> None:
        self.slots = new_slots(_SLOTS)
        self.lists = new_lists(_SLOTS, self.profile.max_sequences)
        self.marks = new_marks(_SLOTS, self.blocks)
        self._free = list(range(_SLOTS))

    def begin(self, replicas: int) -> None:
        """Start with `n` replicas that are ready at second 0."""
        for _ in range(replicas):
            node = ReplayNode(0.0, 0.0)
            self.nodes.append(node)
            self.starting.append(ReplayReplica(self._number(), 0.0, 0.0, node))
        self.settle(0.0)

    def wish(self, replicas: int, now_s: float) -> None:
        """There are to be so many, starting or ready."""
        while len(self.starting) + len(self.ready) < replicas:
            self.starting.append(self._start(now_s))
        while len(self.starting) + len(self.ready) > replicas:
            self._drop(now_s)
        self.settle(now_s)

    def settle(self, now_s: float) -> None:
        """Let the clock do its work: replicas get ready, drained ones leave, idle nodes end."""
        for one in [one for one in self.starting if one.ready_s <= now_s]:
            self.starting.remove(one)
            one.slot = self._slot()
            self.slots["clock_s"][one.slot] = one.ready_s
            # What the slot's last replica had cached is as good as overwritten.
            self.slots["touched"][one.slot] += self.profile.kv_tokens
            self.ready.append(one)
        for one in [one for one in self.draining if not self.ongoing(one)]:
            self.draining.remove(one)
            self._free.append(one.slot)
            one.node.idle_since_s = max(float(self.slots["clock_s"][one.slot]), one.left_s)
        for node in self.nodes:
            idle_s = node.idle_since_s
            if idle_s is not None and idle_s + self.node_idle_s <= now_s:
                node.ended_s = idle_s + self.node_idle_s
                self.ended.append(node)
        self.nodes = [node for node in self.nodes if node.ended_s is None]

    def ongoing(self, replica: ReplayReplica) -> int:
        """Requests on a replica, running or waiting."""
        one = self.slots[replica.slot]
        return int(one["decoding"] + one["joining"] + one["waiting"] + (one["partial"] >= 0))

    def next_ready_s(self) -> float:
        """When the next replica is ready; infinity without one."""
        return min((one.ready_s for one in self.starting), default=float("inf"))

    def open(self) -> Ints:
        """Slots that take requests."""
        return np.array([one.slot for one in self.ready], np.int64)

    def busy(self) -> Ints:
        """Slots that move: those of `open`, and draining ones."""
        return np.array([one.slot for one in (*self.ready, *self.draining)], np.int64)

    def node_hours(self, until_s: float) -> float:
        """Hours paid for up to `until_s`."""
        paid_s = 0.0
        for node in (*self.ended, *self.nodes):
            end_s = until_s if node.ended_s is None else min(until_s, node.ended_s)
            paid_s += max(0.0, end_s - node.launched_s)
        return paid_s / 3600

    def _start(self, now_s: float) -> ReplayReplica:
        least_s, most_s = (0.0, 0.0) if self.instant else self.profile.cold_start_s
        cold_s = float(self.rng.uniform(least_s, most_s))
        idle = [node for node in self.nodes if node.idle_since_s is not None]
        if idle:
            node = max(idle, key=lambda one: one.idle_since_s or 0.0)
            node.idle_since_s = None
        else:
            node = ReplayNode(now_s, now_s + (0.0 if self.instant else self.profile.node_start_s))
            self.nodes.append(node)
        return ReplayReplica(self._number(), now_s, max(now_s, node.up_s) + cold_s, node)

    def _drop(self, now_s: float) -> None:
        if self.starting:
            one = max(self.starting, key=lambda one: (one.asked_s, one.number))
            self.starting.remove(one)
            one.node.idle_since_s = max(now_s, one.node.up_s)
            return
        one = min(self.ready, key=lambda one: (self.ongoing(one), -one.number))
        self.ready.remove(one)
        one.left_s = now_s
        self.draining.append(one)

    def _slot(self) -> int:
        if not self._free:
            had = len(self.slots)
            more = new_slots(had), new_lists(had, self.profile.max_sequences)
            self.slots = np.concatenate((self.slots, more[0]))
            self.lists = np.concatenate((self.lists, more[1]))
            self.marks = np.concatenate((self.marks, new_marks(had, self.blocks)))
            self._free = list(range(had, 2 * had))
        return self._free.pop(0)

    def _number(self) -> int:
        self._asked += 1
        return self._asked
