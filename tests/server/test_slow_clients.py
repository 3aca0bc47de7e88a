"""Clients that are slow, strangers, or not who they say; and the limits that all of them have."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import json
import select
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import psutil
import pytest
from seamless_dask_cache.server.bodies import SLOWEST
from serving import Server, hex_of, wait_for

from seamless_dask_cache.database import DatabaseClient
from seamless_dask_cache.errors import DatabaseUnavailableError

PATIENCE = 0.5
MEGABYTE = 1024 * 1024
HEALTHCHECK = b"GET /healthcheck HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """An impatient server."""
    folder = tmp_path_factory.mktemp("impatient")
    options = ("--buffers", str(folder / "buffers"), "--patience", str(PATIENCE))
    server = Server(folder / "x.db", *options).wait_until_running()
    yield server
    server.stop()


def _connect(server: Server, receive: int = 65536) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    connection.settimeout(20)
    connection.connect(("127.0.0.1", server.status["port"]))
    return connection


def _until_closed(connection: socket.socket) -> bytes:
    """Give what the server says until it closes the connection, which it must within 20 s."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65536):
            received += part
    return received


def _trickle(connection: socket.socket, piece: bytes, pause: float) -> bytes:
    """Send something again and again until the server closes the connection, or answers."""
    deadline = time.monotonic() + 20
    with contextlib.suppress(ConnectionError):
        while time.monotonic() < deadline:
            connection.sendall(piece)
            if select.select([connection], [], [], pause)[0]:
                return connection.recv(65536)
        raise AssertionError("still connected after 20 s")
    return b""


def _is_open(connection: socket.socket, seconds: float) -> bool:
    """Tell whether the server neither says anything nor closes the connection for some time."""
    return not select.select([connection], [], [], seconds)[0]


def _process(server: Server) -> psutil.Process:
    return psutil.Process(server.process.pid)


def _upload(name: str, nbytes: int) -> bytes:
    return f"PUT /{name} HTTP/1.1\r\nHost: x\r\nContent-Length: {nbytes}\r\n\r\n".encode()


HALVES = {"a letter": b"G", "half a head": HEALTHCHECK, "a line": b"\r\n", "TLS": b"\x16\x03\x01"}


@pytest.mark.parametrize("sent", HALVES.values(), ids=HALVES)
def test_who_sends_no_whole_head_is_disconnected(server, sent):
    """After the patience; what is no HTTP is told so at once."""
    with _connect(server) as connection:
        connection.sendall(sent)
        assert b" 200 OK" not in _until_closed(connection)


def test_who_sends_a_head_byte_by_byte_is_disconnected(server):
    """Never being silent is not enough."""
    with _connect(server) as connection:
        connection.sendall(HEALTHCHECK)
        assert _trickle(connection, b"A", 0.2) == b""


