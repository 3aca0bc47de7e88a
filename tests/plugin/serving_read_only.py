"""A database server that takes no writes."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path


@contextlib.contextmanager
def read_only_server(database):
    """Serve a database file without --writable; yields the URL."""
    with tempfile.TemporaryDirectory() as folder:
        status = Path(folder) / "status.json"
        status.write_text("{}")
        command = [sys.executable, "-m", "seamless_dask_cache.server", str(database)]
        command += ["--host", "127.0.0.1", "--port-range", "49152", "65535"]
        process = subprocess.Popen([*command, "--status-file", str(status)])
        try:
            while json.loads(status.read_text() or "{}").get("status") != "running":
                assert process.poll() is None
                time.sleep(0.01)
            yield f"http://127.0.0.1:{json.loads(status.read_text())['port']}"
        finally:
            process.terminate()
            process.wait(10)
