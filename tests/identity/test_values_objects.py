"""The rule for objects without an encoding of their own, and what users declare."""

from __future__ import annotations

import copyreg
import functools
import io
import multiprocessing.managers
import multiprocessing.shared_memory
import os
import pathlib
import pickle
import subprocess
import sys
import weakref
import zoneinfo

import dask
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import sklearn.linear_model
import xarray as xr
import zarr
from PIL import Image
from value_kinds import Point

from seamless_dask_cache.errors import RefusedError
from seamless_dask_cache.identity import Identifier, register_identity, value_checksum


def _differ(one, other):
    return value_checksum(one) != value_checksum(other)


def _methods(text):
    names: dict[str, object] = {"__name__": "made"}
    exec(text, names)
    return names["Model"]


# What pickle leaves out ---------------------------------------------------------------------------


class Slots:
    __slots__ = ("kept", "left")

    def __init__(self, kept, left):
        self.kept, self.left = kept, left

    def __getstate__(self):
        return None, {"kept": self.kept}


class ByArguments:
    def __init__(self, name):
        self.name = name
        self.level = 0

    def __reduce__(self):
        return ByArguments, (self.name,)


class ByName:
    def __reduce__(self):
        return "SETTINGS"


SETTINGS = ByName()


class Empty(list):
    def __reduce__(self):
        return Empty, ()


def test_a_slot_that_pickle_leaves_out_counts():
    assert _differ(Slots(1, 2), Slots(1, 3))


def test_attributes_beside_the_arguments_of_a_reduction_count():
    one, other = ByArguments("a"), ByArguments("a")
    assert not _differ(one, other)
    other.level = 1
    assert _differ(one, other)


def test_the_state_of_an_object_that_is_pickled_by_name_counts():
    SETTINGS.level = 1
    before = value_checksum(SETTINGS)
    SETTINGS.level = 2
    assert value_checksum(SETTINGS) != before


def test_the_items_of_a_list_that_pickle_leaves_out_count():
    assert _differ(Empty([1]), Empty([2]))


def test_a_handle_that_pickle_leaves_out_is_refused(tmp_path):
    """A call in this process would use it."""

    class Reader:
        def __init__(self, path):
            self.path, self.file = path, path.open("w")

        def __getstate__(self):
            return {"path": self.path}

    reader = Reader(tmp_path / "a")
    with reader.file, pytest.raises(RefusedError, match="an open file"):
        value_checksum(reader)


def test_a_cached_property_counts_once_it_is_there():
    """It stays what it was when its object changes, so a call can tell."""

    class Model:
        def __init__(self, n):
            self.n = n

        @functools.cached_property
        def twice(self):
            return 2 * self.n

    one, other = Model(1), Model(2)
    assert one.twice == 2
    other.n = 1
    assert other.twice == 2
    assert not _differ(one, other)
    other.n, one.n = 3, 3
    other.__dict__["twice"] = 7
    assert _differ(one, other)


def test_the_setter_of_a_state_counts(monkeypatch):
    found = set()
    for setter in (len, repr):
        monkeypatch.setitem(
            copyreg.dispatch_table,
            Point,
            lambda point, setter=setter: (Point, (1, 2), {}, None, None, setter),
        )
        found.add(value_checksum(Point(1, 2)))
    assert len(found) == 2


def test_named_tuples_with_postponed_annotations_have_an_identity():
    """Those of a module with ``from __future__ import annotations`` differ by their fields."""
    source = """
from __future__ import annotations
from typing import NamedTuple
class Point(NamedTuple):
    x: {}
"""
    found = set()
    for annotation in ("int", "int", "float"):
        scope = {"__name__": "points"}
        exec(source.format(annotation), scope)
        found.add(value_checksum(scope["Point"](1)))
    assert len(found) == 2


# What is declared ---------------------------------------------------------------------------------

_MODEL = """
class Base:
    def __init__(self, n, rest=None):
        self.n, self.rest = n, rest
    def __seamless_identity__(self):
        return self.n
class Model(Base):
    def apply(self, x):
        return x + {}
"""


def test_a_declared_identity_is_inherited():
    kind = _methods(_MODEL.format(1))
    assert not _differ(kind(1, iter("a")), kind(1, iter("b")))
    assert _differ(kind(1), kind(2))


def test_a_declared_identity_covers_the_value_and_not_the_code():
    assert _differ(_methods(_MODEL.format(1))(1), _methods(_MODEL.format(2))(1))


def test_the_nearest_declaration_counts():
    class Base:
        def __init__(self, a, b):
            self.a, self.b = a, b

    class Own(Base):
        def __seamless_identity__(self):
            return self.b

    register_identity(Base, lambda value: value.a)
    assert not _differ(Base(1, 2), Base(1, 3))
    assert _differ(Own(1, 2), Own(1, 3))
    assert not _differ(Own(1, 2), Own(2, 2))


def test_a_type_may_be_registered_after_its_values_were_seen():
    class Kind:
        def __init__(self, a, b):
            self.a, self.b = a, b

    assert _differ(Kind(1, 2), Kind(1, 3))
    register_identity(Kind, lambda value: value.a)
    assert not _differ(Kind(1, 2), Kind(1, 3))


def test_a_declaration_that_fails_is_a_refusal():
    class Model:
        def __seamless_identity__(self):
            raise KeyError("weights")

    with pytest.raises(RefusedError, match="weights"):
        value_checksum([Model()])


