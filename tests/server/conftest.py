"""Fixtures that start real servers, and leave none behind."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from keeping import keeping
from serving import Server, is_alive, wait_for


@pytest.fixture
def start_server() -> Iterator[Callable[..., Server]]:
    """Start servers that are stopped at the end of the test."""
    servers: list[Server] = []

    def start(*arguments: Any, wait: bool = True, **options: Any) -> Server:
        server = Server(*arguments, **options)
        servers.append(server)
        return server.wait_until_running() if wait else server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def server(start_server: Callable[..., Server], tmp_path: Path) -> Server:
    """A fresh writable server."""
    return start_server(tmp_path / "fresh.db")


@pytest.fixture
def kill_embedded() -> Iterator[Callable[[Path], int]]:
    """Kill the embedded server of a cache folder; all that were named are killed at the end."""
    folders: set[Path] = set()

    def pid_of(folder: Path) -> int | None:
        try:
            return int(json.loads((folder / "cache.db.owner").read_text())["pid"])
        except (OSError, ValueError):
            return None

    def kill(folder: Path) -> int:
        folders.add(folder)
        pid = pid_of(folder)
        if pid is not None and is_alive(pid):
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda: not is_alive(pid))
        return pid or 0

    yield kill
    for folder in folders:
        kill(folder)


@pytest.fixture
def keeper(tmp_path):
    """A fresh writable server."""
    with keeping(tmp_path) as server:
        yield server


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A writable server that many tests ask."""
    with keeping(tmp_path_factory.mktemp("shared")) as server:
        yield server
