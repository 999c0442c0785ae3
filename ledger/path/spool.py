"""Store lines that Redis could not take on disk until it can.

Promised: what `append` returned for is synced, survives the death of the process, and is found by
the next spool in the same folder. A file is read by one process at a time (its lock says so) and
is removed only after all of it was confirmed: a crash in between repeats lines and loses none.
Not covered: a lost disk. All methods block; they may be called from several threads.
"""

import fcntl
import os
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SUFFIX = ".jsonl"
_READ_BYTES = 1 << 20


@dataclass(slots=True)
class _File:
    """An open file that this process has locked, and how much of it is confirmed."""

    path: Path
    fd: int
    confirmed_bytes: int = 0
    read_bytes: int = 0

    def append(self, data: bytes) -> None:
        """Write all of `data` and sync, or none of it and raise `OSError`."""
        start_bytes = os.fstat(self.fd).st_size
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(self.fd, left) :]
            os.fsync(self.fd)
        except OSError:
            os.ftruncate(self.fd, start_bytes)
            raise

    def read(self, count: int) -> list[bytes]:
        """The next lines after the confirmed ones; a torn last line is not a line."""
        data = os.pread(self.fd, _READ_BYTES, self.confirmed_bytes)
        lines = data.split(b"\n")[:-1][:count]
        self.read_bytes = self.confirmed_bytes + sum(len(line) + 1 for line in lines)
        return lines

    @property
    def done(self) -> bool:
        return self.confirmed_bytes >= os.fstat(self.fd).st_size


class Spool:
    """One process's spool in a folder that several processes of one machine may share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._own: _File | None = None
        self._reading: _File | None = None

    def append(self, payloads: Sequence[bytes]) -> None:
        """Write one line each and sync; raises `OSError`, and then has written none."""
        with self._lock:
            if self._own is None:
                self._own = self._create()
            self._own.append(b"".join(payload + b"\n" for payload in payloads))

    def read(self, count: int) -> list[bytes]:
        """Up to `count` lines not yet confirmed, of this spool or of one whose process died.

        Gives the same lines again until `confirm`; raises `OSError`.
        """
        with self._lock:
            while True:
                if self._reading is None:
                    self._reading = self._own or self._adopt()
                if self._reading is None:
                    return []
                if lines := self._reading.read(count):
                    return lines
                self._remove(self._reading)

    def confirm(self) -> None:
        """What the last `read` gave is safe elsewhere; a file that is all confirmed goes."""
        with self._lock:
            file = self._reading
            if file is not None:
                file.confirmed_bytes = file.read_bytes
                if file.done:
                    self._remove(file)

    def close(self) -> None:
        """Let go of the files; what is in them is for the next spool in this folder."""
        with self._lock:
            for fd in {file.fd for file in (self._own, self._reading) if file is not None}:
                os.close(fd)
            self._own = self._reading = None

    def _create(self) -> _File:
        """A new file, locked. Another process may take and remove it before the lock holds."""
        self._folder.mkdir(parents=True, exist_ok=True)
        while True:
            path = self._folder / f"{uuid.uuid4().hex}{SUFFIX}"
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            if _locked(fd) and path.exists():
                return _File(path, fd)
            os.close(fd)

    def _adopt(self) -> _File | None:
        """A file that no living process holds, locked; None when there is none."""
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            try:
                fd = os.open(path, os.O_RDWR | os.O_APPEND)
            except FileNotFoundError:
                continue
            if _locked(fd) and path.exists():
                return _File(path, fd)
            os.close(fd)
        return None

    def _remove(self, file: _File) -> None:
        """Unlink while the lock is held, so that no other process adopts the file."""
        file.path.unlink(missing_ok=True)
        os.close(file.fd)
        if self._own is file:
            self._own = None
        self._reading = None


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
