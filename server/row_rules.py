"""What must be true of each row of a database, whichever server wrote it.

A test takes values of a row, and raises ValueError with a text about the first of them. None asks
for more than the published server keeps to.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterator
from json import loads as loads_leniently
from typing import Any, NamedTuple

import orjson

from .maintenance import printable

MAX_SHOWN = 100
"""Characters of a value in a text; a damaged file may hold anything."""

_is_checksum = re.compile("[0-9a-f]{64}").fullmatch


class Rule(NamedTuple):
    """What some columns of each row must hold."""

    columns: tuple[str, ...]
    test: Callable[..., object]


class Table(NamedTuple):
    """What names a row, and what must be true of it."""

    key: tuple[str, ...]
    rules: tuple[Rule, ...]
    has_rowid: bool = True

    @property
    def columns(self) -> list[str]:
        """What to read of each row."""
        return [*self.key, *(column for rule in self.rules for column in rule.columns)]

    @property
    def order(self) -> str:
        """Give the order in which the table itself is, whatever became of its indices."""
        return "rowid" if self.has_rowid else ", ".join(self.key)

    def tests(self) -> Iterator[tuple[str, slice, Callable[..., object]]]:
        """Give for each rule its first column, where its columns are in a row, and its test."""
        start = len(self.key)
        for columns, test in self.rules:
            yield columns[0], slice(start, start + len(columns)), test
            start += len(columns)


def shown(values: tuple[Any, ...]) -> str:
    """Give the values that name a row, to be printed."""
    return ", ".join(map(shown_value, values))


def shown_value(value: object) -> str:
    """Give a value to be printed, whatever it is."""
    text = value.hex() if isinstance(value, bytes) else str(value)
    text = printable(text) or "''"
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def _checksum(value: object) -> None:
    # A BLOB of the same bytes would not be found by anybody who asks.
    if not isinstance(value, str) or not _is_checksum(value):
        raise ValueError(f"is not 64 lower-case hexadecimal digits: {shown_value(value)}")


def _binary_checksum(value: object) -> None:
    if not isinstance(value, bytes) or len(value) != hashlib.sha256().digest_size:
        raise ValueError(f"is not 32 bytes: {shown_value(value)}")


def _binary_checksum_or_null(value: object) -> None:
    if value is not None:
        _binary_checksum(value)


def _json(value: object) -> Any:
    if not isinstance(value, str):
        raise ValueError("is no text")
    with contextlib.suppress(orjson.JSONDecodeError):
        return orjson.loads(value)
    try:
        value.encode()
        # The published server writes what Python takes for JSON, such as NaN.
        return loads_leniently(value)
    except UnicodeEncodeError:
        raise ValueError("is not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is no JSON: {error}") from None


def _object(value: object) -> dict[str, Any]:
    found = _json(value)
    if not isinstance(found, dict):
        raise ValueError("is no JSON object")
    return found


def _record(value: object, transformation: object, result: object) -> None:
    record = _object(value)
    if record.get("tf_checksum") != transformation:
        raise ValueError("names another transformation than its row")
    if record.get("result_checksum") != result:
        raise ValueError("names another result than its row")


def _contested_record(value: object, result: object) -> None:
    """Test a record that may be missing, or be one of version 2.0, which names nothing."""
    record = _json(value)
    if isinstance(record, dict) and record.get("result_checksum", result) != result:
        raise ValueError("names another result than its row")


def _states(value: object) -> None:
    if not all(isinstance(state, str) for state in _object(value).values()):
        raise ValueError("does not map paths to texts")


def _content(value: object, checksum: object) -> None:
    if not isinstance(value, bytes):
        raise ValueError("is no BLOB")
    found = hashlib.sha256(value).hexdigest()
    if found != checksum:
        raise ValueError(f"has the SHA-256 {found}, which is not its name")


def _sum(value: object) -> None:
    if not isinstance(value, int | float) or value < 0:
        raise ValueError(f"is no number from 0: {shown_value(value)}")


def _each(test: Callable[[Any], Any], *columns: str) -> tuple[Rule, ...]:
    return tuple(Rule((column,), test) for column in columns)


TABLES = {
    "transformation": Table(("checksum",), _each(_checksum, "checksum", "result")),
    "rev_transformation": Table(("id",), _each(_checksum, "checksum", "result")),
    "buffer_info": Table(
        ("checksum",), (*_each(_checksum, "checksum"), *_each(_object, "buffer_info"))
    ),
    "syntactic_to_semantic": Table(
        ("syntactic", "celltype", "subcelltype"), _each(_checksum, "syntactic", "semantic")
    ),
    "expression": Table(
        ("input_checksum", "path", "celltype", "target_celltype"),
        (*_each(_checksum, "input_checksum", "result"), *_each(_json, "path")),
    ),
    "meta_data": Table(
        ("checksum",),
        (
            *_each(_checksum, "checksum", "result"),
            Rule(("metadata", "checksum", "result"), _record),
        ),
    ),
    "bucket_probe": Table(
        ("bucket_kind", "label"),
        (*_each(_checksum, "bucket_checksum"), *_each(_object, "freshness_tokens")),
    ),
    "irreproducible_transformation": Table(
        ("id", "checksum"),
        (
            *_each(_checksum, "checksum", "result"),
            Rule(("metadata", "result"), _contested_record),
        ),
    ),
    "buffer": Table(
        ("checksum",), (*_each(_checksum, "checksum"), Rule(("content", "checksum"), _content))
    ),
    "cache_entry": Table(("checksum",), _each(_checksum, "checksum", "result"), has_rowid=False),
    "files_read": Table(
        ("checksum",), (*_each(_checksum, "checksum", "result"), *_each(_states, "files"))
    ),
    "recipe": Table(("checksum",), _each(_checksum, "checksum"), has_rowid=False),
    "note": Table(("checksum",), (*_each(_checksum, "checksum"), *_each(_object, "document"))),
    "cutoff": Table(
        ("skeleton", "checksum"),
        (
            *_each(_binary_checksum, "skeleton", "checksum"),
            *_each(_binary_checksum_or_null, "result"),
        ),
        has_rowid=False,
    ),
    "cost": Table(
        ("code",),
        (
            *_each(_binary_checksum, "code"),
            *_each(_sum, "runs", "seconds", "nbytes", "load_seconds", "loads"),
        ),
        has_rowid=False,
    ),
    "divergence": Table(("id",), _each(_checksum, "checksum", "result")),
}
