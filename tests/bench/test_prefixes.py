"""`bench.prefixes`: two caches of a size on a trace whose hits are known."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.prefixes import main


def trace(folder: Path, ids: list[list[int]] | None) -> str:
    columns = {"t_seconds": [0.0, 1.0, 2.0], "input_tokens": [1536] * 3, "output_tokens": [1] * 3}
    path = folder / "t.parquet"
    pq.write_table(pa.table(columns if ids is None else {**columns, "hash_ids": ids}), path)
    return str(path)


def test_both_find_what_the_size_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The third prompt is the first; whole, so its last block is computed in the replay.

    Of 3 blocks the second took all; of 4 it left the first's first, of 6 none is gone.
    """
    main([trace(tmp_path, [[1, 2, 3], [4, 5, 6], [1, 2, 3]]), "--blocks", "3,4,6"])
    told = capsys.readouterr().out.splitlines()
    assert told == [
        "        3 blocks:  0.00% in the replay,  0.00% in a plain LRU",
        "        4 blocks: 11.11% in the replay, 11.11% in a plain LRU",
        "        6 blocks: 22.22% in the replay, 33.33% in a plain LRU",
    ]


def test_a_trace_without_ids_is_refused(tmp_path: Path):
    with pytest.raises(SystemExit, match="t has no hash_ids"):
        main([trace(tmp_path, None)])
