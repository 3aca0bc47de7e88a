"""Buffers over HTTP: what clients upload, wholly or not, and what happens to it on the disk."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import resource
import socket
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import psutil
import pytest
from keeping import (
    LARGE,
    SMALL,
    Keeper,
    answer_on,
    ask,
    exchange,
    files_in,
    fresh,
    get,
    keeping,
    name_of,
    put,
    rows_of,
    set_row,
    sizes,
    told,
    wait_until_asked,
)
from serving import Server, hex_of, wait_for

KIB, MIB = 1024, 1024**2
HALF = 2 * MIB


@pytest.fixture
def bare(start_server, tmp_path):
    """A writable server without a folder."""
    return start_server(tmp_path / "x.db")


def put_in_chunks(server: Server, content: bytes) -> int:
    """Upload a buffer without saying how long it is."""
    pieces = (content[start : start + 100_000] for start in range(0, len(content), 100_000))
    return ask(server, "PUT", f"/{name_of(content)}", pieces).status


SENDING = {"with its length": put, "in chunks": put_in_chunks}
sending = pytest.mark.parametrize("send", SENDING.values(), ids=SENDING)
chunked = pytest.mark.parametrize("chunked", [False, True], ids=SENDING)


class Upload:
    """An upload that goes on when it is told to.

    Parameters
    ----------
    server : Server
    content : bytes
    chunked : bool
    name : str, optional
        What the content claims to be.
    headers : str
    """

    def __init__(
        self,
        server: Server,
        content: bytes,
        *,
        chunked: bool = False,
        name: str | None = None,
        **headers: str,
    ):
        self._rest = memoryview(content)
        self._chunked = chunked
        self.connection = server.connect()
        self.connection.timeout = 10
        self.connection.putrequest("PUT", f"/{name or name_of(content)}")
        length = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": len(content)}
        for header, value in {**headers, **length}.items():
            self.connection.putheader(header.replace("_", "-"), str(value))
        self.connection.endheaders()

    def __enter__(self) -> Upload:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def send(self, nbytes: int) -> None:
        part, self._rest = self._rest[:nbytes], self._rest[nbytes:]
        if part:
            self.connection.send(b"%x\r\n%b\r\n" % (len(part), part) if self._chunked else part)

    def finish(self) -> int:
        """Send the rest, and give the status of the answer."""
        self.send(len(self._rest))
        if self._chunked:
            self.connection.send(b"0\r\n\r\n")
        return answer_on(self.connection).status


def wait_until_arriving(server: Keeper, uploads: int = 1) -> None:
    """Wait until so many uploads have brought something to the disk."""
    temporary = server.folder / ".tmp"
    wait_for(lambda: sum(path.stat().st_size > 0 for path in temporary.glob("*")) == uploads)


def expect_nothing_of(server: Keeper, *names: str) -> None:
    """Say that nothing is left of some uploads: no row, no file, nothing on its way."""
    left = files_in(server.folder)
    assert [path for path in left if path.name in names or path.parent.name == ".tmp"] == []
    assert rows_of(server).keys().isdisjoint(names)
    assert told(server, "/has", *names) == [0] * len(names)


@sending
def test_small_buffers_are_rows(keeper, send):
    """And nothing is made for them in the folder."""
    contents = [fresh(nbytes) for nbytes in (0, 1, 16 * KIB - 1, 16 * KIB)]
    for status in (200, 201):
        assert [send(keeper, content) for content in contents] == [status] * 4
    assert rows_of(keeper) == {name_of(content): content for content in contents}
    assert not keeper.folder.exists()
    for content in contents:
        assert get(keeper, name_of(content)).body == content


@sending
def test_large_buffers_are_files(keeper, send):
    """Under their names; what else is in the folder are the seals of those above a mebibyte."""
    contents = [fresh(nbytes) for nbytes in (16 * KIB + 1, 100_000, MIB, LARGE)]
    for status in (200, 201):
        assert [send(keeper, content) for content in contents] == [status] * 4
    assert rows_of(keeper) == {}
    names = list(map(name_of, contents))
    seals = [keeper.folder / ".seals" / name[:2] / name for name in names[2:]]
    assert files_in(keeper.folder) == sorted([*map(keeper.file_of, names), *seals])
    for name, content in zip(names, contents, strict=True):
        assert get(keeper, name).body == keeper.file_of(name).read_bytes() == content


def test_a_request_without_any_body_uploads_the_empty_buffer(shared):
    """Or is refused, where it should be another one."""
    for name, statuses in ((name_of(b""), b"200 201"), (name_of(b"x"), b"400")):
        request = f"PUT /{name} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        assert exchange(shared, request.encode()).split()[1] in statuses.split()
    assert rows_of(shared)[name_of(b"")] == b""
    expect_nothing_of(shared, name_of(b"x"))


def test_a_server_without_a_folder_keeps_a_mebibyte_and_says_what_it_would_take(bare, tmp_path):
    """Clearly, however a larger buffer arrives; nothing of it is kept."""
    kept, larger = [fresh(MIB), fresh(16 * KIB + 1)], fresh(MIB + 1)
    for send in SENDING.values():
        assert send(bare, larger) == 413
    assert b"--buffers" in ask(bare, "PUT", f"/{name_of(larger)}", larger).body
    assert [send(bare, content) for send, content in zip(SENDING.values(), kept, strict=True)] == [
        *(200, 200)
    ]
    assert rows_of(bare) == {name_of(content): content for content in kept}
    assert [get(bare, name_of(content)).body for content in kept] == kept
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def test_what_was_kept_without_a_folder_is_given_with_one(bare, tmp_path):
    """As a row, also where it would be a file now."""
    content = fresh(MIB)
    assert put(bare, content) == 200
    bare.stop()
    with keeping(tmp_path) as server:
        assert get(server, name_of(content)).body == content
        assert (put(server, content), told(server, "/has", name_of(content))) == (201, [MIB])


def test_a_mebibyte_is_kept_without_a_folder_also_when_packing_made_it_larger(bare):
    """The length of a body that is encoded says nothing about the buffer."""
    content = fresh(MIB)
    packed = gzip.compress(content, 1)
    assert len(packed) > MIB
    answer = ask(bare, "PUT", f"/{name_of(content)}", packed, Content_Encoding="gzip")
    assert answer.status == 200, answer


def test_no_buffer_is_larger_than_the_server_was_told(tmp_path):
    """Known beforehand or not, or only after it was unpacked; nothing of it is kept."""
    largest, larger, zeros = fresh(2 * MIB), fresh(2 * MIB + 1), bytes(2 * MIB + 1)
    packed = gzip.compress(zeros)
    with keeping(tmp_path, "--max-buffer", str(2 * MIB)) as server:
        for send in SENDING.values():
            assert send(server, larger) == 413
        answer = ask(server, "PUT", f"/{name_of(zeros)}", packed, Content_Encoding="gzip")
        assert answer.status == 413
        expect_nothing_of(server, name_of(larger), name_of(zeros))
        assert put_in_chunks(server, largest) == 200


def _peak(server: Server) -> int:
    """Give the largest memory that a server ever took, in bytes."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * KIB


