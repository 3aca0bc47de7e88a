"""The database server beside the published one: single requests, and batches.

The published server, ``seamless-database`` from PyPI, gets an environment of its own. The requests
come from this process over connections that stay open, each with one request under way.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from rich.table import Table

from benchmarks.published import environment
from benchmarks.tables import show

CONNECTIONS = 16
ROWS = 10_000
SECONDS = 3.0
BATCH = 10_000
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
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r", 1)[0])
        if len(rest) < length:
            return
        if not head.startswith(b"HTTP/1.1 200"):
            self.failed = head + rest
            self._transport.close()
            return
        self._buffer = rest[length:]
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


def puts(salt: str) -> Iterator[bytes]:
    number = 0
    while True:
        document = {"type": "transformation", "checksum": checksum(f"{salt}-{number}")}
        yield request("PUT", document | {"value": checksum(f"result-{number}")})
        number += 1


def gets(salt: str) -> Iterator[bytes]:
    made = [
        request("GET", {"type": "transformation", "checksum": checksum(f"{salt}-{number}")})
        for number in range(ROWS)
    ]
    while True:
        yield from made


async def rate(port: int, requests: Iterator[bytes], *, seconds: float = 0, count: int = 0):
    """Return the answers per second, over some time or until there were so many."""
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: Connection(requests.__next__), "127.0.0.1", port)
        for _ in range(CONNECTIONS)
    ]
    connections = [protocol for _, protocol in made]
    started = time.perf_counter()
    while True:
        await asyncio.sleep(0.05)
        answers, taken = sum(c.answers for c in connections), time.perf_counter() - started
        failed = next((c.failed for c in connections if c.failed), None)
        if failed:
            raise click.ClickException(failed.decode(errors="replace"))
        if (seconds and taken >= seconds) or (count and answers >= count):
            break
    for connection in connections:
        connection.close()
    return answers / taken


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


def _batches(port: int) -> float:
    """Return the lookups per second in batches over one connection."""
    names = [checksum(f"filled-{number}") for number in range(BATCH)]
    batch = request("GET", {"type": "batch", "transformations": names, "inline": True})
    found = asyncio.run(_one_by_one(port, batch, 10))
    return BATCH / statistics.median(found)


async def _one_by_one(port: int, sent: bytes, count: int) -> list[float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 26)
    found = []
    for _ in range(count):
        started = time.perf_counter()
        writer.write(sent)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r", 1)[0])
        await reader.readexactly(length)
        found.append(time.perf_counter() - started)
    writer.close()
    return found


def run(runs: int, command: str | None) -> None:
    """Print requests per second of both servers."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        theirs = [command] if command else published(home / "environment")
        sides = {"mine": [sys.executable, "-m", "seamless_dask_cache.server"], "published": theirs}
        ports = {}
        with contextlib.ExitStack() as stack:
            for side, words in sides.items():
                (home / side).mkdir()
                ports[side] = stack.enter_context(running(words, home / side))
                asyncio.run(rate(ports[side], puts("filled"), count=ROWS + CONNECTIONS))
            rows = _measure(ports, runs)
            batch = _batches(ports["mine"])
    table = Table("server", "published /s", "mine /s", "ratio", "must be", "aim", "")
    for title, pairs, must, aim in rows:
        ratio = statistics.median(mine / other for mine, other in pairs)
        medians = [statistics.median(side) for side in zip(*pairs, strict=True)]
        figures = (f"{medians[1]:,.0f}", f"{medians[0]:,.0f}", f"{ratio:.1f}")
        table.add_row(title, *figures, f"{must:.0f}", f"{aim:.0f}", reached(ratio, must, aim))
    limits = (f"{BATCH_MUST:,}", f"{BATCH_AIM:,}", reached(batch, BATCH_MUST, BATCH_AIM))
    table.add_row(f"lookups in batches of {BATCH:,}", "-", f"{batch:,.0f}", "-", *limits)
    show(table, f"medians of {runs} runs of {SECONDS:.0f} s; {CONNECTIONS} connections")


def _measure(ports: dict[str, int], runs: int):
    gotten, put = [], []
    for number in range(runs):
        for found, requests in ((gotten, gets("filled")), (put, puts(f"new-{number}"))):
            pair = []
            for side in ("mine", "published"):
                pair.append(asyncio.run(rate(ports[side], requests, seconds=SECONDS)))
            found.append(tuple(pair))
    return [
        (f"single GET, {CONNECTIONS} connections", gotten, GET_MUST, GET_AIM),
        (f"PUT, {CONNECTIONS} connections (durable here)", put, PUT_MUST, PUT_AIM),
    ]


def reached(figure: float, must: float, aim: float) -> str:
    return "aim" if figure >= aim else "reached" if figure >= must else "missed"
