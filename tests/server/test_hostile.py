"""Many hostile requests to one server, which goes on as if nothing had been.

They take 40 seconds on two cores. Fewer or more: ``SEAMLESS_DASK_CACHE_HOSTILE_REQUESTS``; the
first 35,000 bring each hostile value to each field of each type. Others:
``SEAMLESS_DASK_CACHE_HOSTILE_SEED``.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.client
import os
import re
import sqlite3
import struct
import threading
import time
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from fuzzing import LAST, NAMELESS, REQUESTS, Volley, Volleys
from seamless_dask_cache.server.app import HANDLERS
from serving import Server, hex_of, wait_for

from seamless_dask_cache.database import DatabaseClient

pytestmark = pytest.mark.timeout(600)

MANY = int(os.environ.get("SEAMLESS_DASK_CACHE_HOSTILE_REQUESTS", "20000"))
SEED = int(os.environ.get("SEAMLESS_DASK_CACHE_HOSTILE_SEED", "20261129"))
CONNECTIONS = 64
MEGABYTE = 1024 * 1024

EXPECTED = frozenset((200, 201, 202, 206, 304, 400, 404, 405, 409, 413, 416, 417, 503))
"""What a request may be answered with that is well-formed HTTP."""

_statuses = re.compile(rb"HTTP/\d\.\d (\d\d\d) ").findall


class _Attacker(asyncio.Protocol):
    """Sends a volley, and keeps what comes back until the server closes the connection."""

    def __init__(self, volley: Volley, closed: asyncio.Future[None]):
        self._volley = volley
        self._closed = closed
        self.received = bytearray()

    def connection_made(self, transport):
        transport.writelines(self._volley.requests)

    def data_received(self, data):
        self.received += data

    def connection_lost(self, error):
        if not self._closed.done():
            self._closed.set_result(None)


async def _fire(port: int, volley: Volley) -> bytes:
    """Send a volley, and give what came back."""
    loop = asyncio.get_running_loop()
    closed = loop.create_future()
    transport, attacker = await loop.create_connection(
        lambda: _Attacker(volley, closed), "127.0.0.1", port
    )
    if volley.seconds:
        await asyncio.wait([closed], timeout=volley.seconds)
    transport.abort()
    return bytes(attacker.received)


def _offence(volley: Volley, statuses: list[int]) -> int | None:
    """Give the index of the first request whose answer is wrong or missing."""
    for index, status in enumerate(statuses):
        if (status not in EXPECTED) if volley.is_whole else (status >= 500 and status != 503):
            return min(index, len(volley.requests) - 1)
    if volley.is_whole and len(statuses) != len(volley.requests):
        return min(len(statuses), len(volley.requests) - 1)
    return None


def _excerpt(data: bytes, most: int = 4000) -> str:
    return repr(data if len(data) <= most else data[: most // 2] + b" ... " + data[-most // 2 :])


@dataclass
class Siege:
    """A server under attack, and what was seen of it."""

    server: Server
    seed: int = SEED
    sent: int = 0
    seconds: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    offences: list[str] = field(default_factory=list)
    probes: list[float] = field(default_factory=list)
    failed_probes: list[str] = field(default_factory=list)

    async def attack(self, requests: int) -> None:
        """Send many requests on many connections at once."""
        volleys, port = iter(enumerate(Volleys(self.seed))), self.server.status["port"]

        async def attackers() -> None:
            while self.sent < requests:
                number, volley = next(volleys)
                self.sent += len(volley.requests)
                self._judge(number, volley, await _fire(port, volley))

        started = time.monotonic()
        await asyncio.gather(*(attackers() for _ in range(CONNECTIONS)))
        self.seconds = time.monotonic() - started

    def _judge(self, number: int, volley: Volley, received: bytes) -> None:
        statuses = [int(status) for status in _statuses(received)]
        self.statuses.update(statuses)
        index = _offence(volley, statuses)
        if index is not None and len(self.offences) < 5:
            self.offences.append(
                f"seed {self.seed}, volley {number} ({volley.kind}), request {index} of"
                f" {len(volley.requests)}, {len(statuses)} answers:\n"
                f"  sent {_excerpt(volley.requests[index])}\n  got ... {received[-90:]!r}"
            )

    def probe(self, stop: threading.Event) -> None:
        """Ask for the health of the server again and again, on a new connection each time."""
        port = self.server.status["port"]
        while not stop.wait(0.02):
            started = time.monotonic()
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            try:
                connection.request("GET", "/healthcheck")
                assert connection.getresponse().read() == b"OK"
            except Exception as error:
                self.failed_probes.append(f"{error!r} after {time.monotonic() - started:.1f} s")
            finally:
                connection.close()
            self.probes.append(time.monotonic() - started)

    @contextlib.contextmanager
    def probed(self):
        """Ask for the health of the server all the time."""
        stop = threading.Event()
        prober = threading.Thread(target=self.probe, args=(stop,))
        prober.start()
        try:
            yield
        finally:
            stop.set()
            prober.join(30)


def _process(server: Server) -> psutil.Process:
    return psutil.Process(server.process.pid)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What the server may write to, and where it stands."""
    folder = tmp_path_factory.mktemp("siege")
    (folder / "cwd").mkdir()
    return folder


