"""What the names in a function's code mean at the moment: globals, closures, imports, modules."""

from __future__ import annotations

import builtins
import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

from .bytecode import CodeFacts, code_facts
from .distributions import PYTHON, Owner, owner_of
from .references import Import, Reference

_MISSING = object()
# A worker that has such a module computes another identity than a scheduler that has not.
_ABSENT = Owner("absent", "")


@dataclass(frozen=True, slots=True)
class NotImported:
    """An installed module that no one has imported yet; hashing a function shouldn't either."""

    name: str
    owner: Owner


@dataclass(frozen=True, slots=True)
class Found:
    """What a reference leads to.

    Attributes
    ----------
    subject : object
        The first thing on the chain that isn't a module, or the last module.
    rest : tuple of str
        Attributes that are left.
    written : str
        Dotted name through modules; empty if no module is on the chain.
    owner : Owner or None
        Who installed the module that ``subject`` was found in.
    """

    subject: Any
    rest: tuple[str, ...]
    written: str
    owner: Owner | None


def code_tree(function: FunctionType) -> list[CodeFacts]:
    """List a function's code and all code nested in it.

    Parameters
    ----------
    function : types.FunctionType
        Any Python function.

    Returns
    -------
    list of CodeFacts
        The function's own first.
    """
    tree = [code_facts(function.__code__)]
    for facts in tree:
        tree.extend(facts.nested)
    return tree


def closure_of(function: FunctionType) -> list[Any]:
    """List what the closure of a function holds at the moment."""
    found = []
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:
            continue
    return found


class Scope:
    """The names that a function's code can see.

    Parameters
    ----------
    function : types.FunctionType
        The function.
    tree : list of CodeFacts
        Its code.
    """

    def __init__(self, function: FunctionType, tree: list[CodeFacts]) -> None:
        self._globals = function.__globals__
        self._free = dict(
            zip(function.__code__.co_freevars, function.__closure__ or (), strict=False)
        )
        self.aliases: dict[str, list[Any]] = {}
        self._collect_aliases([item for facts in tree for item in facts.references if item.stored])

    def _collect_aliases(self, stores: list[Reference]) -> None:
        for _ in range(len(stores)):  # an alias of an alias needs another round
            before = sum(map(len, self.aliases.values()))
            for reference in stores:
                for found in self.find(reference):
                    if self.is_alias(reference, found):
                        self._add_alias(str(reference.stored), found.subject)
            if sum(map(len, self.aliases.values())) == before:
                return

    def _add_alias(self, name: str, subject: Any) -> None:
        known = self.aliases.setdefault(name, [])
        if not any(subject is item for item in known):
            known.append(subject)

    @staticmethod
    def is_alias(reference: Reference, found: Found) -> bool:
        """Tell whether a reference only gives a name to something that is used under that name."""
        if reference.stored is None or found.rest:
            return False
        return reference.kind == "import" or isinstance(found.subject, (ModuleType, NotImported))

    def find(self, reference: Reference) -> list[Found]:
        """Follow a reference.

        Parameters
        ----------
        reference : Reference
            From the code of this scope.

        Returns
        -------
        list of Found
            Several where a name may have several meanings; empty where it has none now.
        """
        attributes = tuple(reference.attributes)
        if reference.source is not None:
            roots = self._imported(reference.source)
        else:
            roots = list(self._named(reference.kind, reference.root))
        return [_follow(root, attributes) for root in roots]

    def _named(self, kind: str, name: str) -> Iterator[Any]:
        yield from self.aliases.get(name, ())
        if kind == "global":
            value = self._globals.get(name, _MISSING)
            value = getattr(builtins, name, _MISSING) if value is _MISSING else value
            if value is not _MISSING:
                yield value
        elif kind == "free" and name in self._free:
            try:
                yield self._free[name].cell_contents
            except ValueError:
                return

    def constant(self, kind: str, name: str) -> Any:
        """Give the value of a global or closure variable, ``...`` if it has none."""
        values = list(self._named(kind, name))
        return values[-1] if values else ...

    def _imported(self, source: Import) -> list[Any]:
        name = self._absolute(source)
        module = _module(name)
        if module is None:
            return []
        if source.item is not None:
            return _item(module, name, source.item)
        if source.whole:
            return [module]
        top = _module(name.partition(".")[0])
        return [] if top is None else [top]

    def _absolute(self, source: Import) -> str:
        if not source.level:
            return source.module
        package = self._globals.get("__package__")
        if package is None:
            package = str(self._globals.get("__name__", ""))
            if "__path__" not in self._globals:
                package = package.rpartition(".")[0]
        for _ in range(source.level - 1):
            package = package.rpartition(".")[0]
        return f"{package}.{source.module}" if source.module else str(package)


def _item(module: Any, name: str, item: str) -> list[Any]:
    if isinstance(module, NotImported):
        return [NotImported(f"{name}.{item}", module.owner)]
    value = getattr(module, item, _MISSING)
    if value is not _MISSING:
        return [value]
    submodule = _module(f"{name}.{item}")
    return [] if submodule is None else [submodule]


def _module(name: str) -> Any:
    if name in sys.modules:
        return sys.modules[name]
    owner = owner_of(name)
    if owner is not None and owner != PYTHON:
        return NotImported(name, owner)
    try:
        return importlib.import_module(name)
    except Exception:  # the import will fail, or not, when the function runs
        return NotImported(name, _ABSENT)


def _follow(subject: Any, attributes: tuple[str, ...]) -> Found:
    written, owner = "", None
    while True:
        if isinstance(subject, NotImported):
            written = ".".join((subject.name, *attributes))
            return Found(subject, (), written, subject.owner)
        if not isinstance(subject, ModuleType):
            return Found(subject, attributes, written, owner)
        written, owner = subject.__name__, owner_of(subject.__name__)
        if not attributes:
            return Found(subject, (), written, owner)
        value = _attribute(subject, attributes[0])
        if value is _MISSING:
            return Found(_MISSING, attributes, written, owner)
        written = f"{written}.{attributes[0]}"
        subject, attributes = value, attributes[1:]


def _attribute(module: ModuleType, name: str) -> Any:
    try:
        return getattr(module, name)
    except AttributeError:
        submodule = _module(f"{module.__name__}.{name}")
        return _MISSING if submodule is None else submodule
    except Exception:
        return _MISSING


def is_missing(found: Found) -> bool:
    """Tell whether a chain ended at an attribute that its module does not have."""
    return found.subject is _MISSING
