"""Files by content: :class:`File` as a value, and the files that ``cached(files=...)`` names.

The path as it was given enters the identity (the function may look at it), and what lies there: a
file by the SHA-256 of its bytes, a folder by the names and contents of everything below it,
symbolic links by what they lead to. Nothing else enters, so touching a file changes nothing.

Digests are kept in the process under path, size, times and inode. What was written within two
seconds before it was hashed isn't kept: a later write might leave the same times (Git calls such
entries racy).
"""

from __future__ import annotations

import glob
import os
import stat
import time
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from ..errors import ConfigurationError, RefusedError
from .encoder import Encoder, Registry
from .files import MAX_FOLDER_ENTRIES, ContentPath, file_state, local_path, settled_state
from .literals import size, text
from .nodes import Piece
from .values import HANDLERS

MISSING = "missing"
_RACY_SECONDS = 2
_MOST_DIGESTS = 10_000
_ATTEMPTS = 3
_BLOCK = 1 << 20

Place = tuple[int, int]
Mark = tuple[int, ...]


class Content(NamedTuple):
    """What lies under a path.

    Attributes
    ----------
    kind : {"file", "folder", "missing"}
        What it is.
    digest : bytes
        32 bytes; empty where nothing exists.
    state : str or None
        What :func:`~seamless_dask_cache.identity.files.file_state` said when it was read.
    """

    kind: str
    digest: bytes
    state: str | None

    def __str__(self) -> str:
        return f"{self.kind} {self.digest.hex()}".strip()


class File(os.PathLike[str]):
    """A file or folder that counts by its content.

    Give it to a function in place of a path: ``open``, ``pathlib``, pandas and everything else that
    takes paths takes it.

    Parameters
    ----------
    path : str or os.PathLike
        A local file or folder, existing or not; ``~`` and ``file://`` are understood. Relative to
        the working folder of the process that looks at it.

    Raises
    ------
    ConfigurationError
        For something else than a path.

    Notes
    -----
    Immutable; equal when the paths are written alike. Addresses of other file systems (``s3://``)
    are refused when they are identified.

    Examples
    --------
    >>> import seamless_dask_cache as sdc
    >>> sdc.File("data.csv")
    File('data.csv')
    """

    _path: str

    def __init__(self, path: str | os.PathLike[str]) -> None:
        object.__setattr__(self, "_path", _checked(path))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a File can't be changed: {name!r} would not count")

    def __init_subclass__(cls) -> None:
        raise TypeError("File can't be subclassed: its identity is the content, and only that")

    @property
    def path(self) -> str:
        """The path as it was given."""
        return self._path

    @property
    def checksum(self) -> str | None:
        """SHA-256 of the content as 64 hex digits, now; None where nothing exists.

        Raises
        ------
        RefusedError
            When the content isn't certain: a device, a pipe, a file being written, a folder of more
            than 20,000 entries.
        """
        content = content_of(self._path)
        return content.digest.hex() or None

    def __fspath__(self) -> str:
        return local_path(self._path)

    def __repr__(self) -> str:
        return f"File({self._path!r})"

    def __eq__(self, other: object) -> bool:
        return self._path == other._path if type(other) is File else NotImplemented

    def __hash__(self) -> int:
        return hash((File, self._path))

    def __reduce__(self) -> tuple[type[File], tuple[str]]:
        return File, (self._path,)


def checked_files(files: Any) -> tuple[str | File, ...]:
    """Bring what a user gave as ``files=`` into one form.

    Parameters
    ----------
    files : path or iterable of paths
        Strings, ``pathlib`` paths and :class:`File` objects; strings and paths may be patterns.

    Returns
    -------
    tuple of str or File
        In the order given.

    Raises
    ------
    ConfigurationError
        Naming the first value that is no path.
    """
    if isinstance(files, (str, os.PathLike)):
        files = (files,)
    try:
        given = tuple(files)
    except TypeError:
        raise ConfigurationError(f"files must be paths, not {files!r}") from None
    return tuple(item if type(item) is File else _checked(item) for item in given)


def contents(
    files: Iterable[str | File], registry: Registry | None = None
) -> tuple[dict[str, str], list[ContentPath]]:
    """Look at files, folders and whatever matches a pattern.

    Parameters
    ----------
    files : iterable of str or File
        As :func:`checked_files` gives them.
    registry : Registry, optional
        The pass that asks; it sees one content of each file, and reads it once.

    Returns
    -------
    dict of str to str
        Path to ``file <digest>``, ``folder <digest>`` or ``missing``; sorted. A pattern stands for
        what it matches, and is ``missing`` where it matches nothing.
    list of ContentPath
        The same paths, with their states.

    Raises
    ------
    RefusedError
        When a content isn't certain.
    """
    found = {path: _seen(registry, path) for path in sorted(set(_expanded(files)))}
    paths = [ContentPath(local_path(path), content.state) for path, content in found.items()]
    return {path: str(content) for path, content in found.items()}, paths


