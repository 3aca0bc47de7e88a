"""What the server tells of itself: metrics and log."""

from __future__ import annotations

import json
import subprocess
import sys
import time

from prometheus_client.parser import text_string_to_metric_families
from seamless_dask_cache.server.metrics import Histogram
from serving import hex_of, wait_for

PREFIX = "seamless_database_"


def _read(server):
    """All samples: (name, labels) -> value."""
    status, text = server.raw("GET", "", "/metrics")
    assert status == 200, text
    return {
        (sample.name.removeprefix(PREFIX), tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _requests(found, method, type_, status):
    labels = (("method", method), ("status", str(status)), ("type", type_))
    return found.get(("requests_total", labels), 0)


def test_requests_hits_misses_rows_and_bytes_are_counted(server):
    """In the text format of Prometheus, as its own parser reads it."""
    server.put("transformation", checksum=hex_of("a"), value=hex_of("b"))
    for name in ("a", "a", "unknown"):
        server.get_text("transformation", checksum=hex_of(name))
    server.get("batch", transformations=[hex_of("a"), hex_of("x"), hex_of("y")])
    server.put("buffer", checksum=hex_of("content"), value="Y29udGVudA==")
    server.raw("GET", "", f"/{hex_of('nowhere')}")
    server.raw("GET", "junk")
    found = _read(server)
    assert _requests(found, "PUT", "transformation", 200) == 1
    assert _requests(found, "GET", "transformation", 200) == 2
    assert _requests(found, "GET", "transformation", 404) == 1
    assert _requests(found, "GET", "buffer", 404) == 1
    assert _requests(found, "GET", "other", 400) == 1
    assert found["lookups_total", (("outcome", "hit"),)] == 3
    assert found["lookups_total", (("outcome", "miss"),)] == 3
    assert found["commit_writes_count", ()] == 2 == found["commit_writes_sum", ()]
    assert found["request_seconds_count", (("type", "transformation"),)] == 4
    assert found["rows", (("table", "transformation"),)] == 1
    assert found["rows", (("table", "buffer"),)] == 1
    assert found["small_buffer_bytes", ()] == 7
    assert found["file_bytes", ()] > 0 and found["free_bytes", ()] > 0
    assert found["requests_in_progress", ()] == 1
    assert found["connections", ()] == 1


def test_writes_that_share_a_commit_are_seen(server):
    """As the sizes of commits, and their sum is all writes."""
    connections = [server.connect() for _ in range(8)]
    for round_ in range(20):
        for number, connection in enumerate(connections):
            name = hex_of(f"{round_}-{number}")
            body = {"type": "transformation", "checksum": name, "value": name}
            connection.request("PUT", "/", json.dumps(body))
        for connection in connections:
            assert connection.getresponse().read() == b"OK"
    found = _read(server)
    assert found["commit_writes_sum", ()] == 160
    assert found["commit_writes_count", ()] <= 160
    for connection in connections:
        connection.close()


def test_names_that_clients_make_up_make_no_metrics(server):
    """A million of them would fill the memory."""
    for number in range(5):
        server.raw(f"METHOD{number}", "")
        server.raw("GET", "", f"/{number}")
        server.raw("GET", json.dumps({"type": f"type{number}"}))
    types = {
        dict(labels)["type"] for name, labels in _read(server) if name.startswith("requests_total")
    }
    assert types <= {"other", "metrics", "healthcheck"}


def test_a_histogram_counts_values_up_to_each_end():
    """As Prometheus understands ``le``."""
    histogram = Histogram((1, 2))
    for value in (0.5, 1, 1.5, 2, 99):
        histogram.add(value)
    assert histogram.buckets() == [("1", 2), ("2", 4), ("+Inf", 5)]
    assert histogram.total == 104


def test_a_server_without_the_package_says_what_is_missing(tmp_path):
    """501, and everything else is answered."""
    script = f"""
import asyncio, sys
sys.modules["prometheus_client"] = None
from pathlib import Path
from aiohttp import ClientSession, web
from seamless_dask_cache.server.app import build_server
from seamless_dask_cache.server.database import Database
from seamless_dask_cache.server.registry import Context

async def main():
    database = Database(Path({str(tmp_path / "x.db")!r}), writable=True)
    server = build_server(Context(database, None), writable=True, max_body=10**6)
    runner = web.ServerRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = "http://127.0.0.1:%d" % runner.addresses[0][1]
    async with ClientSession() as session:
        for path in ("/metrics", "/healthcheck"):
            async with session.get(url + path) as response:
                print(response.status, await response.text())
    await runner.cleanup()
    await database.close()

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    metrics, health = done.stdout.splitlines()
    assert metrics.startswith("501 ERROR: ") and "seamless-dask-cache[server]" in metrics
    assert health == "200 OK"


def _lines(server):
    return [json.loads(line) for line in server.log.read_text().splitlines()]


def test_each_request_can_have_a_line_of_the_log(start_server, tmp_path):
    """With what was asked, what came of it, and how long it took; and nothing of its content."""
    server = start_server(tmp_path / "x.db", "--log-format", "json", "--log-requests")
    server.put("transformation", checksum=hex_of("a"), value=hex_of("b"))
    server.get_text("transformation", checksum=hex_of("c"))
    wait_for(lambda: len(_lines(server)) >= 3)
    lines = [line for line in _lines(server) if "kind" in line]
    assert [(line["method"], line["kind"], line["status"]) for line in lines] == [
        ("PUT", "transformation", 200),
        ("GET", "transformation", 404),
    ]
    assert all(0 <= line["seconds"] < 60 and line["client"] == "127.0.0.1" for line in lines)
    assert hex_of("a") not in server.log.read_text()
    server.stop()
    assert _lines(server)[-1]["message"] == "stopped"


def test_the_log_is_for_people_by_default(start_server, tmp_path):
    """One line for the start and one for the end, none for requests."""
    server = start_server(tmp_path / "x.db")
    server.get_text("transformation", checksum=hex_of("c"))
    server.stop()
    lines = server.log.read_text().splitlines()
    assert len(lines) == 2
    assert "INFO serving" in lines[0] and lines[1].endswith("INFO stopped")


def test_json_without_its_package_is_a_clear_error(tmp_path):
    """At the start."""
    script = (
        "import sys; sys.modules['pythonjsonlogger'] = None\n"
        "from seamless_dask_cache.server.__main__ import main\n"
        f"main([{str(tmp_path / 'x.db')!r}, '--writable', '--log-format', 'json'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert "extra 'server'" in done.stderr and "Traceback" not in done.stderr


def test_rows_are_counted_at_most_now_and_then(server):
    """A scrape every second must not read all indices every second."""
    before = _read(server)["rows", (("table", "transformation"),)]
    server.put("transformation", checksum=hex_of("a"), value=hex_of("b"))
    started = time.monotonic()
    again = _read(server)["rows", (("table", "transformation"),)]
    assert again == before or time.monotonic() - started > 25
