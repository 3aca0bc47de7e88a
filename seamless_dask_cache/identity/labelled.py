"""xarray values as canonical bytes: variables in their order, coordinates, indexes, attributes.

Not by what pickle sees: attributes and encodings are made when they are first looked at.
"""

from __future__ import annotations

from typing import Any

import xarray as xr

from .encoder import Encoder, Handler, located
from .literals import text
from .nodes import Piece


def find_handler(kind: type) -> Handler | None:
    """Give the handler of a type of xarray.

    Parameters
    ----------
    kind : type
        A class with a base whose module begins with ``xarray``.

    Returns
    -------
    callable or None
        ``None`` for what the general rule handles, such as indexes.
    """
    for base, fill in _FILLS:
        if issubclass(kind, base):
            return _contained(fill)
    return None


def _contained(fill: Handler) -> Handler:
    def handler(encoder: Encoder, value: Any, out: list[Piece]) -> None:
        encoder.container(value, out, fill)

    return handler


def _header(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    out.append(b"t" + text("xarray"))
    encoder.encode(type(value), out)
    encoder.items((dict(value.attrs), dict(value.encoding)), out)


def _variable(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    _header(encoder, value, out)
    encoder.encode(value.dims, out)
    # What stands in a file is not read for this: it enters by the file's name and state.
    encoder.encode(value._data, out)


def _data_array(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    out.append(b"t" + text("xarray"))
    encoder.encode(type(value), out)
    encoder.items((value.name, value.variable), out)
    _coordinates(encoder, value, out)


def _dataset(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    _header(encoder, value, out)
    encoder.encode(dict(value.sizes), out)
    for name, variable in value.variables.items():
        if name not in value.coords:
            with located(f"[{name!r}]"):
                encoder.items((name, variable), out)
    _coordinates(encoder, value, out)


def _coordinates(encoder: Encoder, value: Any, out: list[Piece]) -> None:
    out.append(b"t" + text("coordinates"))
    with located(".coords"):
        for name, coordinate in value.coords.items():
            encoder.items((name, coordinate.variable), out)
    with located(".xindexes"):
        encoder.encode(dict(value.xindexes.items()), out)


_FILLS: tuple[tuple[Any, Handler], ...] = (
    (xr.DataArray, _data_array),
    (xr.Dataset, _dataset),
    (xr.Variable, _variable),
)
