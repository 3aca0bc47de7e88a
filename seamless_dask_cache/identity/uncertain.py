"""Types whose instances have no certain identity, and types that are constants.

A handle, an iterator, a name of something that lives elsewhere: what such an object gives depends
on more than what can be seen of it.
"""

from __future__ import annotations

import types
import weakref
from typing import Any

from .reduction import dotted

LOCKS = frozenset(
    {
        "_thread.lock",
        "_thread.RLock",
        "threading._RLock",
        "threading.Condition",
        "threading.Semaphore",
        "threading.BoundedSemaphore",
        "multiprocessing.synchronize.Lock",
        "multiprocessing.synchronize.RLock",
        "dask.utils.SerializableLock",
        "distributed.lock.Lock",
        "filelock._unix.UnixFileLock",
    }
)
"""They guard a computation and do not enter it."""

_BY_NAME = {
    "socket.socket": "a socket",
    "threading.Thread": "a thread",
    "threading.Event": "a thread's event",
    "_thread._local": "thread-local state",
    "subprocess.Popen": "a process",
    "sqlite3.Connection": "a database connection",
    "multiprocessing.shared_memory.SharedMemory": "shared memory",
    "multiprocessing.shared_memory.ShareableList": "shared memory",
    "multiprocessing.managers.BaseProxy": "something that another process holds",
    "distributed.client.Client": "a Dask client",
    "distributed.client.Future": "a future",
    "distributed.actor.Actor": "an actor",
    "distributed.worker.Worker": "a Dask worker",
    "distributed.scheduler.Scheduler": "a Dask scheduler",
    "distributed.variable.Variable": "a variable that the scheduler holds",
    "distributed.queues.Queue": "a queue that the scheduler holds",
    "distributed.event.Event": "an event that the scheduler holds",
    "distributed.semaphore.Semaphore": "a semaphore that the scheduler holds",
    "distributed.pubsub.Pub": "a channel of the scheduler",
    "distributed.pubsub.Sub": "a channel of the scheduler",
    "concurrent.futures._base.Future": "a future",
    "concurrent.futures._base.Executor": "a pool of workers",
    "_asyncio.Future": "a future",
    "_asyncio.Task": "a running task",
    "_ctypes._Pointer": "a pointer",
    "_ctypes.CFuncPtr": "a pointer to a C function",
    "_ctypes._SimpleCData": "a ctypes value",
    "_ctypes.Structure": "a ctypes value",
    "_ctypes.Union": "a ctypes value",
    "_ctypes.Array": "a ctypes value",
    "_io._IOBase": "an open file",
    "_weakrefset.WeakSet": "a weak set",
    "requests.sessions.Session": "a network session",
    "httpx._client.BaseClient": "a network session",
    "aiohttp.client.ClientSession": "a network session",
    "urllib3.poolmanager.PoolManager": "a pool of connections",
    "urllib3.connectionpool.ConnectionPool": "a pool of connections",
    "botocore.client.BaseClient": "a client of a remote service",
    "sqlalchemy.engine.base.Engine": "a database engine",
    "pyarrow._s3fs.S3FileSystem": "a remote file system",
    "pyarrow._gcsfs.GcsFileSystem": "a remote file system",
    "pyarrow._azurefs.AzureFileSystem": "a remote file system",
    "pyarrow._hdfs.HadoopFileSystem": "a remote file system",
    "polars.lazyframe.frame.LazyFrame": "a query that reads its sources when it runs",
    "zarr.storage._obstore.ObjectStore": "a zarr store on another file system",
}
_BY_TYPE: tuple[tuple[Any, str], ...] = (
    (types.GeneratorType, "a generator"),
    (types.CoroutineType, "a coroutine"),
    (types.AsyncGeneratorType, "an asynchronous generator"),
    (types.FrameType, "a frame"),
    (types.TracebackType, "a traceback"),
    (weakref.ref, "a weak reference"),
    (weakref.finalize, "a finalizer"),
    (weakref.ProxyType, "a weak reference"),
    (weakref.CallableProxyType, "a weak reference"),
    (weakref.WeakKeyDictionary, "a weak dictionary"),
    (weakref.WeakValueDictionary, "a weak dictionary"),
)
_IN_MEMORY = {"_io.BytesIO", "_io.StringIO"}
_ARROW_FILES = "pyarrow._fs.FileSystem"
_ARROW_LOCAL = {
    *("pyarrow._fs.LocalFileSystem", "pyarrow._fs.SubTreeFileSystem", "pyarrow._fs.PyFileSystem")
}


def why_uncertain(kind: type) -> str | None:
    """Say what the instances of a type are, if they have no certain identity.

    Parameters
    ----------
    kind : type
        Any class; subclasses of what is listed here count.

    Returns
    -------
    str or None
        Such as ``a socket``.
    """
    for base, reason in _BY_TYPE:
        if issubclass(kind, base):
            return reason
    names = [dotted(base) for base in kind.__mro__]
    if not _IN_MEMORY.isdisjoint(names):
        return None
    for name in names:
        if name in _BY_NAME:
            return _BY_NAME[name]
    if _ARROW_FILES in names and _ARROW_LOCAL.isdisjoint(names):
        return "a file system whose files can't be looked at"
    if hasattr(kind, "__next__") and kind.__module__ in ("builtins", "itertools", "_csv"):
        return "an iterator"
    return None
