"""Ports for servers that start later: nobody else's, now or by the kernel's own choice."""

import errno
import socket
from pathlib import Path

import pytest

from core import free_port as module
from core.free_port import free_port, free_ports


def test_a_port_is_one_that_no_connection_is_given() -> None:
    kernel = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
    first, last = (int(word) for word in kernel.split())
    if first < 30_000:
        pytest.skip("this machine gives connections ports from below 30000")
    assert not any(first <= port <= last for port in free_ports(100))


def test_ports_are_different_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PORTS", range(20_000, 20_050))
    found = free_ports(40)
    assert len(set(found)) == 40
    assert set(found) <= set(range(20_000, 20_050))


def test_a_port_that_is_listened_on_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = free_port()
    monkeypatch.setattr(module, "PORTS", range(taken, taken + 1))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", taken))
        listener.listen()
        with pytest.raises(OSError, match=f"no port of {taken} to {taken} is free") as refused:
            free_port()
        assert refused.value.errno == errno.EADDRINUSE
    assert free_port() == taken
