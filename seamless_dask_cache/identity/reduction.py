"""Objects without an encoding of their own: by what pickle would rebuild them from, and the rest.

What pickle (protocol 4) takes apart is what a worker in another process would get to see: the
callable, its arguments, the state, the items. A call in this process also sees what the class
leaves out when it is pickled. So, for classes of the user, attributes that the reduction does not
mention enter too; installed classes are trusted to give all that counts.
"""

from __future__ import annotations

import copyreg
import threading
from collections.abc import Container, Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import RefusedError
from .distributions import owner_of
from .encoder import Encoder, located
from .literals import size, text
from .nodes import Piece

_CONTENT: tuple[tuple[type, Any], ...] = (
    (list, lambda value: list(list.__iter__(value))),
    (tuple, lambda value: tuple(tuple.__iter__(value))),
    (dict, lambda value: dict(dict.items(value))),
    (str, str.__str__),
    (bytes, lambda value: b"".join((value,))),
    (bytearray, lambda value: b"".join((value,))),
    (int, int.__int__),
    (float, float.__float__),
    (complex, lambda value: (value.real, value.imag)),
)
_USUAL_REDUCTION: dict[str, Any] = {
    "__reduce_ex__": object.__reduce_ex__,
    "__reduce__": object.__reduce__,
    "__getstate__": getattr(object, "__getstate__", None),  # since Python 3.11
}
_SKLEARN_VERSION = "_sklearn_version"


