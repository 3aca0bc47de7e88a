"""Files as memory of the caller's own, to read and to write into, without touching the file.

A memory map is several times as fast as reading, and processes on one machine share its pages
until they write into them. But a map ends the process that looks at it (SIGBUS) when the file is
taken away under it, and on a network file system another machine can do that. So only files on
local disks are mapped.
"""

from __future__ import annotations

import contextlib
import io
import mmap
import os
import sys
import weakref
from functools import lru_cache
from pathlib import Path
from typing import Any

# Below this size, setting up a map costs more than it saves.
_MAP_FROM = 1 << 20

# Before Python 3.13 each map holds a file descriptor for as long as an array lives in it, and a
# process has few of those (often 1024). Later, the number of maps is limited by Linux (65,530).
# Beyond this many maps, files are read instead.
_KEEPS_DESCRIPTOR = sys.version_info < (3, 13)
_MAX_MAPS = 256 if _KEEPS_DESCRIPTOR else 8192
_live_maps: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()

# A deleted file lives on in these for as long as it is mapped.
_LOCAL_FILESYSTEMS = frozenset(
    {"apfs", "bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "hfs", "jfs", "ntfs"}
    | {"overlay", "reiserfs", "tmpfs", "ufs", "xfs", "zfs"}
)


def load(path: Path, folder: Path) -> bytes | memoryview:
    """Return the content of a file: a writable memory map if it is large, else bytes.

    Parameters
    ----------
    path : Path
    folder : Path
        A folder above it, which tells whether the file is on a local disk.

    Raises
    ------
    OSError
    """
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if size < _MAP_FROM:
            return file.readall()
        mapped = _map(file.fileno()) if is_local(folder) else None
        return _read(file, size) if mapped is None else memoryview(mapped)


@lru_cache(maxsize=256)
def is_local(folder: Path) -> bool:
    """Tell whether a folder is known to be on a disk of this machine."""
    import psutil

    try:
        real = Path(os.path.realpath(folder))
        # Of two mounts on the same folder, the later one covers the earlier.
        mounts = reversed(psutil.disk_partitions(all=True))
    except (OSError, psutil.Error):
        return False
    above = [mount for mount in mounts if real.is_relative_to(mount.mountpoint)]
    nearest = max(above, key=lambda mount: len(mount.mountpoint), default=None)
    return nearest is not None and nearest.fstype.lower() in _LOCAL_FILESYSTEMS


def _map(descriptor: int) -> mmap.mmap | None:
    """Map a file into private memory, or return None where that does not work."""
    if len(_live_maps) >= _MAX_MAPS:
        return None
    options: dict[str, Any] = {} if _KEEPS_DESCRIPTOR else {"trackfd": False}
    try:
        mapped = mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY, **options)
    except (OSError, ValueError):
        return None
    _live_maps.add(mapped)
    return mapped


def _read(file: io.FileIO, size: int) -> memoryview:
    memory = memoryview(_own_memory(size))
    filled = 0
    while filled < size:
        count = file.readinto(memory[filled:])
        if not count:
            break  # the file became shorter
        filled += count
    return memory[:filled]


def _own_memory(size: int) -> mmap.mmap:
    # Shared, as Python would map it, this memory could not be in huge pages, which are what makes
    # filling it as fast as numpy fills an array.
    if not hasattr(mmap, "MAP_ANONYMOUS"):
        return mmap.mmap(-1, size)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memory
