"""Which installed distribution a module belongs to.

Identity stops at installed code: name and version stand for all of it. Installed means: a
``.dist-info`` (or, in a site directory, an ``.egg-info``) lies beside the module's top-level
package and the installation isn't editable; or the module is part of Python itself. Everything else
(scripts, notebooks, editable installs, folders on ``PYTHONPATH``, zip files) is the user's code.
"""

from __future__ import annotations

import json
import platform
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.machinery import PathFinder
from importlib.metadata import Distribution, distributions
from pathlib import Path
from types import ModuleType

from ..errors import ConfigurationError

POLICIES = ("exact", "minor", "ignore")


@dataclass(frozen=True, slots=True)
class Owner:
    """The distribution (several, for a namespace package) that a module came with."""

    name: str
    version: str

    def identity(self, policy: str) -> str:
        """Give name and version as far as they count.

        Parameters
        ----------
        policy : {"exact", "minor", "ignore"}
            The whole version, its first two numbers, or none.

        Returns
        -------
        str
            Such as ``numpy 2.4``.
        """
        if policy == "ignore":
            return self.name
        if policy == "minor":
            versions = (".".join(item.split(".")[:2]) for item in self.version.split("&"))
            return f"{self.name} {'&'.join(versions)}"
        return f"{self.name} {self.version}"


PYTHON = Owner("python", platform.python_version())


def check_policy(policy: str) -> str:
    """Return a version policy that exists.

    Parameters
    ----------
    policy : str
        As the user wrote it.

    Returns
    -------
    str
        The same.

    Raises
    ------
    ConfigurationError
        If it isn't one of ``exact``, ``minor``, ``ignore``.
    """
    if policy not in POLICIES:
        raise ConfigurationError(f"versions must be one of {POLICIES}, not {policy!r}")
    return policy


_owners: dict[tuple[str, str | None], Owner | None] = {}


def owner_of(module_name: str | None) -> Owner | None:
    """Find who installed a module.

    Parameters
    ----------
    module_name : str or None
        Dotted; need not be imported.

    Returns
    -------
    Owner or None
        ``None`` for the user's own code and for names that no module has.
    """
    if not module_name or module_name == "__main__":
        return None
    module = sys.modules.get(module_name)
    file = getattr(module, "__file__", None) if module is not None else None
    key = (module_name, file if isinstance(file, str) else None)
    if key not in _owners:
        _owners[key] = _find_owner(module_name, module, key[1])
    return _owners[key]


def _find_owner(name: str, module: ModuleType | None, file: str | None) -> Owner | None:
    top = name.partition(".")[0]
    if file is None and module is not None and top in sys.stdlib_module_names:
        return PYTHON
    if file is None:
        if top in sys.builtin_module_names:
            return PYTHON
        file = _spec_file(top)
        name = top
    if file is None:
        return None
    return _owner_of_file(name, file)


def _spec_file(top: str) -> str | None:
    module = sys.modules.get(top)
    known = getattr(module, "__file__", None)
    if isinstance(known, str):
        return known
    try:
        spec = PathFinder.find_spec(top)
    except (ImportError, AttributeError, ValueError):
        return None
    if spec is None:
        return None
    places = list(spec.submodule_search_locations or ())
    return spec.origin or (f"{places[0]}/__init__.py" if places else None)


def _owner_of_file(name: str, file: str) -> Owner | None:
    path = Path(file)
    top = name.partition(".")[0]
    for root in path.parents:
        owner = _index().get((str(root), top))
        if owner is not None:
            return owner
    return PYTHON if _in_standard_library(path) else None


def _in_standard_library(path: Path) -> bool:
    parents = {str(parent) for parent in path.parents}
    if any(parent.endswith(("site-packages", "dist-packages")) for parent in parents):
        return False
    return not parents.isdisjoint(_standard_library())


@lru_cache(maxsize=1)
def _standard_library() -> frozenset[str]:
    paths = sysconfig.get_paths()
    places = {paths["stdlib"], paths["platstdlib"]}
    return frozenset(places | {str(Path(place).resolve()) for place in places})


def _index() -> dict[tuple[str, str], Owner]:
    return _build_index(tuple(sys.path))


@lru_cache(maxsize=4)
def _build_index(search_path: tuple[str, ...]) -> dict[tuple[str, str], Owner]:
    index: dict[tuple[str, str], Owner] = {}
    for distribution in distributions(path=list(search_path)):
        root = _root(distribution)
        if root is None or _is_editable(distribution):
            continue
        name, version = _name_and_version(distribution)
        for top in set(_top_levels(distribution)):
            index[root, top] = _joined(index.get((root, top)), name, version)
    return index


def _name_and_version(distribution: Distribution) -> tuple[str, str]:
    metadata = distribution.metadata
    return str(metadata["Name"]), str(metadata["Version"])


def _joined(present: Owner | None, name: str, version: str) -> Owner:
    if present is None:
        return Owner(name, version)
    if name in present.name.split("&"):
        return present  # the first on the path is the one that is imported
    pairs = zip(present.name.split("&"), present.version.split("&"), strict=False)
    ordered = sorted([*pairs, (name, version)])
    return Owner("&".join(pair[0] for pair in ordered), "&".join(pair[1] for pair in ordered))


def _root(distribution: Distribution) -> str | None:
    place = getattr(distribution, "_path", None)
    if place is None:
        return None
    info = Path(str(place))
    site = info.parent.name in ("site-packages", "dist-packages")
    if info.suffix == ".dist-info" or (info.suffix in (".egg-info", ".egg") and site):
        return str(info.parent)
    return None


def _is_editable(distribution: Distribution) -> bool:
    text = distribution.read_text("direct_url.json")
    if not text:
        return False
    try:
        return bool(json.loads(text).get("dir_info", {}).get("editable"))
    except ValueError:
        return False


def _top_levels(distribution: Distribution) -> Iterator[str]:
    listed = distribution.read_text("top_level.txt")
    if listed:
        yield from listed.split()
        return
    record = distribution.read_text("RECORD") or distribution.read_text("installed-files.txt") or ""
    for line in record.splitlines():
        first, _, rest = line.partition(",")[0].strip('"').partition("/")
        if rest and first.isidentifier():
            yield first
        elif not rest and Path(first).suffix in (".py", ".so", ".pyd"):
            yield first.partition(".")[0]
