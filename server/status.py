"""The status file, by which whoever started a server learns its port and whether it runs."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

from .failures import StartupError

GRACE = 2.0
"""Seconds that a launcher has to write the file after it started the server."""


class StatusFile:
    """A JSON file whose ``port`` and ``status`` the server rewrites; other keys stay.

    Parameters
    ----------
    path : Path
        Usually written by the launcher, who may still be about to do so. The published server gives
        up when it does not appear; here it is made after `GRACE` seconds.

    Raises
    ------
    StartupError
        The file does not hold a JSON object.
    """

    def __init__(self, path: Path):
        self._path = path
        self._port: int | None = None
        deadline = time.monotonic() + GRACE
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        self._read()

    def running(self, port: int) -> None:
        """Say that the server answers on a port."""
        self._write(port=port, status="running")
        self._port = port

    def failed(self) -> None:
        """Say that the server could not start, or that it broke down."""
        self._write(status="failed")

    def stopped(self) -> None:
        """Say that the server stopped; nothing where another one has taken the file over."""
        mine = {"port": self._port, "status": "running"}
        with contextlib.suppress(StartupError, OSError):
            found = self._read()
            if {name: found.get(name) for name in mine} == mine:
                self._write(status="stopped")

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self._path.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise StartupError(f"status file {self._path} is not valid JSON: {error}") from error
        if not isinstance(content, dict):
            raise StartupError(f"status file {self._path} must contain a JSON object")
        return content

    def _write(self, **news: object) -> None:
        temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}.tmp")
        temporary.write_text(json.dumps({**self._read(), **news}) + "\n", "utf-8")
        temporary.replace(self._path)
