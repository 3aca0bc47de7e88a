"""What a program reads enters its identity; an old result never answers a changed input."""

from __future__ import annotations

import json
import os
import pathlib

import dask
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from clusters import cluster_of

import seamless_dask_cache as sdc

HERE = pathlib.Path(__file__)


def total_of(path):
    return float(np.load(path).sum())


def text_length(path):
    return len(pathlib.Path(path).read_text())


def folder_size(path):
    return sum(p.stat().st_size for p in pathlib.Path(path).rglob("*.txt"))


class Reader:
    def __init__(self, path):
        self.path = path

    def __call__(self, offset):
        return len(pathlib.Path(self.path).read_text()) + offset


def write_csv(folder, n):
    pd.DataFrame({"x": range(n)}).to_csv(folder / "data.csv", index=False)


def write_parquet(folder, n):
    pd.DataFrame({"x": range(n)}).to_parquet(folder / "data.parquet")


def write_text(folder, n):
    (folder / "data.txt").write_text("word " * n)


def write_jsonl(folder, n):
    (folder / "data.jsonl").write_text("".join(json.dumps({"x": i}) + "\n" for i in range(n)))


def write_npy(folder, n):
    np.save(folder / "data.npy", np.arange(n, dtype="float64"))


def write_tree(folder, n):
    (folder / "deep").mkdir(exist_ok=True)
    (folder / "deep" / "a.txt").write_text("x" * n)


PROGRAMS = {
    "read_csv": (write_csv, lambda f: dd.read_csv(f / "data.csv").x.sum()),
    "read_parquet": (write_parquet, lambda f: dd.read_parquet(f / "data.parquet").x.sum()),
    "read_json": (write_jsonl, lambda f: dd.read_json(str(f / "data.jsonl"), lines=True).x.sum()),
    "read_text": (write_text, lambda f: db.read_text(str(f / "data.txt")).map(len).sum()),
    "string": (write_npy, lambda f: dask.delayed(total_of)(str(f / "data.npy"))),
    "path": (write_text, lambda f: dask.delayed(text_length)(f / "data.txt")),
    "nested": (
        write_text,
        lambda f: dask.delayed(list)([dask.delayed(text_length)(f / "data.txt")]),
    ),
    "folder": (write_tree, lambda f: dask.delayed(folder_size)(str(f))),
    "in an object": (write_text, lambda f: dask.delayed(Reader(str(f / "data.txt")))(1)),
    "closure": (write_text, lambda f: dask.delayed(lambda: text_length(f / "data.txt"))()),
    "from_map": (write_text, lambda f: dd.from_map(frame_of, [str(f / "data.txt")]).x.sum()),
}


def frame_of(path):
    return pd.DataFrame({"x": [len(pathlib.Path(path).read_text())]})


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_changed_input_is_computed_again(name, cache_dir, tmp_path):
    """Unchanged: a hit. Changed between two runs: computed from the new content."""
    write, program = PROGRAMS[name]
    folder = tmp_path / "input"
    folder.mkdir()
    results = []
    for n in (10, 10, 25):
        if n != 10 or not results:
            write(folder, n)
        with cluster_of() as client:
            cache = sdc.enable(client, cache_dir=cache_dir)
            results.append(program(folder).compute())
            assert cache.flush(30)
            hits = cache.stats()["hits"]
            computed = cache.stats()["computed"]
        if len(results) == 2:
            assert hits > 0
            assert computed == 0
    plain = program(folder).compute(scheduler="sync")
    assert results[0] == results[1] != results[2] == plain


def test_same_size_and_a_new_time_is_a_change(cache_dir, tmp_path):
    """A file that was rewritten with content of the same length is read again."""
    path = tmp_path / "a.txt"
    path.write_text("aaa")
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir)

        def first_letter(name):
            return pathlib.Path(name).read_text()[0]

        assert dask.delayed(first_letter)(str(path)).compute() == "a"
        assert cache.flush(30)
        before = path.stat()
        path.write_text("bbb")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
        assert dask.delayed(first_letter)(str(path)).compute() == "b"
