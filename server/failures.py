"""What can go wrong in the server, and which HTTP status says so.

::

    RequestError            a request that is answered with an error; has a ``status``
    +-- MalformedError      400  the request makes no sense; the text says which part
    +-- UnauthorizedError   401  the token is missing or wrong
    +-- ForbiddenError      403  the token is one for reading only
    +-- UnknownKeyError     404  nothing is recorded under this key
    +-- ReadOnlyError       405  this server takes no writes
    +-- SlowError           408  the body did not arrive in time
    +-- ConflictError       409  the write contradicts what is recorded
    +-- TooLargeError       413  the request is larger than the server accepts
    +-- UnsupportedError    415  the body is encoded in a way that is not understood here
    +-- NotInstalledError   501  this needs a package that is not installed
    +-- BusyError           503  the server has no room for this at the moment
    +-- StorageError        507  the folder of buffers cannot take this; or 403, or 503
    StartupError            the server cannot start; has an ``exit_code``
    +-- FileHeldError       another writable server holds the file
    MaintenanceError        a database file cannot be copied or checked
"""

from __future__ import annotations

import errno
import sqlite3

_STATUS_OF = {
    errno.ENOSPC: 507,
    errno.EDQUOT: 507,
    errno.EFBIG: 507,
    errno.EACCES: 403,
    errno.EPERM: 403,
    errno.EROFS: 403,
}


class RequestError(Exception):
    """A request that is answered with an error."""

    status = 400


class MalformedError(RequestError):
    """The request makes no sense; the text names the part that is wrong."""


class UnauthorizedError(RequestError):
    """The bearer token is missing or wrong."""

    status = 401


class ForbiddenError(RequestError):
    """The bearer token is one for reading only."""

    status = 403


class UnknownKeyError(RequestError):
    """Nothing is recorded under this key."""

    status = 404

    def __init__(self, text: str = "Unknown key"):
        super().__init__(text)


class ReadOnlyError(RequestError):
    """This server takes no writes."""

    status = 405


class SlowError(RequestError):
    """The body did not arrive in time."""

    status = 408


class ConflictError(RequestError):
    """The write contradicts what is recorded."""

    status = 409


class TooLargeError(RequestError):
    """The request is larger than the server accepts."""

    status = 413


class UnsupportedError(RequestError):
    """The body is encoded in a way that is not understood here."""

    status = 415


class NotInstalledError(RequestError):
    """This needs a package that is not installed.

    Parameters
    ----------
    extra : str
        The extra of this distribution that brings it.
    reason : str
        What Python said.
    """

    status = 501

    def __init__(self, extra: str, reason: str):
        super().__init__(f"This needs 'seamless-dask-cache[{extra}]' ({reason})")


class BusyError(RequestError):
    """The server has no room for this at the moment."""

    status = 503


class StorageError(RequestError):
    """The folder of buffers failed.

    Parameters
    ----------
    error : OSError
        What the system said.
    """

    def __init__(self, error: OSError):
        super().__init__(f"The folder of buffers failed: {error.strerror or error}")
        self.status = _STATUS_OF.get(error.errno or 0, 503)


class StartupError(Exception):
    """The server cannot start, and the text says what to do about it."""

    exit_code = 1


class FileHeldError(StartupError):
    """Another writable server holds the file: worth trying again later (``EX_TEMPFAIL``)."""

    exit_code = 75


class MaintenanceError(Exception):
    """A database file cannot be copied or checked, and the text says why."""


def storage_status(error: sqlite3.Error) -> int:
    """Tell which HTTP status describes a failure of the file.

    Parameters
    ----------
    error : sqlite3.Error
        What SQLite raised. Python 3.10 does not give its error code, so the text decides.

    Returns
    -------
    int
        507 when the disk is full, 403 when the file cannot be written, 503 for anything else, which
        may pass (a lock, an I/O error).
    """
    text = str(error)
    if "full" in text:
        return 507
    return 403 if "readonly" in text else 503
