"""Ids that sort by time."""

import time
import uuid

from core.ids import new_id


def test_an_id_is_a_uuid_of_version_7_with_the_time_in_front() -> None:
    before_ms = time.time_ns() // 1_000_000
    id_ = new_id()
    after_ms = time.time_ns() // 1_000_000
    assert (len(id_), id_) == (32, id_.lower())
    assert uuid.UUID(id_).version == 7
    assert uuid.UUID(id_).variant == uuid.RFC_4122
    assert before_ms <= int(id_[:12], 16) <= after_ms


def test_ids_do_not_repeat_and_later_ones_sort_after_earlier_ones() -> None:
    ids = [new_id() for _ in range(2000)]
    assert len(set(ids)) == 2000
    assert [id_[:12] for id_ in ids] == sorted(id_[:12] for id_ in ids)
    time.sleep(0.002)
    assert new_id() > max(ids)
