"""Calculate the servers that random arrivals need, by the tail of Erlang's C formula.

In an M/M/n queue with offered load a (arrivals per second times seconds of work of each), a call
waits for longer than t seconds with probability

    P(wait > t) = C(n, a) exp(-(n - a) t / s)

with s the mean seconds of work and C Erlang's delay formula (A. K. Erlang, 1917; L. Kleinrock,
Queueing Systems I, 1975, section 3.5). A fixed utilisation asks for too little where n is small or
the work of a call is long, and for too much where n is large: the room that this asks for grows
with the square root of the load at most (S. Halfin and W. Whitt, Operations Research 29, 1981).

A replica serves many calls at once; it counts as one server that is given its calls' work one after
the other, so that n, a and s are in replicas and replica-seconds.

Promises: pure; more load or longer work never asks for fewer servers.
"""

import math

MOST_SERVERS = 10_000


def servers(load: float, work_s: float, wait_s: float, late_share: float) -> int:
    """The fewest servers for which at most `late_share` of calls wait for longer than `wait_s`.

    `load` in servers kept busy, `work_s` seconds of work of a mean call; 0 without load.
    """
    if load <= 0:
        return 0
    if load >= MOST_SERVERS:
        return MOST_SERVERS
    blocked, n = 1.0, 0  # Erlang's B formula by its recursion over n
    while n < MOST_SERVERS:
        n += 1
        blocked = load * blocked / (n + load * blocked)
        if n > load and _late(n, load, blocked, wait_s / work_s) <= late_share:
            return n
    return n


def _late(n: int, load: float, blocked: float, waits: float) -> float:
    """The share that waits for longer than so many times its work."""
    delayed = blocked / (1 - load / n * (1 - blocked))
    return delayed * math.exp(-(n - load) * waits)
