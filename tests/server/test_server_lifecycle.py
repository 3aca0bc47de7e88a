"""Start, stop, ports, status files, tokens, owners."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from serving import hex_of, wait_for


def test_the_status_file_keeps_its_keys_and_gains_port_and_status(server):
    """As the launchers of Seamless expect."""
    assert server.status == {
        "launcher": "test",
        "port": server.status["port"],
        "status": "running",
    }
    assert server.raw("GET", "", "/healthcheck") == (200, "OK")


@pytest.mark.parametrize(
    ("options", "writable", "said"),
    [
        ((), False, "must exist when --writable is not set"),
        (("--timeout", "-1"), True, "--timeout must be a positive number"),
        (("--timeout", "nan"), True, "--timeout must be a positive number"),
        (("--port", "70000"), True, "between 0 and 65535"),
        (("--host", "203.0.113.7"), True, "cannot listen"),
        (("--token-file", "/nonexistent/token"), True, "token file"),
    ],
)
def test_a_failed_start_is_told_in_the_status_file_and_on_stderr(
    start_server, tmp_path, options, writable, said
):
    """Exit code 1, ``status: failed``, other keys kept, no traceback."""
    server = start_server(tmp_path / "x.db", *options, writable=writable, wait=False)
    assert server.wait_until_stopped() == 1
    assert server.status == {"launcher": "test", "status": "failed"}
    assert said in server.log.read_text()
    assert "Traceback" not in server.log.read_text()


def test_a_file_that_is_no_database_is_a_clear_error(start_server, tmp_path):
    """Whether writable or not; the file stays as it is."""
    file = tmp_path / "text.db"
    file.write_text("not a database " * 100)
    for writable in (True, False):
        server = start_server(file, writable=writable, wait=False)
        assert server.wait_until_stopped() == 1
        assert "cannot open" in server.log.read_text()
        assert "Traceback" not in server.log.read_text()
    assert file.read_text().startswith("not a database")


def test_a_taken_port_is_a_clear_error(start_server, tmp_path):
    """Another program listens there."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        server = start_server(tmp_path / "x.db", "--port", port, wait=False)
        assert server.wait_until_stopped() == 1
    assert f"port {port}" in server.log.read_text()


def _command(*options):
    return [sys.executable, "-m", "seamless_dask_cache.server", *map(str, options)]


