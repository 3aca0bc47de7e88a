"""Whatever a client sends: an answer that says what is wrong, and a server that goes on."""

from __future__ import annotations

import json
import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from seamless_dask_cache.server.app import HANDLERS
from serving import hex_of

TYPES = sorted({type_ for _, type_ in HANDLERS})
FIELDS = (
    *("checksum", "value", "result", "path", "celltype", "target_celltype", "subcelltype"),
    *("bucket_kind", "label", "bucket_checksum", "captured_at", "freshness_tokens"),
    *("store", "forget", "transformations", "inline", "prefix", "limit", "offset"),
    *("recipes", "notes", "checksums", "function", "content", "files"),
    *("cutoffs", "costs", "codes", "skeletons", "holder", "acquire", "release", "seconds"),
    *("renew", "release_all"),
)

_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["1" * 64, "g" * 64, "A" * 64, "node", "mixed", "1" * 63 + "\n", "\x00"])
)
_values = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*FIELDS, "schema_version", "length", "is_x"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)
_requests = st.fixed_dictionaries(
    {"type": st.sampled_from(TYPES) | _values}, optional=dict.fromkeys(FIELDS, _values)
)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(method=st.sampled_from(["GET", "PUT"]), request=_requests | _values)
def test_no_request_gives_a_500(one_server, method, request):
    """Every answer is a success or an error of the client, with a text."""
    _expect_an_answer(one_server, method, json.dumps(request))


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(method=st.sampled_from(["GET", "PUT"]), body=st.binary(max_size=200))
def test_no_bytes_give_a_500(one_server, method, body):
    """Also what is not JSON at all."""
    _expect_an_answer(one_server, method, body)


def _expect_an_answer(server, method, body):
    status, text = server.raw(method, body)
    assert status in (200, 400, 404, 409), (status, text)
    assert status == 200 or text.startswith("ERROR: ")


@pytest.fixture(scope="module")
def one_server(tmp_path_factory):
    from serving import Server

    server = Server(tmp_path_factory.mktemp("fuzz") / "fuzz.db").wait_until_running()
    yield server
    assert server.process.poll() is None
    server.stop()
    assert "ConnectionResetError" not in server.log.read_text()
    assert "handlers.py" not in server.log.read_text()


@pytest.mark.parametrize("depth", [200, 300, 1000, 5000, 100_000])
@pytest.mark.parametrize(
    ("type_", "field"),
    [
        ("metadata", "value"),
        ("buffer_info", "value"),
        ("expression", "path"),
        ("bucket_probe", "freshness_tokens"),
    ],
)
def test_deep_nesting_is_refused_or_kept(one_server, type_, field, depth):
    """In any field that holds JSON, on the way in and on the way out."""
    tf, result = hex_of(f"t{depth}"), hex_of("r")
    fields = {
        "type": type_, "checksum": tf, "result": result,
        "celltype": "mixed", "target_celltype": "int",
        "bucket_kind": "node", "label": str(depth), "captured_at": "now", "bucket_checksum": tf,
    }  # fmt: skip
    if type_ == "expression":
        value, fields["value"] = "[" * depth + "]" * depth, tf
    else:
        identity = f'"schema_version": 1, "tf_checksum": "{tf}", "result_checksum": "{result}"'
        value = "{" + identity + ', "deep": ' + "[" * depth + "]" * depth + "}"
    body = json.dumps(fields)[:-1] + f', "{field}": {value}}}'
    status, _ = one_server.raw("PUT", body)
    assert status in (200, 400)
    assert one_server.raw("GET", body)[0] in ((200,) if status == 200 else (400, 404))
    if type_ == "metadata" and status == 200:
        one_server.put("irreproducible", checksum=tf, result=result)
        assert one_server.get_text("irreproducible", checksum=tf)[0] == 200


@pytest.mark.parametrize("method", ["POST", "DELETE", "HEAD", "PATCH", "OPTIONS"])
def test_other_methods_are_refused(one_server, method):
    """With 405, not a crash."""
    assert one_server.raw(method, "{}")[0] == 405


@pytest.mark.parametrize("path", ["/x", "/../../etc/passwd", "//", "/%00", "/healthcheck/x"])
def test_other_paths_are_unknown(one_server, path):
    """No path reaches the file system."""
    assert one_server.raw("GET", "{}", path)[0] == 404


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "nonsense"])
def test_a_broken_content_encoding_is_the_clients_fault(one_server, encoding):
    """Bytes that are not what their header says."""
    status, _ = one_server.raw("PUT", b"\x00garbage", **{"Content-Encoding": encoding})
    assert 400 <= status < 500


def _asking_first(port, expectation):
    """A client that sends its body only when it is told to; the first answer and the last."""
    head = (
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 19\r\n"
        f"Expect: {expectation}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(20)
        connection.sendall(head.encode())
        first = connection.recv(1000)
        connection.sendall(b'{"type":"protocol"}')
        with connection.makefile("rb") as rest:
            return first, rest.read()


def test_a_client_that_waits_for_it_is_told_to_send_the_body(one_server):
    """As curl waits with large bodies."""
    first, last = _asking_first(one_server.status["port"], "100-continue")
    assert first == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert last.startswith(b"HTTP/1.1 200 OK") and b"seamless" in last


def test_an_expectation_that_nobody_knows_is_refused(one_server):
    """With the status that HTTP has for it."""
    first, _ = _asking_first(one_server.status["port"], "a miracle")
    assert first.startswith(b"HTTP/1.1 417")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/", 405),
        ("DELETE", "/", 405),
        ("HEAD", "/", 405),
        ("PUT", "/healthcheck", 405),
        ("HEAD", "/healthcheck", 200),
        ("GET", "/nowhere", 404),
        ("POST", "/nowhere", 404),
    ],
)
def test_each_path_has_its_methods(one_server, method, path, status):
    """And nothing else is there."""
    assert one_server.raw(method, "", path)[0] == status


def test_a_truncated_request_leaves_the_server_answering(one_server):
    """A client that dies in the middle of its body."""
    with socket.create_connection(("127.0.0.1", one_server.status["port"])) as connection:
        connection.sendall(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
    assert one_server.raw("GET", "", "/healthcheck") == (200, "OK")


def test_a_body_of_256_megabytes_is_taken_and_a_larger_one_refused(server):
    """Clear of the limit it is parsed, beyond it the answer is 413."""
    padding = 256 * 1024 * 1024
    status, text = server.raw(
        "GET", b'{"type":"batch","transformations":[]' + b" " * padding + b"}"
    )
    assert (status, text) == (200, '{"results":{}}')
    with socket.create_connection(("127.0.0.1", server.status["port"])) as connection:
        connection.settimeout(20)
        connection.sendall(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n{")
        assert connection.recv(1000).startswith(b"HTTP/1.1 413")
