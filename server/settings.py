"""What the command line asked for, checked before anything is opened."""

from __future__ import annotations

import ipaddress
import random
import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from .access import Access
from .failures import StartupError

RANDOM_PORTS = (49152, 65535)
"""The dynamic ports; one of them is taken when none is asked for, as the published server does."""

MAX_BODY = 1024**3
"""Largest body of a request in bytes; a million lookups take 70 million."""

MAX_UPLOAD = 1024**4
"""Largest buffer in bytes."""

PATIENCE = 60.0
"""Seconds for which a client may be silent or very slow in the midst of a request."""


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
    timeout : float, optional
        Seconds of inactivity after which the server stops.
    access : Access
        Who may do what.
    tls : tuple of Path, optional
        Files of a certificate (with its chain) and of its key, in PEM.
    buffers : Path, optional
        Folder of large buffers.
    max_body, max_upload : int
        Largest body of a request, and largest buffer, in bytes.
    patience : float
        Seconds for which a client may be silent or very slow in the midst of a request.
    log_requests : bool
        Whether each request gets a line of the log.

    Raises
    ------
    StartupError
        A value makes no sense.
    """

    file: Path
    host: str = "0.0.0.0"
    ports: tuple[int, int] = RANDOM_PORTS
    writable: bool = False
    timeout: float | None = None
    access: Access = field(default_factory=Access)
    tls: tuple[Path, Path] | None = None
    buffers: Path | None = None
    max_body: int = MAX_BODY
    max_upload: int = MAX_UPLOAD
    patience: float = PATIENCE
    log_requests: bool = False

    def __post_init__(self) -> None:
        first, last = self.ports
        if not 0 <= first <= last <= 65535:
            raise StartupError("ports must be between 0 and 65535, START not above END")
        if self.timeout is not None and not self.timeout > 0:
            raise StartupError("--timeout must be a positive number")
        if not self.patience > 0:
            raise StartupError("--patience must be a positive number")
        if min(self.max_body, self.max_upload) < 1:
            raise StartupError("--max-body and --max-buffer must be positive numbers")
        if self.writable and self.access.read_token is not None and self.access.write_token is None:
            raise StartupError(
                "a writable server with --read-token-file needs --token-file, else anybody may"
                " write"
            )
        if not self.writable and not self.file.exists():
            raise StartupError(
                f"database file {str(self.file)!r} must exist when --writable is not set"
            )

    @property
    def is_open_to_strangers(self) -> bool:
        """Whether anybody on the network may write."""
        return self.writable and self.access.write_token is None and not is_loopback(self.host)

    def tls_context(self) -> ssl.SSLContext | None:
        """Load certificate and key; None without TLS.

        Raises
        ------
        StartupError
            They cannot be read, or do not belong together.
        """
        if self.tls is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        certificate, key = self.tls
        try:
            context.load_cert_chain(certificate, key, password=_no_password)
        except (OSError, ValueError) as error:
            raise StartupError(f"cannot use {certificate} with {key} for TLS: {error}") from error
        return context


def _no_password() -> str:
    raise ValueError("the key is encrypted, and nobody is there to type its password")


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
