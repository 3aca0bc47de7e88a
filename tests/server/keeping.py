"""Servers that keep buffers, and how to talk to them about these."""

from __future__ import annotations

import hashlib
import http.client
import itertools
import json
import random
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from serving import Server, hex_of, wait_for

SMALL, LARGE = 1000, 3 * 1024**2 + 5
UNKNOWN = hex_of("nobody has this buffer")
sizes = pytest.mark.parametrize("nbytes", [SMALL, LARGE])


class Keeper(Server):
    """A server with a folder of large buffers, which lies deeper than its database file."""

    def __init__(self, place: Path, *options: str, **more: Any):
        self.folder = place / "in" / "buffers"
        super().__init__(place / "x.db", "--buffers", str(self.folder), *options, **more)

    def file_of(self, name: str) -> Path:
        """Give the place of a large buffer."""
        return self.folder / name[:2] / name

    def put_beside(self, name: str, content: bytes) -> Path:
        """Put a file into the folder, as another program does."""
        path = self.file_of(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path


@contextmanager
def keeping(place: Path, *options: str, **more: Any) -> Iterator[Keeper]:
    """Run a server, which logs no traceback."""
    server = Keeper(place, *options, **more)
    try:
        yield server.wait_until_running()
    finally:
        server.stop()
    assert "Traceback" not in server.log.read_text()


class Answer(NamedTuple):
    """What a server answered."""

    status: int
    body: bytes
    headers: http.client.HTTPMessage


_seeds = itertools.count()


def fresh(nbytes: int) -> bytes:
    """Make a content that nobody had before."""
    return random.Random(f"{nbytes} {next(_seeds)}").randbytes(nbytes)


def name_of(content: bytes) -> str:
    """Give its checksum."""
    return hashlib.sha256(content).hexdigest()


def files_in(folder: Path) -> list[Path]:
    """List all that is anywhere below a folder, hidden or not, but folders."""
    return sorted(path for path in folder.rglob("*") if not path.is_dir())


def rows_of(server: Server) -> dict[str, bytes]:
    """Read the small buffers out of the database file."""
    with closing(sqlite3.connect(server.file)) as connection:
        return dict(connection.execute("SELECT checksum, content FROM buffer").fetchall())


def answer_on(connection: http.client.HTTPConnection) -> Answer:
    response = connection.getresponse()
    return Answer(response.status, response.read(), response.headers)


def ask(server: Server, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    """Ask something; underscores in the names of headers are hyphens. An iterator is chunked."""
    with closing(server.connect()) as connection:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named)
        return answer_on(connection)


def get(server: Server, name: str, **headers: str) -> Answer:
    return ask(server, "GET", f"/{name}", **headers)


def put(server: Server, content: bytes, **headers: str) -> int:
    return ask(server, "PUT", f"/{name_of(content)}", content, **headers).status


def told(server: Server, path: str, *names: str) -> Any:
    """Ask about some buffers."""
    answer = ask(server, "GET", path, json.dumps(names))
    assert answer.status == 200, answer
    return json.loads(answer.body)


def exchange(server: Server, request: bytes) -> bytes:
    """Send bytes, and give all that comes back until the server closes the connection."""
    with socket.create_connection(("127.0.0.1", server.status["port"]), 20) as connection:
        connection.sendall(request)
        with connection.makefile("rb") as answer:
            return answer.read()


def wait_until_asked(server: Server, requests: int = 1) -> None:
    """Wait until so many requests are being answered, beside the one that asks for this."""
    line = f"seamless_database_requests_in_progress {requests + 1}.0"
    wait_for(lambda: line in ask(server, "GET", "/metrics").body.decode().splitlines())


def set_row(server: Server, name: str, value: Any) -> None:
    """Damage a small buffer, as another program may."""
    with closing(sqlite3.connect(server.file)) as connection:
        connection.execute("UPDATE buffer SET content = ? WHERE checksum = ?", (value, name))
        connection.commit()
