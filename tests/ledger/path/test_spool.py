import subprocess
import sys
from pathlib import Path

import pytest

from ledger.path.spool import Spool


def lines(start: int, stop: int) -> list[bytes]:
    return [b'{"n":%d}' % at for at in range(start, stop)]


def test_lines_come_back_in_order_until_they_are_confirmed(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    assert spool.read(9) == []
    spool.append(lines(0, 3))
    spool.append(lines(3, 5))
    assert spool.read(2) == spool.read(2) == lines(0, 2)
    spool.confirm()
    assert spool.read(9) == lines(2, 5)
    spool.append(lines(5, 6))
    spool.confirm()
    assert spool.read(9) == lines(5, 6)
    spool.confirm()
    assert spool.read(9) == []
    assert list(tmp_path.iterdir()) == []
    spool.append(lines(6, 7))
    assert spool.read(9) == lines(6, 7)


def test_a_living_processs_file_is_left_to_it_and_a_closed_ones_is_adopted(tmp_path: Path) -> None:
    first, second = Spool(tmp_path), Spool(tmp_path)
    first.append(lines(0, 2))
    assert second.read(9) == []
    first.close()
    assert second.read(9) == lines(0, 2)


def test_the_file_of_a_killed_process_is_adopted_and_its_torn_end_ignored(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from ledger.path.spool import Spool\n"
        "spool = Spool(Path(sys.argv[1])); spool.append([b'whole'])\n"
        "os.write(spool._own.fd, b'to')\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)]).returncode == -9
    spool = Spool(tmp_path)
    assert spool.read(9) == [b"whole"]
    spool.confirm()
    assert spool.read(9) == []
    assert list(tmp_path.iterdir()) == []


def test_a_spool_that_cannot_write_says_so_and_works_again_when_it_can(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    folder.write_text("in the way")
    spool = Spool(folder)
    with pytest.raises(OSError, match="File exists"):
        spool.append(lines(0, 1))
    folder.unlink()
    spool.append(lines(0, 1))
    assert spool.read(9) == lines(0, 1)
