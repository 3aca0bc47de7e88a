"""text, python, ipython, yaml: UTF-8 text that ends in exactly one newline.

Trailing newlines are not part of the value (source: seamless-core 0.1.4, checksum/serialize.py and
parse_buffer.py). Code and YAML are checked when they are read, not when they are written.
"""

from __future__ import annotations

from typing import Any

from seamless_dask_cache.celltypes._errors import wrong_buffer, wrong_value
from seamless_dask_cache.celltypes.ipython import check_python, without_magics
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
    except (ValueError, SyntaxError, RecursionError, MemoryError, OverflowError) as exc:
        raise wrong_buffer(buffer, celltype, exc) from None
    return text


def _check(text: str, celltype: str) -> None:
    if celltype == "python":
        check_python(text)
    elif celltype == "ipython":
        _check_ipython(text)
    elif celltype == "yaml":
        _check_yaml(text)


def _check_ipython(text: str) -> None:
    try:
        check_python(text)
    except SyntaxError:
        check_python(without_magics(text))


def _check_yaml(text: str) -> None:
    from seamless_dask_cache.celltypes.yaml_values import check_yaml

    check_yaml(text)
