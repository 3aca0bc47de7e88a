"""Who may do what: tokens for reading and for writing."""

from __future__ import annotations

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
            The header of this name: ``Bearer TOKEN``.
        writes : bool

        Raises
        ------
        UnauthorizedError
            There is no token in it, or an unknown one.
        ForbiddenError
            Its token is one for reading only.
        """
        given = (authorization or "").encode("utf-8", "surrogateescape")
        may_write = _is_token(given, self.write_token)
        may_read = may_write or _is_token(given, self.read_token)
        if may_write or (not writes and (may_read or self.anonymous_reads)):
            return
        if may_read:
            raise ForbiddenError("This token is one for reading only")
        raise UnauthorizedError("A valid token is required (Authorization: Bearer)")


def _is_token(given: bytes, token: str | None) -> bool:
    return token is not None and hmac.compare_digest(given, f"Bearer {token}".encode())
