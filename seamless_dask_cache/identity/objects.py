"""The rule for objects of types that have no encoding of their own.

In this order:

1. A type registered with :func:`register_identity`: what the registered function returns.
2. A class with ``__seamless_identity__(self)``: what it returns.
3. Locks are constants: they guard a computation and do not enter it.
4. Handles, iterators, sockets, threads, frames, weak references, pointers, clients and futures of a
   cluster are refused: what they give depends on more than what can be seen.
5. Loggers are constants: logging is no effect.
6. Functions, classes, modules and other callables enter as code.
7. Members of an enumeration enter as class and name.
8. Anything else enters as what pickle (protocol 4) would rebuild it from: the callable, its
   arguments, the state with attributes sorted by name, list items and dict items; the class enters
   as code. That is exactly what a worker in another process would get to see. It covers
   ordinary Python objects whole, and extension types that can give their state, such as
   scikit-learn's trees or Pillow's images.
9. What can't be pickled is refused.
"""

from __future__ import annotations

import copyreg
import enum
import logging
import os
import types
import weakref
from collections.abc import Callable
from typing import Any

from ..errors import RefusedError
from .effects import ENVIRONMENT, RANDOM
from .encoder import Encoder, Handler, located
from .literals import size, text
from .nodes import Piece
from .values import HANDLERS

_registered: dict[type, Callable[[Any], Any]] = {}

