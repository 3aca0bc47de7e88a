"""Finding a function in a file of the user, without running the file as a program."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import click

_SHOWN = 30


def load_function(file: Path, name: str) -> Any:
    """Import a file as a module and return a function of it.

    Parameters
    ----------
    file : Path
        A Python file; inside a package, it is imported as a module of that.
    name : str
        Such as ``clean`` or ``Model.fit``.

    Raises
    ------
    click.ClickException
        When there is no such file or function, or importing fails.
    """
    if not file.is_file():
        raise click.ClickException(f"there is no file {file}")
    found: Any = load_module(file.resolve())
    for step in name.split("."):
        known = _functions(found)
        if not hasattr(found, step):
            listed = ", ".join(known[:_SHOWN]) or "no functions"
            raise click.ClickException(f"there is no {name!r} in {file}; it has: {listed}")
        found = getattr(found, step)
    found = unwrapped(found)
    if not callable(found):
        raise click.ClickException(f"{name!r} in {file} is no function, but {type(found).__name__}")
    return found


def load_module(file: Path) -> types.ModuleType:
    """Import a file; what it prints goes to the standard error."""
    root, name = _importable(file)
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return _imported(file, name)
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}"
        raise click.ClickException(f"{file} cannot be imported: {reason}") from error


def _importable(file: Path) -> tuple[Path, str]:
    """Return the folder to import from, and the dotted name of the module."""
    root, names = file.parent, [file.stem]
    while (root / "__init__.py").is_file():
        names.insert(0, root.name)
        root = root.parent
    return root, ".".join(names)


def _imported(file: Path, name: str) -> types.ModuleType:
    if "." in name:
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError("it is no Python file")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pickles look their module up; a module of that name in use is put back.
    previous = sys.modules.get(name)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        if previous is not None:
            sys.modules[name] = previous
    return module


def unwrapped(function: Any) -> Any:
    """Return what ``dask.delayed`` was applied to; anything else as it is."""
    from dask.delayed import Delayed

    if isinstance(function, Delayed):
        node = dict(function.__dask_graph__())[function.key]
        return getattr(node, "value", node)
    return function


def _functions(scope: Any) -> list[str]:
    return sorted(
        name
        for name, value in getattr(scope, "__dict__", {}).items()
        if not name.startswith("__") and callable(value) and _belongs(scope, value)
    )


def _belongs(scope: Any, value: Any) -> bool:
    from dask.delayed import Delayed

    if isinstance(scope, type) or isinstance(value, Delayed):
        return True
    return getattr(value, "__module__", None) == getattr(scope, "__name__", None)