def test_a_class_of_a_script_is_the_same_in_every_run(tmp_path):
    script = _MODEL.format(1) + (
        "from seamless_dask_cache import value_checksum\n"
        "import sys; print(value_checksum([Model(1, iter('a')), {'a', 'b'}]))"
    )
    found = set()
    for seed, name in (("1", "one.py"), ("2", "other.py")):
        (tmp_path / name).write_text(script)
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, str(tmp_path / name)]
        found.add(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
    assert len(found) == 1


# What is refused ----------------------------------------------------------------------------------


class Proxy(multiprocessing.managers.BaseProxy):
    def __init__(self):
        """Not connected."""


def _animation():
    stream = io.BytesIO()
    frames = [Image.new("L", (2, 2), level) for level in (0, 9)]
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    return Image.open(stream)


@pytest.mark.parametrize(
    "make",
    [
        object,
        lambda: weakref.finalize(Point(1), list),
        lambda: weakref.WeakSet(),
        lambda: Proxy(),
        lambda: dask.delayed(len)([1]),
        lambda: dask.delayed(1),
        lambda: xr.DataArray([1, 2], dims="x").chunk(),
        lambda: pa.UnionArray.from_sparse(pa.array([0], "int8"), [pa.array([1])]),
        lambda: zoneinfo.ZoneInfo.from_file(io.BytesIO(_zone_file())),
        _animation,
    ],
)
def test_what_has_no_certain_identity_is_refused(make):
    with pytest.raises(RefusedError) as caught:
        value_checksum([make()])
    assert caught.value.path.startswith("[0]")


def _zone_file():
    for folder in zoneinfo.TZPATH:
        path = pathlib.Path(folder, "UTC")
        if path.exists():
            return path.read_bytes()
    import importlib.resources

    return importlib.resources.files("tzdata.zoneinfo").joinpath("UTC").read_bytes()


def test_shared_memory_is_refused():
    memory = multiprocessing.shared_memory.SharedMemory(create=True, size=8)
    try:
        with pytest.raises(RefusedError, match="shared memory"):
            value_checksum(memory)
    finally:
        memory.close()
        memory.unlink()


@pytest.mark.parametrize(
    "name", ["Variable", "Queue", "Event", "Semaphore"], ids=lambda name: name.lower()
)
def test_what_the_scheduler_holds_is_refused(name):
    import distributed

    kind = getattr(distributed, name)
    with pytest.raises(RefusedError, match="scheduler holds"):
        value_checksum(kind.__new__(kind))


def test_a_marker_of_the_code_is_a_constant():
    """Known by its address only, but every process has it."""
    marker = object()

    def function(x=marker):
        return x is marker

    assert Identifier().code(function).effects == ()


# What is noted ------------------------------------------------------------------------------------


class OwnPath(type(pathlib.Path())):
    """A path of a user's own."""


class PathLike:
    def __init__(self, name):
        self.name = name

    def __fspath__(self):
        return f"folder/{self.name}.csv"


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (OwnPath("folder", "a.csv"), "folder/a.csv"),
        (PathLike("a"), "folder/a.csv"),
        (np.str_("a.csv"), "a.csv"),
        (np.array(["a.csv", "b"]), "a.csv"),
        (np.array(["a.csv", "b"], object), "a.csv"),
        (pd.Series(["a.csv"]), "a.csv"),
        (pd.Series(["a.csv"], dtype=object), "a.csv"),
        (pd.Index(["folder/a"]), "folder/a"),
        (pd.DataFrame({"name": ["a.csv"]}), "a.csv"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_paths_in_values_are_noted(value, path):
    assert path in Identifier().describe([value]).files


def test_a_zarr_array_brings_the_folder_of_its_store(tmp_path):
    array = zarr.create_array(tmp_path / "a.zarr", shape=(2,), dtype="i4")
    assert str(tmp_path / "a.zarr") in Identifier().describe(array).files


def test_a_zarr_array_on_another_file_system_is_refused():
    store = zarr.storage.FsspecStore.from_url("memory://a.zarr")
    array = zarr.create_array(store, shape=(2,), dtype="i4")
    with pytest.raises(RefusedError, match="MemoryFileSystem"):
        value_checksum(array)


# Third-party values -------------------------------------------------------------------------------


def test_the_version_inside_an_estimator_follows_the_policy(monkeypatch):
    """scikit-learn writes its version into every pickled estimator; the class brings it already."""
    found = []
    for version in ("1.0.1", "1.0.2"):
        monkeypatch.setattr("sklearn.base.__version__", version)
        found.append(value_checksum(sklearn.linear_model.Ridge()))
    assert found[0] == found[1]


def test_a_fitted_estimator_survives_pickling():
    model = sklearn.linear_model.LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    assert not _differ(model, pickle.loads(pickle.dumps(model)))


def test_bytes_that_nobody_set_do_not_count():
    """Numbers of 80 bits lie in 16 bytes; six of them are whatever was there before."""
    if np.finfo(np.longdouble).nmant != 63:
        return  # no such bytes on this machine
    one, other = np.full(3, 1.5, np.longdouble), np.full(3, 1.5, np.longdouble)
    other.view(np.uint8).reshape(3, -1)[:, 10:] = 7
    assert not _differ(one, other)
    both = [np.zeros(2, [("a", np.longdouble), ("b", "i8")]) for _ in range(2)]
    both[1].view(np.uint8).reshape(2, -1)[:, 10:16] = 7
    assert not _differ(*both)


def test_a_record_is_no_tuple_of_bytes():
    fields = np.dtype([("a", "V1")])
    assert _differ(np.dtype("V1"), np.dtype((np.record, fields)))
    assert _differ(np.dtype((np.void, fields)), np.dtype((np.record, fields)))


def test_a_large_array_in_pieces_is_the_array():
    array = np.arange(3_000_000.0).reshape(1000, 3000)
    assert not _differ(array[:, ::2], array[:, ::2].copy())
    assert not _differ(array.ravel()[::2], array.ravel()[::2].copy())
