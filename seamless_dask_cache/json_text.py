"""JSON at the speed of orjson, without losing what orjson cannot hold.

That is: integers of more than 64 bits, of which it makes floats when it reads them; NaN and
infinities, which it writes as null; and halves of surrogate pairs (names of files that are not
UTF-8), which it refuses. All of them occur in the records of other programs, which use Python's
``json``. So such documents are read and written by that here, too, and those written that are
nested more than 254 deep.
"""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

_has_long_number = re.compile(rb"[:\[,]\s*-?[0-9]{19}").search
_has_surrogate = re.compile(rb"\\u[dD][89a-fA-F]").search
_has_nan = re.compile(rb"[:\[,]\s*(?:NaN|-?Infinity)").search


def read_json(text: bytes) -> Any:
    """Read JSON.

    Raises
    ------
    ValueError
        It is not JSON, or nested too deeply.
    """
    if not (_has_long_number(text) or _has_surrogate(text) or _has_nan(text)):
        return orjson.loads(text)
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
