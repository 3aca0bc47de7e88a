"""What a batch may write, checked before anything is written.

Every check raises `MalformedError`, whose text names the part, such as ``store[3]``; also when a
content does not have the checksum that names it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import time
from collections.abc import Sequence
from typing import Any

from .batch_tables import Batch, Item
from .cost_tables import CodeCost
from .cutoff_tables import Cutoff
from .failures import MalformedError
from .protocol import Fields, checksum, encode, execution_record
from .recipe_tables import NamedRecipe

MAX_FILES_BYTES = 1024 * 1024
"""The files that one computation read, as JSON."""

MAX_NOTE_BYTES = 256 * 1024
"""One note, as JSON."""

MAX_FUNCTION_CHARACTERS = 4096
"""The name of a recipe's function."""


MAX_AMOUNT = 2**53
"""The largest number of runs, seconds or bytes that one request adds to a cost."""

CUTOFF = ("skeleton", "checksum", "result", "nbytes", "seconds", "transformation")
"""What the parts of a cutoff are; the last one may be missing."""

COST = ("runs", "seconds", "nbytes", "loads", "load_seconds")
"""What the parts of a cost are."""


def parse_batch(fields: Fields) -> Batch:
    """Check everything that a batch brings."""
    return Batch(
        items=[parse_item(part) for part in _parts(fields, "store")],
        forget=fields.checksums("forget"),
        recipes=[_named_recipe(part) for part in _parts(fields, "recipes")],
        notes=_notes(fields),
        cutoffs=_cutoffs(fields),
        costs=_costs(fields),
        touch=fields.checksums("touch"),
    )


def _parts(fields: Fields, name: str) -> list[Fields]:
    return [
        Fields(value, f"{fields.what}, {name}[{index}]")
        for index, value in enumerate(fields.items(name))
    ]


def _named_recipe(fields: Fields) -> NamedRecipe:
    content = fields.text("content").encode()
    name = hashlib.sha256(content).hexdigest()
    if fields.has("checksum") and fields.checksum() != name:
        raise fields.refuse("content does not have the checksum that is given")
    function = fields.text("function", longest=MAX_FUNCTION_CHARACTERS)
    return NamedRecipe(name, function, content)


def _notes(fields: Fields) -> list[tuple[str, str]]:
    if not fields.has("notes"):
        return []
    notes = fields.mapping("notes")
    what = f"{fields.what}, notes"
    return [
        (
            checksum(name, f"Malformed {what}: each name"),
            Fields(notes, what).document(name, MAX_NOTE_BYTES),
        )
        for name in notes
    ]


def _cutoffs(fields: Fields) -> list[Cutoff]:
    return [
        _cutoff(_named_parts(CUTOFF, row, f"{fields.what}, cutoffs[{index}]"))
        for index, row in enumerate(fields.items("cutoffs"))
    ]


def _cutoff(fields: Fields) -> Cutoff:
    return Cutoff(
        skeleton=bytes.fromhex(fields.checksum("skeleton")),
        checksum=bytes.fromhex(fields.checksum()),
        result=bytes.fromhex(fields.checksum("result")),
        nbytes=fields.count("nbytes", None),
        seconds=fields.number("seconds"),
        transformation=fields.checksum("transformation") if fields.has("transformation") else None,
    )


def _costs(fields: Fields) -> list[CodeCost]:
    if not fields.has("costs"):
        return []
    what = f"{fields.what}, costs"
    return [
        _cost(checksum(code, f"Malformed {what}: each name"), _named_parts(COST, row, what))
        for code, row in fields.mapping("costs").items()
    ]


def _cost(code: str, fields: Fields) -> CodeCost:
    return CodeCost(
        code=bytes.fromhex(code),
        runs=_whole(fields, "runs"),
        seconds=_amount(fields, "seconds"),
        nbytes=_amount(fields, "nbytes"),
        loads=_whole(fields, "loads"),
        load_seconds=_amount(fields, "load_seconds"),
    )


def _whole(fields: Fields, name: str) -> int:
    amount = fields.count(name, None, MAX_AMOUNT)
    if amount is None:
        raise fields.refuse(f"{name} must be an integer")
    return amount


def _amount(fields: Fields, name: str) -> float:
    amount = fields.number(name)
    if amount is None or not 0 <= amount <= MAX_AMOUNT:
        raise fields.refuse(f"{name} must be a number from 0 to {MAX_AMOUNT}")
    return amount


def _named_parts(names: Sequence[str], row: object, what: str) -> Fields:
    """Name the parts of a list, for their checks; the last of a cutoff may be missing."""
    least = len(names) - ("transformation" in names)
    if not isinstance(row, list) or not least <= len(row) <= len(names):
        raise MalformedError(f"Malformed {what}: must be a list of {', '.join(names[:least])}")
    return Fields(dict(zip(names, row, strict=False)), what)


def parse_item(fields: Fields) -> Item:
    """Check one write-back."""
    transformation, result = fields.checksum("transformation"), fields.checksum("result")
    return Item(
        transformation=transformation,
        result=result,
        record=_record(fields, transformation, result),
        recipe=_recipe(fields, transformation),
        content=parse_content(fields, "content", result) if fields.has("content") else None,
        entry=_entry(fields),
        files=_files(fields),
    )


def parse_content(fields: Fields, name: str, checksum: str) -> bytes:
    """Give the bytes of a base64 field, which must have the checksum that names them."""
    try:
        content = base64.b64decode(fields.text(name), validate=True)
    except (binascii.Error, ValueError):
        raise fields.refuse(f"{name} must be base64") from None
    return verified(fields, name, content, checksum)


def verified(fields: Fields, name: str, content: bytes, checksum: str) -> bytes:
    """Give the content, which must have this checksum."""
    if hashlib.sha256(content).hexdigest() != checksum:
        raise fields.refuse(f"{name} does not have the checksum {checksum}")
    return content


def _recipe(fields: Fields, transformation: str) -> bytes | None:
    recipe = fields.text_or_none("recipe")
    if recipe is None:
        return None
    return verified(fields, "recipe", recipe.encode(), transformation)


def _record(fields: Fields, transformation: str, result: str) -> str | None:
    if not fields.has("record"):
        return None
    record = fields.mapping("record")
    problem = execution_record(record, transformation, result)
    if problem:
        raise fields.refuse(f"record: {problem}")
    return encode(record, f"Malformed {fields.what}: record")


def _files(fields: Fields) -> str | None:
    """Check which files a computation read; none at all is the same as nothing said."""
    if not fields.has("files"):
        return None
    states = fields.mapping("files")
    if not all(isinstance(state, str) for state in states.values()):
        raise fields.refuse("files must map paths to texts")
    return fields.document("files", MAX_FILES_BYTES) if states else None


def _entry(fields: Fields) -> tuple[Any, ...] | None:
    if not fields.has("entry"):
        return None
    entry = Fields(fields.get("entry"), f"{fields.what}.entry")
    created = entry.number("created")
    return (
        entry.text_or_none("function"),
        entry.text_or_none("key_prefix"),
        entry.number("seconds"),
        entry.count("nbytes", None),
        time.time() if created is None else created,
        entry.text_or_none("format"),
    )
