"""The direction of imports, and the lightness of the first one."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import seamless_dask_cache

LIBRARY = Path(seamless_dask_cache.__file__).parent
ROOT = Path(__file__).parent.parent
LAYERS = [
    {"errors", "checksum", "json_text", "sections", "whole_files", "_version"},
    {
        "buffer",
        "buffer_cache",
        "buffer_costs",
        "buffer_info",
        "celltypes",
        "conversion",
        "results",
        "pickling",
        "array_reducers",
        "strong_store",
        "temprefs",
    },
    {"identity", "storage", "dask_internals"},
    {"observation", "explaining"},
    {
        "database",
        "database_async",
        "database_body",
        "database_buffers",
        "database_messages",
        "database_names",
        "database_published",
        "database_transport",
        "embedded",
        "config",
        "server_store",
    },
    {"transformation", "local", "explanation", "auditing", "resolving", "expression"},
    {"decorator", "cluster", "rebuilding", "recomputation", "stores"},
    {"cli", "checksum_commands"},
]
FOR_SERVER = {"_version", "errors", "checksum", "json_text", "buffer_info", "storage"}


def imports_of(path):
    """The modules of this project that a file imports when it is imported."""
    tree = ast.parse(path.read_text())
    found = set()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found.update([node.module, *names])
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return {name.split(".")[1] for name in found if name.startswith("seamless_dask_cache.")}


def rooms(folder):
    for path in sorted(folder.rglob("*.py")):
        room = path.relative_to(folder).parts[0].removesuffix(".py")
        if room != "__init__":
            yield room, path


def layer_of(room):
    return next(i for i, layer in enumerate(LAYERS) if room in layer)


@pytest.mark.parametrize(("room", "path"), [pytest.param(*r, id=r[1].name) for r in rooms(LIBRARY)])
def test_library_imports_downwards(room, path):
    """A module imports its own layer and those below, never the plugin or the server."""
    used = imports_of(path) & set().union(*LAYERS, {"scheduler_plugin", "server"})
    for other in used:
        assert other not in ("scheduler_plugin", "server")
        assert layer_of(other) <= layer_of(room), f"{path.name} imports {other}"


def test_server_imports_little_of_the_library():
    """The server needs no Dask and no identity."""
    for path in (ROOT / "server").rglob("*.py"):
        assert imports_of(path) <= FOR_SERVER, path.name


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import seamless_dask_cache", "distributed pandas aiohttp numpy dask"),
        ("from seamless_dask_cache import Checksum, Buffer", "distributed pandas aiohttp dask"),
        ("from seamless_dask_cache import code_checksum", "distributed pandas aiohttp"),
        (
            "from seamless_dask_cache.stores import TrackStore",
            "distributed pandas aiohttp numpy dask",
        ),
        ("import seamless_dask_cache.stores", "distributed pandas aiohttp numpy dask pyarrow"),
        ("from seamless_dask_cache.stores import IntervalTrack", "pandas pyarrow dask"),
    ],
)
def test_importing_is_light(statement, heavy):
    """What is not needed yet is not imported."""
    code = f"{statement}\nimport sys\nprint([m for m in {heavy.split()} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_public_names_are_there():
    """Every name of ``__all__`` can be had."""
    for name in seamless_dask_cache.__all__:
        assert getattr(seamless_dask_cache, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = seamless_dask_cache.nonsense
