"""Names of chromosomes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_MOST_LISTED = 30


def chromosome(name: Any, known: Iterable[str]) -> str:
    """Return the name of a chromosome that is among the known ones.

    An empty answer for "1" where the chromosome is called "chr1" would mislead: it is an error.

    Parameters
    ----------
    name : str
    known : iterable of str

    Returns
    -------
    str

    Raises
    ------
    KeyError
        When it is not; the message names the known ones.
    TypeError
        For what is no str.

    Examples
    --------
    >>> chromosome("1", ["chr1", "chr2"])
    Traceback (most recent call last):
        ...
    KeyError: "no chromosome '1'; there are chr1, chr2"
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a chromosome is a str, not {name!r:.80}")
    names = tuple(known)
    if name in names:
        return str(name)
    listed = ", ".join(names[:_MOST_LISTED]) + (", ..." if len(names) > _MOST_LISTED else "")
    raise KeyError(f"no chromosome {name!r:.80}; there are {listed or 'none'}")


def checked_chrom(name: Any) -> str:
    """Return the name of a chromosome.

    Parameters
    ----------
    name : str

    Returns
    -------
    str

    Raises
    ------
    TypeError, ValueError
        For what is no str, and for an empty one.

    Examples
    --------
    >>> checked_chrom(1)
    Traceback (most recent call last):
        ...
    TypeError: the name of a chromosome is a str, not 1
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a chromosome is a str, not {name!r:.80}")
    if not name:
        raise ValueError("the name of a chromosome must not be empty")
    return str(name)
