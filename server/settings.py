"""What the command line asked for, checked before anything is opened."""

from __future__ import annotations

import ipaddress
import random
import socket
from dataclasses import dataclass
from pathlib import Path

from .failures import StartupError

RANDOM_PORTS = (49152, 65535)
"""The dynamic ports; one of them is taken when none is asked for, as the published server does."""

MAX_BODY = 1024 * 1024 * 1024
"""Largest body of a request in bytes; a million lookups take 70 million."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How to run a server.

    Parameters
    ----------
    file : Path
        The SQLite file.
    host : str
    ports : tuple of int
        First and last port to choose from.
    writable : bool
    status_file : Path, optional
        JSON file that reports the port and whether the server runs.
    timeout : float, optional
        Seconds of inactivity after which the server stops.
    token : str, optional
        What every request must present.
    buffers : Path, optional
        Folder of large buffers, to tell which are there.
    max_body : int
        Largest body in bytes.

    Raises
    ------
    StartupError
        A value makes no sense.
    """

    file: Path
    host: str = "0.0.0.0"
    ports: tuple[int, int] = RANDOM_PORTS
    writable: bool = False
    status_file: Path | None = None
    timeout: float | None = None
    token: str | None = None
    buffers: Path | None = None
    max_body: int = MAX_BODY

    def __post_init__(self) -> None:
        first, last = self.ports
        if not 0 <= first <= last <= 65535:
            raise StartupError("ports must be between 0 and 65535, START not above END")
        if self.timeout is not None and not self.timeout > 0:
            raise StartupError("--timeout must be a positive number")
        if not self.writable and not self.file.exists():
            raise StartupError(
                f"database file {str(self.file)!r} must exist when --writable is not set"
            )

    @property
    def is_open_to_strangers(self) -> bool:
        """Whether anybody on the network may write."""
        return self.writable and self.token is None and not is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches a host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_token(path: Path) -> str:
    """Read the token file; surrounding white space does not count.

    Raises
    ------
    StartupError
        It cannot be read, or holds no printable ASCII text.
    """
    try:
        token = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StartupError(f"cannot read the token file {path}: {error}") from error
    if not token or not token.isprintable():
        raise StartupError(f"the token file {path} holds no token")
    return token


def bind(host: str, ports: tuple[int, int]) -> socket.socket:
    """Take a free port, at random when there is a choice.

    Returns
    -------
    socket.socket
        Bound, so that nobody can take the port between choosing it and listening.

    Raises
    ------
    StartupError
        No port is free, or the host is not ours.
    """
    first, last = ports
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    problem: OSError | None = None
    for port in random.sample(range(first, last + 1), last - first + 1):
        try:
            return socket.create_server((host, port), family=family)
        except OSError as error:
            problem = error
    where = f"port {first}" if first == last else f"no port from {first} to {last}"
    raise StartupError(f"cannot listen on {host}, {where}: {problem}") from problem
