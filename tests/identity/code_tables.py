"""How the tables of edits are written: a program, a piece of it, and what replaces that piece.

A program is text; a line ``#: helpers.py`` begins another file. Each defines ``f``, which can be
called with one number.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Edit(NamedTuple):
    """A program before and after an edit."""

    before: str
    after: str


def edit(program: str, old: str, new: str) -> Edit:
    """Replace every occurrence of a piece of a program.

    Parameters
    ----------
    program : str
        Its text.
    old : str
        Occurs in it.
    new : str
        Replaces it.

    Returns
    -------
    Edit
        Both versions.
    """
    program = program.lstrip("\n")
    if old not in program:
        raise ValueError(f"{old!r} does not occur in {program!r}")
    return Edit(program, program.replace(old, new))


def write_program(folder: Path, program: str) -> None:
    """Write the files of a program.

    Parameters
    ----------
    folder : Path
        Made, with folders for packages.
    program : str
        Text with marks between files.
    """
    name, lines = "program.py", []
    files: dict[str, list[str]] = {name: lines}
    for line in program.splitlines():
        if line.startswith("#: "):
            lines = files[line.removeprefix("#: ").strip()] = []
        else:
            lines.append(line)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(content) + "\n")
