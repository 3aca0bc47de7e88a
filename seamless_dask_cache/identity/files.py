"""File state: how a task that is given a path is identified by what lies there.

The state of a file is its size, its modification time and its change time in nanoseconds, and its
inode. Programs that copy and unpack set the modification time back; nobody can set the change time
back. A link that leads to another file leads to another inode. The state of a folder covers
everything below it. A task that names a path which exists gets these
states into its recipe, so that a changed input is another transformation.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache
from itertools import chain
from pathlib import PurePath
from typing import Any

from seamless_dask_cache.errors import RefusedError
from seamless_dask_cache.identity.effect_names import DATABASES
from seamless_dask_cache.identity.naming import MAX_WORDS, Sieve, could_be_path, text_of
from seamless_dask_cache.identity.objects import register_identity_by_name

MAX_BYTES_PATH = 256
MAX_FOLDER_ENTRIES = 20_000
MAX_ENTRIES = 200_000
REMOTE = frozenset(
    {"http", "https", "ftp", "sftp", "ssh", "smb", "s3", "s3a", "gs", "gcs", "abfs", "abfss"}
    | {"az", "adl", "wasb", "wasbs", "hdfs", "webhdfs", "memory", "hf", "gdrive", "dropbox"}
    | {"github", "git", "oss", "oci", "r2", "ipfs", "zip", "tar", "simplecache", "filecache"}
    | {"blockcache", "cached", "reference", "libarchive", "arrow_hdfs", "dbfs", "lakefs"}
)
_LONGEST_SCHEME = 40
_WRAPPERS = {
    "fsspec.implementations.dirfs.DirFileSystem": "fs",
    "fsspec.implementations.asyn_wrapper.AsyncFileSystemWrapper": "sync_fs",
}
TICK_NS = 20_000_000
"""Two writes within one tick of the kernel's clock (10 ms at most) may leave the same times."""


class ContentPath(str):
    """A path whose content already stands in an identity, so that its state must not.

    Parameters
    ----------
    path : str
        The path.
    state : str or None
        What :func:`file_state` gave when the content was read; None where nothing existed.

    Notes
    -----
    Equal to the plain string, so that it can travel wherever paths travel.
    """

    state: str | None

    def __new__(cls, path: str, state: str | None) -> ContentPath:
        """Make a path that knows its state."""
        made = super().__new__(cls, path)
        made.state = state
        return made

    def __getnewargs__(self) -> tuple[str, str | None]:  # type: ignore[override]
        """Give what pickle and copy make it from."""
        return str(self), self.state


class FileStates:
    """File states as they were during one pass over a graph; each path is looked at once.

    Notes
    -----
    Folders may have 200,000 entries in all.
    """

    def __init__(self) -> None:
        self._states: dict[str, str | None] = {}
        self._entries = 0

    def of(self, *paths: str) -> dict[str, str]:
        """Return the state of each path that exists; a path that does not is left out.

        Parameters
        ----------
        *paths : str
            What one task names; each :class:`ContentPath` is left out. Of more than 10,000, only
            those count that look like paths, and the first 10,000 others.

        Raises
        ------
        RefusedError
            When folders are too large to be looked through, a file is none that has a state, a
            string is the address of a database server, or there are more than 1,000,000 paths.
        """
        found = {}
        for path in _worth_asking(paths):
            _refuse_database(path)
            if path not in self._states:
                self._states[path] = self._look(path) if could_be_path(path) else None
            state = self._states[path]
            if state is not None:
                found[path] = state
        return found

    def _look(self, path: str) -> str | None:
        if self._entries > MAX_ENTRIES and os.path.isdir(local_path(path)):
            raise RefusedError(f"folders hold too many files to look through, also {path!r}")
        before = _looked_through.entries
        try:
            return settled_state(path)
        finally:
            self._entries += _looked_through.entries - before


class _LookedThrough(threading.local):
    """How many entries of folders this thread has looked at so far."""

    entries = 0


_looked_through = _LookedThrough()


def _worth_asking(paths: Iterable[str]) -> Iterable[str]:
    own = [path for path in paths if type(path) is not ContentPath]
    if len(own) <= MAX_WORDS:
        return own
    return filter(Sieve().passes, dict.fromkeys(own))


