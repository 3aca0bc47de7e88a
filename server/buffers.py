"""Buffers: small ones in the database file, large ones in a folder.

What is read was verified before; what arrives is hashed while it is written, and is on the disk
when that has returned. Nothing here knows HTTP or SQL.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import sqlite3
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

from seamless_dask_cache.errors import CorruptBufferError, StoreError
from seamless_dask_cache.storage import DirectoryStore

from . import cache_tables
from .batch import CHUNK, length_in
from .database import Database
from .failures import MalformedError, StorageError, TooLargeError

logger = logging.getLogger(__name__)

SMALL_BYTES = 16 * 1024
"""Up to this size, a row of the database takes less time and space than a file."""

MAX_ROW_BYTES = 1024 * 1024
"""The largest buffer that a server without a folder keeps."""

PART_BYTES = 1024 * 1024
"""How much is handed to a thread at a time."""

MOST_VERIFIED = 10_000
"""Files of which is remembered that they were verified."""

T = TypeVar("T")
Identity = tuple[str | int, ...]


class Content:
    """The content of a buffer, to be read in parts; close it.

    Parameters
    ----------
    source : bytes or binary file
    """

    def __init__(self, source: bytes | BinaryIO):
        self._source = source
        self.nbytes = (
            len(source) if isinstance(source, bytes) else os.fstat(source.fileno()).st_size
        )
        """How long it is."""

    async def read(self, start: int, stop: int) -> bytes:
        """Read some bytes, fewer than asked for at the end of a file that became shorter."""
        if isinstance(self._source, bytes):
            return self._source[start:stop]
        return await asyncio.to_thread(os.pread, self._source.fileno(), stop - start, start)

    def close(self) -> None:
        """Close the file."""
        if not isinstance(self._source, bytes):
            self._source.close()


class Buffers:
    """Where buffers are.

    Parameters
    ----------
    database : Database
    folder : Path, optional
        For large ones, laid out as ``hh/<hex>``. Made when it is needed.
    """

    def __init__(self, database: Database, folder: Path | None):
        self._database = database
        self._store = None if folder is None else DirectoryStore(folder)
        self._verified: OrderedDict[Identity, None] = OrderedDict()

    async def find(self, checksum: str) -> Content | None:
        """Find a buffer; None when it is not here, or was damaged and is dropped now.

        Raises
        ------
        StorageError
            The folder cannot be read.
        """
        row: bytes | None = await self._database.read(cache_tables.buffer_content, checksum)
        if row is not None:
            if hashlib.sha256(row).hexdigest() == checksum:
                return Content(row)
            await self._drop_row(checksum, row)
        if self._store is None:
            return None
        file = await asyncio.to_thread(self._open, self._store, checksum)
        return None if file is None else Content(file)

    async def _drop_row(self, checksum: str, content: bytes) -> None:
        logger.warning("a damaged buffer in the database file does not count: %s", checksum)
        if self._database.writable:
            work = partial(cache_tables.drop_buffer, checksum=checksum, content=content)
            try:
                await self._database.write(work)
            except sqlite3.Error as error:  # it does not count all the same
                logger.warning("it cannot be dropped: %s", error)

    def _open(self, store: DirectoryStore, checksum: str) -> BinaryIO | None:
        try:
            file = store.open(checksum)
        except StoreError as error:
            raise StorageError(error) from error
        if file is None:
            return None
        try:
            self._verify(store, file, checksum)
        except CorruptBufferError as error:
            logger.warning("a damaged buffer was dropped: %s", error)
            file.close()
            return None
        except StoreError as error:
            file.close()
            raise StorageError(error) from error
        return file

    def _verify(self, store: DirectoryStore, file: BinaryIO, checksum: str) -> None:
        found = os.fstat(file.fileno())
        state = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        identity = (checksum, *state)  # a link gives a file another name, under which it is wrong
        if identity in self._verified:
            return
        store.verify_file(file, checksum)
        self._verified[identity] = None
        while len(self._verified) > MOST_VERIFIED:
            self._verified.popitem(last=False)

    async def lengths(self, checksums: list[str]) -> list[int | None]:
        """Tell how long buffers are, in bytes; None for those that are not here."""
        parts = [checksums[start : start + CHUNK] for start in range(0, len(checksums), CHUNK)]
        found: dict[str, int] = {}
        for part in parts:
            work = partial(cache_tables.buffer_lengths, checksums=part)
            found.update(await self._database.read_long(work))
            if self._store is not None:
                rest = [checksum for checksum in part if checksum not in found]
                found.update(await asyncio.to_thread(_lengths_in, str(self._store.path), rest))
        return [found.get(checksum) for checksum in checksums]

    async def keep(self, checksum: str, parts: AsyncIterator[bytes], nbytes: int | None) -> None:
        """Keep a buffer that arrives in parts.

        Parameters
        ----------
        checksum : str
        parts : asynchronous iterator of bytes
        nbytes : int, optional
            What the client says about its length.

        Raises
        ------
        MalformedError
            The content does not have this checksum. Nothing of it is kept.
        TooLargeError, StorageError
            There is no folder for it, or no room.
        """
        most_of_row = MAX_ROW_BYTES if self._store is None else SMALL_BYTES
        head = b""
        if (nbytes or 0) <= most_of_row:
            head, is_whole = await _first_bytes(parts, most_of_row)
            if is_whole:
                return await self._keep_row(checksum, head)
        if self._store is None:
            raise TooLargeError(
                f"This server has no folder for buffers of more than {MAX_ROW_BYTES} bytes"
                " (start it with --buffers)"
            )
        await self._keep_file(self._store, checksum, _joined(head, parts))

    async def _keep_row(self, checksum: str, content: bytes) -> None:
        if hashlib.sha256(content).hexdigest() != checksum:
            raise _mismatch(checksum)
        buffers = [(checksum, content)]
        await self._database.write(partial(cache_tables.put_buffers, buffers=buffers))

    async def _keep_file(
        self, store: DirectoryStore, checksum: str, parts: AsyncIterator[bytes]
    ) -> None:
        try:
            async with _in_threads(store.arriving()) as buffer:
                async for part in parts:
                    await asyncio.to_thread(buffer.write, part)
                if buffer.seal().key != checksum:
                    raise _mismatch(checksum)
        except OSError as error:  # a StoreError is one
            raise StorageError(error) from error


def _mismatch(checksum: str) -> MalformedError:
    return MalformedError(f"The content does not have the checksum {checksum}")


def _lengths_in(folder: str, checksums: list[str]) -> dict[str, int]:
    found = ((checksum, length_in(folder, checksum)) for checksum in checksums)
    return {checksum: nbytes for checksum, nbytes in found if nbytes is not None}


async def _first_bytes(parts: AsyncIterator[bytes], most: int) -> tuple[bytes, bool]:
    """Take parts until there are more than `most` bytes; tell whether these are all."""
    taken: list[bytes] = []
    async for part in parts:
        taken.append(part)
        if sum(map(len, taken)) > most:
            return b"".join(taken), False
    return b"".join(taken), True


async def _joined(head: bytes, parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Join parts until they are worth a thread's while."""
    taken, nbytes = [head], len(head)
    async for part in parts:
        taken.append(part)
        nbytes += len(part)
        if nbytes >= PART_BYTES:
            yield b"".join(taken)
            taken, nbytes = [], 0
    if nbytes:
        yield b"".join(taken)


@contextlib.asynccontextmanager
async def _in_threads(context: AbstractContextManager[T]) -> AsyncIterator[T]:
    """Enter and leave a context beside the event loop."""
    value = await asyncio.to_thread(context.__enter__)
    try:
        yield value
    except BaseException as error:
        if not await asyncio.to_thread(context.__exit__, type(error), error, error.__traceback__):
            raise
    else:
        await asyncio.to_thread(context.__exit__, None, None, None)