HALF_A_BODY = b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{"
IN_CHUNKS = b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"


@pytest.mark.parametrize(
    ("sent", "piece"),
    [(HALF_A_BODY, b""), (IN_CHUNKS, b""), (HALF_A_BODY, b"x"), (IN_CHUNKS, b"1\r\nx\r\n")],
    ids=["silent", "silent in chunks", "slow", "slow in chunks"],
)
def test_who_does_not_send_its_body_is_told_that_it_took_too_long(server, sent, piece):
    """Or is disconnected: who waits after half of it, and who stays below the lowest rate."""
    with _connect(server) as connection:
        connection.sendall(sent)
        received = _trickle(connection, piece, 0.1)
    assert not received or (b" 408 " in received and b"ERROR: " in received)


def _files(folder: Path) -> list[Path]:
    return [path for path in (folder / "buffers").rglob("*") if path.is_file()]


def test_an_upload_that_stalls_is_cut_off_and_leaves_nothing(server):
    """Nothing of it stays in the folder of buffers."""
    folder = server.file.parent
    before = _files(folder)
    with _connect(server) as connection:
        connection.sendall(_upload(hex_of("stalls"), MEGABYTE) + bytes(20_000))
        wait_for(lambda: _files(folder) != before)
        assert b" 200 " not in connection.recv(65536)
    wait_for(lambda: _files(folder) == before)


@pytest.fixture(scope="module")
def large(server) -> str:
    """A buffer of 100 MB."""
    content = bytes(100 * MEGABYTE)
    name = hashlib.sha256(content).hexdigest()
    assert server.raw("PUT", content, f"/{name}")[0] == 200
    return name


@pytest.fixture(scope="module")
def many(server) -> bytes:
    """A request whose answer has 16 MB."""
    contents = [f"{number}".encode() * 3000 for number in range(1000, 2000)]
    names = [hashlib.sha256(content).hexdigest() for content in contents]
    items = [
        {"transformation": name, "result": name, "content": base64.b64encode(content).decode()}
        for name, content in zip(names, contents, strict=True)
    ]
    assert server.put("batch", store=items)[0] == 200
    asked = json.dumps({"type": "batch", "transformations": names})
    return f"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: {len(asked)}\r\n\r\n{asked}".encode()


def test_who_never_reads_is_disconnected_and_its_answer_forgotten(server, large, many):
    """Ten answers of 100 MB and ten of 16 MB: most of the memory is given back."""
    process = _process(server)
    descriptors, nbytes = process.num_fds(), process.memory_info().rss
    asked = [f"GET /{large} HTTP/1.1\r\nHost: x\r\n\r\n".encode()] * 10 + [many] * 10
    with contextlib.ExitStack() as stack:
        for request in asked:
            connection = stack.enter_context(_connect(server, receive=4096))
            connection.sendall(request)
        wait_for(lambda: process.num_fds() > descriptors)
        wait_for(lambda: process.num_fds() <= descriptors + 2)
        wait_for(lambda: process.memory_info().rss < nbytes + 100 * MEGABYTE)


def test_five_hundred_slow_clients_keep_nobody_from_being_answered(server, large):
    """And when they are cut off, their file descriptors are free again."""
    process, descriptors = _process(server), [_process(server).num_fds()]
    asked = f"GET /{large} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    kinds = (HEALTHCHECK, HALF_A_BODY, _upload(hex_of("slow"), MEGABYTE) + bytes(9), asked)
    with contextlib.ExitStack() as stack, DatabaseClient(server.url, timeout=10) as client:
        for number in range(500):
            connection = stack.enter_context(_connect(server, receive=4096))
            connection.sendall(kinds[number % len(kinds)])
            if number % 50 == 49:
                assert client.get_transformation_result(hex_of("unknown")) is None
                descriptors.append(process.num_fds())
        client.set_transformation_result(hex_of("a"), hex_of("b"))
        assert client.get_transformation_result(hex_of("a")) == hex_of("b")
        assert max(descriptors) > descriptors[0] + 40
        wait_for(lambda: process.num_fds() <= descriptors[0] + 3)


def test_a_slow_but_honest_upload_succeeds(server):
    """At four times the lowest rate, three times as long as the patience."""
    content, rate = b"honest" * 18_000, 4 * SLOWEST
    with _connect(server) as connection:
        connection.sendall(_upload(hashlib.sha256(content).hexdigest(), len(content)))
        for start in range(0, len(content), rate // 10):
            connection.sendall(content[start : start + rate // 10])
            time.sleep(0.1)  # this is what slow means
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")


def test_a_slow_but_honest_download_succeeds(server):
    """At sixty times the lowest rate, ten times as long as the patience."""
    content, rate = bytes(5 * MEGABYTE), 60 * SLOWEST
    name = hashlib.sha256(content).hexdigest()
    assert server.raw("PUT", content, f"/{name}")[0] == 200
    with _connect(server) as connection:
        connection.sendall(f"GET /{name} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        started, received = time.monotonic(), 0
        while received < len(content):
            part = connection.recv(rate // 50)
            assert part, f"cut off after {received} bytes"
            received += len(part)
            time.sleep(max(0.0, started + received / rate - time.monotonic()))


def test_a_connection_without_a_request_stays_open(server):
    """Far longer than the patience, before the first request and between two."""
    with _connect(server) as connection:
        for _ in range(2):
            assert _is_open(connection, 3 * PATIENCE)
            connection.sendall(HEALTHCHECK + b"\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")


def test_who_waits_for_the_server_is_not_cut_off(server):
    """It is the server that is slow: somebody else has yet to bring the buffer."""
    name = hashlib.sha256(b"awaited").hexdigest()
    assert server.raw("PUT", "", f"/promise/{name}")[0] == 202
    with _connect(server) as connection:
        connection.sendall(f"GET /{name} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert _is_open(connection, 4 * PATIENCE)
        assert server.raw("PUT", b"awaited", f"/{name}")[0] == 200
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")


def _access(server: Server, authorization: bytes | None) -> list[int]:
    """Give what reads and writes are answered with, of rows and of buffers; 200 for any success."""
    found, name = [], hashlib.sha256(b"x").hexdigest().encode()
    row = b'{"type":"transformation","checksum":"%s","value":"%s"}' % (name, name)
    line = b"" if authorization is None else b"Authorization: %s\r\n" % authorization
    for first, body in (
        *((b"GET /", b'{"type":"protocol"}'), (b"GET /has", b"[]"), (b"PUT /", row)),
        *((b"PUT /" + name, b"x"), (b"PUT /promise/" + name, b"")),
    ):
        head = b"%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%sContent-Length: %d\r\n\r\n"
        with _connect(server) as connection:
            connection.sendall(head % (first, line, len(body)) + body)
            answer = _until_closed(connection)
        status = int(answer[9:12])
        assert status < 300 or b"\r\n\r\nERROR: " in answer
        found.append(200 if status < 300 else status)
    return found


@pytest.fixture
def tokens(tmp_path) -> tuple[str, ...]:
    (tmp_path / "write").write_text("wr1te\n")
    (tmp_path / "read").write_text("r3ad\n")
    return ("--token-file", str(tmp_path / "write"), "--read-token-file", str(tmp_path / "read"))


ALL, NONE, READS = [200] * 5, [401] * 5, [200, 200, 403, 403, 403]
STRANGERS = (
    *(None, b"wr1te", b"Basic wr1te", b"\xff\xfe"),
    *b"|Bearer|Bearer wrong|Bearer R3AD|Bearer wr1te2|Bearer wr1t|Bearer wr1te r3ad".split(b"|"),
    *b"Bearer  wr1te|Bearer None|Bearer wr1t\xc3\xa9|Bearer \xffwr1te|Bearer r3ad\xa0".split(b"|"),
)


@pytest.mark.parametrize("anonymous", [False, True])
def test_each_token_allows_what_it_is_for(start_server, tmp_path, tokens, anonymous):
    """Reading, or both; anybody may read if that is asked for, and nobody else writes."""
    options = (*tokens, *["--anonymous-reads"] * anonymous, "--buffers", str(tmp_path / "buffers"))
    server = start_server(tmp_path / "x.db", *options)
    assert _access(server, b"Bearer wr1te") == ALL
    assert _access(server, b"Bearer r3ad") == READS
    for header in STRANGERS:
        expected = [200, 200, 401, 401, 401] if anonymous else NONE
        assert _access(server, header) == expected, header
    assert "Traceback" not in server.log.read_text()


def _is_refused(server: Server, said: str) -> None:
    assert server.wait_until_stopped() == 1
    log = server.log.read_text()
    assert said in log and "Traceback" not in log


def test_a_token_for_reading_alone_lets_nobody_write(start_server, tmp_path, tokens):
    """It does not even start: more likely, the other token was forgotten."""
    server = start_server(tmp_path / "x.db", *tokens[2:], wait=False)
    _is_refused(server, "needs --token-file")
    assert not (tmp_path / "x.db").exists()


def _certificate(folder: Path, name: str, *options: str) -> tuple[Path, Path]:
    """Make a certificate that signs itself, and its key."""
    paths = folder / f"{name}.crt", folder / f"{name}.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-out", str(paths[0]), "-keyout", str(paths[1]), "-subj", f"/CN={name}"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-days", "2", *(options or ["-nodes"])]
    subprocess.run(command, check=True, capture_output=True)
    return paths


def test_a_client_that_knows_the_certificate_speaks_https(start_server, tmp_path):
    """What others say on this port does no harm: HTTP, nonsense, nothing."""
    certificate, key = map(str, _certificate(tmp_path, "server"))
    options = ("--tls-cert", certificate, "--tls-key", key, "--patience", str(PATIENCE))
    server = start_server(tmp_path / "x.db", *options)
    for sent in (HEALTHCHECK + b"\r\n", b"\x16\x03\x01\x02\x00\xff\xff" * 99, b""):
        with _connect(server) as connection:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            assert b"200 OK" not in _until_closed(connection)
    with DatabaseClient(server.url.replace("http", "https"), ca_file=certificate) as client:
        client.set_transformation_result(hex_of("a"), hex_of("b"))
        assert client.get_transformation_result(hex_of("a")) == hex_of("b")
    assert "Traceback" not in server.log.read_text()


def test_a_certificate_that_nobody_vouches_for_is_refused_at_once(tmp_path):
    """The error names the certificate; to try again would be no use."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*_certificate(tmp_path, "server"))
    attempts = []

    def answer(listener):
        while True:
            try:
                connection = listener.accept()[0]
            except OSError:
                return
            attempts.append(1)
            with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        for authority in (None, _certificate(tmp_path, "other")[0]):
            refused = pytest.raises(DatabaseUnavailableError, match="certificate")
            with DatabaseClient(url, ca_file=authority) as client, refused:
                client.get_protocol()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(20)
    assert len(attempts) == 2


def test_certificates_that_cannot_be_used_are_a_clear_error(start_server, tmp_path):
    """Of another key, missing, encrypted, or no certificate at all."""
    certificate, key = _certificate(tmp_path, "server")
    other = _certificate(tmp_path, "other")[1]
    locked = _certificate(tmp_path, "locked", "-passout", "pass:secret")
    for first, second in ((certificate, other), (tmp_path / "no", key), (key, certificate), locked):
        options = ("--tls-cert", str(first), "--tls-key", str(second))
        server = start_server(tmp_path / "x.db", *options, wait=False)
        _is_refused(server, f"cannot use {first}")
    server = start_server(tmp_path / "x.db", "--tls-cert", str(certificate), wait=False)
    assert server.wait_until_stopped() == 2
    assert "--tls-cert and --tls-key belong together" in server.log.read_text()


MOST = {"/": 1000, f"/{hashlib.sha256(b' ' * 60_000).hexdigest()}": 50_000}


@pytest.fixture(scope="module")
def limited(tmp_path_factory):
    """A server with small limits."""
    folder = tmp_path_factory.mktemp("limited")
    options = ("--buffers", str(folder / "buffers"), "--max-body", "1000", "--max-buffer", "50000")
    server = Server(folder / "x.db", *options).wait_until_running()
    yield server
    server.stop()


@pytest.mark.parametrize("in_chunks", [False, True])
@pytest.mark.parametrize("encoding", [None, "gzip"])
@pytest.mark.parametrize("path", MOST, ids=["request", "buffer"])
def test_what_is_larger_than_the_limit_is_refused(limited, path, encoding, in_chunks):
    """Requests and buffers have their own limits, however they are sent; no request is decoded."""
    headers = {"Content-Encoding": encoding} if encoding else {}
    headers |= {"Transfer-Encoding": "chunked"} if in_chunks else {}
    # What is small enough is refused, too, but not as too large.
    for nbytes, expected in ((60_000, 413), (MOST[path] + 1, 413), (MOST[path], 400)):
        body = gzip.compress(b" " * nbytes) if encoding else b" " * nbytes
        if in_chunks:
            parts = (body[start : start + 700] for start in range(0, len(body), 700))
            body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        expected = 415 if encoding and path == "/" else expected
        status, text = limited.raw("PUT", body, path, **headers)
        assert (status, text[:7]) == (expected, "ERROR: "), (nbytes, text)
    assert not _files(limited.file.parent)
