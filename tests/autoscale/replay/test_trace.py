"""Traces: what is wrong in a file is said; scaling keeps the shape of the load."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from autoscale.replay.prefixes import Prefixes
from autoscale.replay.trace import Trace, from_rate, read
from core.errors import HansomError

GOOD = {"t_seconds": [5.0, 6.5, 6.5], "input_tokens": [10, 0, 30], "output_tokens": [1, 2, 3]}


def write(path: Path, **columns: object) -> Path:
    pq.write_table(pa.table({**GOOD, **columns}), path / "t.parquet")
    return path / "t.parquet"


def test_a_good_file_counts_from_its_first_arrival(tmp_path: Path):
    trace = read(write(tmp_path, other=["a", "b", "c"]))
    assert trace.at_s.tolist() == [0.0, 1.5, 1.5]
    assert trace.input_tokens.tolist() == [10, 1, 30]  # a prompt has one token at least
    assert trace.output_tokens.tolist() == [1, 2, 3]
    assert (trace.name, trace.span_s, len(trace)) == ("t", 1.5, 3)
    assert trace.prefixes is None


def test_a_csv_file_is_read_like_parquet(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_text("t_seconds,note,input_tokens,output_tokens\n5.0,a,10,1\n6.5,b,0,2\n")
    trace = read(path)
    assert trace.at_s.tolist() == [0.0, 1.5]
    assert (trace.input_tokens.tolist(), trace.output_tokens.tolist()) == ([10, 1], [1, 2])
    path.write_text("t_seconds,tokens\n5.0,10\n")
    with pytest.raises(HansomError, match="no column input_tokens"):
        read(path)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"t_seconds": [5.0, 4.0, 6.0]}, "row 1 came at 4 s"),
        ({"input_tokens": [1, -2, 3]}, "input_tokens of row 1 is -2"),
        ({"output_tokens": [1, 2, None]}, "output_tokens of row 2 is nan"),
        ({"t_seconds": [float("inf")] * 3}, "t_seconds of row 0 is inf"),
        ({"t_seconds": ["a", "b", "c"]}, "t_seconds is not made of numbers"),
    ],
)
def test_bad_numbers_are_named(tmp_path: Path, columns: dict[str, object], said: str):
    with pytest.raises(HansomError, match=r"t\.parquet") as raised:
        read(write(tmp_path, **columns))
    assert said in raised.value.message


LONG = {"t_seconds": [0.0, 1.0, 2.0], "input_tokens": [600, 512, 1100]}


def test_what_prompts_share_is_read_and_stays_with_its_rows(tmp_path: Path):
    ids = pa.array([[7, 8], [7], [7, 8, 9]], pa.list_(pa.int32()))
    trace = read(write(tmp_path, **LONG, hash_ids=ids))
    assert trace.prefixes is not None
    assert trace.prefixes.ids.tolist() == [7, 8, 7, 7, 8, 9]
    assert trace.prefixes.starts.tolist() == [0, 2, 3, 6]
    later = trace.window(0.5, 9.0).prefixes
    assert later is not None
    assert np.diff(later.starts).tolist() == [1, 3] and later.ids[0] == later.ids[1]


@pytest.mark.parametrize(
    ("hash_ids", "said"),
    [
        ([[1], [1], [1, 2, 3]], "row 0 has 1 ids, and its prompt of 600 tokens has 2 blocks"),
        ([[1, 2], [1], [3, 2, 4]], "row 2 has the id 2 after another one than row 0"),
        ([[1, 2], None, [1, 2, 3]], "rows or ids are missing"),
        ([[1, 2], [None], [1, 2, 3]], "rows or ids are missing"),
        ([[1.0, 2.0], [1.0], [1.0, 2.0, 3.0]], "lists of whole numbers (list<"),
        ([1, 2, 3], "lists of whole numbers (int64)"),
    ],
)
def test_bad_ids_are_left_out_and_named(tmp_path: Path, hash_ids: list[object], said: str):
    trace = read(write(tmp_path, **LONG, hash_ids=hash_ids))
    assert trace.prefixes is None and len(trace) == 3
    for one in (trace, trace.scaled(2, seed=1), trace.window(0.0, 1.5)):
        assert one.remark.startswith("hash_ids is left out") and said in one.remark


def talks(n: int = 400) -> Trace:
    """Prompts of two blocks, the first of which all share."""
    ids = np.stack((np.zeros(n, np.int64), np.arange(1, n + 1)), axis=1).ravel()
    tokens = np.full(n, 1024)
    prefixes = Prefixes.of(ids, 2 * np.arange(n + 1), tokens)
    return Trace("talks", np.arange(float(n)), tokens, np.full(n, 5), prefixes)


def test_copies_share_nothing_and_each_copy_is_as_it_was():
    made = talks().scaled(2.5, seed=3)
    assert made.prefixes is not None
    firsts = made.prefixes.ids[made.prefixes.starts[:-1]]
    assert sorted(np.unique(firsts, return_counts=True)[1])[1:] == [400, 400]
    assert len(np.unique(firsts)) == 3 and len(firsts) == len(made)
    assert len(np.unique(made.prefixes.ids)) == len(made) + 3


def test_thinned_prompts_keep_what_they_share():
    made = talks().scaled(0.5, seed=3)
    assert made.prefixes is not None and 150 < len(made) < 250
    assert len(np.unique(made.prefixes.ids)) == len(made) + 1


def test_missing_columns_are_named(tmp_path: Path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"t_seconds": [1.0], "tokens": [1]}), path)
    with pytest.raises(HansomError, match="no column input_tokens and no output_tokens"):
        read(path)


def test_what_is_no_parquet_or_not_there_or_empty_is_said(tmp_path: Path):
    path = tmp_path / "t.parquet"
    path.write_text("t_seconds,input_tokens")
    with pytest.raises(HansomError, match="no readable parquet or CSV"):
        read(path)
    with pytest.raises(HansomError, match="no such file: "):
        read(tmp_path / "none.parquet")
    empty = pa.table({name: pa.array([], pa.float64()) for name in GOOD})
    pq.write_table(empty, path)
    with pytest.raises(HansomError, match="no rows"):
        read(path)


def wave(n: int = 40_000) -> Trace:
    rng = np.random.default_rng(0)
    at_s = np.sort(rng.triangular(0, 1800, 7200, n))
    return Trace("wave", at_s - at_s[0], rng.integers(1, 999, n), rng.integers(1, 99, n))


@pytest.mark.parametrize("k", [0.25, 2.0, 3.5])
def test_scaling_multiplies_the_load_everywhere(k: float):
    trace = wave()
    made = trace.scaled(k, seed=1)
    assert len(made) == pytest.approx(k * len(trace), rel=0.02)
    assert (np.diff(made.at_s) >= 0).all()
    assert made.at_s[0] >= 0 and made.span_s <= trace.span_s
    edges_s = np.arange(0, 7201, 600)
    before, after = (np.histogram(one.at_s, edges_s)[0] for one in (trace, made))
    assert after[:10] == pytest.approx(k * before[:10], rel=0.15)
    pairs = set(zip(trace.input_tokens, trace.output_tokens, strict=True))
    assert set(zip(made.input_tokens, made.output_tokens, strict=True)) <= pairs


def test_copies_are_moved_so_that_they_do_not_come_at_one_moment():
    made = wave().scaled(3, seed=1)
    assert len(np.unique(made.at_s)) > 0.99 * len(made)


def test_scaling_repeats_with_its_seed_and_one_changes_nothing():
    trace = wave(500)
    assert (trace.scaled(2.5, 7).at_s == trace.scaled(2.5, 7).at_s).all()
    assert trace.scaled(1, 7) is trace


@pytest.mark.parametrize("k", [0.0, -1.0, float("nan"), float("inf")])
def test_other_scales_are_refused(k: float):
    with pytest.raises(HansomError, match="above 0"):
        wave(5).scaled(k, 0)


def test_a_window_counts_from_its_start():
    made = Trace("t", np.array([0.0, 10.0, 19.0, 20.0]), np.arange(4), np.arange(4)).window(10, 20)
    assert made.at_s.tolist() == [0.0, 9.0]
    assert made.input_tokens.tolist() == [1, 2]


def test_arrivals_follow_a_rate_with_lengths_of_another_trace():
    lengths = Trace("l", np.zeros(2), np.array([100, 7]), np.array([3, 900]))
    made = from_rate("r", np.array([0.0, 3600.0]), np.array([0.0, 20.0]), 3600.0, lengths, 1)
    assert len(made) == pytest.approx(36_000, rel=0.03)
    first, second = np.histogram(made.at_s, [0, 1800, 3600])[0]
    assert second == pytest.approx(3 * first, rel=0.05)
    pairs = set(zip(made.input_tokens.tolist(), made.output_tokens.tolist(), strict=True))
    assert pairs == {(100, 3), (7, 900)}
