"""A new client and a server of an earlier version, which may still run after an upgrade."""

from __future__ import annotations

import http.server
import json
import threading

import pytest
from serving import hex_of

from seamless_dask_cache.database import DatabaseClient, Lookup, StoreItem
from seamless_dask_cache.errors import DatabaseError, DatabaseUnavailableError

TF, RESULT = hex_of("recipe"), hex_of("content")
FILES = {"/data/a.csv": "10-1"}


class _ServerOfVersion01(http.server.BaseHTTPRequestHandler):
    """Knows batches, of results only."""

    def do_GET(self):
        self._answer_batch(b'{"results":{}}')

    def do_PUT(self):
        self._answer_batch(b'{"stored":1,"existing":0,"diverged":[],"forgotten":0}')

    def _answer_batch(self, answer):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.command == "PUT":  # before the client hears of it
            self.server.bodies.append(body)
        if json.loads(body)["type"] == "batch":
            self._answer(200, answer)
        else:
            self._answer(400, b"ERROR: Malformed request: unknown type")

    def _answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def old_server():
    """A server of version 0.1, with the bodies of its PUT requests."""
    with http.server.HTTPServer(("127.0.0.1", 0), _ServerOfVersion01) as old:
        old.bodies = []
        thread = threading.Thread(target=old.serve_forever)
        thread.start()
        yield old
        old.shutdown()
        thread.join()


def test_no_result_that_depends_on_files_goes_to_a_server_that_would_drop_them(old_server):
    """An embedded server of version 0.1 may still run after an upgrade."""
    with DatabaseClient(f"http://127.0.0.1:{old_server.server_port}") as client:
        with pytest.raises(DatabaseError, match="too old"):
            client.store([StoreItem(TF, RESULT, files=FILES)])
        assert old_server.bodies == []
        client.store([StoreItem(TF, RESULT)])
        assert len(old_server.bodies) == 1


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.cutoffs([TF]),
        lambda client: client.acquire("x", [TF], 10),
        lambda client: client.renew("x", 10),
        lambda client: client.release_all("x"),
        lambda client: client.leases([TF]),
        lambda client: client.divergences(),
    ],
)
def test_what_an_old_server_does_not_know_is_a_refusal(old_server, ask):
    """Not unavailability: the same server is right for everything else."""
    with DatabaseClient(f"http://127.0.0.1:{old_server.server_port}") as client:
        with pytest.raises(DatabaseError, match="unknown type") as caught:
            ask(client)
        assert not isinstance(caught.value, DatabaseUnavailableError)


def test_an_old_server_ignores_cutoffs_and_costs(old_server):
    """The results of the same request are stored, and lookups know no costs."""
    with DatabaseClient(f"http://127.0.0.1:{old_server.server_port}") as client:
        item, cutoff = StoreItem(TF, RESULT), (TF, TF, RESULT, 1, 1.0)
        assert client.store([item], cutoffs=[cutoff], costs={TF: (1, 1, 1, 1, 1)}).stored == 1
        assert client.look_up([TF], [TF], [TF]) == Lookup()
