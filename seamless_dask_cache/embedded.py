"""The embedded database: find the server of a cache folder, or start it.

Under the folder stand ``cache.db``, ``buffers/``, ``server.json`` (status file), ``token``,
``server.lock`` (held while somebody looks or starts) and ``server.log``. One server serves all
processes; it stops by itself when nobody asks it anything for a while, and whoever needs it next
starts it again, also when it was killed.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import secrets
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from .errors import DatabaseUnavailableError

IDLE_SECONDS = 900.0
"""An embedded server stops after so long without a request."""

PORTS = ("49152", "65535")

_HELD = 75  # the exit code by which the server says that another one holds the file
_STOPPING_SECONDS = 5.0  # what a server may take from its last answer to its end
_LARGEST_LOG = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an embedded database answers.

    Parameters
    ----------
    url : str
    token : str
        What requests must present.
    buffers : Path
        Folder of large buffers, ``hh/<hex>``.
    writable : bool
        False when the cache folder cannot be written: lookups only.
    """

    url: str
    token: str
    buffers: Path
    writable: bool = True

    def __repr__(self) -> str:  # tokens do not belong into logs
        return f"Endpoint(url={self.url!r}, buffers={self.buffers!r}, writable={self.writable})"


@dataclass(frozen=True, slots=True)
class _Places:
    """Where things are: data under the cache folder, state beside it where it can be written."""

    cache: Path
    state: Path
    writable: bool

    @property
    def database(self) -> Path:
        return self.cache / "cache.db"

    @property
    def buffers(self) -> Path:
        return self.cache / "buffers"

    @property
    def status(self) -> Path:
        return self.state / "server.json"

    @property
    def log(self) -> Path:
        return self.state / "server.log"

    @property
    def token(self) -> Path:
        return self.state / "token"


def default_cache_dir() -> Path:
    """Give the cache folder of this user."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("seamless-dask-cache"))


def ensure_server(cache_dir: Path, *, timeout: float = 30.0) -> Endpoint:
    """Find the running server of a cache folder, or start one.

    Parameters
    ----------
    cache_dir : Path
        Made when it does not exist. When it cannot be written but holds a ``cache.db``, the server
        answers lookups only.
    timeout : float
        Seconds that all of it may take.

    Returns
    -------
    Endpoint
        Of a server that answers. It stops after `IDLE_SECONDS` without a request: call again then.

    Raises
    ------
    DatabaseUnavailableError
        The server did not start; the text has the end of its log.

    Notes
    -----
    Can be called from any thread and from many processes at once: they get the same server.
    """
    places = _find_places(Path(cache_dir).expanduser().resolve())
    deadline = time.monotonic() + timeout
    try:
        with FileLock(places.state / "server.lock", timeout=timeout):
            return _find_or_start(places, deadline)
    except Timeout:
        raise DatabaseUnavailableError(
            f"another process has been starting the server of {cache_dir} for {timeout:g} s"
        ) from None


def _find_places(cache: Path) -> _Places:
    with contextlib.suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    if os.access(cache, os.W_OK):
        return _Places(cache, cache, True)
    if (cache / "cache.db").exists():
        return _Places(cache, _private_folder(cache), False)
    raise DatabaseUnavailableError(f"the cache folder {cache} cannot be written")


def _private_folder(cache: Path) -> Path:
    """Give a temporary folder of this user, the same for the same cache folder."""
    name = hashlib.sha256(str(cache).encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"seamless-dask-cache-{os.getuid()}-{name}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    if is_ours and not found.st_mode & 0o077:
        return folder
    return Path(tempfile.mkdtemp(prefix="seamless-dask-cache-"))  # somebody laid a trap


def _find_or_start(places: _Places, deadline: float) -> Endpoint:
    while True:
        running = _find_running(places)
        if running is not None:
            return running
        if _is_held(places, deadline):
            # Its token and status must stay as they are, for the time when it answers again.
            raise _failure(places, f"({_who(places)}) holds the file and does not answer")
        process = _start(places)
        for _ in _until(deadline):
            if process.poll() is not None or _status(places).get("status") == "running":
                break
        else:
            process.terminate()
            raise _failure(places, "did not start in time")
        # A server that is just stopping still holds the file for a moment: then try again.
        if process.returncode not in (None, _HELD) or time.monotonic() > deadline:
            raise _failure(places, "could not be started")


def _who(places: _Places) -> str:
    try:
        owner = json.loads(Path(f"{places.database}.owner").read_text("utf-8"))
        return f"process {owner['pid']} on {owner['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "an unknown process"


def _is_held(places: _Places, deadline: float) -> bool:
    """Tell whether a server holds the database file, and goes on doing so."""
    if not places.writable:
        return False
    patience = min(deadline - time.monotonic(), _STOPPING_SECONDS)
    lock = FileLock(f"{places.database}.lock", timeout=max(0.0, patience))
    try:
        lock.acquire()
    except Timeout:
        return True
    lock.release()
    return False


def _until(deadline: float) -> Iterator[None]:
    while time.monotonic() < deadline:
        yield
        time.sleep(0.02)


def _make_token(path: Path) -> None:
    """Make a token, which appears whole, and readable by nobody else.

    Every server gets a new one: who took over the port of a dead server, and so was shown its
    token, has gained nothing.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix="token-")  # mode 0600
    with os.fdopen(handle, "w") as stream:
        stream.write(secrets.token_urlsafe(32))
    Path(temporary).replace(path)


