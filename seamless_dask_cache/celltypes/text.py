"""text, python, ipython, yaml: UTF-8 text that ends in exactly one newline.

Trailing newlines are not part of the value (source: seamless-core 0.1.4, checksum/serialize.py and
parse_buffer.py). Code and YAML are checked when they are read, not when they are written.
"""

from __future__ import annotations

import ast
import re
from typing import Any

from seamless_dask_cache.celltypes._errors import wrong_buffer, wrong_value
from seamless_dask_cache.checksum import BytesLike


def serialize(value: Any, celltype: str) -> bytes:
    """Turn a value into text, by `str` where it is not text yet.

    Raises
    ------
    CellTypeError
        For bytes that are not UTF-8, and for text that UTF-8 can't hold (lone surrogates).
    """
    try:
        text = value.decode() if isinstance(value, bytes | bytearray) else str(value)
        return (text.rstrip("\n") + "\n").encode()
    except UnicodeError as exc:
        raise wrong_value(value, celltype, exc) from None


def deserialize(buffer: BytesLike, celltype: str) -> str:
    """Read text without its trailing newlines; check that code and YAML are well-formed.

    Raises
    ------
    CellTypeError
        When the buffer is not UTF-8, or not code or YAML as the cell type says.
    """
    try:
        text = str(buffer, "utf-8").rstrip("\n")
        _check(text, celltype)
    except (ValueError, SyntaxError, RecursionError, MemoryError) as exc:
        raise wrong_buffer(buffer, celltype, exc) from None
    return text


def _check(text: str, celltype: str) -> None:
    if celltype == "python":
        ast.parse(text, filename="<python cell>")
    elif celltype == "ipython":
        _check_ipython(text)
    elif celltype == "yaml":
        _check_yaml(text)


def _check_ipython(text: str) -> None:
    try:
        ast.parse(text, filename="<ipython cell>")
    except SyntaxError:
        ast.parse(_without_magics(text), filename="<ipython cell>")


def _check_yaml(text: str) -> None:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        yaml.load(text, Loader=loader)
    except yaml.YAMLError as exc:
        raise ValueError(str(exc)) from None


# What IPython adds to Python, line by line: %magic, !shell, ?help, and the quoting prefixes , ; /
# (https://ipython.readthedocs.io/en/stable/interactive/reference.html). IPython itself is not
# asked: whether a buffer is valid must not depend on what is installed.
_MAGIC_LINE = re.compile(
    r"^(?P<indent>[ \t]*)(?:[%!?,;/].*|[^#'\"\n]*\?{1,2}[ \t]*)$", re.MULTILINE
)
_MAGIC_ASSIGNMENT = re.compile(r"^(?P<target>[ \t]*[^=\n'\"#]+=[ \t]*)[%!](?!=).*$", re.MULTILINE)


def _without_magics(text: str) -> str:
    """Return Python with the same blocks as an IPython cell, its magics replaced by ``pass``."""
    if text.lstrip().startswith("%%"):
        return ""
    return _MAGIC_ASSIGNMENT.sub(r"\g<target>None", _MAGIC_LINE.sub(r"\g<indent>pass", text))
