"""Tests of Dask's that have to be different with the cache on, each with the reason."""

from __future__ import annotations

WARNS = (
    "a task that is not run again does not warn again; the test sees the warning only because its "
    "worker is a thread of the same process"
)
NOTES = (
    "the function notes its calls in a class of an installed distribution, whose code is taken to "
    "be pure; the same function in a user's module is refused"
)
ONE_KEY = (
    "two values under one key, one right after the other: whether Dask's client has let go of the "
    "first by then is a race, which it loses with the cache off as well"
)

# Name of a test, without its parameters, to the reason.
KNOWN: dict[str, str] = {
    "dask/array/tests/test_routines.py::test_average_raises": WARNS,
    "dask/bag/tests/test_bag.py::test_take_npartitions_warn": WARNS,
    "dask/dataframe/dask_expr/tests/test_collection.py::test_head": WARNS,
    "dask/dataframe/tests/test_dataframe.py::test_head_npartitions_warn": WARNS,
    "dask/dataframe/io/tests/test_io.py::test_from_map_column_projection": NOTES,
    "dask/tests/test_base.py::test_persist_delayed_rename": ONE_KEY,
}
