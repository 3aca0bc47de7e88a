"""Finding the buffer of a checksum: in memory, in the buffer stores, in the database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import NamedTuple

from seamless_dask_cache.buffer import Buffer
from seamless_dask_cache.buffer_cache import get_buffer_cache
from seamless_dask_cache.buffer_costs import LOCAL, REMOTE, DownloadProfile
from seamless_dask_cache.checksum import Checksum
from seamless_dask_cache.errors import CacheMissError, CorruptBufferError
from seamless_dask_cache.local import LocalCache, local_cache
from seamless_dask_cache.storage import BufferStore

_KNOWN_TO_ALL = (
    *("null", "true", "false", "{}", "[]", '""', "0", "1"),
    "",
)
"""Lines whose buffers everybody has."""


class Found(NamedTuple):
    """The content of a buffer, and how long it takes to have it from there again."""

    content: bytes | memoryview
    profile: DownloadProfile


Place = Callable[[Checksum], Found | None]


def resolve(checksum: Checksum) -> Buffer:
    """Give the buffer of a checksum.

    Raises
    ------
    CacheMissError
        When nobody has it; the message names who was asked, and what went wrong.
    ConfigurationError
        When the configuration names no store.
    """
    known = get_buffer_cache().get(checksum)
    if known is not None:
        return known
    if checksum.hex() in _known_to_all():
        return Buffer.verified(_known_to_all()[checksum.hex()], checksum)
    found, asked = _ask(checksum)
    if found is None:
        raise CacheMissError(f"nobody has buffer {checksum}; asked: {', '.join(asked)}")
    get_buffer_cache().set_cost(checksum, download=found.profile)
    # Not a map of the file: it is held for long, and somebody might write into the file.
    return get_buffer_cache().register(Buffer.verified(bytes(found.content), checksum))


def _ask(checksum: Checksum) -> tuple[Found | None, list[str]]:
    asked = ["the buffer cache"]
    for name, place in _places(local_cache()):
        try:
            found = place(checksum)
            asked.append(name)
        except Exception as error:  # whatever a store or a database may answer
            asked.append(f"{name} ({error})")
        else:
            if found is not None:
                return found, asked
    return None, asked


def _places(local: LocalCache) -> Iterator[tuple[str, Place]]:
    """Yield the name of each place that may have buffers, and what asks it; the nearest first."""
    store = local.known_store()
    if store is not None:
        yield repr(store), partial(_from_store, store)
    if local.has_database():
        yield "the database", partial(_from_database, local)


def _from_store(store: BufferStore, checksum: Checksum) -> Found | None:
    content = store.get(checksum)
    return None if content is None else Found(content, LOCAL)


def _from_database(local: LocalCache, checksum: Checksum) -> Found | None:
    content = local.ask(lambda client: client.get_buffer(checksum))
    if content is None:
        return None
    if Checksum.of(content) != checksum:
        raise CorruptBufferError("gave other bytes")
    return Found(content, REMOTE)


@cache
def _known_to_all() -> dict[str, bytes]:
    buffers = (f"{line}\n".encode() for line in _KNOWN_TO_ALL)
    return {Checksum.of(buffer).hex(): buffer for buffer in (b"", *buffers)}