def content_of(path: str) -> Content:
    """Look at what lies under a path.

    Parameters
    ----------
    path : str
        A local path.

    Returns
    -------
    Content
        As of some moment during the call.

    Raises
    ------
    RefusedError
        When the content isn't certain.
    """
    if "://" in path and not path.startswith("file://"):
        raise RefusedError(f"the content of the remote file {path!r} is not known")
    for _ in range(_ATTEMPTS):
        state = settled_state(path)
        content = _read(local_path(path), state)
        if file_state(path) == state:
            return content
    raise RefusedError(f"{path!r} changes while it is read")


def _seen(registry: Registry | None, path: str) -> Content:
    if registry is None:
        return content_of(path)
    seen = _passes.setdefault(registry, {})
    if path not in seen:
        seen[path] = content_of(path)
    return seen[path]


def _checked(path: Any) -> str:
    try:
        plain = os.fspath(path)
    except TypeError:
        plain = None
    if not isinstance(plain, str) or not plain or "\0" in plain:
        raise ConfigurationError(f"expected a path, not {path!r}")
    return plain


def _expanded(files: Iterable[str | File]) -> Iterable[str]:
    for item in files:
        path = item.path if isinstance(item, File) else item
        matches = []
        if path is item and glob.has_magic(path) and not os.path.lexists(local_path(path)):
            # Path.glob takes no absolute patterns.
            matches = glob.glob(local_path(path), recursive=True)  # noqa: PTH207
        yield from matches or [path]


def _read(path: str, state: str | None) -> Content:
    if state is None:
        return Content(MISSING, b"", None)
    try:
        if Path(path).is_dir():
            return Content("folder", _Folder().digest(Path(path)), state)
        return Content("file", _file_digest(path), state)
    except FileNotFoundError:
        return Content(MISSING, b"", state)  # gone meanwhile; the state tells
    except OSError as error:
        raise RefusedError(f"{path!r} can't be read: {error}") from error


_passes: WeakKeyDictionary[Registry, dict[str, Content]] = WeakKeyDictionary()
_digests: dict[str, tuple[Mark, bytes]] = {}


def _file_digest(path: str) -> bytes:
    started = time.time_ns()
    with Path(path).open("rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        mark = _mark(status)
        known = _digests.get(path)
        if known is not None and known[0] == mark:
            return known[1]
        digest = _hashed(file)
        if _mark(os.fstat(file.fileno())) == mark and _is_old(status, started):
            _remember(path, mark, digest)
    return digest


def _hashed(file: Any) -> bytes:
    digest = sha256()
    block = memoryview(bytearray(_BLOCK))
    while count := file.readinto(block):
        digest.update(block[:count])
    return digest.digest()


def _mark(status: os.stat_result) -> Mark:
    times = (status.st_mtime_ns, status.st_ctime_ns)
    return (status.st_size, *times, status.st_ino, status.st_dev)


def _is_old(status: os.stat_result, started: int) -> bool:
    return max(status.st_mtime_ns, status.st_ctime_ns) < started - _RACY_SECONDS * 10**9


def _remember(path: str, mark: Mark, digest: bytes) -> None:
    if len(_digests) >= _MOST_DIGESTS:
        _digests.clear()
    _digests[path] = mark, digest


class _Folder:
    """One walk through a folder; a link back to a folder above ends it, as levels up."""

    def __init__(self) -> None:
        self.above: list[Place] = []
        self.entries = 0

    def digest(self, folder: Path) -> bytes:
        status = folder.stat()
        place = (status.st_dev, status.st_ino)
        if place in self.above:
            return sha256(b"above" + size(len(self.above) - self.above.index(place))).digest()
        self.above.append(place)
        names = sorted(entry.name for entry in folder.iterdir())
        self.entries += len(names)
        if self.entries > MAX_FOLDER_ENTRIES:
            raise RefusedError(f"the folder {folder!s} holds too many files to look through")
        listing = b"".join(text(name) + self.entry(folder / name) for name in names)
        self.above.pop()
        return sha256(b"folder" + size(len(names)) + listing).digest()

    def entry(self, path: Path) -> bytes:
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            return b"?" + text(str(path.readlink()))
        if stat.S_ISDIR(mode):
            return b"/" + self.digest(path)
        if not stat.S_ISREG(mode):
            raise RefusedError(f"{path!s} is no ordinary file")
        return b"-" + _file_digest(str(path))


def encode_contents(encoder: Encoder, files: Iterable[str | File], out: list[Piece]) -> None:
    """Append files by content, and note their paths with their states.

    Parameters
    ----------
    encoder : Encoder
        Where the paths are noted.
    files : iterable of str or File
        As :func:`checked_files` gives them.
    out : list
        The pieces so far.
    """
    found, paths = contents(files, encoder.registry)
    out.append(b"t" + text("contents") + size(len(found)))
    out.extend(text(path) + text(content) for path, content in found.items())
    encoder.site.files.extend(paths)


def _encode_file(encoder: Encoder, value: File, out: list[Piece]) -> None:
    content = _seen(encoder.registry, value.path)
    out.append(b"t" + text("File") + text(value.path) + text(str(content)))
    encoder.site.files.append(ContentPath(local_path(value.path), content.state))


HANDLERS[File] = _encode_file
