"""The published packages, in an environment of their own: see the extra in ``pyproject.toml``."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

from filelock import FileLock
from packaging.requirements import Requirement

EXTRA = "interop"


def requirements() -> list[str]:
    """Give what the extra names, as pip takes it."""
    found = []
    for text in metadata.requires("seamless-dask-cache") or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if marker and marker.evaluate({"extra": EXTRA}) and not marker.evaluate({"extra": ""}):
            requirement.marker = None
            found.append(str(requirement))
    if not found:
        raise RuntimeError(f"this installation knows no extra {EXTRA!r}: install it again")
    return sorted(found)


def environment(folder: Path) -> Path:
    """Make a virtual environment of the published packages, unless it is there; give its python.

    Parameters
    ----------
    folder : Path
        Becomes the environment; what else is in it goes.

    Notes
    -----
    Any number of processes may ask for the same folder at once. An environment counts as there when
    the list of what is in it is, which is written last.
    """
    python, wanted = folder / "bin" / "python", requirements()
    contents = folder / "contents"
    described = "\n".join([sys.version, *wanted])
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        if not (python.exists() and contents.exists() and contents.read_text() == described):
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
            pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
            subprocess.run([*pip, *wanted], check=True)
            contents.write_text(described)
    return python
