"""Real servers in real processes, on loopback, with a status file to find them."""

from __future__ import annotations

import hashlib
import http.client
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import prefork

DATA = Path(__file__).parents[1] / "data"


def hex_of(text: str) -> str:
    """Give a checksum that looks like any other."""
    return hashlib.sha256(text.encode()).hexdigest()


def wait_for(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Wait until a condition holds; fail when it does not within the time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"still waiting after {seconds} s")


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


class Server:
    """A server process and how to talk to it, byte by byte."""

    def __init__(
        self,
        file: Path,
        *options: str,
        writable: bool = True,
        token: str | None = None,
        inside: Sequence[str] = (),
        notes: Path | None = None,
    ):
        self.file = file
        self.token = token
        beside = (notes or file.parent) / file.name  # where status file and log are
        self.status_file = beside.with_name(f"{file.name}.{time.monotonic_ns()}.status")
        self.status_file.write_text('{"launcher": "test"}')
        self.log = beside.with_name(f"{file.name}.{time.monotonic_ns()}.log")
        command = [*inside, sys.executable, "-m", "seamless_dask_cache.server", str(file)]
        command += ["--host", "127.0.0.1", "--port", "0", "--status-file", str(self.status_file)]
        command += ["--writable"] * writable
        start = subprocess.Popen if inside else prefork.Forked
        with self.log.open("wb") as log:
            self.process = start([*command, *options], stdout=log, stderr=log)

    @property
    def status(self) -> dict[str, Any]:
        return json.loads(self.status_file.read_text())

    def wait_until_running(self) -> Server:
        wait_for(lambda: self.status.get("status") == "running" or self.process.poll() is not None)
        assert self.status.get("status") == "running", self.log.read_text()
        return self

    def wait_until_stopped(self, seconds: float = 20.0) -> int:
        return self.process.wait(seconds)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.status['port']}"

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.status["port"], timeout=30)

    def raw(
        self, method: str, body: bytes | str, path: str = "/", **headers: str
    ) -> tuple[int, str]:
        connection = self.connect()
        if self.token is not None:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def ask(self, method: str, **body: Any) -> tuple[int, Any]:
        status, text = self.raw(method, json.dumps(body))
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text

    def get_text(self, type: str, **body: Any) -> tuple[int, str]:
        return self.raw("GET", json.dumps({"type": type, **body}))

    def get(self, type: str, **body: Any) -> tuple[int, Any]:
        return self.ask("GET", type=type, **body)

    def put(self, type: str, **body: Any) -> tuple[int, Any]:
        return self.ask("PUT", type=type, **body)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
