"""Run as a program: identifies the function ``f`` of many programs, each in every way it can run.

Arguments: a folder with one folder per program, ``dump`` or ``load``, and modules to import first.
Prints one JSON document:
``{program: {way: {"code": checksum, "effects": [...], "result": repr, "error": text}}}``.

Every program has a child process, forked from this interpreter before any program was imported.
There it is identified in some of these ways; what was shipped comes first, before the program can
patch anything:

imported
    ``from program import f``.
script
    ``program.py`` is run as ``__main__``, from its file.
notebook
    Each statement is a cell of its own, compiled under IPython's kind of file name and executed one
    after another in the namespace of ``__main__``.
shipped
    What cloudpickle wrote of the script's ``f`` in the process before (``dump``), or of the
    notebook's, is loaded in this one (``load``), where ``__main__`` is empty.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import importlib
import json
import linecache
import os
import pickle
import runpy
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle

from seamless_dask_cache.errors import RefusedError
from seamless_dask_cache.identity import Identifier, distributions

_UNSHIPPABLE = (
    AttributeError,
    ImportError,
    RecursionError,
    TypeError,
    ValueError,
    pickle.PicklingError,
)


def _report(function: Any) -> dict[str, Any]:
    try:
        found = Identifier().code(function)
    except RefusedError as error:
        return {"refused": str(error), "result": _result(function)}
    effects = sorted({f"{effect.kind}: {effect.name}" for effect in found.effects})
    return {"code": found.checksum.hex(), "effects": effects, "result": _result(function)}


def _result(function: Any) -> str:
    try:
        return repr(function(3))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _imported(folder: Path, mode: str) -> dict[str, Any]:
    return _report(importlib.import_module("program").f)


def _script(folder: Path, mode: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def tail(function: Any) -> None:
        found.update(_report(function))
        _ship(folder / "script.pickle", function, mode)

    # run_path clears the namespace when it ends, so that the program has to report from within.
    sys.modules["_tail_"] = types.ModuleType("_tail_")
    sys.modules["_tail_"].report = tail  # type: ignore[attr-defined]
    path = folder / "script.py"
    tail_line = "\n__import__('_tail_').report(f)\n"
    path.write_text((folder / "program.py").read_text() + tail_line)
    runpy.run_path(str(path), run_name="__main__")
    return found


def _notebook(folder: Path, mode: str) -> dict[str, Any]:
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    for number, cell in enumerate(_cells((folder / "program.py").read_text()), 1):
        name = f"<ipython-input-{number}-{abs(hash(cell)):x}>"
        linecache.cache[name] = len(cell), None, cell.splitlines(True), name
        exec(compile(cell, name, "exec", dont_inherit=True), main.__dict__)
    _ship(folder / "notebook.pickle", main.f, mode)
    return _report(main.f)


def _cells(source: str) -> list[str]:
    lines = source.splitlines(keepends=True)
    starts = [_first_line(node) - 1 for node in ast.parse(source).body]
    ends = [*starts[1:], len(lines)]
    return ["".join(lines[start:end]) for start, end in zip(starts, ends, strict=True)]


def _first_line(node: Any) -> int:
    return min([node.lineno, *(item.lineno for item in getattr(node, "decorator_list", ()))])


def _ship(path: Path, function: Any, mode: str) -> None:
    if mode == "dump":
        with contextlib.suppress(*_UNSHIPPABLE):
            path.write_bytes(cloudpickle.dumps(function))


def _shipped(name: str) -> Callable[[Path, str], dict[str, Any]]:
    def load(folder: Path, mode: str) -> dict[str, Any]:
        path = folder / f"{name}.pickle"
        if mode == "dump" or not path.exists():
            return {}
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            function = cloudpickle.loads(path.read_bytes())
        except _UNSHIPPABLE:  # some things it ships by name
            return {}
        return _report(function)

    return load


_WAYS: dict[str, dict[str, Callable[[Path, str], dict[str, Any]]]] = {
    "dump": {"script": _script, "notebook": _notebook},
    "load": {
        "shipped script": _shipped("script"),
        "shipped notebook": _shipped("notebook"),
        "imported": _imported,
    },
}


def _child(folder: Path, mode: str) -> dict[str, dict[str, Any]]:
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()
    ways = _WAYS[mode]
    if (folder / "package").is_dir():  # what is imported relatively exists only as a package
        ways = {"imported": _imported}
    before = set(sys.modules)
    answers = {}
    for name, way in ways.items():
        answers[name] = _attempt(way, folder, mode)
        for module in set(sys.modules) - before:
            if (folder / f"{module.partition('.')[0]}.py").exists() or module.startswith("pack"):
                del sys.modules[module]
    return answers


def _attempt(way: Callable[..., dict[str, Any]], folder: Path, mode: str) -> dict[str, Any]:
    try:
        return way(folder, mode)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def _in_a_child(folder: Path, mode: str) -> dict[str, dict[str, Any]]:
    out = folder / "answer"
    child = os.fork()
    if not child:
        out.write_text(json.dumps(_child(folder, mode)))
        os._exit(0)
    os.waitpid(child, 0)
    return json.loads(out.read_text())


def main() -> None:
    """Identify every program below the folder."""
    root, mode, *modules = sys.argv[1:]
    for name in modules:
        importlib.import_module(name)
    distributions.environment()  # what is installed is the same for all
    if "numba" in modules:
        sys.modules["numba"].vectorize(lambda x: x + 1)(3)  # what all that it compiles needs
    gc.freeze()
    report = {folder.name: _in_a_child(folder, mode) for folder in sorted(Path(root).iterdir())}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
