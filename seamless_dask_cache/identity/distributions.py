"""Which installed distribution a module belongs to.

Identity stops at installed code: name and version stand for all of it. Installed means: a
``.dist-info`` (or, in a site directory, an ``.egg-info``) lies beside the module's top-level
package and the installation isn't editable; or the module is part of Python itself. Everything else
(scripts, notebooks, editable installs, folders on ``PYTHONPATH``, zip files) is the user's code.
"""

from __future__ import annotations

import json
import platform
import re
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.parser import HeaderParser
from functools import lru_cache
from hashlib import sha256
from importlib.machinery import PathFinder
from importlib.metadata import Distribution, distributions
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import ConfigurationError

POLICIES = ("exact", "minor", "ignore")
_DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Owner:
    """The distribution (several, for a namespace package) that a module came with."""

    name: str
    version: str

    def identity(self, policy: str) -> str:
        """Give name and version as far as they count.

        Parameters
        ----------
        policy : str
            As :func:`check_policy` gives it. Each distribution counts with its whole version
            (``exact``), with its first two numbers (``minor``) or without one (``ignore``).

        Returns
        -------
        str
            Such as ``numpy 2.4.1``, ``numpy 2.4.*`` or ``numpy``.
        """
        return _identity(self, policy)


@lru_cache(maxsize=4096)
def _identity(owner: Owner, policy: str) -> str:
    pairs = zip(owner.name.split("&"), owner.version.split("&"), strict=False)
    return "&".join(_counted(name, version, policy) for name, version in pairs)


def _counted(name: str, version: str, policy: str) -> str:
    default, single = _parsed(policy)
    chosen = single.get(normalized(name), default)
    if chosen == "ignore":
        return name
    if chosen == "minor":
        return f"{name} {'.'.join(version.split('.')[:2])}.*"
    return f"{name} {version}"


PYTHON = Owner("python", platform.python_version())


def normalized(name: str) -> str:
    """Write the name of a distribution as PEP 503 does.

    Parameters
    ----------
    name : str
        Such as ``Ruamel_YAML``.

    Returns
    -------
    str
        Such as ``ruamel-yaml``.
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def check_policy(policy: str | Mapping[str, str]) -> str:
    """Bring a version policy into the one form in which it is written down.

    Parameters
    ----------
    policy : str or mapping
        ``exact``, ``minor`` or ``ignore``; or a mapping from names of distributions (``python`` is
        one of them, ``default`` stands for all others) to these; or what this function returns.

    Returns
    -------
    str
        Such as ``exact`` or ``exact, my-lib=ignore, numpy=minor``.

    Raises
    ------
    ConfigurationError
        If it is something else, naming it.
    """
    if isinstance(policy, str):
        default, single = _parsed(policy)
    elif isinstance(policy, Mapping):
        default = _checked(policy.get(_DEFAULT, "exact"))
        single = {
            normalized(str(name)): _checked(chosen)
            for name, chosen in policy.items()
            if name != _DEFAULT
        }
    else:
        _checked(policy)
        default, single = "exact", {}
    parts = sorted(f"{name}={chosen}" for name, chosen in single.items() if chosen != default)
    return ", ".join([default, *parts])


@lru_cache(maxsize=64)
def _parsed(policy: str) -> tuple[str, dict[str, str]]:
    default, *parts = (part.strip() for part in policy.split(","))
    pairs = (part.partition("=") for part in parts)
    return _checked(default), {normalized(name): _checked(chosen) for name, _, chosen in pairs}


def _checked(policy: Any) -> str:
    if policy not in POLICIES:
        raise ConfigurationError(
            f"versions must be one of {', '.join(POLICIES)}, or a mapping from names of "
            f"distributions to these, not {policy!r}"
        )
    return str(policy)


def environment() -> dict[str, str]:
    """List what is installed.

    Returns
    -------
    dict of str to str
        Normalized name to version, sorted, of Python itself and all distributions on ``sys.path``,
        editable ones too. Looked up again when ``sys.path`` has changed.
    """
    return dict(_environment(tuple(sys.path)))


def environment_checksum() -> str:
    """Give the checksum of what is installed.

    Returns
    -------
    str
        SHA-256, 64 hex digits, of :func:`environment_document`.
    """
    return _checksum_of_environment(tuple(sys.path))


def environment_document() -> bytes:
    """Write :func:`environment` as JSON with sorted keys, without spaces.

    Returns
    -------
    bytes
        UTF-8.
    """
    return _document(tuple(sys.path))


@lru_cache(maxsize=4)
def _environment(search_path: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for installed in _installed_on(search_path):
        # The first on the path is imported.
        found.setdefault(normalized(installed.name), installed.version)
    found["python"] = PYTHON.version
    return dict(sorted(found.items()))


@lru_cache(maxsize=4)
def _checksum_of_environment(search_path: tuple[str, ...]) -> str:
    return sha256(_document(search_path)).hexdigest()


def _document(search_path: tuple[str, ...]) -> bytes:
    found = _environment(search_path)
    return json.dumps(found, sort_keys=True, separators=(",", ":")).encode()


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
    return owners_on(tuple(sys.path))


@lru_cache(maxsize=4)
def owners_on(search_path: tuple[str, ...]) -> dict[tuple[str, str], Owner]:
    """Return what is installed on a search path: folder and top-level name to its owner."""
    index: dict[tuple[str, str], Owner] = {}
    for installed in _installed_on(search_path):
        for top in installed.tops:
            key = installed.root, top
            index[key] = _joined(index.get(key), installed.name, installed.version)
    return index


@dataclass(frozen=True, slots=True)
class _Installed:
    """A distribution, the folder of its modules, and their top-level names; none if editable."""

    name: str
    version: str
    root: str
    tops: frozenset[str]


def _installed_on(search_path: tuple[str, ...]) -> Iterator[_Installed]:
    for place in search_path:
        yield from _installed_in(place, _state(place))


def _state(place: str) -> tuple[int, ...] | None:
    """Give what changes when something is installed there."""
    try:
        found = Path(place).stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns


# Programs add folders to their path (so do workers of Dask, which may leave them there, by the
# hundred), and to read what is in all the others takes a while.
@lru_cache(maxsize=10_000)
def _installed_in(place: str, state: tuple[int, ...] | None) -> tuple[_Installed, ...]:
    if state is None:
        return ()
    return tuple(map(_read, distributions(path=[place])))


def _read(distribution: Distribution) -> _Installed:
    root = _root(distribution)
    shared = root is not None and not _is_editable(distribution)
    tops = frozenset(_top_levels(distribution)) if shared else frozenset()
    return _Installed(*_name_and_version(distribution), root or "", tops)


def _name_and_version(distribution: Distribution) -> tuple[str, str]:
    read = distribution.read_text
    text = read("METADATA") or read("PKG-INFO") or read("") or ""  # "": an .egg-info that is a file
    head, _, _ = text.partition("\n\n")  # what follows is a page for people
    fields = HeaderParser().parsestr(head)
    return str(fields["Name"]), str(fields["Version"])


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
    last = ""
    for line in record.splitlines():
        first, inside, _ = line.partition("/")
        if inside and first == last:
            continue  # a package may have thousands
        last = first
        first, _, rest = line.partition(",")[0].strip('"').partition("/")
        if rest and first.isidentifier():
            yield first
        elif not rest and Path(first).suffix in (".py", ".so", ".pyd"):
            yield first.partition(".")[0]
