"""What is known of a buffer without having it.

The facts are those that a Seamless database records (source: seamless-core 0.1.4,
checksum/buffer_info.py). They tell of which cell types a buffer can be.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from seamless_dask_cache.checksum import BytesLike, Checksum

if TYPE_CHECKING:
    from seamless_dask_cache.buffer import Buffer

JSON_TYPES = ("dict", "list", "str", "int", "float", "bool", "null")

_SCALARS = ("str", "int", "float", "bool")
_CHECKSUMS = ("str2text", "text2str", "binary2bytes", "bytes2binary", "binary2json", "json2binary")
_FLAGS = (
    *("is_utf8", "is_json", "is_json_numeric_array", "is_json_numeric_scalar"),
    *("is_numpy", "is_seamless_mixed"),
)
_IMPLIED = {
    "is_json": {"is_utf8": True, "is_numpy": False, "is_seamless_mixed": False},
    "is_json_numeric_array": {"is_json": True},
    "is_json_numeric_scalar": {"is_json": True},
    "is_numpy": {"is_utf8": False, "is_json": False, "is_seamless_mixed": False},
    "is_seamless_mixed": {"is_utf8": False, "is_json": False, "is_numpy": False},
}
"""What cannot be otherwise where a flag is set."""


class Possibility(str, enum.Enum):
    """Whether a buffer can be of a cell type; only `YES` counts as true."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"

    def __bool__(self) -> bool:
        return self is Possibility.YES

    def __str__(self) -> str:
        return self.value


YES, NO, UNKNOWN = Possibility


@dataclasses.dataclass(frozen=True)
class BufferInfo:
    """Facts on the buffer of a checksum; what is None is not known.

    Parameters
    ----------
    checksum : Checksum, str or bytes
    length : int
        Bytes.
    is_utf8 : bool
    is_json : bool
        It can be read as plain; implies `is_utf8`, and neither of the two other formats.
    json_type : str
        One of "dict", "list", "str", "int", "float", "bool", "null"; implies `is_json`.
    is_json_numeric_array : bool
        A list of numbers of one type, or a regular nest of such lists; implies "list".
    is_json_numeric_scalar : bool
        Python's `int`, `float` and `bool` take it; implies a number, a bool or a str.
    is_numpy : bool
        It can be read as binary.
    dtype : str
        As numpy's ``str(dtype)`` writes it; implies `is_numpy`.
    shape : tuple of int
        Implies `is_numpy`.
    is_seamless_mixed : bool
        It is in the format of mixed that starts with a magic string of its own.
    str2text, text2str, binary2bytes, bytes2binary, binary2json, json2binary : Checksum
        What conversions of the buffer gave.
    members : int
        Entries of an index of buffers.

    Raises
    ------
    TypeError, ValueError
        For a fact of the wrong type, and for facts that contradict each other.

    Examples
    --------
    >>> info = BufferInfo.from_buffer(b"[1, 2]\\n")
    >>> info.json_type, str(info.can_be("plain")), str(info.can_be("binary"))
    ('list', 'yes', 'no')
    """

    checksum: Checksum
    length: int | None = None
    is_utf8: bool | None = None
    is_json: bool | None = None
    json_type: str | None = None
    is_json_numeric_array: bool | None = None
    is_json_numeric_scalar: bool | None = None
    is_numpy: bool | None = None
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    is_seamless_mixed: bool | None = None
    str2text: Checksum | None = None
    text2str: Checksum | None = None
    binary2bytes: Checksum | None = None
    bytes2binary: Checksum | None = None
    binary2json: Checksum | None = None
    json2binary: Checksum | None = None
    members: int | None = None

    def __post_init__(self) -> None:
        self._set("checksum", Checksum(self.checksum))
        for name in _CHECKSUMS:
            if getattr(self, name) is not None:
                self._set(name, Checksum(getattr(self, name)))
        if self.shape is not None:
            self._set("shape", _checked_shape(self.shape))
        self._check_types()
        self._check_implied()

    @classmethod
    def from_buffer(cls, buffer: Buffer | BytesLike) -> BufferInfo:
        """Find out everything there is to know of a buffer; the conversions are left open.

        Parameters
        ----------
        buffer : Buffer or bytes-like
        """
        from seamless_dask_cache.buffer import Buffer
        from seamless_dask_cache.celltypes.inspection import facts_of

        given = buffer if isinstance(buffer, Buffer) else Buffer(buffer)
        return cls(given.get_checksum(), **facts_of(given.content))

    @classmethod
    def from_dict(cls, checksum: Checksum | str | bytes, facts: Mapping[str, Any]) -> BufferInfo:
        """Make it of what `as_dict` gave, or a database.

        Raises
        ------
        TypeError, ValueError
            As the class does; for unknown facts as well.
        """
        known = {field.name for field in dataclasses.fields(cls)} - {"checksum"}
        unknown = sorted(set(facts) - known)
        if unknown:
            raise ValueError(f"no facts on buffers are called {', '.join(map(repr, unknown))}")
        return cls(Checksum(checksum), **facts)

    def as_dict(self) -> dict[str, Any]:
        """Give the facts that are known, but for the checksum, as JSON has them."""
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)[1:]}
        return {name: _as_json(value) for name, value in found.items() if value is not None}

    def updated(self, other: BufferInfo) -> BufferInfo:
        """Add what another one knows of the same buffer; of two facts, its counts.

        Raises
        ------
        ValueError
            When it is of another buffer, or they contradict each other.
        """
        if other.checksum != self.checksum:
            raise ValueError(f"facts on {other.checksum} are none on {self.checksum}")
        return BufferInfo.from_dict(self.checksum, {**self.as_dict(), **other.as_dict()})

    def can_be(self, celltype: str) -> Possibility:
        """Tell whether the buffer can be read as a cell type.

        Parameters
        ----------
        celltype : str
            One of `CELLTYPES`.

        Returns
        -------
        Possibility
            `YES`, `NO` or `UNKNOWN`, which equal the words in lower case; only `YES` is true.

        Raises
        ------
        CellTypeError
            For an unknown cell type.
        """
        from seamless_dask_cache.celltypes import check_celltype

        check_celltype(celltype)
        return _RULES.get(celltype, _can_be_code)(self)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _check_types(self) -> None:
        for name in _FLAGS:
            if not isinstance(getattr(self, name), bool | None):
                raise TypeError(f"{name} must be a bool, not {getattr(self, name)!r}")
        for name in ("length", "members"):
            _check_count(name, getattr(self, name))
        if self.json_type is not None and self.json_type not in JSON_TYPES:
            raise ValueError(
                f"json_type must be one of {', '.join(JSON_TYPES)}, not {self.json_type!r}"
            )
        if not isinstance(self.dtype, str | None):
            raise TypeError(f"dtype must be a str, not {self.dtype!r}")

    def _check_implied(self) -> None:
        for name in _FLAGS:
            if getattr(self, name):
                for other, value in _IMPLIED.get(name, {}).items():
                    self._check(name, other, value)
        if self.json_type is not None:
            self._check("json_type", "is_json", True)
        for name in ("dtype", "shape"):
            if getattr(self, name) is not None:
                self._check(name, "is_numpy", True)
        if self.is_json_numeric_array and self.json_type not in ("list", None):
            raise ValueError(f"is_json_numeric_array contradicts json_type {self.json_type!r}")
        if self.is_json_numeric_scalar and self.json_type not in (*_SCALARS, None):
            raise ValueError(f"is_json_numeric_scalar contradicts json_type {self.json_type!r}")

    def _check(self, name: str, other: str, value: bool) -> None:
        if getattr(self, other) is (not value):
            raise ValueError(f"{name} contradicts {other}={not value}")

    def _is(self, name: str) -> bool | None:
        """Tell a flag, from itself or from what implies it."""
        known: bool | None = getattr(self, name)
        if known is not None:
            return known
        if name == "is_json" and self.json_type is not None:
            return True
        if name == "is_numpy" and (self.dtype is not None or self.shape is not None):
            return True
        for other, implied in _IMPLIED.items():
            if name in implied and other != name and self._is_set(other):
                return implied[name]
        return None

    def _is_set(self, name: str) -> bool:
        if getattr(self, name) is not None:
            return bool(getattr(self, name))
        if name == "is_json":
            return self.json_type is not None
        return name == "is_numpy" and (self.dtype is not None or self.shape is not None)