@pytest.fixture(scope="module")
def server(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder / "cwd")
        server = Server(folder / "x.db", "--buffers", str(folder / "buffers"), "--patience", "5")
    yield server.wait_until_running()
    server.stop()


@dataclass
class Usage:
    """What a server needs."""

    descriptors: int
    threads: int
    nbytes: int


def _usage(server: Server) -> Usage:
    process = _process(server)
    return Usage(process.num_fds(), process.num_threads(), process.memory_info().rss)


@pytest.fixture(scope="module")
def before(server) -> Usage:
    """What the server needs after some hostile requests: what any server of some age has."""
    asyncio.run(Siege(server, SEED + 1).attack(2_000))
    return _usage(server)


@pytest.fixture(scope="module")
def siege(server, before):
    """A server that has been attacked, and still runs."""
    siege = Siege(server)
    with siege.probed():
        asyncio.run(siege.attack(MANY))
    print(f"{siege.sent} requests, {siege.sent / siege.seconds:.0f} per second, seed {SEED}")
    print(f"healthcheck: {len(siege.probes)}, the slowest took {max(siege.probes):.2f} s")
    print(f"{before} -> {_usage(server)}\n{siege.statuses}")
    return siege


def test_every_type_of_request_is_attacked():
    """A new type needs an example, whose every field is then attacked."""
    assert set(REQUESTS) == set(HANDLERS)


def test_no_answer_says_that_the_server_failed(siege):
    """It is never 500; and each request is answered that is well-formed HTTP."""
    assert siege.sent >= MANY
    assert not siege.offences, "\n".join(siege.offences)


def test_the_server_lives_and_says_so_all_the_time(siege):
    """Whoever asks for its health meanwhile is answered within seconds."""
    assert siege.server.process.poll() is None
    assert siege.probes and not siege.failed_probes


SIGNS = ("Traceback", "Error handling request", "Unhandled exception", "never retrieved")
"""What Python and aiohttp say of a defect."""

_causes = re.compile(r"^\S+ \S+ ERROR (.{,60})|^([\w.]+: .{,60})", re.MULTILINE).findall


def test_nothing_is_logged_that_looks_like_a_defect(siege):
    """What strangers send is their fault, and no reason for a traceback."""
    log = siege.server.log.read_text()
    found = {sign: log.count(sign) for sign in SIGNS if sign in log}
    causes = Counter(error or cause for error, cause in _causes(log)).most_common(20)
    assert not found, "\n".join(map(str, (f"{len(log)} bytes of log", found, *causes)))


def test_what_the_attackers_took_is_given_back(siege, before):
    """File descriptors, threads and memory are nearly what they were."""
    wait_for(lambda: _process(siege.server).num_fds() <= before.descriptors + 3)
    after = _usage(siege.server)
    assert after.threads <= before.threads + 3
    assert after.nbytes - before.nbytes < 150 * MEGABYTE


def test_no_request_is_still_being_answered(siege):
    """When all clients are gone, so are their requests, also those that waited for a buffer."""

    def in_progress():
        text = siege.server.raw("GET", "", "/metrics")[1]
        return float(re.search(r"^\w+_requests_in_progress (\S+)", text, re.M)[1])

    wait_for(lambda: in_progress() == 1, 10)


def test_no_file_is_anywhere_but_where_it_belongs(siege, folder):
    """In the database, or in the folder of buffers under its checksum, and what that says."""
    assert not list((folder / "cwd").iterdir())
    beside = {path.name for path in folder.iterdir() if not path.name.startswith("x.db")}
    assert beside <= {"cwd", "buffers"}
    files = [path for path in (folder / "buffers").rglob("*") if path.is_file()]
    assert files and not [path for path in files if ".tmp" in path.parts]
    for path in files:
        name = hashlib.sha256(path.read_bytes()).hexdigest()
        assert path == folder / "buffers" / name[:2] / name


