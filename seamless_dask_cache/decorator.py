"""``@cached``: a function with a memory, with or without a Dask cluster."""

from __future__ import annotations

import functools
import inspect
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from seamless_dask_cache.celltypes import CELLTYPES
from seamless_dask_cache.errors import ConfigurationError

if TYPE_CHECKING:
    from seamless_dask_cache.identity.content import File

P = ParamSpec("P")
R = TypeVar("R")

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
Arguments = tuple[tuple[Any, ...], dict[str, Any]]

_living_lock = threading.Lock()
_living: weakref.WeakSet[CachedFunction[Any, Any]] = weakref.WeakSet()


class CachedFunction(Generic[P, R]):
    """A function that looks for its result before it computes it; made by `cached`.

    Parameters
    ----------
    function : callable
        What is computed.
    version : object, optional
        Enters the identity of every call.
    ignore : tuple of str
        Parameters that do not enter it.
    celltypes : mapping of str to str
        Parameters that enter it as the buffer of a cell type.
    expires : float, optional
        Seconds after which a stored result counts no more.
    files : tuple of str or File
        Paths and patterns whose content enters the identity of every call.

    Notes
    -----
    The decorator is the user's word that the function is pure: effects and ``None`` results do not
    refuse it. A function or an argument without a certain identity is computed all the same.
    """

    def __init__(
        self,
        function: Callable[P, R],
        version: Any = None,
        ignore: tuple[str, ...] = (),
        celltypes: Mapping[str, str] | None = None,
        expires: float | None = None,
        files: tuple[str | File, ...] = (),
    ):
        functools.update_wrapper(self, function)
        self.__qualname__: str = getattr(function, "__qualname__", repr(function))
        self.function = function
        self.version = version
        self.ignore = ignore
        self.celltypes = dict(celltypes or {})
        self.expires = expires
        self.files = files
        # The parameters of a function that it wraps may have other defaults.
        self.signature = inspect.signature(function, follow_wrapped=False)
        self._wraps = not self.signature.parameters.keys() >= {*ignore, *self.celltypes}
        if self._wraps:
            self.signature = inspect.signature(function)
        _check_names(self.signature, (*ignore, *self.celltypes))
        with _living_lock:
            _living.add(self)

    def __reduce__(self) -> Any:
        # As a function: by name where it can be imported, else by value.
        if self.__module__ != "__main__" and _is_importable(self):
            return self.__qualname__
        options = (self.version, self.ignore, self.celltypes, self.expires, self.files)
        return _rebuild, (self.function, *options)

    def __repr__(self) -> str:
        return f"<cached {self.__qualname__}>"

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the result, from the cache or computed here."""
        from seamless_dask_cache.dask_internals import inside_task

        if inside_task():
            # The cluster's own cache looked this call up already.
            return self.function(*args, **kwargs)
        from seamless_dask_cache.local import local_cache

        result: R = local_cache().call(self.bind(*args, **kwargs))
        return result

    def submit(self, *args: Any, client: Any = None, **kwargs: Any) -> Any:
        """Submit the call to a Dask client (the current one by default); returns a Future."""
        from distributed import get_client

        return (client or get_client()).submit(self, *args, **kwargs)

    def delayed(self, *args: Any, **kwargs: Any) -> Any:
        """Return the call as a `dask.delayed.Delayed`."""
        import dask

        return dask.delayed(self)(*args, **kwargs)

    def bind(self, *args: Any, **kwargs: Any) -> BoundCall:
        """Return the call itself, to ask for its transformation checksum.

        Raises
        ------
        TypeError
            When the arguments do not fit the function.
        """
        self.signature.bind(*args, **kwargs)
        return BoundCall(self, args, kwargs)

    def __seamless_call_policy__(self) -> Any:
        """Tell the identity of graphs how a call is identified."""
        from seamless_dask_cache.identity.policy import CallPolicy

        return CallPolicy(
            self.function, self.version, self.normalize, self.expires, files=self.files
        )

    def normalize(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
        """Bring a call into the one form in which it is identified.

        Every argument is named, defaults are filled in, ignored parameters are left out. Where
        the user named parameters of a function that this one wraps, no defaults are filled in.
        """
        bound = self.signature.bind(*args, **kwargs)
        if not self._wraps:
            bound.apply_defaults()
        named: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            if name not in self.ignore and not self._is_sentinel(name, value):
                named.update(self._named(name, value))
        return (), named

    def _is_sentinel(self, name: str, value: Any) -> bool:
        # Such a default means that the argument was left out, and has no other identity.
        return type(value) is object and value is self.signature.parameters[name].default

    def _named(self, name: str, value: Any) -> dict[str, Any]:
        kind = self.signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            return {f"*{name}.{position}": item for position, item in enumerate(value)}
        if kind is inspect.Parameter.VAR_KEYWORD:
            return {f"**{name}.{key}": item for key, item in value.items()}
        if name in self.celltypes:
            return {name: _as_celltype(value, self.celltypes[name])}
        return {name: value}


class BoundCall:
    """A call of a cached function, not made yet.

    Parameters
    ----------
    function : CachedFunction
    args, kwargs : tuple, dict
        What it is called with.
    key_prefix : str, optional
        The name under which lists show its result; that of the function by default.
    """

    def __init__(
        self,
        function: CachedFunction[Any, Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        key_prefix: str | None = None,
    ):
        self.function = function
        self.key_prefix = key_prefix
        self.args = args
        self.kwargs = kwargs

    def __repr__(self) -> str:
        return f"<call of {self.function.__qualname__}>"

    def compute(self) -> Any:
        """Compute the call, without looking for a stored result."""
        return self.function.function(*self.args, **self.kwargs)

    def task(self) -> Any:
        """Return the call as a node of a Dask graph."""
        from seamless_dask_cache.dask_internals import Task

        return Task("call", self.function, *self.args, **self.kwargs)


@overload
def cached(function: Callable[P, R], /) -> CachedFunction[P, R]: ...


@overload
def cached(
    *,
    version: Any = None,
    ignore: Iterable[str] = (),
    celltypes: Mapping[str, str] | None = None,
    expires: str | float | None = None,
    files: Paths = (),
) -> Callable[[Callable[P, R]], CachedFunction[P, R]]: ...


def cached(
    function: Callable[P, R] | None = None,
    /,
    *,
    version: Any = None,
    ignore: Iterable[str] = (),
    celltypes: Mapping[str, str] | None = None,
    expires: str | float | None = None,
    files: Paths = (),
) -> CachedFunction[P, R] | Callable[[Callable[P, R]], CachedFunction[P, R]]:
    """Give a function a persistent memory.

    Parameters
    ----------
    function : callable
        The function; it must be pure, and the decorator is your word for that.
    version : object, optional
        A literal that enters the identity of every call; change it to start afresh.
    ignore : iterable of str, optional
        Parameters that do not affect the result, such as ``["verbose"]``.
    celltypes : mapping, optional
        Parameter name to cell type: the parameter is identified by its buffer of that cell type.
    expires : str or float, optional
        Age, in seconds or as in ``"7d"``, after which a stored result counts no more.
    files : path or iterable of paths, optional
        Files and folders that the function reads, and patterns such as ``"data/*.csv"``. Their
        content enters the identity of every call, as it is when the call is identified.

    Returns
    -------
    CachedFunction
        Call it; or ``.submit(...)`` it to the current Dask client; or build graphs with
        ``.delayed(...)``.

    Raises
    ------
    ConfigurationError
        For a parameter that the function does not have, an unknown cell type, a negative age, or
        something among `files` that is no path.

    Examples
    --------
    >>> @cached(ignore=["verbose"])
    ... def area(width, height, verbose=False):
    ...     return width * height
    >>> area.bind(2, 3)
    <call of area>
    """
    if function is None:
        return functools.partial(
            cached,  # type: ignore[return-value]
            version=version,
            ignore=ignore,
            celltypes=celltypes,
            expires=expires,
            files=files,
        )
    if not callable(function):
        raise ConfigurationError(f"cached decorates a function, not {function!r}")
    _check_celltypes(celltypes or {})
    names = (ignore,) if isinstance(ignore, str) else tuple(ignore)
    return CachedFunction(function, version, names, celltypes, _age(expires), _checked(files))


def living_functions() -> list[CachedFunction[Any, Any]]:
    """Give all cached functions of this process, wherever they were defined."""
    with _living_lock:
        return list(_living)


def _rebuild(function: Any, *options: Any) -> CachedFunction[Any, Any]:
    return CachedFunction(function, *options)


def _is_importable(wrapper: Any) -> bool:
    import sys

    found: Any = sys.modules.get(wrapper.__module__)
    for name in wrapper.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is wrapper


def _check_names(signature: inspect.Signature, names: Iterable[str]) -> None:
    for name in names:
        if name not in signature.parameters:
            known = ", ".join(signature.parameters)
            raise ConfigurationError(f"the function has no parameter {name!r}, only: {known}")


def _check_celltypes(celltypes: Mapping[str, str]) -> None:
    for name, celltype in celltypes.items():
        if celltype not in CELLTYPES:
            known = ", ".join(CELLTYPES)
            raise ConfigurationError(
                f"{celltype!r} (for {name!r}) is no cell type; expected one of {known}"
            )


def _checked(files: Paths) -> tuple[str | File, ...]:
    if not files and not isinstance(files, str):
        return ()
    from seamless_dask_cache.identity.content import checked_files

    return checked_files(files)


def _age(expires: str | float | None) -> float | None:
    if expires is None:
        return None
    from dask.utils import parse_timedelta

    try:
        seconds = float(parse_timedelta(expires))
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigurationError(f"expires must be an age such as '7d', not {expires!r}") from error
    if seconds < 0:
        raise ConfigurationError(f"expires must not be negative, as {expires!r} is")
    return seconds


def _as_celltype(value: Any, celltype: str) -> Any:
    from seamless_dask_cache.buffer import Buffer
    from seamless_dask_cache.dask_internals import GraphNode, TaskRef

    if isinstance(value, GraphNode | TaskRef):
        return value
    return ("celltype", celltype, Buffer(value, celltype).checksum.hex())
