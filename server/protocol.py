"""Checked access to the fields of a request.

Requests are JSON objects in the body of a GET or PUT, as the published seamless-database 2.x has
them: ``{"type": ..., "checksum": ..., ...}``. Whatever does not fit raises
`MalformedError`, whose text names the field and what was expected.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from seamless_dask_cache.json_text import read_json, write_json

from .failures import MalformedError

PROTOCOL = ("seamless", "database", "2.2")
"""What the published server answers to a request of the type ``protocol``."""

MAX_INTEGER = 2**63 - 1
"""The largest integer that SQLite holds."""

MAX_ROWS = 1_000_000
"""Lookups, or write-backs, or anything else of which a request brings many."""

_is_checksum = re.compile("[0-9a-fA-F]{64}").fullmatch
_is_lower_checksum = re.compile("[0-9a-f]{64}").fullmatch


def encode(value: object, what: str) -> str:
    """Give the JSON text of a value that came out of a request.

    Raises
    ------
    MalformedError
        It cannot be written: it is nested too deeply.
    """
    try:
        return write_json(value, exact=True).decode()
    except ValueError as error:
        raise MalformedError(f"{what} cannot be written as JSON: {error}") from None


def checksum(value: object, what: str) -> str:
    """Check one checksum and give it in lower case.

    Parameters
    ----------
    value : object
        What the request has in its place.
    what : str
        Its name, for the text of the error.
    """
    if not isinstance(value, str) or not _is_checksum(value):
        raise MalformedError(f"{what} must be a checksum (64 hexadecimal digits)")
    return value.lower()


def checksums(value: object, what: str, most: int = MAX_ROWS) -> list[str]:
    """Check a list of checksums, of limited length."""
    if not isinstance(value, list):
        raise MalformedError(f"{what} must be a list of checksums")
    if len(value) > most:
        raise MalformedError(f"{what} has more than {most} checksums; send them in parts")
    # One pass at C speed for what is right: a batch may bring a million of them.
    if _all_lower(value):
        return value
    return [checksum(item, f"{what}[{index}]") for index, item in enumerate(value)]


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _all_lower(values: list[Any]) -> bool:
    try:
        return all(map(_is_lower_checksum, values))
    except TypeError:
        return False


class Fields:
    """The fields of one request, or of one object inside it.

    Parameters
    ----------
    values : object
        Must be a JSON object.
    what : str
        How the texts of errors name it, such as ``"PUT metadata request"``.
    """

    def __init__(self, values: object, what: str):
        if not isinstance(values, dict):
            raise MalformedError(f"Malformed {what}: must be a JSON object")
        self._values: dict[str, Any] = values
        self.what = what

    def refuse(self, expected: str) -> MalformedError:
        """Make the error that says what was expected."""
        return MalformedError(f"Malformed {self.what}: {expected}")

    def get(self, name: str) -> Any:
        """Give a field as it is; None when it is missing."""
        return self._values.get(name)

    def has(self, name: str) -> bool:
        """Tell whether a field is there and not null."""
        return self._values.get(name) is not None

    def checksum(self, name: str = "checksum") -> str:
        """Give a checksum in lower case."""
        value = self._values.get(name)
        # The text is only made where it is needed: most requests are right.
        if isinstance(value, str) and _is_lower_checksum(value):
            return value
        return checksum(value, f"Malformed {self.what}: {name}")

    def checksums(self, name: str, *, most: int = MAX_ROWS) -> list[str]:
        """Give a list of checksums, of limited length; an empty one when the field is missing."""
        return checksums(self._values.get(name, []), f"Malformed {self.what}: {name}", most)

    def text(self, name: str, *, longest: int | None = None, empty: bool = True) -> str:
        """Give a text, of limited length in characters."""
        value = self._values.get(name)
        if not isinstance(value, str) or not (value or empty):
            raise self.refuse(f"{name} must be a text")
        if not value.isascii() and not _is_unicode(value):
            raise self.refuse(f"{name} must be a text of Unicode characters")
        if longest is not None and len(value) > longest:
            raise self.refuse(f"{name} (constraint violation) has more than {longest} characters")
        return value

    def text_or_none(self, name: str) -> str | None:
        """Give a text, or None when it is missing or null."""
        return self.text(name) if self.has(name) else None

    def items(self, name: str, most: int = MAX_ROWS) -> list[Any]:
        """Give a list, of limited length; an empty one when the field is missing."""
        value = self._values.get(name, [])
        if not isinstance(value, list):
            raise self.refuse(f"{name} must be a list")
        if len(value) > most:
            raise self.refuse(f"{name} has more than {most} items; send them in parts")
        return value

    def flag(self, name: str, default: bool) -> bool:
        """Give true or false."""
        value = self._values.get(name, default)
        if not isinstance(value, bool):
            raise self.refuse(f"{name} must be true or false")
        return value

    def count(self, name: str, default: int | None, most: int = MAX_INTEGER) -> int | None:
        """Give an integer from 0 to `most`; `default` when it is missing or null."""
        value = self._values.get(name)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
            raise self.refuse(f"{name} must be an integer from 0 to {most}")
        return value

    def number(self, name: str) -> float | None:
        """Give a finite number; None when it is missing or null."""
        value = self._values.get(name)
        if value is None:
            return None
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self.refuse(f"{name} must be a number")
        try:
            number = float(value)
        except OverflowError:  # an integer of hundreds of digits
            number = math.inf
        if not math.isfinite(number):
            raise self.refuse(f"{name} must be a number")
        return number

    def mapping(self, name: str) -> dict[str, Any]:
        """Give a JSON object, which may also come as a text that holds one."""
        value = self._values.get(name)
        if isinstance(value, str):
            try:
                value = read_json(value.encode())
            except ValueError:  # also of what is no Unicode
                raise self.refuse(f"{name} must be a JSON object") from None
        if not isinstance(value, dict):
            raise self.refuse(f"{name} must be a JSON object")
        return value

    def document(self, name: str, most: int) -> str:
        """Give a JSON object as JSON text of at most so many bytes."""
        text = encode(self.mapping(name), f"Malformed {self.what}: {name}")
        if len(text.encode()) > most:
            raise self.refuse(f"{name} has more than {most} bytes as JSON")
        return text

    def path(self) -> str:
        """Give the path of an expression as the published server writes it into its key."""
        value = self._values.get("path")
        if not isinstance(value, list):
            raise self.refuse("path must be a list")
        try:
            return json.dumps(value)
        except RecursionError:
            raise self.refuse("path is nested too deeply") from None


def execution_record(record: dict[str, Any], transformation: str, result: str) -> str | None:
    """Tell what is wrong with an execution record; None when it fits its transformation.

    Parameters
    ----------
    record : dict
        The metadata of one execution, as seamless-remote writes it.
    transformation, result : str
        The checksums that it must name.
    """
    version, fields = record.get("schema_version"), record.get("checksum_fields")
    if not isinstance(version, int) or isinstance(version, bool):
        return "schema_version must be an integer"
    if record.get("tf_checksum") != transformation:
        return "tf_checksum must be the checksum of the transformation"
    if record.get("result_checksum") != result:
        return "result_checksum must be the checksum of the result"
    if fields is not None and not (isinstance(fields, list) and all(map(_is_name, fields))):
        return "checksum_fields must be a list of names"
    return None


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value)