def test_a_port_range_gives_a_port_that_is_free(tmp_path):
    """Of two ports, one taken, the other one is found; a missing status file is made."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status = tmp_path / "status.json"
        process = subprocess.Popen(
            _command(
                *(tmp_path / "x.db", "--host", "127.0.0.1", "--writable"),
                *("--port-range", port, port + 20, "--status-file", status),
            ),
            stderr=subprocess.DEVNULL,
        )
        try:
            found = wait_for(lambda: status.exists() and json.loads(status.read_text()))
            assert found["status"] == "running"
            assert port < found["port"] <= port + 20
        finally:
            process.terminate()
            assert process.wait(20) == 0


def test_an_unreadable_status_file_is_a_clear_error(tmp_path):
    """And it is left as it is."""
    status = tmp_path / "status.json"
    for content in ("[1]", "{"):
        status.write_text(content)
        done = subprocess.run(
            _command(tmp_path / "x.db", "--writable", "--status-file", status),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1 and "status file" in done.stderr
        assert status.read_text() == content


def test_a_reversed_port_range_and_two_ways_to_a_port_are_refused(tmp_path):
    """Before anything is opened."""
    for options in (("--port-range", 9, 8), ("--port", 1, "--port-range", 8, 9)):
        done = subprocess.run(
            _command(tmp_path / "x.db", "--writable", *options), capture_output=True
        )
        assert done.returncode != 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_the_server_cleanly(server, number):
    """Exit code 0 within seconds, also with an idle connection open; the log is merged."""
    connection = server.connect()
    connection.request("GET", "/healthcheck")
    connection.getresponse().read()
    server.put("transformation", checksum=hex_of("a"), value=hex_of("b"))
    server.process.send_signal(number)
    assert server.wait_until_stopped(10) == 0
    connection.close()
    assert not server.file.with_name(f"{server.file.name}-wal").exists()


def _is_refused(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return True
    return False


def test_a_request_that_was_accepted_is_finished_before_the_stop(server):
    """SIGTERM while the body is on its way: the write is acknowledged and on disk."""
    items = [{"transformation": hex_of(f"{n}"), "result": hex_of("r")} for n in range(20_000)]
    body = json.dumps({"type": "batch", "store": items}).encode()
    answers = []
    connection = server.connect()
    connection.putrequest("PUT", "/")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body[:-10])
    reader = threading.Thread(target=lambda: answers.append(connection.getresponse().status))
    reader.start()
    time.sleep(0.3)  # lets the server begin to read; either way the answer must come
    server.process.send_signal(signal.SIGTERM)
    wait_for(lambda: _is_refused(server.status["port"]))
    connection.send(body[-10:])
    reader.join(20)
    connection.close()
    assert answers == [200]
    assert server.wait_until_stopped() == 0


def test_inactivity_stops_the_server_and_activity_does_not(start_server, tmp_path):
    """Requests put the end off; then it comes by itself."""
    server = start_server(tmp_path / "x.db", "--timeout", "1.5")
    deadline = time.monotonic() + 3.5
    while time.monotonic() < deadline:
        assert server.raw("GET", "", "/healthcheck")[0] == 200
        time.sleep(0.1)
    last = time.monotonic()
    assert server.wait_until_stopped(20) == 0
    assert time.monotonic() - last > 1.0


def test_without_the_token_nothing_but_the_healthcheck_is_answered(start_server, tmp_path):
    """401 for none, a wrong one, another scheme; also before the body is looked at."""
    (tmp_path / "token").write_text("s3cret\n")
    server = start_server(
        tmp_path / "x.db", "--token-file", str(tmp_path / "token"), token="s3cret"
    )
    assert server.get("protocol")[0] == 200
    for header in ("", "Bearer", "Bearer wrong", "Basic s3cret", "Bearer s3cret2", "Bearer sécret"):
        for method in ("GET", "PUT"):
            status, text = server.raw(method, "junk", Authorization=header)
            assert (status, text[:7]) == (401, "ERROR: ")
    server.token = None
    assert server.get("protocol")[0] == 401
    assert server.raw("GET", "", "/healthcheck") == (200, "OK")


def test_a_server_that_is_not_writable_refuses_writes(start_server, tmp_path):
    """405 as the published server; reads go on, and nothing is created beside the file."""
    server = start_server(tmp_path / "x.db")
    server.put("transformation", checksum=hex_of("a"), value=hex_of("b"))
    reader = start_server(tmp_path / "x.db", writable=False)
    assert reader.put("transformation", checksum=hex_of("a"), value=hex_of("c"))[0] == 405
    assert reader.put("batch", store=[])[0] == 405
    assert reader.get_text("transformation", checksum=hex_of("a")) == (200, hex_of("b"))
    server.put("transformation", checksum=hex_of("later"), value=hex_of("d"))
    assert reader.get_text("transformation", checksum=hex_of("later")) == (200, hex_of("d"))


def test_a_second_writable_server_is_told_who_holds_the_file(start_server, tmp_path):
    """By process and host; when the first one is killed, the next one takes over."""
    first = start_server(tmp_path / "x.db")
    second = start_server(tmp_path / "x.db", wait=False)
    assert second.wait_until_stopped() == 75
    said = second.log.read_text()
    assert f"process {first.process.pid} on {socket.gethostname()}" in said
    assert second.status["status"] == "failed"
    first.kill()
    start_server(tmp_path / "x.db")


def test_writing_strangers_are_warned_about(tmp_path):
    """On an outside address without a token; not otherwise."""
    (tmp_path / "token").write_text("s3cret")
    loud = ("--writable",)
    for options, warns in (
        ((*loud,), True),
        ((*loud, "--host", "127.0.0.1"), False),
        ((*loud, "--token-file", tmp_path / "token"), False),
        ((), False),
    ):
        status = tmp_path / "status"
        status.write_text("{}")
        process = subprocess.Popen(
            _command(tmp_path / "x.db", *options, "--port", 0, "--status-file", status),
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_for(lambda status=status: json.loads(status.read_text()).get("status") == "running")
        process.terminate()
        said = process.communicate(timeout=20)[1]
        assert ("ANYBODY" in said) is warns, (options, said)


def test_a_request_that_takes_longer_than_the_timeout_is_no_inactivity(start_server, tmp_path):
    """The server goes on until it is answered, and the time counts from then."""
    server = start_server(tmp_path / "x.db", "--timeout", "0.5")
    body = b'{"type":"protocol"}' + b" " * 15
    connection = server.connect()
    connection.putrequest("GET", "/")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders()
    for number in range(len(body)):  # takes about 3 seconds
        connection.send(body[number : number + 1])
        time.sleep(0.1)
    assert connection.getresponse().status == 200
    connection.close()
    assert server.wait_until_stopped(20) == 0


@pytest.mark.parametrize("ended", ["signal", "timeout"])
def test_the_status_file_says_that_the_server_has_stopped(start_server, tmp_path, ended):
    """It is true to the end, and the launcher's keys stay."""
    server = start_server(tmp_path / "x.db", *(("--timeout", "0.3") if ended == "timeout" else ()))
    port = server.status["port"]
    if ended == "signal":
        server.process.send_signal(signal.SIGTERM)
    assert server.wait_until_stopped(20) == 0
    assert server.status == {"launcher": "test", "port": port, "status": "stopped"}


def test_the_status_file_of_a_successor_is_left_as_it_is(start_server, tmp_path):
    """A launcher may have started another server with the same file."""
    server = start_server(tmp_path / "x.db")
    others = {"launcher": "other", "port": server.status["port"] + 1, "status": "running"}
    server.status_file.write_text(json.dumps(others))
    server.process.send_signal(signal.SIGTERM)
    assert server.wait_until_stopped(20) == 0
    assert server.status == others


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--patience", "0"), "--patience must be a positive number"),
        (("--max-body", "0"), "must be positive numbers"),
        (("--max-buffer", "-1"), "must be positive numbers"),
        (("--tls-cert", "/nonexistent", "--tls-key", "/nonexistent"), "TLS"),
    ],
)
def test_settings_that_make_no_sense_are_named(start_server, tmp_path, options, said):
    """Exit code 1, one line, no traceback."""
    server = start_server(tmp_path / "x.db", *options, wait=False)
    assert server.wait_until_stopped() == 1
    assert said in server.log.read_text() and "Traceback" not in server.log.read_text()
