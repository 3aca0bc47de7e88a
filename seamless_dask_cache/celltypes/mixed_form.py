"""The form of a mixed value: a JSON description of its structure and of the arrays in it.

Source: seamless-core 0.1.4, mixed/get_form.py. A scalar's form is its JSON type ("null",
"boolean", "integer", "number", "string"). Lists have ``items`` (one form if all are identical, else
a list) and ``shape``; dicts have ``properties``; what is an array has
``"storage": "pure-binary"``. The items of an array are described by JSON type and ``bytesize``; a
structured type is an "object" with an ``order``, memory-aligned and native.

One extension: numpy types that the published form can't tell (unicode, complex, datetime,
big-endian, packed structures) have the type "numpy" and the ``descr`` of a .npy header. The
published reader refuses it with a TypeError, so it never misreads one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib import format as npy_format

from seamless_dask_cache.celltypes.npy import aligned_again, has_padding

Form = str | dict[str, Any]
Array = np.ndarray[Any, Any]
DType = np.dtype[Any]

_KINDS = {"b": "boolean", "i": "integer", "u": "integer", "f": "number", "S": "string"}
_CODES = {"number": "<f", "string": "S"}


def form_of(value: Any) -> tuple[str, Form]:
    """Return the storage and the form of a value.

    Parameters
    ----------
    value : None, bool, int, float, str, list, dict, ndarray, numpy scalar, or nested

    Returns
    -------
    storage : {"pure-plain", "pure-binary", "mixed-plain"}
    form : str or dict
    """
    if isinstance(value, np.ndarray):
        return "pure-binary", _array_form(value)
    if isinstance(value, np.generic):
        return "pure-binary", dict(_dtype_form(value.dtype))
    if isinstance(value, list):
        return _list_form(value)
    if isinstance(value, dict):
        return _dict_form(value)
    return "pure-plain", _scalar_form(value)


def array_layout(form: dict[str, Any]) -> tuple[tuple[int, ...] | None, DType]:
    """Return shape and type of the array that a form describes; the shape of a scalar is None.

    Raises
    ------
    ValueError, KeyError, TypeError
        When the form describes no array.
    """
    if form["type"] == "array":
        return tuple(form["shape"]), _form_dtype(form["items"])
    return None, _form_dtype(form)


def _scalar_form(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    return "number" if isinstance(value, float) else "string"


def _list_form(value: list[Any]) -> tuple[str, Form]:
    children = [form_of(item) for item in value]
    storage = _common_storage([child_storage for child_storage, _ in children])
    identical = all(child == children[0] for child in children)
    forms = [_with_storage(*child) for child in children]
    items = forms if not identical else forms[0] if forms else None
    return storage, {
        "type": "array",
        "items": items,
        "identical": identical,
        "shape": [len(value)],
    }


def _dict_form(value: dict[str, Any]) -> tuple[str, Form]:
    if not value:
        return "pure-plain", {"type": "object"}
    children = {key: form_of(item) for key, item in value.items()}
    storage = _common_storage([child_storage for child_storage, _ in children.values()])
    properties = {key: _with_storage(*child) for key, child in children.items()}
    return storage, {"type": "object", "properties": properties}


def _common_storage(storages: list[str]) -> str:
    return "pure-plain" if set(storages) <= {"pure-plain"} else "mixed-plain"


def _with_storage(storage: str, form: Form) -> Form:
    if storage == "pure-plain":
        return form
    return {**({"type": form} if isinstance(form, str) else form), "storage": storage}


def _array_form(array: Array) -> dict[str, Any]:
    form: dict[str, Any] = {
        "type": "array",
        "items": _dtype_form(array.dtype),
        "identical": True,
        "shape": list(array.shape),
        "contiguous": _is_strictly_contiguous(array),
    }
    if not form["contiguous"]:
        form["strides"] = list(array.strides)
    return form


def _is_strictly_contiguous(array: Array) -> bool:
    # Stricter than numpy's flag, which ignores the strides of axes of length 0 and 1.
    stride = array.itemsize
    for length, actual in zip(array.shape[::-1], array.strides[::-1], strict=True):
        if actual != stride:
            return False
        stride *= length
    return True


def _dtype_form(dtype: DType) -> dict[str, Any]:
    form = _published_form(dtype)
    if form is not None and _is_same(_form_dtype(form), dtype):
        return form
    form = {"type": "numpy", "descr": npy_format.dtype_to_descr(dtype), "bytesize": dtype.itemsize}
    if dtype.hasobject or not _is_same(_form_dtype(form), dtype):
        raise TypeError(f"arrays of type {dtype!r} have no buffer")
    return form


def _is_same(back: DType, dtype: DType) -> bool:
    # Without padding, the flag says nothing about where things lie; a .npy buffer loses it, too.
    same_flag = back.isalignedstruct == dtype.isalignedstruct or not has_padding(dtype)
    return back == dtype and same_flag


def _published_form(dtype: DType) -> dict[str, Any] | None:
    if dtype.subdtype is not None:
        return _subarray_form(dtype)
    if dtype.names is not None:
        return _struct_form(dtype)
    if dtype.kind not in _KINDS:
        return None
    form = {"type": _KINDS[dtype.kind], "bytesize": dtype.itemsize}
    if form["type"] == "integer":
        form["unsigned"] = dtype.kind == "u"
    return form


def _subarray_form(dtype: DType) -> dict[str, Any] | None:
    items = _published_form(dtype.base)
    # The published writer knows no arrays of byte strings or of structures inside a structure.
    if items is None or items["type"] in ("string", "object"):
        return None
    return {"type": "tuple", "items": items, "identical": True, "shape": list(dtype.shape)}


def _struct_form(dtype: DType) -> dict[str, Any] | None:
    if not dtype.isalignedstruct or not dtype.isnative:
        return None
    names = list(dtype.names or ())
    forms = {name: _published_form(dtype[name]) for name in names}
    if any(form is None for form in forms.values()):
        return None
    # A nested packed structure is written as aligned by its own form; _is_same refuses that later.
    return {"type": "object", "properties": forms, "bytesize": dtype.itemsize, "order": names}


def _form_dtype(form: dict[str, Any]) -> DType:
    kind = form["type"]
    if kind == "numpy":
        return aligned_again(npy_format.descr_to_dtype(_as_descr(form["descr"])))
    if kind == "object":
        fields = [(name, _form_dtype(form["properties"][name])) for name in form["order"]]
        return np.dtype(fields, align=True)
    if kind == "tuple":
        return np.dtype((_form_dtype(form["items"]), tuple(form["shape"])))
    if kind == "boolean":
        return np.dtype("|b1")
    code = _CODES.get(kind) or ("<u" if form["unsigned"] else "<i")
    return np.dtype(f"{code}{form['bytesize']}")


def _as_descr(descr: Any) -> Any:
    """Turn the lists that JSON made of a descr's tuples into tuples again."""
    if isinstance(descr, str):
        return descr
    return [_field_descr(field) for field in descr]


def _field_descr(field: Any) -> Any:
    name, base, *shape = field
    name = tuple(name) if isinstance(name, list) else name
    return (name, _as_descr(base), *(tuple(item) for item in shape))
