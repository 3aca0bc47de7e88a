"""The file of one spooled batch: JSON lines under a header that tells whether they are whole.

::

    {"format": 1, "records": 2, "sha256": "..."}
    {"forget": "<transformation>"}
    {"store": {"transformation": "...", "result": "...", "content": "<base64>", ...}}

The checksum is that of everything below the first line. A damaged disk must not change which result
a transformation has, and what was changed may still be JSON.
"""

from __future__ import annotations

import binascii
import hashlib
from collections.abc import Iterable

import orjson

from seamless_dask_cache.database_messages import base64_text
from seamless_dask_cache.errors import SeamlessDaskCacheError

from .outbox import Batch, Item

FORMAT = 1


class DamagedFileError(SeamlessDaskCacheError):
    """A spooled file is not what was written."""


def encode(batch: Batch) -> tuple[bytes, int]:
    """Write the records of a batch.

    Returns
    -------
    content : bytes
    records : int
        How many it holds. An item that cannot be written as JSON, which no database takes either,
        is left out.
    """
    lines = [orjson.dumps({"forget": transformation}) for transformation in batch.forgets]
    lines += _lines(batch.items)
    body = b"\n".join(lines)
    header = {"format": FORMAT, "records": len(lines), "sha256": hashlib.sha256(body).hexdigest()}
    return orjson.dumps(header) + b"\n" + body, len(lines)


def _lines(items: Iterable[Item]) -> Iterable[bytes]:
    for item in items:
        content = item.get("content")
        if content is not None:
            item = {**item, "content": base64_text(content)}
        try:
            # File names may be of a subclass of str, which is no name otherwise.
            yield orjson.dumps({"store": item}, option=orjson.OPT_NON_STR_KEYS)
        except TypeError:
            continue


def decode(content: bytes) -> Batch:
    """Read a batch.

    Raises
    ------
    DamagedFileError
        It is not whole, or of a version that is not known here.
    """
    first, _, body = content.partition(b"\n")
    try:
        header = orjson.loads(first)
        known, checksum = header["format"] == FORMAT, header["sha256"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise DamagedFileError("it has no header") from None
    if not known:
        raise DamagedFileError(f"its format is {header['format']!r}, and only {FORMAT} is known")
    if hashlib.sha256(body).hexdigest() != checksum:
        raise DamagedFileError("it does not have its checksum")
    try:
        return _batch(body)
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedFileError(f"its lines are not understood: {error!r}") from None


def _batch(body: bytes) -> Batch:
    batch = Batch()
    for line in map(orjson.loads, body.splitlines()):
        if "forget" in line:
            batch.forgets.append(line["forget"])
        else:
            batch.items.append(_item(line["store"]))
    return batch


def _item(item: Item) -> Item:
    content = item.get("content")
    return item if content is None else {**item, "content": binascii.a2b_base64(content)}