def test_a_large_buffer_is_never_in_memory_as_a_whole(keeper):
    """Nor a large part of it: not when it comes, or comes packed, or goes to a slow client."""
    block, blocks = fresh(MIB), 100
    name = hashlib.sha256(block * blocks).hexdigest()
    zeros = bytes(blocks * MIB)
    packed = gzip.compress(zeros, 1)
    for content in (fresh(SMALL), fresh(LARGE)):  # so that all threads are there
        assert (put(keeper, content), get(keeper, name_of(content)).body) == (200, content)
    peak, process = _peak(keeper), psutil.Process(keeper.process.pid)
    assert ask(keeper, "PUT", f"/{name}", (block for _ in range(blocks))).status == 200
    with closing(keeper.connect()) as connection:
        connection.request("GET", f"/{name}")
        response, received = connection.getresponse(), hashlib.sha256()
        # Nobody reads it meanwhile.
        answer = ask(keeper, "PUT", f"/{name_of(zeros)}", packed, Content_Encoding="gzip")
        while part := response.read(MIB):
            received.update(part)
    assert (answer.status, received.hexdigest()) == (200, name)
    assert _peak(keeper) < peak + 30 * MIB
    assert process.memory_info().rss < peak + 30 * MIB


PACKING = {"gzip": gzip.compress, "deflate": zlib.compress}
encodings = pytest.mark.parametrize("encoding", PACKING)


