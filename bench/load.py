"""The load generator: keep-alive connections in a closed loop, in a process of its own.

Promises: every connection has exactly one request open; times are taken around the bytes of one
request and its answer on an open connection; an answer that is not a whole 200 is a failure and
never a time. One thread on bare sockets and a selector, so that it needs no installed tool and
costs less than any server it is pointed at: `LoadResult.cpu_s` says what it cost.
Not covered: open-loop arrivals, TLS, and answers without a length.
"""

import gc
import itertools
import json
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field

NUMBER = "@" * 12  # stands for a number that no other request of the process has
_DONE = b"data: [DONE]\n\n"
_READ_BYTES = 262_144
_SILENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Job:
    """What to send: `body` to `path`, or a GET when it is empty, `at_once` connections wide.

    New requests begin for `duration_s` seconds; each connection sends `least` of them at least.
    An answer whose head lacks `expect` (lower case) is a failure.
    """

    port: int
    path: str
    body: str = ""
    at_once: int = 1
    duration_s: float = 0.0
    least: int = 1
    expect: str = ""
    host: str = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What came back. Times are of whole answers only; `events` are server-sent ones."""

    elapsed_s: float
    cpu_s: float
    failures: int
    events: int
    totals_ms: Sequence[float] = field(default_factory=list)
    ttfts_ms: Sequence[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Whole answers per second."""
        return len(self.totals_ms) / self.elapsed_s


class LoadAnswer:
    """One HTTP/1.1 answer while it comes in."""

    def __init__(self, expect: bytes = b"") -> None:
        self._expect = expect
        self._expected = False
        self.status = 0
        self.began = False  # the first byte of the body, and of a stream the first event, is here
        self.done = False
        self.events = 0
        self._raw = b""
        self._left_bytes: int | None = None
        self._stream = False
        self._tail = b""
        self._ending = b""

    @property
    def whole(self) -> bool:
        """Whether it is the success that is wanted; a stream must also end as it should."""
        ended = self._ending == _DONE if self._stream else self.done
        return ended and self.done and self.status == 200 and self._expected

    def feed(self, data: bytes) -> None:
        """Take bytes as they came."""
        data = self._raw + data if self._raw else data
        self._raw = b""
        if not self.status:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._raw = data
                return
            self._head(data[:end].lower())
            data = data[end + 4 :]
        if self._left_bytes is not None:
            self._left_bytes -= len(data)
            self.began |= bool(data)
            self.done = self._left_bytes <= 0
        else:
            for piece in self._pieces(data):
                self._count(piece)

    def _head(self, head: bytes) -> None:
        self.status = int(head[9:12])
        self._stream = b"text/event-stream" in head
        self._expected = self._expect in head
        place = head.find(b"\r\ncontent-length:")
        if place >= 0:
            self._left_bytes = int(head[place + 17 :].split(b"\r\n", 1)[0])

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        """The payload of a chunked body, whole chunks only."""
        place = 0
        while (end := data.find(b"\r\n", place)) >= 0:
            after = end + 2 + int(data[place:end], 16) + 2
            if len(data) < after:
                break
            if after == end + 4:
                self.done = True
                return
            yield data[end + 2 : after - 2]
            place = after
        self._raw = data[place:]

    def _count(self, piece: bytes) -> None:
        """Count the events that end in this piece; proxies cut where they like."""
        text = self._tail + piece
        self.events += text.count(b"\n\n")
        self._tail = b"\n" if text.endswith(b"\n") and not text.endswith(b"\n\n") else b""
        self._ending = (self._ending + piece)[-len(_DONE) :]
        self.began |= self.events > 0 or not self._stream


class Requests:
    """The bytes of one request after the other."""

    _numbers = itertools.count(1)

    def __init__(self, job: Job) -> None:
        head = f"{'POST' if job.body else 'GET'} {job.path} HTTP/1.1\r\nhost: {job.host}\r\n"
        if job.body:
            size = len(job.body.encode())
            head += f"content-type: application/json\r\ncontent-length: {size}\r\n"
        whole = f"{head}\r\n{job.body}".encode()
        self._before, self._mark, self._after = whole.partition(NUMBER.encode())

    def next(self) -> bytes:
        """One request, numbered where the body has a place for it."""
        if not self._mark:
            return self._before
        return self._before + b"%012d" % next(self._numbers) + self._after


