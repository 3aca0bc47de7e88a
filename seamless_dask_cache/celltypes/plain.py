"""plain: JSON in UTF-8, indented by two spaces, keys sorted by code point, one newline at the end.

The bytes are those of `orjson.dumps` with OPT_INDENT_2 and OPT_SORT_KEYS (source: seamless-core
0.1.4, checksum/json_.py). Integers of up to 4,300 digits (what Python converts) are written and
read exactly; NaN and infinity, which orjson would silently write as null, are refused. Values can
be nested some 250 deep: that is as far as orjson writes.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import re
from typing import Any, NoReturn

import orjson

from seamless_dask_cache.celltypes._errors import wrong_buffer, wrong_value
from seamless_dask_cache.checksum import BytesLike, Checksum

_OPTIONS = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE

# orjson reads integers beyond 64 bits as floats; the smallest such integer has 19 digits.
_MAYBE_BIG_INTEGER = re.compile(rb"[0-9]{19}")


def serialize(value: Any, celltype: str = "plain") -> bytes:
    """Turn a JSON-like value into a plain buffer.

    Parameters
    ----------
    value : None, bool, int, float, str, list, tuple, dict with str keys, or nested
        And the few types that orjson knows: dataclass, datetime, Enum, UUID. Checksums become hex.
    celltype : str
        The cell type to name in errors.

    Raises
    ------
    CellTypeError
        For other types, keys that are not str, NaN, infinity, and text with lone surrogates.
    """
    try:
        buffer = orjson.dumps(value, default=_checksum_to_hex, option=_OPTIONS)
    except TypeError as exc:
        return _dump_with_big_integers(value, celltype, exc)
    # A non-finite float was written as null: look closer only where there is a null.
    if b"null" in buffer and _has_non_finite(value):
        raise wrong_value(value, celltype, "JSON has no NaN and no infinity")
    return buffer


def deserialize(buffer: BytesLike, celltype: str = "plain") -> Any:
    """Read a plain buffer.

    Raises
    ------
    CellTypeError
        When the buffer is not JSON in UTF-8.
    """
    try:
        if _MAYBE_BIG_INTEGER.search(buffer):
            return _load_with_big_integers(str(buffer, "utf-8"))
        return orjson.loads(buffer)
    except (ValueError, RecursionError) as exc:
        raise wrong_buffer(buffer, celltype, exc) from None


def _load_with_big_integers(text: str) -> Any:
    value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    if "\\" in text:
        # Half a surrogate pair, which orjson refuses, cannot be encoded.
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"number out of range: {text:.30}")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"JSON has no {name}")


def _checksum_to_hex(value: object) -> str:
    if isinstance(value, Checksum):
        return value.hex()
    raise TypeError(f"type {type(value).__qualname__} is not JSON")


def _dump_with_big_integers(value: Any, celltype: str, failure: TypeError) -> bytes:
    try:
        fragments = _big_integers_as_fragments(value)
        buffer = orjson.dumps(fragments, default=_checksum_to_hex, option=_OPTIONS)
    except (TypeError, ValueError, RecursionError):
        raise wrong_value(value, celltype, failure.__cause__ or failure) from None
    if _has_non_finite(value):
        raise wrong_value(value, celltype, "JSON has no NaN and no infinity")
    return buffer


def _big_integers_as_fragments(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _big_integers_as_fragments(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_big_integers_as_fragments(item) for item in value]
    if type(value) is int and not -(2**63) <= value < 2**64:
        return orjson.Fragment(str(value))
    return value


def _has_non_finite(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, list | tuple | dict):
        return any(map(_has_non_finite, value.values() if isinstance(value, dict) else value))
    if isinstance(value, enum.Enum):
        return _has_non_finite(value.value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        # orjson leaves out the others
        return any(_has_non_finite(getattr(value, name)) for name in names if name[0] != "_")
    return False
