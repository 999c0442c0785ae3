"""A PostgreSQL of one's own on a unix socket, for tests and measurements.

Promises: the server that is installed on this machine, with an empty database in a new folder, and
ended after the block. As root, which PostgreSQL refuses, it runs as `postgres` or `nobody`.
Not covered: tuning. With `durable=False` commits do not wait for the disk.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

_START_TIMEOUT_S = 30.0


def server_programs() -> Path | None:
    """The folder of `initdb` and `postgres`, the newest that Debian keeps; None without one."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    kept = [*Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    newest = max(kept, key=lambda path: float(path.parent.parent.name), default=None)
    return newest.parent if newest else None


@contextmanager
def own_postgres(*, durable: bool = True) -> Iterator[str]:
    """A server inside the block; yields SQLAlchemy's URL of a database of it.

    Raises `FileNotFoundError` where none is installed, `RuntimeError` when it does not start.
    """
    programs = server_programs()
    if programs is None:
        raise FileNotFoundError("PostgreSQL's initdb and postgres are not installed")
    user = _unprivileged()
    # Not under another temporary folder: a socket's path may have 107 bytes, and must be reachable.
    folder = Path(tempfile.mkdtemp(prefix="hansom-postgres-"))
    try:
        if user is not None:
            shutil.chown(folder, user)
        data, log = folder / "data", folder / "postgres.log"
        initdb = [str(programs / "initdb"), "-D", str(data), "-U", "hansom", "-A", "trust"]
        initdb += ["-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run(initdb, user=user, cwd=folder, check=True, capture_output=True)
        command = [str(programs / "postgres"), "-D", str(data), "-k", str(folder)]
        command += ["-c", "listen_addresses=", "-c", f"fsync={'on' if durable else 'off'}"]
        with log.open("wb") as words:
            server = subprocess.Popen(command, user=user, cwd=folder, stdout=words, stderr=words)
        try:
            _wait(server, folder, log)
            yield f"postgresql+psycopg://hansom@/postgres?host={folder}"
        finally:
            server.send_signal(signal.SIGINT)  # SIGTERM would wait for clients to leave
            try:
                server.wait(5)
            except subprocess.TimeoutExpired:
                server.send_signal(signal.SIGQUIT)  # SIGKILL would leave its children
                server.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged() -> str | None:
    """Whom to run as; None when we are not root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def _wait(server: "subprocess.Popen[bytes]", folder: Path, log: Path) -> None:
    end_s = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < end_s and server.poll() is None:
        try:
            psycopg.connect(host=str(folder), user="hansom", dbname="postgres").close()
            return
        except psycopg.OperationalError:
            time.sleep(0.05)
    raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text()}"[-2000:])