def _answer(flag: bool | None) -> Possibility:
    return UNKNOWN if flag is None else YES if flag else NO


def _can_be_text(info: BufferInfo) -> Possibility:
    return _answer(info._is("is_utf8"))


def _can_be_code(info: BufferInfo) -> Possibility:
    """What is text may be python, ipython or a checksum; nothing that is known tells."""
    return NO if info._is("is_utf8") is False else UNKNOWN


def _can_be_yaml(info: BufferInfo) -> Possibility:
    return YES if info._is("is_json") else _can_be_code(info)


def _can_be_plain(info: BufferInfo) -> Possibility:
    return NO if info._is("is_utf8") is False else _answer(info._is("is_json"))


def _can_be_binary(info: BufferInfo) -> Possibility:
    return NO if info._is("is_utf8") else _answer(info._is("is_numpy"))


def _can_be_mixed(info: BufferInfo) -> Possibility:
    kinds = [info._is(name) for name in ("is_json", "is_numpy", "is_seamless_mixed")]
    if any(kinds):
        return YES
    # JSON with NaN is mixed and not plain.
    return NO if kinds[1] is kinds[2] is False and info._is("is_utf8") is False else UNKNOWN


def _can_be_str(info: BufferInfo) -> Possibility:
    if info.json_type is None:
        return NO if _can_be_plain(info) == NO else UNKNOWN
    return _answer(info.json_type in _SCALARS)


def _number(celltype: str) -> Callable[[BufferInfo], Possibility]:
    def can_be(info: BufferInfo) -> Possibility:
        if info.is_json_numeric_scalar or info.json_type == celltype:
            return YES
        if celltype == "bool" and info.json_type in _SCALARS:
            return YES
        return NO if _can_be_str(info) == NO else UNKNOWN

    return can_be


_RULES: dict[str, Callable[[BufferInfo], Possibility]] = {
    "bytes": lambda info: YES,
    "text": _can_be_text,
    "yaml": _can_be_yaml,
    "plain": _can_be_plain,
    "binary": _can_be_binary,
    "mixed": _can_be_mixed,
    "str": _can_be_str,
    **{celltype: _number(celltype) for celltype in ("int", "float", "bool")},
}


def _check_count(name: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {value!r}")
    if value < 0:
        raise ValueError(f"{name} must not be negative, as {value} is")


def _checked_shape(shape: object) -> tuple[int, ...]:
    if not isinstance(shape, list | tuple):
        raise TypeError(f"shape must be a tuple of lengths, not {shape!r}")
    for length in shape:
        _check_count("a length in shape", length)
        if length is None:
            raise TypeError(f"shape must be a tuple of lengths, not {shape!r}")
    return tuple(shape)


def _as_json(value: Any) -> Any:
    if isinstance(value, Checksum):
        return value.hex()
    return list(value) if isinstance(value, tuple) else value
