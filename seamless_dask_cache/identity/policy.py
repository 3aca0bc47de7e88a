"""What a call means beyond its code: Dask's writers, shuffles, and the options of ``@cached``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from types import MethodType
from typing import Any, NamedTuple

from seamless_dask_cache.errors import RefusedError
from seamless_dask_cache.identity.effects import Effect

# Of an argument of a partial call that is given later (Python 3.14).
_PLACEHOLDER = getattr(functools, "Placeholder", object())
EXPIRY = "expiry"
"""Kind of what travels with effects and is none: the age after which a result counts no more."""

WRITERS = {
    "dask.array.core": {"store_chunk", "load_store_chunk"},
    "dask.array.tiledb_io": {"store_chunk"},
    "dask.bag.avro": {"_write_avro_part"},
    "dask.bag.core": {"_to_textfiles_chunk"},
    "dask.dataframe.io.csv": {"_write_csv"},
    "dask.dataframe.io.hdf": {"_pd_to_hdf"},
    "dask.dataframe.io.io": {"_link"},
    "dask.dataframe.io.json": {"write_json_partition"},
    "dask.dataframe.io.sql": {"_to_sql_chunk", "_extra_deps"},
    "dask.dataframe.io.parquet.core": {"ToParquetFunctionWrapper"},
    "dask.dataframe.dask_expr.io.parquet": {"ToParquetFunctionWrapper"},
    "numpy": {"save", "savez", "savez_compressed", "savetxt"},
}
WRITING_METHODS = {
    "to_csv",
    "to_excel",
    "to_feather",
    "to_hdf",
    "to_json",
    "to_orc",
    "to_parquet",
    "to_pickle",
    "to_sql",
    "to_stata",
    "tofile",
    "write_metadata",
    "write_partition",
}


def soonest(effects: Iterable[Effect]) -> float | None:
    """Return the least age among what code reaches, or None where nothing of it expires."""
    return min((float(effect.name) for effect in effects if effect.kind == EXPIRY), default=None)


class CallPolicy(NamedTuple):
    """What ``@cached`` says of a function.

    Attributes
    ----------
    function : callable
        The decorated function itself.
    version : object
        Enters the identity where it is not None.
    normalize : callable
        Turns ``(args, kwargs)`` into the form in which the call is identified.
    expires : float or None
        Seconds after which a stored result counts no more.
    files : tuple
        Paths, patterns and ``File`` objects whose content enters the identity of every call.
    """

    function: Callable[..., Any]
    version: Any
    normalize: Callable[[tuple[Any, ...], dict[str, Any]], tuple[tuple[Any, ...], dict[str, Any]]]
    expires: float | None
    files: tuple[Any, ...] = ()


def call_policy(function: Any) -> CallPolicy | None:
    """Return the policy of a function decorated with ``@cached``, or None for any other.

    A method or a partial call of such a function has its policy, too.
    """
    if type(function) is functools.partial:
        return _partial_policy(function.func, function.args, function.keywords)
    if type(function) is MethodType:
        return _partial_policy(function.__func__, (function.__self__,), {})
    get_policy = getattr(type(function), "__seamless_call_policy__", None)
    if get_policy is None:
        return None
    policy: CallPolicy = get_policy(function)
    return policy


def _partial_policy(
    function: Any, given: tuple[Any, ...], named: dict[str, Any]
) -> CallPolicy | None:
    policy = call_policy(function)
    if policy is None or any(item is _PLACEHOLDER for item in given):
        return None
    normalize = policy.normalize
    return policy._replace(
        normalize=lambda args, kwargs: normalize((*given, *args), {**named, **kwargs})
    )


def refuse_shuffle(function: Any) -> None:
    """Refuse the tasks of a peer-to-peer shuffle: they exchange data behind the graph's back.

    Raises
    ------
    RefusedError
        When `function` belongs to such a shuffle.
    """
    module = getattr(function, "__module__", None) or ""
    name = getattr(function, "__name__", "")
    if module.startswith("distributed.shuffle") or name == "_shuffle_transfer":
        raise RefusedError("a peer-to-peer shuffle exchanges data behind the graph's back")


def sees_keyword_order(function: Any) -> bool:
    """Tell whether a callable can see in which order its keywords were given.

    Its own parameters count, not those of a function that it wraps.
    """
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    if code is not None:
        return bool(code.co_flags & inspect.CO_VARKEYWORDS)
    try:
        parameters = inspect.signature(function, follow_wrapped=False).parameters.values()
    except (TypeError, ValueError):
        return True
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def hands_over_seeds(name: str) -> bool:
    """Tell whether a function makes its random generators from the seeds among its arguments.

    Dask's random arrays name the class of a generator and its seed in every task; the class alone
    is no sign of unseeded randomness there.
    """
    return name.startswith("dask.array.random.")


def writer_name(function: Any) -> str | None:
    """Return the qualified name of a function that is known to write, or None for any other."""
    while isinstance(function, functools.partial):
        function = function.func
    method = getattr(function, "method", None) or _methodcaller_name(function)
    if method in WRITING_METHODS:
        return str(method)
    # An instance may call itself what it likes; its class tells.
    for target in (function, type(function)):
        module = getattr(target, "__module__", None) or ""
        name = getattr(target, "__name__", "")
        if name in WRITERS.get(module, ()):
            return f"{module}.{name}"
        if name in WRITING_METHODS and module.split(".")[0] in ("dask", "pandas", "numpy"):
            return f"{module}.{name}"
    return None


def _methodcaller_name(function: Any) -> str | None:
    if type(function).__module__ != "operator" or type(function).__name__ != "methodcaller":
        return None
    _, arguments = function.__reduce__()
    return str(arguments[0])