def _status(places: _Places) -> dict[str, object]:
    try:
        content = json.loads(places.status.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _find_running(places: _Places) -> Endpoint | None:
    """Find the server that the status file names, if it is ours and answers."""
    status = _status(places)
    port = status.get("port")
    if status.get("status") != "running" or not isinstance(port, int):
        return None
    try:
        token = places.token.read_text("ascii")
        # Only our server has our token: the port may belong to somebody else by now.
        if not _knows_token(port, token):
            return None
    except (OSError, http.client.HTTPException):
        return None
    return Endpoint(f"http://127.0.0.1:{port}", token, places.buffers, places.writable)


def _knows_token(port: int, token: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5.0)
    body = json.dumps({"type": "protocol"})
    try:
        for given, expected in ((secrets.token_urlsafe(32), 401), (token, 200)):
            connection.request("GET", "/", body, {"Authorization": f"Bearer {given}"})
            response = connection.getresponse()
            response.read()
            if response.status != expected:
                return False
        return True
    finally:
        connection.close()


def _start(places: _Places) -> subprocess.Popen[bytes]:
    _make_token(places.token)
    places.status.write_text(json.dumps({"status": "starting"}), "utf-8")
    if places.log.exists() and places.log.stat().st_size > _LARGEST_LOG:
        places.log.unlink()
    with places.log.open("ab") as log:
        process = subprocess.Popen(
            _command(places),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=places.state,
            env=_environment(),
            start_new_session=True,  # outlives this process, and its Ctrl-C
        )
    # Whenever it ends, somebody must take note, or it stays as a zombie.
    threading.Thread(target=process.wait, name="sdc-server-reaper", daemon=True).start()
    return process


def _command(places: _Places) -> list[str]:
    command = [sys.executable, "-m", "seamless_dask_cache.server", str(places.database)]
    command += ["--host", "127.0.0.1", "--port-range", *PORTS, "--timeout", str(IDLE_SECONDS)]
    command += ["--status-file", str(places.status), "--token-file", str(places.token)]
    command += ["--buffers", str(places.buffers)]
    return [*command, "--writable"] if places.writable else command


def _environment() -> dict[str, str]:
    """Give our environment, with a module path that holds in another working folder.

    That folder is ours: ``python -m`` looks there first, and the user's may hold a ``random.py``.
    """
    environment = dict(os.environ)
    if environment.get("PYTHONPATH"):
        parts = environment["PYTHONPATH"].split(os.pathsep)
        environment["PYTHONPATH"] = os.pathsep.join(str(Path(part).absolute()) for part in parts)
    return environment


def _failure(places: _Places, what: str) -> DatabaseUnavailableError:
    try:
        tail = places.log.read_text("utf-8", "replace")[-2000:]
    except OSError:
        tail = "(no log)"
    return DatabaseUnavailableError(
        f"the database server of {places.cache} {what}; the end of {places.log}:\n{tail}"
    )
