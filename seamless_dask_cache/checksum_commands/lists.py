"""Lists of checksums and names: lines as `sha256sum` of GNU coreutils writes and reads them.

A line is 64 hex digits, a blank, a blank or ``*``, and the name. Backslash, newline and carriage
return in a name are written ``\\\\``, ``\\n`` and ``\\r``; such a line begins with a backslash.
"""

from __future__ import annotations

import os

_DIGITS = b"0123456789abcdefABCDEF"


def line_of(checksum: str, name: str) -> bytes:
    """Write the line of a file, with the newline."""
    text = escaped(name)
    mark = "" if text == name else "\\"
    return os.fsencode(f"{mark}{checksum}  {text}\n")


def verdict_of(name: str, verdict: str) -> bytes:
    """Write what came of checking a file, with the newline; one line, whatever the name is."""
    shown = "\\" + escaped(name) if "\n" in name else name
    return os.fsencode(f"{shown}: {verdict}\n")


def entry_in(line: bytes) -> tuple[str, str] | None:
    """Read the checksum, in lower case, and the name in a line; None when it is not such a line."""
    line = _without_end(line)
    marked = line.startswith(b"\\")
    digits, marks, name = line[marked:][:64], line[marked:][64:66], line[marked:][66:]
    if marks not in (b"  ", b" *") or not name or not is_checksum(digits):
        return None
    text = unescaped(os.fsdecode(name)) if marked else os.fsdecode(name)
    return None if text is None else (digits.decode().lower(), text)


def is_checksum(text: bytes) -> bool:
    """Tell whether this is 64 hex digits, and nothing else."""
    return len(text) == 64 and not text.translate(None, _DIGITS)


def escaped(name: str) -> str:
    """Write a name within one line."""
    return name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")


def unescaped(text: str) -> str | None:
    """Read a name that `escaped` wrote; None when it has a backslash that means nothing."""
    pieces = []
    rest = text
    while "\\" in rest:
        before, _, rest = rest.partition("\\")
        meant = {"\\": "\\", "n": "\n", "r": "\r"}.get(rest[:1])
        if meant is None:
            return None
        pieces += [before, meant]
        rest = rest[1:]
    return "".join([*pieces, rest])


def _without_end(line: bytes) -> bytes:
    # A carriage return of a name is escaped; this one comes from an editor.
    return line.removesuffix(b"\n").removesuffix(b"\r")
