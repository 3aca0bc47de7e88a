"""The names with which the tests write values as source text, and classes of a user's own."""

# ruff: noqa: F401 - every name is for source texts
from __future__ import annotations

import array
import collections
import datetime
import decimal
import enum
import fractions
import io
import pathlib
import random
import re
import struct
import types
import uuid
import zoneinfo
from dataclasses import dataclass, field

import dask
import dateutil.tz
import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.sparse as sp
import sklearn.cluster
import sklearn.ensemble
import sklearn.linear_model
import sklearn.pipeline
import sklearn.preprocessing
import xarray as xr
import zarr
from PIL import Image


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Number(enum.IntEnum):
    ONE = 1


class Bits(enum.Flag):
    A = 1
    B = 2
    C = 4


@dataclass
class Point:
    x: object
    y: object = None


@dataclass(frozen=True, order=True)
class Frozen:
    x: object


Pair = collections.namedtuple("Pair", "a b")
Other = collections.namedtuple("Other", "a b")


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a, b):
        self.a = a
        self.b = b


class Names(set):
    """A set of a user's own."""


class Text(str):
    """A string of a user's own."""


class Rows(list):
    """A list of a user's own."""


class Tagged(np.ndarray):
    """An array of a user's own, whose attribute numpy's pickle forgets."""


class Half(np.float32):
    """A scalar of a user's own."""


class Sheet(pd.DataFrame):
    """A frame of a user's own."""

    _metadata = ["unit"]  # noqa: RUF012

    @property
    def _constructor(self):
        return Sheet


class Forgetful:
    """Its pickle leaves out what it was told last."""

    def __init__(self, kept, dropped):
        self.kept = kept
        self.dropped = dropped

    def __getstate__(self):
        return {"kept": self.kept}


class Ordered:
    """What it rebuilds depends on the order of its state."""

    def __init__(self, **columns):
        self._names = list(columns)
        self._columns = columns

    def __getstate__(self):
        return {name: self._columns[name] for name in self._names}

    def __setstate__(self, state):
        self.__init__(**state)


class Zone(datetime.tzinfo):
    """A time zone of a user's own, such as pytz has them."""

    def __init__(self, hours=0):
        self.hours = hours

    def utcoffset(self, moment):
        return datetime.timedelta(hours=self.hours)

    def dst(self, moment):
        return datetime.timedelta(0)

    def tzname(self, moment):
        return "zone"

    def __reduce__(self):
        return Zone, (self.hours,)


def nan(payload):
    return struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000000 | payload))[0]


def with_attributes(value, **attributes):
    for name, item in attributes.items():
        object.__setattr__(value, name, item)
    return value


def with_attrs(frame, **attrs):
    frame.attrs.update(attrs)
    return frame


def tagged(unit):
    return with_attributes(np.arange(3).view(Tagged), unit=unit)


def sheet(unit):
    return with_attributes(Sheet({"a": [1]}), unit=unit)


def palette(mode, colours):
    image = Image.new("P", (2, 2))
    image.putpalette(colours, mode)
    return image


def raised(cause):
    error = ValueError("a")
    error.__cause__ = cause
    return error


def drawn(generator, method="random"):
    getattr(generator, method)()
    return generator


def cycle(item):
    items = [item]
    items.append(items)
    return items


def fitted(estimator):
    x = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 1.0]])
    return estimator.fit(x, [0, 1, 1, 0])


def png(**options):
    stream = io.BytesIO()
    Image.new("RGB", (2, 2), (1, 2, 3)).save(stream, "PNG", **options)
    return Image.open(stream)


ZONE = zoneinfo.ZoneInfo("Europe/Berlin")
PADDED = np.dtype({"names": ["a"], "formats": ["i1"], "offsets": [4], "itemsize": 8})
SPARSE = [[0, 1, 0], [2, 0, 3]]
