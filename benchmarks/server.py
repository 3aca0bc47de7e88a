"""The database server beside the published one: single requests, and batches; small files, large
ones, and while others write; and how many bytes a row takes.

The published server, ``seamless-database`` from PyPI, gets an environment of its own. The requests
come from this process over connections that stay open, each with one request under way.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import json
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from rich.table import Table
from seamless_dask_cache.server import schema, tables

from benchmarks.published import environment
from benchmarks.tables import show

CONNECTIONS = 16
WRITERS = (1, 4)
"""Connections that write while others read."""
SIZES = (10_000, 1_000_000)
"""Rows that files have to begin with."""
ASKED = 10_000
"""Different rows that are asked for."""
SECONDS = 3.0
MADE = 60_000
"""Writes that are made before a run, for 20,000 per second."""
BATCH = 10_000
MANY = 1_000_000
GET_MUST, GET_AIM = 4.0, 5.0
PUT_MUST, PUT_AIM = 3.0, 5.0
BATCH_MUST, BATCH_AIM = 100_000, 300_000


class Connection(asyncio.Protocol):
    """Sends the next request as soon as an answer is there; counts the answers."""

    def __init__(self, next_request: Callable[[], bytes]):
        self._next = next_request
        self._buffer = b""
        self.answers = 0
        self.failed: bytes | None = None

    def connection_made(self, transport):
        self._transport = transport
        transport.write(self._next())

    def data_received(self, data):
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        length = _length_of(self._buffer)
        if len(self._buffer) < head + 4 + length:
            return
        if not self._buffer.startswith(b"HTTP/1.1 200"):
            self.failed = self._buffer
            self._transport.close()
            return
        self._buffer = self._buffer[head + 4 + length :]
        self.answers += 1
        self._transport.write(self._next())

    def close(self):
        self._transport.close()


def request(method: str, document) -> bytes:
    body = json.dumps(document).encode()
    head = f"{method} / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Content-Type: application/json\r\n\r\n" + body


def checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _length_of(answer: bytes) -> int:
    start = answer.find(b"ontent-Length: ") + len(b"ontent-Length: ")
    return int(answer[start : answer.index(b"\r", start)])


def puts(salt: str) -> Iterator[bytes]:
    """Requests that are made before, so that only the server is measured."""
    return iter(
        [
            request(
                "PUT",
                {"type": "transformation", "checksum": checksum(f"{salt}-{number}")}
                | {"value": checksum(f"result-{number}")},
            )
            for number in range(MADE)
        ]
    )


def gets(rows: int) -> Iterator[bytes]:
    made = [
        request("GET", {"type": "transformation", "checksum": checksum(f"filled-{number}")})
        for number in range(0, rows, max(1, rows // ASKED))
    ]
    while True:
        yield from made


def fill(file: Path, rows: int) -> None:
    """Make a file with so many transformations; the published server completes it."""
    connection = sqlite3.connect(file)
    for statement in schema.statements():
        connection.execute(statement)
    numbers = iter(range(rows))
    while part := list(itertools.islice(numbers, 10_000)):
        pairs = [(checksum(f"filled-{number}"), checksum(f"result-{number}")) for number in part]
        tables.add_transformations(connection, pairs)
    connection.commit()
    connection.close()


async def rate(
    port: int,
    requests: Iterator[bytes],
    *,
    connections: int = CONNECTIONS,
    seconds: float = SECONDS,
) -> float:
    """Return the answers per second."""
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: Connection(requests.__next__), "127.0.0.1", port)
        for _ in range(connections)
    ]
    protocols = [protocol for _, protocol in made]
    started = time.perf_counter()
    await asyncio.sleep(seconds)
    answers, taken = sum(p.answers for p in protocols), time.perf_counter() - started
    for protocol in protocols:
        protocol.close()
        if protocol.failed:
            raise click.ClickException(protocol.failed.decode(errors="replace"))
    return answers / taken


async def rate_beside_writers(
    port: int, reads: Iterator[bytes], writes: Iterator[bytes], writers: int
) -> tuple[float, float]:
    """Return the reads per second while others write, and the writes."""
    both = (rate(port, reads), rate(port, writes, connections=writers))
    return tuple(await asyncio.gather(*both))


@contextlib.contextmanager
def running(command: list[str], folder: Path) -> Iterator[int]:
    """A server in a process of its own; gives its port."""
    port = _free_port()
    words = [*command, str(folder / "data.db"), "--writable", "--host", "127.0.0.1"]
    words += ["--port", str(port), "--timeout", "300"]
    with (folder / "log").open("w") as log, subprocess.Popen(words, stdout=log, stderr=log) as one:
        try:
            _wait_for(port)
            yield port
        finally:
            one.terminate()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise click.ClickException("the server does not start")


def published(folder: Path) -> list[str]:
    """Install the published server in an environment of its own; return its command."""
    return [str(environment(folder).with_name("seamless-database"))]


def _batches(port: int, size: int) -> float:
    """Return the lookups per second in batches over one connection."""
    names = [checksum(f"filled-{number}") for number in range(size)]
    batch = request("GET", {"type": "batch", "transformations": names, "inline": True})
    found = asyncio.run(_one_by_one(port, batch, 10 if size < MANY else 3))
    return size / statistics.median(found)


async def _one_by_one(port: int, sent: bytes, count: int) -> list[float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 26)
    found = []
    for _ in range(count):
        started = time.perf_counter()
        writer.write(sent)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if b"transfer-encoding: chunked" in head:
            while length := int(await reader.readuntil(b"\r\n"), 16):
                await reader.readexactly(length + 2)
            await reader.readexactly(2)
        else:
            length = int(head.partition(b"content-length:")[2].split(b"\r", 1)[0])
            await reader.readexactly(length)
        found.append(time.perf_counter() - started)
    writer.close()
    return found


def run(runs: int, command: str | None, sizes: tuple[int, ...] = SIZES) -> None:
    """Print requests per second of both servers, and bytes per row of their files."""
    table = Table("server", "published /s", "mine /s", "ratio", "must be", "aim", "")
    weights = []
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        theirs = [command] if command else published(home / "environment")
        sides = {"mine": [sys.executable, "-m", "seamless_dask_cache.server"], "published": theirs}
        for rows in sizes:
            folders = {side: home / f"{side}-{rows}" for side in sides}
            with contextlib.ExitStack() as stack:
                ports = {}
                for side, words in sides.items():
                    folders[side].mkdir()
                    fill(folders[side] / "data.db", rows)
                    ports[side] = stack.enter_context(running(words, folders[side]))
                _add_pairs(table, rows, _measure(ports, rows, runs))
                _add_batches(table, rows, ports["mine"])
            weights.append((rows, {side: _bytes_per_row(folders[side]) for side in sides}))
    show(table, f"medians of {runs} runs of {SECONDS:.0f} s; {CONNECTIONS} connections")
    table = Table("bytes per row of transformation", "published", "mine", "ratio")
    for rows, found in weights:
        ratio = f"{found['mine'] / found['published']:.2f}"
        table.add_row(
            f"{rows:,} at once, then PUT",
            *(f"{found[s]:.0f}" for s in ("published", "mine")),
            ratio,
        )
    show(table, "size of the file after it was closed")


def _add_pairs(table: Table, rows: int, found) -> None:
    for title, pairs, must, aim in found:
        ratio = statistics.median(mine / other for mine, other in pairs)
        medians = [statistics.median(side) for side in zip(*pairs, strict=True)]
        figures = (f"{medians[1]:,.0f}", f"{medians[0]:,.0f}", f"{ratio:.1f}")
        verdict = ("", "", "")
        if must is not None:
            verdict = (f"{must:.0f}", f"{aim:.0f}", reached(ratio, must, aim))
        table.add_row(f"{title}, {rows:,} rows", *figures, *verdict)


def _add_batches(table: Table, rows: int, port: int) -> None:
    for size in (BATCH, MANY):
        if size <= rows:
            found = _batches(port, size)
            verdict = (f"{BATCH_MUST:,}", f"{BATCH_AIM:,}", reached(found, BATCH_MUST, BATCH_AIM))
            title = f"lookups in batches of {size:,}, {rows:,} rows"
            table.add_row(title, "-", f"{found:,.0f}", "-", *verdict)


def _bytes_per_row(folder: Path) -> float:
    file = folder / "data.db"
    connection = sqlite3.connect(file)
    (rows,) = connection.execute("SELECT count(*) FROM transformation").fetchone()
    connection.close()
    return file.stat().st_size / rows


def _measure(ports: dict[str, int], rows: int, runs: int):
    found = defaultdict(list)
    for number in range(runs):
        for title, figures in _measure_once(ports, rows, number):
            found[title].append(figures)
    limits = {"single GET": (GET_MUST, GET_AIM), "PUT (durable here)": (PUT_MUST, PUT_AIM)}
    return [
        (title, pairs, *limits.get(title, (GET_MUST, GET_AIM) if "GET" in title else (None, None)))
        for title, pairs in found.items()
    ]


def _measure_once(ports: dict[str, int], rows: int, number: int):
    """Give the title of each row, and a figure for each side."""
    sides = ("mine", "published")
    yield "single GET", [_run(rate(ports[side], gets(rows))) for side in sides]
    yield "PUT (durable here)", [_run(rate(ports[side], puts(f"new-{number}"))) for side in sides]
    for writers in WRITERS:
        salt = f"beside-{writers}-{number}"
        both = [
            _run(rate_beside_writers(ports[side], gets(rows), puts(salt), writers))
            for side in sides
        ]
        gotten, put = zip(*both, strict=True)
        yield f"GET while {writers} write", gotten
        yield f"PUT of those {writers}", put


def _run(work):
    """Run on uvloop where that is installed: the load must not cost more than what it is put on."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


def reached(figure: float, must: float, aim: float) -> str:
    return "aim" if figure >= aim else "reached" if figure >= must else "missed"