@encodings
@pytest.mark.parametrize("nbytes", [0, SMALL, 16 * KIB, LARGE])
def test_a_packed_upload_is_unpacked(shared, encoding, nbytes):
    """The checksum is that of the buffer, not that of what was sent."""
    content = fresh(nbytes // 2) + bytes(nbytes - nbytes // 2)
    packed = PACKING[encoding](content, 1)
    name, encoded = name_of(content), {"Content_Encoding": encoding}
    assert ask(shared, "PUT", f"/{name_of(packed)}", packed, **encoded).status == 400
    expect_nothing_of(shared, name_of(packed))
    assert ask(shared, "PUT", f"/{name}", packed, **encoded).status in (200, 201 - bool(nbytes))
    assert ask(shared, "PUT", f"/{name}", iter([packed]), **encoded).status == 201
    assert get(shared, name).body == content


@encodings
@pytest.mark.parametrize("damage", ["cut", "end cut", "changed", "more"])
def test_a_packed_upload_that_is_damaged_is_refused(shared, encoding, damage):
    """At once, and it leaves nothing."""
    content = fresh(100_000)
    packed = PACKING[encoding](content, 1)
    middle = len(packed) // 2
    ends = {"cut": b"", "end cut": packed[middle:-1], "changed": bytes(middle)}
    damaged = packed[:middle] + ends.get(damage, packed[middle:] + b"more")
    with Upload(shared, damaged, name=name_of(content), Content_Encoding=encoding) as upload:
        upload.connection.sock.settimeout(5)
        wait_until_asked(shared)
        assert upload.finish() == 400
    expect_nothing_of(shared, name_of(content))


@pytest.mark.parametrize("encoding", ["br", "zstd", "nonsense", "gzip, gzip"])
def test_an_upload_that_is_packed_in_another_way_is_refused(shared, encoding):
    """It would be another buffer, if it was taken as it is."""
    for content in (fresh(SMALL), fresh(LARGE)):
        assert put(shared, content, Content_Encoding=encoding) == 415
        expect_nothing_of(shared, name_of(content))
    assert put(shared, content, Content_Encoding="identity") == 200


@chunked
@pytest.mark.parametrize("nbytes", [0, SMALL, 16 * KIB + 1, LARGE])
def test_wrong_content_is_refused_and_leaves_nothing(shared, chunked, nbytes):
    """Neither under the name it claims nor under its own."""
    content, claimed = fresh(nbytes), name_of(b"something else")
    with Upload(shared, content, chunked=chunked, name=claimed) as upload:
        assert upload.finish() == 400
    expect_nothing_of(shared, claimed, *[name_of(content)] * bool(nbytes))


def test_what_was_refused_does_not_confuse_the_next_request(shared):
    """On the same connection: bodies that nobody wanted are no requests."""
    trap = b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n" * 10
    name, other, kept = name_of(trap), name_of(b"other"), name_of(b"kept")
    assert put(shared, b"kept") == 200
    requests = [
        *(("PUT", f"/{other}", 400), ("POST", f"/{name}", 405), ("PUT", f"/promise/{name}", 202)),
        *(("PUT", f"/{kept}", 201), ("PUT", "/promise/x", 404), ("GET", f"/{kept}", 200)),
        *(("PUT", f"/{name}", 200), ("GET", f"/{name}", 200), ("GET", "/has", 400)),
    ]
    sent = b"".join(
        b"%b %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b"
        % (method.encode(), path.encode(), len(trap), trap)
        for method, path, _ in requests
    )
    end = b"GET /healthcheck HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answers = re.findall(rb"HTTP/1\.1 (\d+) ", exchange(shared, sent + end))
    assert list(map(int, answers)) == [*(status for *_, status in requests), 200]


@chunked
@pytest.mark.parametrize("sent", [0, SMALL, HALF])
def test_an_upload_that_is_broken_off_leaves_nothing(shared, chunked, sent):
    """When the client goes away, before the first byte or in the middle."""
    content, before = fresh(LARGE), files_in(shared.folder)
    with Upload(shared, content, chunked=chunked) as upload:
        upload.send(sent)
        wait_until_asked(shared)
        if sent == HALF:
            wait_until_arriving(shared)
    wait_until_asked(shared, 0)
    expect_nothing_of(shared, name_of(content), *[name_of(content[:sent])] * bool(sent))
    assert files_in(shared.folder) == before  # nor what came so far, under its own name
    assert put(shared, content) == 200


@chunked
def test_a_small_upload_that_is_broken_off_leaves_nothing(shared, chunked):
    """Not even when what came is what it claims to be: the client announced more."""
    content = fresh(SMALL)
    with Upload(shared, content + b"x", chunked=chunked, name=name_of(content)) as upload:
        upload.send(SMALL)
        wait_until_asked(shared)
    wait_until_asked(shared, 0)
    expect_nothing_of(shared, name_of(content))


def test_a_client_that_falls_silent_in_the_middle_is_told_so(tmp_path):
    """With 408; nothing of its upload is left."""
    small, large = fresh(SMALL), fresh(LARGE)
    with keeping(tmp_path, "--patience", "0.2") as server:
        for content in (small, large):
            with Upload(server, content) as upload:
                upload.send(SMALL // 2)
                assert answer_on(upload.connection).status == 408
        expect_nothing_of(server, name_of(small), name_of(large))


def _is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return True
    return False


@chunked
def test_an_upload_that_has_begun_is_finished_before_the_server_stops(keeper, tmp_path, chunked):
    """It is stored and acknowledged, and another server gives it."""
    small, large = fresh(SMALL), fresh(LARGE)
    with ExitStack() as stack:
        uploads = [Upload(keeper, content, chunked=chunked) for content in (small, large)]
        for upload, sent in zip(uploads, (10, HALF), strict=True):
            stack.enter_context(upload).send(sent)
        wait_until_asked(keeper, 2)
        wait_until_arriving(keeper)
        keeper.process.terminate()
        wait_for(lambda: _is_refused(keeper.status["port"]))
        assert [upload.finish() for upload in uploads] == [200, 200]
    assert keeper.wait_until_stopped(10) == 0
    with keeping(tmp_path) as server:
        assert [get(server, name_of(content)).body for content in (small, large)] == [small, large]


def test_an_upload_that_does_not_go_on_does_not_keep_the_server_from_stopping(keeper):
    """It leaves nothing, as one that is broken off."""
    with Upload(keeper, fresh(LARGE)) as upload:
        upload.send(HALF)
        wait_until_arriving(keeper)
        keeper.process.terminate()
        assert keeper.wait_until_stopped(15) == 0
    assert files_in(keeper.folder) == []


def test_a_server_that_is_killed_in_the_middle_leaves_no_part(keeper, tmp_path):
    """Under any name of a buffer; what it leaves is removed once it is old."""
    small, large = fresh(SMALL), fresh(LARGE)
    names = [name_of(small), name_of(large)]
    with Upload(keeper, small) as one, Upload(keeper, large) as two:
        one.send(10)
        two.send(HALF)
        wait_until_asked(keeper, 2)
        wait_until_arriving(keeper)
        keeper.kill()
    (left,) = files_in(keeper.folder)
    assert left.parent == keeper.folder / ".tmp"
    os.utime(left, (time.time() - 7200,) * 2)
    with keeping(tmp_path) as server:
        assert told(server, "/has", *names) == [0, 0]
        assert [get(server, name).status for name in names] == [404, 404]
        assert [put(server, content) for content in (small, large)] == [200, 200]
        assert not left.exists()
        assert [get(server, name).body for name in names] == [small, large]


@sizes
def test_many_write_the_same_buffer_at_once(shared, nbytes):
    """All of them are told that it is there, and it is right."""
    content = fresh(nbytes)
    with ExitStack() as stack, ThreadPoolExecutor(8) as pool:
        uploads = [Upload(shared, content, chunked=number % 2 == 1) for number in range(8)]
        for upload in uploads:
            stack.enter_context(upload).send(nbytes * 2 // 3)
        wait_until_asked(shared, 8)
        if nbytes == LARGE:
            wait_until_arriving(shared, 8)
        assert list(pool.map(Upload.finish, uploads)) == [200] * 8
    assert get(shared, name_of(content)).body == content
    assert put(shared, content) == 201
    assert list(shared.folder.glob(".tmp/*")) == []


@chunked
@pytest.mark.parametrize("nbytes", [16 * KIB, LARGE])
def test_nobody_sees_a_part(shared, chunked, nbytes):
    """Who reads while it is written gets nothing, or all of it."""
    content, seen = fresh(nbytes), []

    def read() -> None:
        while not seen or seen[-1].status != 200:
            seen.append(get(shared, name_of(content)))

    with ThreadPoolExecutor(2) as pool, Upload(shared, content, chunked=chunked) as upload:
        readers = [pool.submit(read) for _ in range(2)]
        for _ in range(4):
            upload.send(nbytes // 5)
            before = len(seen)
            wait_for(lambda before=before: len(seen) > before + 5)
            assert told(shared, "/has-now", name_of(content)) == [False]
        assert upload.finish() == 200
        for reader in readers:
            reader.result(20)
    assert {answer.status for answer in seen} == {200, 404}
    assert all(answer.body == content for answer in seen if answer.status == 200)


def _first_answer(upload: Upload) -> bytes:
    return upload.connection.sock.recv(1000)


@sizes
def test_a_client_that_asks_first_sends_only_what_is_missing(shared, nbytes):
    """Of what is there, nothing: the answer comes at once, and the connection ends."""
    content, asking = fresh(nbytes), {"Expect": "100-continue"}
    with Upload(shared, content, **asking) as upload:
        assert _first_answer(upload) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert upload.finish() == 200
    with Upload(shared, content, **asking) as upload:
        answer = _first_answer(upload)
        assert answer.startswith(b"HTTP/1.1 201 ") and b"Connection: close" in answer
    assert get(shared, name_of(content)).body == content


def test_a_client_that_asks_first_is_told_that_its_buffer_is_too_large(bare):
    """Without sending it."""
    with Upload(bare, bytes(10 * MIB), Expect="100-continue") as upload:
        assert _first_answer(upload).startswith(b"HTTP/1.1 413 ")
    assert told(bare, "/has", name_of(bytes(10 * MIB))) == [0]


def _limit(server: Server, nbytes: int | None = None) -> None:
    """Let a server write no file that is longer than this: a write fails as on a full disk."""
    process = psutil.Process(server.process.pid)
    _, hard = process.rlimit(resource.RLIMIT_FSIZE)
    process.rlimit(resource.RLIMIT_FSIZE, (hard if nbytes is None else nbytes, hard))


@sending
def test_a_full_disk_is_told_and_forgotten_once_there_is_room(keeper, send):
    """With 507; nothing is left, and what is there is given."""
    known, content = fresh(MIB), fresh(LARGE)
    assert put(keeper, known) == 200
    before = files_in(keeper.folder)
    for limit in (2 * MIB, MIB):
        _limit(keeper, limit)
        assert send(keeper, content) == 507
        assert files_in(keeper.folder) == before
        assert get(keeper, name_of(known)).body == known
        assert get(keeper, name_of(content)).status == 404
    _limit(keeper)
    assert send(keeper, content) == 200
    assert get(keeper, name_of(content)).body == content


def test_a_full_disk_at_the_database_is_told_and_forgotten(keeper):
    """A small buffer is not acknowledged then; later it is, and it is there."""
    first, second = fresh(SMALL), fresh(16 * KIB)
    assert put(keeper, first) == 200
    _limit(keeper, 4 * KIB)
    for _ in range(3):
        assert put(keeper, second) in (503, 507)
        assert get(keeper, name_of(first)).body == first
        assert get(keeper, name_of(second)).status == 404
    _limit(keeper)
    assert put(keeper, second) == 200
    assert get(keeper, name_of(second)).body == second
    keeper.stop()
    assert rows_of(keeper) == {name_of(first): first, name_of(second): second}


def test_a_damaged_row_that_cannot_be_dropped_does_not_count(keeper):
    """On a full disk, too, it is as if it was not there: what is in the folder is given."""
    lost, kept = fresh(SMALL), fresh(SMALL)
    for content in (lost, kept):
        assert put(keeper, content) == 200
        set_row(keeper, name_of(content), b"damaged")
    keeper.put_beside(name_of(kept), kept)
    _limit(keeper, 4 * KIB)
    assert get(keeper, name_of(kept)).body == kept
    assert get(keeper, name_of(lost)).status == 404


@pytest.mark.parametrize("place", ["", ".tmp", "hh"])
def test_a_file_where_a_folder_should_be_is_told(keeper, place):
    """As an error of the server that has a text; once it is away, uploads are taken."""
    content = fresh(LARGE)
    name = name_of(content)
    path = keeper.folder / place.replace("hh", name[:2])
    path.parent.mkdir(parents=True)
    path.write_text("in the way")
    for send in SENDING.values():
        assert send(keeper, content) == 503
    assert b"ERROR: The folder" in ask(keeper, "PUT", f"/{name}", content).body
    assert get(keeper, name).status == ask(keeper, "HEAD", f"/{name}").status == 404
    assert told(keeper, "/has", name) == [0]
    assert files_in(keeper.folder.parent) == [path]
    assert put(keeper, fresh(SMALL)) == 200
    path.unlink()
    assert put(keeper, content) == 200


def test_a_folder_is_made_with_its_parents_when_it_is_needed(keeper):
    """Also when it was removed meanwhile."""
    for place in ("one", "two"):
        content = fresh(LARGE)
        assert put(keeper, content) == 200
        assert get(keeper, name_of(content)).body == content
        keeper.folder.parent.rename(keeper.file.parent / place)
        assert get(keeper, name_of(content)).status == 404


@sending
@sizes
def test_batch_lookups_know_of_uploads(shared, send, nbytes):
    """A result is present once its buffer was uploaded; a small one is given, too."""
    content = fresh(nbytes)
    task, result = hex_of(name_of(content)), name_of(content)
    shared.put("batch", store=[{"transformation": task, "result": result}])

    def found() -> tuple[bool, bool]:
        answer = shared.get("batch", transformations=[task], inline=True)[1]["results"][task]
        return answer["present"], answer["content"] is not None

    assert found() == (False, False)
    assert send(shared, content) == 200
    assert found() == (True, nbytes == SMALL)
