"""Making a call again of its recipe.

A recipe names code and inputs by checksums. Where both are at hand, it becomes a call once more.
What is made here is checked before it is run: it must have the checksum of the recipe.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any, NamedTuple

from seamless_dask_cache.dask_internals import Dict, GraphNode, List, Set, Task, TaskRef, Tuple
from seamless_dask_cache.decorator import CachedFunction, living_functions
from seamless_dask_cache.identity.code import Identifier
from seamless_dask_cache.identity.describer import Describer
from seamless_dask_cache.identity.recipe import Identity

Entry = Any
Document = dict[str, Any]
Resolve = Callable[[str, str], Any]

_NODES: dict[str, Any] = {"List": List, "Tuple": Tuple, "Set": Set, "Dict": Dict}
_KINDS: dict[str, tuple[type, Any]] = {
    "list": (list, List),
    "tuple": (tuple, Tuple),
    "set": (set, Set),
}


class NotAtHandError(LookupError):
    """Something that a recipe names is not to be had; the message says what."""


class Call(NamedTuple):
    """A call that was made of a recipe.

    Attributes
    ----------
    node : Task
        Calls a function; where it has inputs, they are named by their transformation checksums.
    inputs : frozenset of str
        Those checksums.
    """

    node: Any
    inputs: frozenset[str]

    def compute(self, values: Mapping[str, Any]) -> Any:
        """Call the function, with the values of the inputs."""
        return self.node({name: values[name] for name in self.inputs})


def rebuild(
    checksum: str,
    document: Document,
    modules: Iterable[str],
    resolve: Resolve,
    versions: str = "exact",
) -> Call:
    """Make the call that a recipe describes.

    Parameters
    ----------
    checksum : str
        Its transformation checksum, which the call will have.
    document : dict
        The recipe.
    modules : iterable of str
        Where its function may be defined.
    resolve : callable
        Gives the value of a buffer, from its checksum and cell type.
    versions : str
        How far versions of installed distributions count, as they did when it was recorded.

    Raises
    ------
    NotAtHandError
        When its code or an input is not to be had, or is another one by now.
    """
    identifier = Identifier(versions=versions)
    functions = _Functions(identifier, tuple(modules))
    reason = NotAtHandError("it was not recorded how it is called")
    for function in _callees(functions, document):
        builder = _Builder(functions, resolve)
        try:
            node = builder.node(document, function)
        except NotAtHandError as error:
            reason = error
            continue
        if _checksum_of(node, identifier) == checksum:
            bare = _Builder(functions, resolve, bare=True).node(document, function)
            return Call(bare, frozenset(builder.inputs))
        reason = NotAtHandError("its code, or a file that it reads, has changed since")
    raise reason


def _callees(functions: _Functions, document: Document) -> Iterable[Any]:
    name, code = document.get("function"), document.get("code")
    if isinstance(name, str) and isinstance(code, str):
        return functions.all_of(name, code)
    return [None]


def _checksum_of(node: Any, identifier: Identifier) -> str | None:
    describer = Describer(identifier, trusted=True)
    try:
        return describer.identify(node, lambda name: Identity(name, b"{}", "", "")).checksum
    except RecursionError:
        raise
    except Exception as error:  # hashing runs code of users' classes
        raise NotAtHandError(f"it has no certain identity any more ({error})") from None


class _Builder:
    """Makes the nodes of one recipe.

    Parameters
    ----------
    functions : _Functions
    resolve : callable
    bare : bool
        Call the function in a cached one, which would look for its result.
    """

    def __init__(self, functions: _Functions, resolve: Resolve, *, bare: bool = False) -> None:
        self.inputs: set[str] = set()
        self._bare = bare
        self._functions = functions
        self._resolve = resolve

    def node(self, document: Document, function: Any = None) -> Any:
        """Make a node; of the function that is given, or the first that fits."""
        name, code = document.get("function"), document.get("code")
        if code is None and name in _NODES:
            (entries,) = document["args"].values()
            return _NODES[name](*self._values(entries))
        if not isinstance(name, str) or not isinstance(code, str):
            raise NotAtHandError("it is not a call of one function")
        function = function or self._functions.find(name, code)
        args = self._values(document.get("args", []))
        kwargs = {key: entry for key, entry in _pairs(document.get("kwargs", {}))}
        if isinstance(function, CachedFunction):
            args, named = self._call_of(function, kwargs)
            function = function.function if self._bare else function
        else:
            named = {key: self._value(entry) for key, entry in kwargs.items()}
        producer = document.get("producer")
        return Task(producer, function, *args, _data_producer=producer is not None, **named)

    def _call_of(
        self, function: CachedFunction[Any, Any], kwargs: dict[str, Entry]
    ) -> tuple[list[Any], dict[str, Any]]:
        """Turn the one form in which a call is identified into one that can be made."""
        signature = function.signature
        bound = inspect.BoundArguments(signature, {})
        for name, parameter in signature.parameters.items():
            if parameter.kind is parameter.VAR_POSITIONAL:
                several = _under(f"*{name}.", kwargs)
                bound.arguments[name] = tuple(self._value(entry) for entry in several.values())
            elif parameter.kind is parameter.VAR_KEYWORD:
                several = _under(f"**{name}.", kwargs)
                bound.arguments[name] = {key: self._value(e) for key, e in several.items()}
            elif name in kwargs:
                celltype = function.celltypes.get(name)
                bound.arguments[name] = self._argument(kwargs[name], celltype)
        try:
            signature.bind(*bound.args, **bound.kwargs)
        except TypeError as error:
            raise NotAtHandError(f"not all arguments were recorded: {error}") from None
        return list(bound.args), bound.kwargs

    def _argument(self, entry: Entry, celltype: str | None) -> Any:
        if celltype is None or "tuple" not in _as_dict(entry):
            return self._value(entry)
        _, celltype, checksum = entry["tuple"]
        return self._resolve(checksum, celltype)

    def _values(self, entries: Iterable[Entry]) -> list[Any]:
        return [self._value(entry) for entry in entries]

    def _value(self, entry: Entry) -> Any:
        if not isinstance(entry, dict):
            return entry
        if "float" in entry:
            return float.fromhex(entry["float"])
        if "int" in entry:
            return int(entry["int"], 16)
        if "str" in entry:
            return bytes.fromhex(entry["str"]).decode("utf-8", "surrogatepass")
        if "slice" in entry:
            return slice(*self._values(entry["slice"]))
        return self._named(entry)

    def _named(self, entry: Document) -> Any:
        if "transformation" in entry:
            self.inputs.add(entry["transformation"])
            return TaskRef(entry["transformation"])
        if "call" in entry:
            return self.node(entry["call"])
        if "code" in entry:
            return self._functions.find(entry["function"], entry["code"])
        if "dict" in entry:
            return _as_mapping(self._values(entry["dict"]))
        for name, (kind, node) in _KINDS.items():
            if name in entry:
                values = self._values(entry[name])
                return node(*values) if _holds_nodes(values) else kind(values)
        kind_of_value = entry.get("type", "data")
        raise NotAtHandError(f"an argument ({kind_of_value}) is named by its content only")


class _Functions:
    """Finds functions by name and code checksum.

    Parameters
    ----------
    identifier : Identifier
        Memo tables of this pass.
    modules : tuple of str
        Where they may be defined; what is not loaded yet is imported.
    """

    def __init__(self, identifier: Identifier, modules: tuple[str, ...]) -> None:
        self._identifier = identifier
        self._modules = modules

    def find(self, name: str, code: str) -> Any:
        """Give the first function of a name with a code checksum.

        Raises
        ------
        NotAtHandError
            When there is none.
        """
        return self.all_of(name, code)[0]

    def all_of(self, name: str, code: str) -> list[Any]:
        """Give all of them, cached ones and the functions in them; raises as `find` does."""
        candidates = {id(candidate): candidate for candidate in self._candidates(name)}
        found = [each for each in candidates.values() if self._has_code(_inner(each), code)]
        if candidates and not found:
            raise NotAtHandError(f"the code of {name} has changed since")
        if not found:
            raise NotAtHandError(f"there is no function {name} in this process")
        inner = {id(_inner(each)): _inner(each) for each in found}
        return [each for each in found if id(each) not in inner] + list(inner.values())

    def _has_code(self, function: Any, code: str) -> bool:
        try:
            return self._identifier.code(function).checksum.hex() == code
        except RecursionError:
            raise
        except Exception:  # whatever users' classes raise, it is not this one
            return False

    def _candidates(self, name: str) -> Iterator[Any]:
        for function in living_functions():
            if getattr(function.function, "__name__", None) == name:
                yield function
        for module in (*map(_imported, self._modules), *list(sys.modules.values())):
            found = getattr(module, "__dict__", {}).get(name)
            if callable(found):
                yield found
        yield from _by_dotted_name(name)


def _inner(function: Any) -> Any:
    return function.function if isinstance(function, CachedFunction) else function


def _by_dotted_name(name: str) -> Iterator[Any]:
    parts = name.split(".")
    for last in range(len(parts) - 1, 0, -1):
        # What is not loaded is only imported if it stands in the notes of the code.
        found = sys.modules.get(".".join(parts[:last]))
        if found is not None:
            for part in parts[last:]:
                found = getattr(found, part, None)
            if callable(found):
                yield found
            return


def _imported(module: str) -> Any:
    try:
        return sys.modules.get(module) or import_module(module)
    except (Exception, SystemExit):  # whatever a module raises when it is imported
        return None


def _pairs(kwargs: Any) -> list[tuple[str, Entry]]:
    return list(kwargs.items()) if isinstance(kwargs, dict) else [tuple(pair) for pair in kwargs]


def _under(prefix: str, kwargs: dict[str, Entry]) -> dict[str, Entry]:
    found = {k[len(prefix) :]: entry for k, entry in kwargs.items() if k.startswith(prefix)}
    if prefix.startswith("**"):
        return found
    return {name: found[name] for name in sorted(found, key=int)}


def _as_dict(entry: Entry) -> Document:
    return entry if isinstance(entry, dict) else {}


def _holds_nodes(values: Iterable[Any]) -> bool:
    return any(isinstance(value, GraphNode | TaskRef) for value in values)


def _as_mapping(values: list[Any]) -> Any:
    if _holds_nodes(values):
        return Dict(*values)
    return dict(zip(values[::2], values[1::2], strict=True))
