"""Requests that are sent before the answers to earlier ones are there."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator

import pytest
from serving import Server, hex_of


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("pipelining") / "x.db").wait_until_running()
    assert server.put("transformation", checksum=hex_of("a"), value=hex_of("b"))[0] == 200
    yield server
    server.stop()


def get() -> tuple[bytes, bytes]:
    """Give the head and the body of a request."""
    body = json.dumps({"type": "transformation", "checksum": hex_of("a")}).encode()
    return f"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode(), body


def answers(connection: socket.socket, count: int) -> bytes:
    """Receive so many answers, with a body of 64 bytes each."""
    received, deadline = b"", time.monotonic() + 10
    while received.count(hex_of("b").encode()) < count:
        connection.settimeout(max(0.01, deadline - time.monotonic()))
        part = b""
        with contextlib.suppress(TimeoutError):
            part = connection.recv(1 << 16)
        assert part, f"{received.count(b'HTTP/1.1 200')} answers"
        received += part
    return received


def connect(server: Server) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.status["port"]))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


@pytest.mark.parametrize("count", [2, 31, 32, 33, 500])
def test_all_requests_of_one_piece_are_answered(server: Server, count: int) -> None:
    """However many they are."""
    with connect(server) as connection:
        connection.sendall(b"".join(get()) * count)
        assert answers(connection, count).count(b"HTTP/1.1 200") == count


def test_requests_whose_bodies_come_later_do_not_hold_up_later_ones(server: Server) -> None:
    """A parser that counted them wrong would stop at the second request of a piece."""
    head, body = get()
    with connect(server) as connection:
        for _ in range(40):
            connection.sendall(head)
            time.sleep(0.005)  # so that the body is another piece
            connection.sendall(body)
            answers(connection, 1)
        connection.sendall((head + body) * 50)
        assert answers(connection, 50).count(b"HTTP/1.1 200") == 50


@pytest.mark.parametrize("size", [1, 7, 100, 150, 1000])
def test_requests_may_be_cut_anywhere(server: Server, size: int) -> None:
    """Into pieces of any size."""
    sent = b"".join(get()) * (3 if size < 7 else 60)
    count = sent.count(b"GET / ")
    with connect(server) as connection:
        for start in range(0, len(sent), size):
            connection.sendall(sent[start : start + size])
        assert answers(connection, count).count(b"HTTP/1.1 200") == count


@pytest.mark.parametrize("count", [2, 32, 100])
def test_requests_behind_the_body_of_a_refused_one_are_answered(server: Server, count: int) -> None:
    """It was refused by its head, and the rest comes with what follows."""
    with connect(server) as connection:
        connection.sendall(b"PUT /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 404")
        connection.sendall(b"0123456789" + b"".join(get()) * count)
        assert answers(connection, count).count(b"HTTP/1.1 200") == count