def file_state(path: str) -> str | None:
    """Return the state of a file or folder as text, or None where nothing exists.

    Parameters
    ----------
    path : str
        A path; ``~`` and ``file://`` are understood as pandas and fsspec do.

    Raises
    ------
    RefusedError
        When a folder holds more than 20,000 entries, or the file is a device, a pipe, or one of
        those that the kernel makes up when they are read (``/proc``, ``/sys``).
    """
    return _state_and_time(path)[0]


def settled_state(path: str) -> str | None:
    """Return the state of a file or folder that a later write is certain to change.

    What was written within the last tick of the kernel's clock is looked at again after it, which
    takes 20 ms at most.

    Parameters
    ----------
    path : str
        As for :func:`file_state`.

    Raises
    ------
    RefusedError
        As :func:`file_state` does.
    """
    state, changed = _state_and_time(path)
    age = time.time_ns() - changed
    if 0 <= age < TICK_NS:
        time.sleep((TICK_NS - age) / 1e9)
        state, _ = _state_and_time(path)
    return state


def listing_state(folder: str) -> str | None:
    """Return the state of a folder's direct entries, or None where there is no folder.

    Parameters
    ----------
    folder : str
        A path.

    Returns
    -------
    str or None
        Covers the names of all entries, and the states of those that are no folders.

    Raises
    ------
    RefusedError
        When the folder holds more than 20,000 entries.
    """
    try:
        names = sorted(os.listdir(local_path(folder)))
    except (OSError, ValueError):
        return None
    _limit(folder, len(names))
    digest = hashlib.sha256()
    for name in names:
        state = _entry(os.path.join(local_path(folder), name))[0]
        digest.update(f"{name}\0{state}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def local_path(path: str) -> str:
    """Return a path as the operating system takes it."""
    return os.path.expanduser(path.removeprefix("file://"))


def _state_and_time(path: str) -> tuple[str | None, int]:
    path = local_path(path)
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode) and status.st_dev not in _made_up_devices():
            return _folder_state(path)
    except (OSError, ValueError):
        return None, 0
    _refuse_made_up(path, status)
    return _of_status(status), status.st_ctime_ns


def _of_status(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}-{status.st_ctime_ns}-{status.st_ino}"


@cache
def _made_up_devices() -> frozenset[int]:
    return frozenset(os.stat(place).st_dev for place in ("/proc", "/sys") if os.path.isdir(place))


def _refuse_made_up(path: str, status: os.stat_result) -> None:
    """Refuse what gives something else each time it is read, whatever its times say."""
    regular = stat.S_ISREG(status.st_mode) and status.st_dev not in _made_up_devices()
    if not regular and path != os.devnull:
        raise RefusedError(f"{path!r} is no ordinary file: its state does not tell what it gives")


def _limit(folder: str, entries: int) -> None:
    if entries > MAX_FOLDER_ENTRIES:
        raise RefusedError(f"the folder {folder!r} holds too many files to look through")


def _folder_state(folder: str) -> tuple[str, int]:
    digest = hashlib.sha256()
    seen: set[str] = set()
    entries = newest = 0
    for root, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(root)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        entries += len(folders) + len(files)
        _looked_through.entries += len(folders) + len(files)
        _limit(folder, entries)
        lines = [f"{os.path.relpath(root, folder)}\0{folders}\0"]
        for name in sorted(files):
            state, changed = _entry(os.path.join(root, name))
            newest = max(newest, changed)
            lines.append(f"{name}\0{state}\0")
        digest.update("".join(lines).encode("utf-8", "surrogateescape"))
    return digest.hexdigest(), newest


def _entry(path: str) -> tuple[str, int]:
    try:
        status = os.stat(path)
    except OSError:
        return "gone", 0
    if stat.S_ISDIR(status.st_mode):
        return "folder", 0
    return _of_status(status), status.st_ctime_ns


def refuse_remote(strings: Iterable[str]) -> None:
    """Refuse a task that is given the address of something remote: its state is not known.

    Raises
    ------
    RefusedError
        Naming the first such address.
    """
    for text in strings:
        if not REMOTE.isdisjoint(_scheme(text).split("::")):
            raise RefusedError(f"the state of the remote file {text!r} is not known")


def _refuse_database(text: str) -> None:
    # Drivers in compiled code raise no audit event, so the address is all that can be seen.
    if "://" in text and _scheme(text).partition("+")[0] in DATABASES:
        raise RefusedError("the state of a database behind an address is not known")


