"""The files in ``docs/deploy``: what they say is what the programs take."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from serving import hex_of, wait_for

DEPLOY = Path(__file__).parents[2] / "docs" / "deploy"


def _unit(name):
    text = (DEPLOY / name).read_text().replace("\\\n", " ")
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read_string(text)
    return parser


def _here(words, folder):
    """The same command with this machine's Python, in a folder of the test, on a free port."""
    places = {
        "/var/lib/seamless-database": folder,
        "/data": folder,
        "/etc/seamless-database/token": folder / "token",
        "/run/secrets/token": folder / "token",
        "0.0.0.0": "127.0.0.1",
        "5522": "0",
    }
    found = []
    for word in words:
        for place, other in places.items():
            if word == place or word.startswith(f"{place}/"):
                word = f"{other}{word[len(place) :]}"
                break
        found.append(word)
    program = Path(found[0]).name
    modules = {
        "seamless-database": "seamless_dask_cache.server",
        "seamless-dask-cache": "seamless_dask_cache.cli",
    }
    return [sys.executable, "-m", modules[program], *found[1:]]


def _container_command():
    text = (DEPLOY / "Containerfile").read_text().replace("\\\n", " ")
    words = []
    for instruction in ("ENTRYPOINT", "CMD"):
        (found,) = re.findall(rf"^{instruction} (\[.*\])$", text, re.M)
        words += json.loads(found)
    return words


def _service_command():
    return shlex.split(_unit("seamless-database.service")["Service"]["ExecStart"])


@pytest.mark.parametrize("command", [_service_command, _container_command])
def test_the_server_of_each_file_starts_answers_and_stops(command, tmp_path):
    """With a token, a folder of buffers, and a log in JSON."""
    (tmp_path / "token").write_text("s3cret")
    status = tmp_path / "status"
    status.write_text("{}")
    words = [*_here(command(), tmp_path), "--status-file", str(status)]
    with (tmp_path / "log").open("w") as log, subprocess.Popen(words, stderr=log) as server:
        try:
            found = wait_for(lambda: json.loads(status.read_text()).get("port"))
            url = f"http://127.0.0.1:{found}/"
            request = urllib.request.Request(
                url + hex_of("x" * 100_000),
                b"x" * 100_000,
                {"Authorization": "Bearer s3cret"},
                method="PUT",
            )
            assert urllib.request.urlopen(request).status == 200
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(10) == 0
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert lines[0]["message"].startswith("serving") and lines[-1]["message"] == "stopped"
    assert {"timestamp", "level", "logger", "file", "mode", "host", "port"} <= lines[0].keys()
    assert (tmp_path / "buffers").is_dir()
    assert json.loads(status.read_text())["status"] == "stopped"


def test_the_backup_of_the_unit_is_made(server, tmp_path):
    """Of a live database."""
    shutil.copy(server.file, tmp_path / "other.db")
    words = shlex.split(_unit("seamless-database-backup.service")["Service"]["ExecStart"])
    server.put("transformation", checksum=hex_of("a"), value=hex_of("b"))
    (tmp_path / "cache.db").symlink_to(server.file)
    done = subprocess.run(_here(words, tmp_path), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "backup.db").stat().st_size > 0