def encode_object(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    """Append any object by its reduction.

    Parameters
    ----------
    encoder : Encoder
        Encodes the parts.
    value : object
        Anything that pickle can take apart.
    out : list
        The pieces so far.

    Raises
    ------
    RefusedError
        If pickle can't, or a part has no certain identity.
    """
    encoder.container(value, out, _fill_object)


def encode_set(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    """Append an instance of a subclass of ``set`` or ``frozenset``.

    Parameters
    ----------
    encoder : Encoder
        Encodes the members, whose order pickle would take from their hashes.
    value : set or frozenset
        The object.
    out : list
        The pieces so far.
    """
    encoder.container(value, out, _fill_set)


def encode_exception(encoder: Encoder, value: BaseException, out: list[Piece]) -> None:
    """Append an exception with its cause and context, without its traceback.

    Parameters
    ----------
    encoder : Encoder
        Encodes the parts.
    value : BaseException
        The exception.
    out : list
        The pieces so far.
    """
    encoder.container(value, out, _fill_exception)


def encode_path_like(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    """Append an object that stands for a path, and note the path as one.

    Parameters
    ----------
    encoder : Encoder
        Where the path is noted.
    value : os.PathLike
        Of any class but those of ``pathlib``.
    out : list
        The pieces so far.
    """
    path = _path_of(value)
    encode_object(encoder, value, out)
    encoder.encode(path, out)


def encode_attributes(
    encoder: Encoder, value: Any, known: Container[str], out: list[Piece]
) -> None:
    """Append what stands in ``__dict__`` beyond the names that a handler knows.

    Parameters
    ----------
    encoder : Encoder
        Encodes the attributes.
    value : object
        Has a ``__dict__`` or not.
    known : container of str
        Names that are left out.
    out : list
        The pieces so far. Nothing is appended where nothing is left.
    """
    own = {name: item for name, item in getattr(value, "__dict__", {}).items() if name not in known}
    if own:
        encoder.attributes(own.items(), out)


def _fill_object(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    reducer = copyreg.dispatch_table.get(type(value))
    reduced = _reduce(value, reducer)
    with _opened(encoder, value, out):
        _encode_parts(encoder, value, reduced, out)
        if not _is_whole(type(value), reducer):
            _encode_hidden(encoder, value, reduced, out)


def _fill_set(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    with _opened(encoder, value, out):
        base = set if isinstance(value, set) else frozenset
        encoder.members(base.__iter__(value), b"<", out)
        encoder.attributes(_attributes(value), out)


def _fill_exception(encoder: Encoder, value: BaseException, out: list[Piece]) -> None:
    # Not the dispatch table: tblib registers reducers there, in some processes and not in others.
    # And no state is the same as an empty one, which appears when somebody looks at ``__dict__``.
    function, arguments, *rest = _reduce(value, None)
    reduced = (function, arguments, *([None] if rest[:1] == [{}] else rest))
    with _opened(encoder, value, out):
        _encode_parts(encoder, value, reduced, out)
        _encode_hidden(encoder, value, reduced, out)
        origin = None if value.__suppress_context__ else value.__context__
        encoder.items((value.__cause__, origin), out)


@contextmanager
def _opened(encoder: Encoder, value: Any, out: list[Piece]) -> Iterator[None]:
    kind = type(value)
    out.append(b"t" + text("object"))
    encoder.constructed.append(kind)
    try:
        with located(kind.__name__):
            encoder.encode(kind, out)
            yield
    finally:
        encoder.constructed.pop()


def _reduce(value: Any, reducer: Any) -> Any:
    try:
        reduced = reducer(value) if reducer is not None else value.__reduce_ex__(4)
    except BaseException as error:
        if interrupts(error):
            raise
        reason = f"{dotted(type(value))} can't be reduced to its parts: {told(error)}"
        raise RefusedError(reason) from error
    if isinstance(reduced, str) or (isinstance(reduced, tuple) and 2 <= len(reduced) <= 6):
        return reduced
    raise RefusedError(f"{dotted(type(value))} reduces to something else than its parts")


def dotted(kind: type) -> str:
    """Give module and qualified name of a class."""
    return f"{kind.__module__}.{kind.__qualname__}"


def _encode_parts(encoder: Encoder, value: Any, reduced: Any, out: list[Piece]) -> None:
    if isinstance(reduced, str):
        # A global that every process has under this name.
        out.append(text(reduced) + text(str(getattr(value, "__module__", None))))
        return
    function, arguments, state, items, pairs, setter = (*reduced, None, None, None, None)[:6]
    encoder.encode(function, out)
    out.append(b"(" + size(len(arguments)))
    encoder.items(arguments, out)
    _encode_state(encoder, value, state, out)
    encoder.encode(None if items is None else list(items), out)
    encoder.encode(None if pairs is None else dict(pairs), out)
    if setter is not None:
        encoder.encode(setter, out)


def _encode_state(encoder: Encoder, value: Any, state: Any, out: list[Piece]) -> None:
    if type(state) is dict:
        _encode_named(encoder, value, state, out)
    elif type(state) is tuple and len(state) == 2 and _are_attributes(state):
        out.append(b"2")
        for part in state:
            _encode_named(encoder, value, part or {}, out)
    else:
        encoder.encode(state, out)


def _encode_named(encoder: Encoder, value: Any, state: dict[Any, Any], out: list[Piece]) -> None:
    if _SKLEARN_VERSION in state:
        # The class enters with its version as far as the policy lets versions count.
        state = {name: item for name, item in state.items() if name != _SKLEARN_VERSION}
    if hasattr(type(value), "__setstate__") and not _names_attributes(value, state):
        # What the class makes of it may depend on the order.
        encoder.encode(state, out)
    else:
        encoder.attributes(state.items(), out)


def _names_attributes(value: Any, state: dict[Any, Any]) -> bool:
    own = dict(_attributes(value))
    return all(name in own and own[name] is item for name, item in state.items())


def _are_attributes(state: tuple[Any, ...]) -> bool:
    return all(part is None or type(part) is dict for part in state)


def _path_of(value: Any) -> Any:
    try:
        return value.__fspath__()
    except BaseException as error:
        if interrupts(error):
            raise
        raise RefusedError(f"{dotted(type(value))} gives no path: {told(error)}") from error


def interrupts(error: BaseException) -> bool:
    """Tell whether an error is a person's Ctrl-C, and nothing that code of a class has raised.

    Parameters
    ----------
    error : BaseException
        Being handled. Python interrupts the main thread only.
    """
    is_main = threading.current_thread() is threading.main_thread()
    return is_main and isinstance(error, KeyboardInterrupt)


def told(error: BaseException) -> str:
    """Describe an error, whose text is made by code that may fail as well."""
    try:
        return f"{type(error).__name__}: {error}"
    except BaseException as other:
        if interrupts(other):
            raise
        return type(error).__name__


def _is_whole(kind: type, reducer: Any) -> bool:
    """Tell whether the reduction of a class is sure to be all that there is, or is trusted."""
    if owner_of(kind.__module__) is not None:
        return True
    return reducer is None and all(
        getattr(kind, name, None) is usual for name, usual in _USUAL_REDUCTION.items()
    )


def _encode_hidden(encoder: Encoder, value: Any, reduced: Any, out: list[Piece]) -> None:
    state = _told(reduced)
    hidden = {
        name: item
        for name, item in _attributes(value)
        if name not in state or state[name] is not item
    }
    with located("what pickle leaves out"):
        encoder.attributes(hidden.items(), out)
        for base, content in _CONTENT:
            if isinstance(value, base):
                encoder.encode(content(value), out)


def _told(reduced: Any) -> dict[Any, Any]:
    state = reduced[2] if isinstance(reduced, tuple) and len(reduced) > 2 else None
    if type(state) is dict:
        return state
    if type(state) is tuple and len(state) == 2 and _are_attributes(state):
        return {**(state[0] or {}), **(state[1] or {})}
    return {}


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield everything that is stored in an object, in ``__dict__`` or in slots."""
    yield from getattr(value, "__dict__", {}).items()
    for name in copyreg._slotnames(type(value)):  # type: ignore[attr-defined]
        try:
            yield name, object.__getattribute__(value, name)
        except AttributeError:
            continue
