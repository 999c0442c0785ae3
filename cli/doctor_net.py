"""Two questions to the network: is this port free, and does a Redis answer there?"""

import socket
from urllib.parse import SplitResult, urlsplit


def free_port(host: str, port: int) -> None:
    """Bind `host`:`port` for a moment; OSError says why it cannot be had."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    with socket.socket(family, kind, protocol) as probe:
        # A port whose last connections are still being forgotten (TIME_WAIT) is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)


def ping_redis(url: str, timeout_s: float) -> str:
    """Send PING; what was found, in words. OSError when nothing answers, ValueError when not Redis.

    A Redis that asks for a password first has answered. `rediss` is only connected to: the
    check does without the certificates that the client is given elsewhere.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"redis", "rediss", "unix"}:
        raise ValueError("the scheme must be redis, rediss or unix")
    where = parts.path if parts.scheme == "unix" else "{}:{}".format(*_address(parts))
    with _connect(parts, timeout_s) as connection:
        if parts.scheme == "rediss":
            return f"{where} accepts connections"
        connection.sendall(b"PING\r\n")
        answer = connection.recv(64)
    if answer.startswith(b"+PONG"):
        return f"{where} answers"
    if answer.startswith(b"-NOAUTH"):
        return f"{where} answers and asks for a password"
    raise ValueError(f"what listens there is no Redis ({answer[:20]!r})")


def _address(parts: SplitResult) -> tuple[str, int]:
    return parts.hostname or "localhost", parts.port or 6379


def _connect(parts: SplitResult, timeout_s: float) -> socket.socket:
    """A connection on which every wait ends after `timeout_s`."""
    if parts.scheme != "unix":
        return socket.create_connection(_address(parts), timeout=timeout_s)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(timeout_s)
    try:
        connection.connect(parts.path)
    except OSError:
        connection.close()
        raise
    return connection
