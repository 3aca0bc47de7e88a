"""Early cutoff and code that results only name: an object of an edited class is another input."""

from __future__ import annotations

import importlib
import sys
from datetime import datetime
from decimal import Decimal

import dask
import numpy as np
import pandas as pd
import pytest
from clusters import cluster_of, wait_until_forgotten
from seamless_dask_cache.scheduler_plugin.wholeness import is_whole, is_whole_result

import seamless_dask_cache as sdc
from seamless_dask_cache.results import dump_result

STORE_ALL = {"min_seconds": 0, "load_seconds": 0, "load_bytes_per_second": 1e15, "store_share": 1e9}

MODULE = """
class Model:
    def __init__(self, factor):
        self.factor = factor

    def predict(self, x):
        return self.factor * x + {offset}


def shift(x):
    return x + {offset}


def make(factor):
    return Model(factor)


def make_large(factor):
    return [Model(factor), "large" * 2000]


def give():
    return shift


def give_inside():
    return {{"f": shift}}


def predict(model, x):
    return model.predict(x)


def predict_first(models, x):
    return models[0].predict(x)


def apply(f, x):
    return f(x)


def apply_inside(table, x):
    return table["f"](x)
"""


@pytest.fixture
def edited(tmp_path, monkeypatch):
    """Writes and loads a version of a module of the user."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def edit(offset):
        (tmp_path / "users_models.py").write_text(MODULE.format(offset=offset))
        importlib.invalidate_caches()
        known = sys.modules.get("users_models")
        return importlib.import_module("users_models") if known is None else importlib.reload(known)

    yield edit
    sys.modules.pop("users_models", None)


def values(module):
    call = dask.delayed
    return [
        call(module.predict)(call(module.make)(2), 5),
        call(module.predict_first)(call(module.make_large)(2), 5),
        call(module.apply)(call(module.give)(), 5),
        call(module.apply_inside)(call(module.give_inside)(), 5),
    ]


@pytest.mark.parametrize("fresh", [False, True])
def test_an_edited_method_is_not_served_for_its_old_objects(edited, cache_dir, fresh):
    """The objects are pickled as before the edit, and still do something else."""

    def run(client, offset):
        cache = sdc.enable(client, cache_dir=cache_dir, **STORE_ALL)
        expected = [10 + offset, 10 + offset, 5 + offset, 5 + offset]
        # The second time the objects themselves are hits, and what is made of them is on record.
        for _ in range(2):
            assert client.compute(values(edited(offset)), sync=True) == expected
            assert cache.flush(30)
            wait_until_forgotten(client)

    def change_users(client):
        """Compute what is made of objects that are restored, by other code."""
        module = edited(1)
        namespace: dict = {}
        exec("def predict(model, x):\n    y = x\n    return model.predict(y)", namespace)
        exec("def first(models, x):\n    y = x\n    return models[0].predict(y)", namespace)
        made = dask.delayed(namespace["predict"])(dask.delayed(module.make)(2), 5)
        large = dask.delayed(namespace["first"])(dask.delayed(module.make_large)(2), 5)
        return made, large, namespace

    with cluster_of() as client:
        run(client, 1)
        cache = sdc.enable(client, cache_dir=cache_dir, **STORE_ALL)
        made, large, namespace = change_users(client)
        assert client.compute([made, large], sync=True) == [11, 11]
        assert cache.flush(30)
        wait_until_forgotten(client)
        if not fresh:
            run(client, 100)
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir, **STORE_ALL)
        module = edited(100)
        for _ in range(2):
            made = dask.delayed(namespace["predict"])(dask.delayed(module.make)(2), 5)
            large = dask.delayed(namespace["first"])(dask.delayed(module.make_large)(2), 5)
            assert client.compute([made, large], sync=True) == [110, 110]
            assert cache.flush(30)
            wait_until_forgotten(client)
        run(client, 100)


WHOLE = {
    "number": 3,
    "array": np.arange(6).reshape(2, 3).T[::2],
    "objects": np.array([None, {}], dtype=object),
    "frame": pd.DataFrame({"a": [1, 2], "b": ["x", None]}),
    "categories": pd.Series(["a", "b"], dtype="category"),
    "mixture": (1, {2, 3}, {"d": Decimal(3), "t": datetime(2020, 1, 1)}),
    "large": np.zeros(100_000)[::3],
    "class of Python": Decimal,
}


@pytest.mark.parametrize("name", WHOLE)
def test_values_of_installed_types_are_whole(name):
    """What Python and installed distributions define is known by its version."""
    buffer = dump_result(WHOLE[name])
    assert is_whole_result(buffer)
    assert is_whole(buffer.tobytes())


def test_values_that_name_code_of_the_user_are_not_whole(edited):
    """Nor are those that bring code along, which may name other code; nor damaged ones."""
    module = edited(1)
    named = [module.shift, module.Model(1), [1, (module.Model,)], {"f": module.Model(2).predict}]
    for value in [*named, lambda x: x, np.array([module.Model(1)])]:
        buffer = dump_result(value)
        assert not is_whole_result(buffer)
        assert not is_whole(buffer.tobytes())
    whole = dump_result((1, 2)).tobytes()
    for end in range(8, len(whole)):
        assert not is_whole(whole[:end])
