"""Buffers over HTTP that are damaged, or are none."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import psutil
import pytest
from keeping import (
    LARGE,
    SMALL,
    ask,
    files_in,
    fresh,
    get,
    name_of,
    put,
    rows_of,
    set_row,
    sizes,
    told,
)
from serving import Server, hex_of, wait_for

from seamless_dask_cache.errors import CorruptBufferError
from seamless_dask_cache.storage import DirectoryStore


def _flip(path: Path) -> None:
    """Change a byte and nothing else that one could see: the time stays as it was."""
    found = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


@pytest.mark.parametrize("nbytes", [20_000, LARGE])
@pytest.mark.parametrize("damage", [_flip, _cut, _empty, _grow])
def test_a_damaged_file_is_dropped_and_an_upload_heals_it(shared, damage, nbytes):
    """Also one that was found whole before; whether it is read or uploaded first."""
    content = fresh(nbytes)
    name = name_of(content)
    path = shared.file_of(name)
    assert put(shared, content) == 200
    for method in ("GET", "HEAD"):
        assert get(shared, name).body == content
        damage(path)
        assert ask(shared, method, f"/{name}").status == 404
        assert (path.exists(), told(shared, "/has", name)) == (False, [0])
        assert put(shared, content) == 200
    assert get(shared, name).body == content
    damage(path)
    assert put(shared, content) == 200
    assert get(shared, name).body == path.read_bytes() == content


def test_who_finds_damage_drops_nothing_that_was_healed_meanwhile(tmp_path):
    """Looking through a large file takes a while."""
    content, store = fresh(LARGE), DirectoryStore(tmp_path)
    name = store.add(content)
    _cut(tmp_path / name[:2] / name)
    with store.open(name) as damaged:
        assert store.put(name, content)
        with pytest.raises(CorruptBufferError):
            store.verify_file(damaged, name)
    assert store.get(name) == content


def _expect_healing(server: Server, value: Any) -> None:
    content = fresh(SMALL)
    name = name_of(content)
    assert put(server, content) == 200
    for method, body, status in (("GET", None, 404), ("HEAD", None, 404), ("PUT", content, 200)):
        assert get(server, name).body == content
        set_row(server, name, value)
        assert ask(server, method, f"/{name}", body).status == status
        assert put(server, content) == (201 if method == "PUT" else 200)
        assert rows_of(server)[name] == content


@pytest.mark.parametrize(
    "value", [b"", fresh(SMALL - 1), fresh(SMALL), bytes(2 * 1024**2)], ids=len
)
def test_a_damaged_row_is_not_given_and_an_upload_heals_it(shared, value):
    """Also one that was given before; whether it is read or uploaded first."""
    _expect_healing(shared, value)


@pytest.mark.parametrize("value", ["text", 5])
def test_a_row_of_another_type_is_damaged(keeper, value):
    """It is not given, and an upload heals it."""
    _expect_healing(keeper, value)


def test_a_row_that_was_found_damaged_is_not_said_to_be_there(shared):
    """As a damaged file, it is dropped when that is noticed."""
    content = fresh(SMALL)
    name = name_of(content)
    assert put(shared, content) == 200
    set_row(shared, name, b"damaged")
    assert get(shared, name).status == 404
    assert (told(shared, "/has", name), told(shared, "/has-now", name)) == ([0], [False])


no_files = pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])


@no_files
def test_what_is_no_file_is_no_buffer(shared, make):
    """It holds up nobody; an upload takes its place, or says that it cannot."""
    content, before = fresh(LARGE), files_in(shared.folder)
    name = name_of(content)
    shared.file_of(name).parent.mkdir(parents=True, exist_ok=True)
    make(shared.file_of(name))
    assert get(shared, name).status == ask(shared, "HEAD", f"/{name}").status == 404
    answer = ask(shared, "PUT", f"/{name}", content)
    if make is os.mkfifo:
        assert (answer.status, get(shared, name).body) == (200, content)
    else:
        assert (answer.status, answer.body[:7]) == (503, b"ERROR: ")
        assert get(shared, name).status == 404
        assert files_in(shared.folder) == before


@no_files
def test_what_is_no_file_is_not_said_to_be_there(shared, make):
    """Nobody can get it."""
    name = name_of(fresh(LARGE))
    shared.file_of(name).parent.mkdir(parents=True, exist_ok=True)
    make(shared.file_of(name))
    assert get(shared, name).status == 404
    shared.put(
        "batch", store=[{"transformation": hex_of("t"), "result": name}], forget=[hex_of("t")]
    )
    found = shared.get("batch", transformations=[hex_of("t")])[1]["results"][hex_of("t")]
    said = [told(shared, path, name)[0] for path in ("/has", "/has-now", "/buffer-length")]
    assert (said, found["present"]) == ([0, False, 0], False)


@sizes
def test_what_another_program_put_into_the_folder_is_given(shared, nbytes):
    """If it is what its name says."""
    content = fresh(nbytes)
    right = shared.put_beside(name_of(content), content)
    wrong = shared.put_beside(name_of(fresh(nbytes)), content)
    assert (get(shared, wrong.name).status, wrong.exists()) == (404, False)
    assert (get(shared, right.name).body, put(shared, content)) == (content, 201)


@sizes
def test_a_link_to_another_buffer_is_no_buffer(shared, nbytes):
    """Also when that one was found whole before, and it stays where it is."""
    content = fresh(nbytes)
    path = shared.put_beside(name_of(content), content)
    link = shared.put_beside(name_of(fresh(nbytes)), b"")
    link.unlink()
    link.symlink_to(path)
    assert get(shared, path.name).body == content
    assert get(shared, link.name).status == 404
    assert path.read_bytes() == content


def _begin_to_read(server: Server, name: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.status["port"]), 5)
    connection.sendall(f"GET /{name} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert connection.recv(12) == b"HTTP/1.1 200"
    return connection


def test_a_file_that_becomes_shorter_while_it_is_sent_gives_no_whole_answer(shared):
    """The connection ends: the client neither waits for the rest nor takes other bytes for it."""
    zeros, received = bytes(64 * 1024**2), 0
    path = shared.put_beside(name_of(zeros), zeros)
    with _begin_to_read(shared, path.name) as connection:
        os.truncate(path, 1)
        try:
            while part := connection.recv(1024**2):
                received += len(part)
        except ConnectionResetError:
            pass
    assert received < len(zeros)


def test_no_file_stays_open(shared):
    """Whatever was asked, and when the client goes away in the middle."""
    content = bytes(32 * 1024**2)
    path = shared.put_beside(name_of(content), content)
    _begin_to_read(shared, path.name).close()
    for header in ({}, {"Range": "bytes=5-8"}, {"Range": f"bytes={10**9}-"}):
        ask(shared, "HEAD", f"/{path.name}", **header)
    get(shared, path.name, Range="bytes=5-8")
    get(shared, path.name, If_None_Match=f'"{path.name}"')
    ask(shared, "PUT", f"/{path.name}", b"")
    process = psutil.Process(shared.process.pid)
    wait_for(lambda: str(path) not in [file.path for file in process.open_files()])
