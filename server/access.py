"""Who may do what: tokens for reading and for writing."""

from __future__ import annotations

import base64
import contextlib
import hmac
from dataclasses import dataclass

from .failures import ForbiddenError, UnauthorizedError


@dataclass(frozen=True, slots=True)
class Access:
    """Who may do what.

    Parameters
    ----------
    write_token : str, optional
        Who presents it may read and write. Without it, everybody may write.
    read_token : str, optional
        Who presents it may read.
    anonymous_reads : bool
        Whether everybody may read, also where there is a token.
    """

    write_token: str | None = None
    read_token: str | None = None
    anonymous_reads: bool = False

    @property
    def is_open(self) -> bool:
        """Whether nobody needs a token for anything."""
        return self.write_token is None and self.read_token is None

    def check(self, authorization: str | None, *, writes: bool) -> None:
        """Let a request pass, or not.

        Parameters
        ----------
        authorization : str or None
            The header of this name: ``Bearer TOKEN``, or ``Basic`` with the token as password.
        writes : bool

        Raises
        ------
        UnauthorizedError
            There is no token in it, or an unknown one.
        ForbiddenError
            Its token is one for reading only.
        """
        given = _given_token(authorization or "")
        may_write = _is_token(given, self.write_token)
        may_read = may_write or _is_token(given, self.read_token)
        if may_write or (not writes and (may_read or self.anonymous_reads)):
            return
        if may_read:
            raise ForbiddenError("This token is one for reading only")
        raise UnauthorizedError("A valid token is required (Authorization: Bearer)")


def _given_token(authorization: str) -> bytes:
    """Give the token of a header; nothing where there is none.

    Browsers ask people for a name and a password, and send both: the password counts.
    """
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return given.encode("utf-8", "surrogateescape")
    if scheme.lower() == "basic":
        with contextlib.suppress(ValueError):
            return base64.b64decode(given, validate=True).partition(b":")[2]
    return b""


def _is_token(given: bytes, token: str | None) -> bool:
    return token is not None and hmac.compare_digest(given, token.encode())
