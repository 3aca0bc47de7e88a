"""JSON at the speed of orjson, without losing what orjson cannot hold.

That is: integers of more than 64 bits, of which it makes floats when it reads them; NaN and
infinities, which it refuses, and writes as null; and halves of surrogate pairs (names of files that
are not UTF-8), which it refuses. All of them occur in the records of other programs, which use
Python's ``json``. So such documents are read and written by that here, too, up to 16 MiB; and those
are written by it that are nested more than 254 deep.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

_digits = re.compile(rb"[0-9]{19}")
_number = re.compile(rb"[-:,\[ \t\r\n][0-9]{19}")
"""A long number where JSON may have one; in a text of checksums faster than looking for digits."""
_BEFORE_NUMBERS = b":[, \t\r\n"
_SLICE = 1 << 20
"""Bytes that are looked through at a time: others want Python's lock, too."""

_STRANGE = (b"\\u", b"NaN", b"Infinity")
"""What stands in documents that orjson refuses and ``json`` may read."""

_MOST_STRANGE = 16 << 20
"""Bytes of the largest document that is tried with ``json``, which is slow."""


def read_json(text: bytes) -> Any:
    """Read JSON.

    Raises
    ------
    ValueError
        It is not JSON, or nested too deeply.
    """
    is_short = len(text) <= _SLICE and _number.search(text) is None and not text[:1].isdigit()
    if not is_short and len(text) <= _MOST_STRANGE and _has_long_number(text):
        return _read_slowly(text)
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        if len(text) > _MOST_STRANGE or not any(mark in text for mark in _STRANGE):
            raise
        return _read_slowly(text)


def _has_long_number(text: bytes) -> bool:
    """Tell whether there may be an integer of more than 64 bits."""
    for start in range(0, len(text), _SLICE):
        # Checksums have long rows of digits, too, but these follow a quote or a letter.
        for found in _digits.finditer(text, max(0, start - 20), start + _SLICE):
            before = text[max(0, found.start() - 2) : found.start()].removesuffix(b"-")[-1:]
            if before in _BEFORE_NUMBERS:
                return True
    return False


def _read_slowly(text: bytes) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def write_json(value: object, *, exact: bool = False) -> bytes:
    """Write JSON, without white space.

    Parameters
    ----------
    value : object
    exact : bool
        Whether to write NaN and infinities, as Python's ``json`` does, and not null.

    Raises
    ------
    ValueError
        The value is nested too deeply, or JSON does not have it.
    """
    try:
        text = orjson.dumps(value)
        if not exact or b"null" not in text:
            return text
    except TypeError:  # an orjson.JSONEncodeError
        pass
    try:
        return json.dumps(value, separators=(",", ":")).encode()
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except TypeError as error:
        raise ValueError(str(error)) from None