def _scheme(text: str) -> str:
    scheme, found, _ = text[:_LONGEST_SCHEME].partition("://")
    return scheme.lower() if found else ""


def _open_file_identity(file: Any) -> Any:
    if not _is_local(file.fs):
        raise RefusedError(f"the state of the remote file {file.full_name!r} is not known")
    how = (file.mode, file.compression, file.encoding, file.errors, file.newline)
    return (file.path, file_state(file.path), *map(repr, how))


def _file_system_identity(system: Any) -> Any:
    inner = _WRAPPERS.get(_class_name(system))
    if inner is not None:
        path = getattr(system, "path", "")
        return (path, _file_system_identity(getattr(system, inner)))
    if not _is_local(system):
        name = type(system).__name__
        raise RefusedError(f"the state of the files of a {name} is not known")
    return (repr(system.storage_args), sorted(map(repr, system.storage_options.items())))


def _is_local(system: Any) -> bool:
    # A subclass may do whatever it likes.
    return _class_name(system) == "fsspec.implementations.local.LocalFileSystem"


def _class_name(system: Any) -> str:
    kind = type(system)
    return f"{kind.__module__}.{kind.__qualname__}"


def _memory_store_identity(store: Any) -> Any:
    # Chunks are written side by side, so that the order in which they came is another each time.
    content = store._store_dict
    return (store.read_only, [(name, content[name]) for name in sorted(content)])


def identify_open_files() -> None:
    """Let fsspec's file systems, and its files that are not opened yet, be identified.

    Local files have their state. Others are refused: what a file system says of a file (a name and
    a size, a time in seconds) may stay while its content changes, and that of ``memory`` ends with
    the process.
    """
    register_identity_by_name("fsspec.core.OpenFile", _open_file_identity)
    register_identity_by_name("fsspec.spec.AbstractFileSystem", _file_system_identity)
    register_identity_by_name("zarr.storage._memory.MemoryStore", _memory_store_identity)


def path_candidates(value: Any, *, marked: bool = False) -> Iterator[str]:
    """Yield the strings and paths inside nested builtin containers that could name a file.

    Parameters
    ----------
    value : object
        Anything; keys of mappings count as well as their values.
    marked : bool
        Only those with a separator or a dot in them; long lists of words are then passed over at
        the speed of C.

    Raises
    ------
    RefusedError
        When there are more than 1,000,000 that look like paths.
    """
    texts = _texts(value, marked)
    return filter(Sieve().passes, filter(_is_marked, texts) if marked else texts)


_WITHOUT_TEXT = frozenset({int, float, bool, complex, type(None)})
_PLAIN = _WITHOUT_TEXT | {str}
_SEQUENCES = frozenset({list, tuple, set, frozenset})


def _is_marked(text: str) -> bool:
    return os.sep in text or "." in text


def _texts(value: Any, marked: bool = False) -> Iterator[str]:
    waiting: list[Iterator[Any]] = [iter((value,))]
    seen: set[int] = set()
    while waiting:
        for item in waiting[-1]:
            kind = type(item)
            if kind is str:
                yield item
            elif isinstance(item, PurePath):
                yield text_of(item)
            elif kind is bytes and len(item) <= MAX_BYTES_PATH:
                yield os.fsdecode(item)
            elif (inner := _items(item, marked)) is not None and id(item) not in seen:
                seen.add(id(item))
                waiting.append(inner)
                break
        else:
            waiting.pop()


def _items(value: Any, marked: bool) -> Iterator[Any] | None:
    kind = type(value)
    if kind in _SEQUENCES:
        return _worth_a_look(value, marked)
    if isinstance(value, Mapping) and kind.__module__ in ("builtins", "collections"):
        parts = (_worth_a_look(value.keys(), marked), _worth_a_look(value.values(), marked))
        return chain.from_iterable(part for part in parts if part is not None)
    return None


def _worth_a_look(values: Collection[Any], marked: bool) -> Iterator[Any] | None:
    # Long lists of numbers, and of words, are passed over at the speed of C.
    kinds = set(map(type, values))
    if kinds <= _WITHOUT_TEXT:
        return None
    if marked and kinds <= _PLAIN:
        texts = [text for text in values if type(text) is str] if kinds != {str} else values
        if not _is_marked("".join(texts)):
            return None
    return iter(values)


identify_open_files()