_LOCKS = {
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
_UNCERTAIN = {
    "socket.socket": "a socket",
    "threading.Thread": "a thread",
    "threading.Event": "a thread's event",
    "_thread._local": "thread-local state",
    "subprocess.Popen": "a process",
    "sqlite3.Connection": "a database connection",
    "distributed.client.Client": "a Dask client",
    "distributed.client.Future": "a future",
    "distributed.actor.Actor": "an actor",
    "distributed.worker.Worker": "a Dask worker",
    "distributed.scheduler.Scheduler": "a Dask scheduler",
    "concurrent.futures._base.Future": "a future",
    "_asyncio.Future": "a future",
    "_asyncio.Task": "a running task",
    "_ctypes._Pointer": "a pointer",
    "_ctypes.CFuncPtr": "a pointer to a C function",
    "_ctypes._SimpleCData": "a ctypes value",
    "_ctypes.Structure": "a ctypes value",
    "_io._IOBase": "an open file",
}
_UNCERTAIN_TYPES: tuple[tuple[Any, str], ...] = (
    (types.GeneratorType, "a generator"),
    (types.CoroutineType, "a coroutine"),
    (types.AsyncGeneratorType, "an asynchronous generator"),
    (types.FrameType, "a frame"),
    (types.TracebackType, "a traceback"),
    (weakref.ref, "a weak reference"),
    (weakref.ProxyType, "a weak reference"),
    (weakref.CallableProxyType, "a weak reference"),
    (weakref.WeakKeyDictionary, "a weak dictionary"),
    (weakref.WeakValueDictionary, "a weak dictionary"),
)
_IN_MEMORY = {"_io.BytesIO", "_io.StringIO"}


def register_identity(kind: type, function: Callable[[Any], Any]) -> None:
    """Say what identifies the values of a type.

    Parameters
    ----------
    kind : type
        The type; subclasses are meant too, unless they have their own.
    function : callable
        Takes a value, returns plain values (numbers, strings, arrays, containers of such) that
        differ whenever two values are not interchangeable.

    Examples
    --------
    >>> class Model:
    ...     def __init__(self, weights):
    ...         self.weights = weights
    >>> register_identity(Model, lambda model: model.weights)
    """
    _registered[kind] = function


def registered() -> dict[type, Callable[[Any], Any]]:
    """Give the table of registered types."""
    return _registered


def own_handler(kind: type) -> Handler | None:
    """Give the handler that the user declared for a type.

    Parameters
    ----------
    kind : type
        Any class.

    Returns
    -------
    callable or None
        For registered types and classes with ``__seamless_identity__``.
    """
    for base in kind.__mro__:
        function = _registered.get(base)
        if function is not None:
            return _declared(function)
        if "__seamless_identity__" in base.__dict__:
            return _declared(lambda value: value.__seamless_identity__())
    return None


def _declared(function: Callable[[Any], Any]) -> Handler:
    def handler(encoder: Encoder, value: Any, out: list[Piece]) -> None:
        out.append(b"t" + text("declared") + text(_dotted(type(value))))
        encoder.encode(function(value), out)

    return handler


def find_handler(kind: type) -> Handler:
    """Give the handler of a type by the rule of this module.

    Parameters
    ----------
    kind : type
        Any class.

    Returns
    -------
    callable
        It may always refuse.
    """
    from . import callables

    known = HANDLERS.get(kind)
    if known is not None:
        return known
    names = [_dotted(base) for base in kind.__mro__]
    if not _LOCKS.isdisjoint(names):
        return _constant("lock")
    reason = _why_uncertain(kind, names)
    if reason is not None:
        return _refusal(reason)
    if issubclass(kind, (logging.Logger, logging.LoggerAdapter)):
        return _constant("logger")
    if "random.Random" in names:
        return _random_state
    if issubclass(kind, os._Environ):
        return _environment
    if issubclass(kind, enum.Enum):
        return _enum_member
    if {"dask._task_spec.GraphNode", "dask._task_spec.TaskRef"} & set(names):
        return _graph_node
    return callables.find_handler(kind) or _by_reduction


def _dotted(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _why_uncertain(kind: type, names: list[str]) -> str | None:
    for base, reason in _UNCERTAIN_TYPES:
        if issubclass(kind, base):
            return reason
    if not _IN_MEMORY.isdisjoint(names):
        return None
    for name in names:
        if name in _UNCERTAIN:
            return _UNCERTAIN[name]
    if hasattr(kind, "__next__") and kind.__module__ in ("builtins", "itertools", "_csv"):
        return "an iterator"
    return None


def _constant(name: str) -> Handler:
    def handler(encoder: Encoder, value: Any, out: list[Piece]) -> None:
        out.append(b"t" + text(name))

    return handler


def _refusal(reason: str) -> Handler:
    def handler(encoder: Encoder, value: Any, out: list[Piece]) -> None:
        raise RefusedError(f"{reason} ({_dotted(type(value))}) has no certain identity")

    return handler


def _enum_member(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    out.append(b"t" + text("enum"))
    encoder.encode(type(value), out)
    # Only a combination of flags has no name of its own.
    encoder.encode(value.name, out)
    if value.name is None or value.name not in type(value).__members__:
        encoder.encode(value._value_, out)


def _random_state(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    if encoder.shared:
        encoder.effect(RANDOM, "state of a random generator")
    _by_reduction(encoder, value, out)


def _environment(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    encoder.effect(ENVIRONMENT, "os.environ")
    out.append(b"t" + text("os.environ"))


def _graph_node(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    hook = encoder.registry.graph_node_hook
    if hook is None:
        raise RefusedError(f"a node of a Dask graph ({type(value).__name__}) outside of its graph")
    out.append(b"t" + text("graph node"))
    encoder.encode(hook(value), out)


def _by_reduction(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    encoder.container(value, out, _fill_reduction)


def _fill_reduction(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    out.append(b"t" + text("object"))
    reduced = _reduce(value)
    kind = type(value)
    encoder.constructed.append(kind)
    try:
        with located(kind.__name__):
            encoder.encode(kind, out)
            _encode_parts(encoder, reduced, out)
    finally:
        encoder.constructed.pop()


def _encode_parts(encoder: Encoder, reduced: Any, out: list[Piece]) -> None:
    if isinstance(reduced, str):
        encoder.encode(reduced, out)
        return
    function, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
    encoder.encode(function, out)
    out.append(b"(" + size(len(arguments)))
    encoder.items(arguments, out)
    _encode_state(encoder, state, out)
    encoder.encode(None if items is None else list(items), out)
    encoder.encode(None if pairs is None else dict(pairs), out)


def _reduce(value: Any) -> Any:
    reducer = copyreg.dispatch_table.get(type(value))
    try:
        reduced = reducer(value) if reducer is not None else value.__reduce_ex__(4)
    except Exception as error:
        reason = f"{_dotted(type(value))} can't be reduced to its parts: {error}"
        raise RefusedError(reason) from error
    if isinstance(reduced, str) or (isinstance(reduced, tuple) and len(reduced) >= 2):
        return reduced
    raise RefusedError(f"{_dotted(type(value))} reduces to something else than its parts")


def _encode_state(encoder: Encoder, state: Any, out: list[Piece]) -> None:
    if type(state) is dict:
        encoder.attributes(state.items(), out)
    elif type(state) is tuple and len(state) == 2 and _are_attributes(state):
        out.append(b"2")
        encoder.attributes((state[0] or {}).items(), out)
        encoder.attributes((state[1] or {}).items(), out)
    else:
        encoder.encode(state, out)


def _are_attributes(state: tuple[Any, ...]) -> bool:
    return all(part is None or type(part) is dict for part in state)