class LoadConnection:
    """One connection and the request that is open on it."""

    def __init__(self, job: Job) -> None:
        self.socket = socket.create_connection((job.host, job.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent = 0
        self.start_s = self.first_s = 0.0
        self._expect = job.expect.encode()
        self.answer = LoadAnswer(self._expect)

    def send(self, request: bytes) -> None:
        """Begin a request."""
        self.answer = LoadAnswer(self._expect)
        self.sent += 1
        self.first_s = 0.0
        self.start_s = time.perf_counter()
        self.socket.sendall(request)

    def read(self) -> bool:
        """Take what has come; True when the answer is over, for better or worse."""
        try:
            data = self.socket.recv(_READ_BYTES)
        except OSError:
            data = b""
        if not data:
            return True
        self.answer.feed(data)
        if self.answer.began and not self.first_s:
            self.first_s = time.perf_counter()
        return self.answer.done


class _Run:
    """One job being done."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._requests = Requests(job)
        self._selector = selectors.DefaultSelector()
        self._totals_ms: list[float] = []
        self._ttfts_ms: list[float] = []
        self._failures = self._events = self._open = 0

    def result(self) -> LoadResult:
        """Do it."""
        connections = [LoadConnection(self._job) for _ in range(self._job.at_once)]
        cpu_s, start_s = time.process_time(), time.perf_counter()
        for connection in connections:
            self._begin(connection)
        while self._open:
            ready = self._selector.select(_SILENCE_S)
            if not ready:
                self._failures += self._open
                break
            for key, _ in ready:
                if key.data.read():
                    self._end(key.data, start_s)
        elapsed_s = time.perf_counter() - start_s
        for connection in connections:
            connection.socket.close()
        self._selector.close()
        return LoadResult(
            elapsed_s, time.process_time() - cpu_s, self._failures, self._events,
            self._totals_ms, self._ttfts_ms,
        )  # fmt: skip

    def _begin(self, connection: LoadConnection) -> None:
        self._selector.register(connection.socket, selectors.EVENT_READ, connection)
        self._open += 1
        connection.send(self._requests.next())

    def _end(self, connection: LoadConnection, start_s: float) -> None:
        """Note the answer, and go on with the next request or stop."""
        now_s = time.perf_counter()
        answer = connection.answer
        self._events += answer.events
        if answer.whole:
            self._totals_ms.append((now_s - connection.start_s) * 1e3)
            self._ttfts_ms.append((connection.first_s - connection.start_s) * 1e3)
        else:
            self._failures += 1
        more = now_s - start_s < self._job.duration_s or connection.sent < self._job.least
        if more and answer.done:
            connection.send(self._requests.next())
            return
        self._selector.unregister(connection.socket)
        self._open -= 1


def run(job: Job) -> LoadResult:
    """Do one job in this process. The garbage collector rests meanwhile."""
    gc.collect()
    gc.disable()
    try:
        return _Run(job).result()
    finally:
        gc.enable()


class Generator:
    """A process that does jobs, one at a time; a context manager."""

    def __enter__(self) -> "Generator":
        """Start it."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.load"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=30)

    def run(self, job: Job) -> LoadResult:
        """Do one job there; raises `RuntimeError` when the process has ended."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(job)) + "\n")
        self._process.stdin.flush()
        if not (line := self._process.stdout.readline()):
            raise RuntimeError("the load generator ended; its last words are above")
        return LoadResult(**json.loads(line))


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` (0 to 1) of `values` lie, between neighbours by distance."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def main() -> None:
    """Read jobs from standard input, a line each, and write a line for each."""
    for line in sys.stdin:
        print(json.dumps(asdict(run(Job(**json.loads(line))))), flush=True)


if __name__ == "__main__":
    main()