def test_an_honest_client_is_served_and_the_file_is_sound(siege):
    """What is stored afterwards is there, and SQLite finds no damage."""
    with DatabaseClient(siege.server.url) as client:
        client.set_transformation_result(hex_of("later"), hex_of("result"))
        assert client.get_transformation_result(hex_of("later")) == hex_of("result")
    with contextlib.closing(sqlite3.connect(siege.server.file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


@pytest.mark.parametrize("before", [b"", LAST.replace(b"close", b"keep-alive")])
@pytest.mark.parametrize("nameless", NAMELESS)
def test_what_names_nothing_is_refused(start_server, tmp_path, before, nameless):
    """Or its connection closed: a request in which aiohttp finds no URL, also behind another."""
    server = start_server(tmp_path / "x.db", "--patience", "1")
    started = time.monotonic()
    volley = Volley("nameless", [before, nameless, LAST], 20.0)
    statuses = _statuses(asyncio.run(_fire(server.status["port"], volley)))
    assert time.monotonic() - started < volley.seconds
    assert set(statuses) <= {b"200", b"400", b"405"}
    server.stop()
    assert not [sign for sign in SIGNS if sign in server.log.read_text()]


def _bomb(encoding: str, filling: bytes, megabytes: int) -> bytes:
    """Encode many megabytes of the same byte into a thousandth of it."""
    part = filling * MEGABYTE
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = deflate.compress(part) + deflate.flush(zlib.Z_FULL_FLUSH)
    blocks = block * megabytes + deflate.flush()
    check = {"gzip": 0, "deflate": 1}[encoding]
    for _ in range(megabytes):
        check = (zlib.crc32 if encoding == "gzip" else zlib.adler32)(part, check)
    if encoding == "deflate":
        return b"\x78\x9c" + blocks + struct.pack(">I", check)
    nbytes = struct.pack("<II", check, len(part) * megabytes % 2**32)
    return b"\x1f\x8b\x08" + bytes(6) + b"\xff" + blocks + nbytes


def _peak(server: Server) -> int:
    """Give the most memory that a server ever had."""
    text = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", text)[1]) * 1024


@pytest.mark.parametrize(
    ("path", "encoding", "filling", "megabytes"),
    [
        ("/", "gzip", b" ", 1000),
        ("/has", "deflate", b" ", 1000),
        ("/", "deflate", b"[", 250),
        (f"/{hex_of('bomb')}", "gzip", b"\0", 1000),
        (f"/promise/{hex_of('bomb')}", "gzip", b"\0", 1000),
    ],
)
def test_a_bomb_fills_no_memory_and_holds_nobody_up(
    start_server, tmp_path, path, encoding, filling, megabytes
):
    """A request of a megabyte or less that decodes to a thousand times as much."""
    server = start_server(tmp_path / "x.db", "--buffers", str(tmp_path / "b"), "--patience", "5")
    siege, before = Siege(server), _peak(server)
    bomb = _bomb(encoding, filling, megabytes)
    method = "GET" if path in ("/", "/has") else "PUT"
    with siege.probed(), contextlib.closing(server.connect()) as connection:
        connection.timeout = 120
        connection.request(method, path, bomb, {"Content-Encoding": encoding})
        status = connection.getresponse().status
    grown = (_peak(server) - before) // MEGABYTE
    slowest = max(siege.probes, default=0.0)
    print(f"{path[:9]}: {status}, {grown} MB more, healthcheck within {slowest:.1f} s")
    assert (grown < 500, siege.failed_probes) == (True, [])
    assert status in (200, 202, 400, 413, 415)


def test_a_request_that_is_hard_to_read_holds_nobody_up(start_server, tmp_path):
    """250 MB of brackets, which no limit forbids."""
    server = start_server(tmp_path / "x.db")
    siege = Siege(server)
    with siege.probed(), contextlib.closing(server.connect()) as connection:
        connection.timeout = 120
        connection.request("GET", "/", b"[" * (250 * MEGABYTE))
        assert connection.getresponse().status == 400
    print(f"healthcheck within {max(siege.probes):.1f} s")
    assert not siege.failed_probes
