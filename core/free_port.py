"""A TCP port for a server that starts later.

The kernel gives ports of its own range (on Linux from 32768 on) to whoever connects anywhere, so a
port of that range that is free now may be some connection's end when the server asks for it: Ray
makes hundreds while it starts. Ray's workers take 10002 to 19999 and Ray Serve's replicas 30000 to
31000, so the ports between belong to nobody.
"""

import errno
import random
import socket

PORTS = range(20_000, 30_000)


def free_ports(count: int) -> list[int]:
    """Pick distinct ports of `PORTS` at random on which nothing listens on this machine.

    Raises `OSError` when there are not that many.
    """
    found: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        if len(found) == count:
            break
        if _is_free(port):
            found.append(port)
    if len(found) < count:
        raise OSError(errno.EADDRINUSE, f"no port of {PORTS.start} to {PORTS.stop - 1} is free")
    return found


def free_port() -> int:
    """One such port."""
    return free_ports(1)[0]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True
