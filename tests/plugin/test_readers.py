"""Everything that reads: a changed input is read again, local and remote, by whatever road."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import threading

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import fsspec
import h5py
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import zarr
from aiohttp import web
from clusters import cluster_of, wait_until_forgotten
from distributed import default_client

import seamless_dask_cache as sdc


@pytest.fixture(scope="module")
def cache(shared_cache_dir):
    with cluster_of() as client:
        yield sdc.enable(client, cache_dir=shared_cache_dir)


def computed_by(cache, collection):
    """Compute a collection; return the result and how many tasks that took."""
    before = cache.stats()["computed"]
    result = collection.compute()
    assert cache.flush(30)
    wait_until_forgotten(default_client())
    return result, cache.stats()["computed"] - before


def plainly(collection):
    return collection.compute(scheduler="sync")


# Local files ------------------------------------------------------------------------------------


def csv(folder, n):
    pd.DataFrame({"x": np.arange(n) + n}).to_csv(folder / "d.csv", index=False)


def parquet(folder, n):
    (folder / "pq").mkdir(exist_ok=True)
    for part in range(2):
        pd.DataFrame({"x": np.arange(30) + n}).to_parquet(folder / "pq" / f"part.{part}.parquet")


def jsonl(folder, n):
    (folder / "d.jsonl").write_text("".join(f"{json.dumps({'x': i + n})}\n" for i in range(30)))


def text(folder, n):
    (folder / "d.txt").write_text(f"{n} word\n" * 30)


def npy(folder, n):
    np.save(folder / "d.npy", np.arange(10.0) + n)


def npy_stack(folder, n):
    shutil.rmtree(folder / "stack", ignore_errors=True)
    for part in range(2):
        (folder / "stack").mkdir(exist_ok=True)
        np.save(folder / "stack" / f"{part}.npy", np.arange(5.0) + n)
    with open(folder / "stack" / "info", "wb") as file:
        import pickle

        pickle.dump({"chunks": ((5, 5),), "dtype": np.dtype(float), "axis": 0}, file)


def zarr_group(folder, n):
    group = zarr.open_group(str(folder / "g.zarr"), mode="a")
    array = group.require_array("a", shape=(10,), chunks=(5,), dtype=float)
    array[:] = n


def hdf5(folder, n):
    (folder / "d.h5").unlink(missing_ok=True)
    with h5py.File(folder / "d.h5", "w") as file:
        file["a"] = np.full(10, float(n))


def raw(folder, n):
    (np.arange(10.0) + n).tofile(folder / "d.raw")


def total(values):
    return float(np.asarray(values).sum())


def total_of_group(group):
    return float(group["a"][:].sum())


def total_of_h5(path):
    with h5py.File(path, "r") as file:
        return float(file["a"][:].sum())


def total_of_parquet(path):
    return float(pq.read_table(path).to_pandas().x.sum())


def sum_on(system, path):
    return sum(system.cat_file(path))


def first_of_file(file):
    with file as opened:
        return opened.read(1)


def first_word(path):
    with open(path) as file:
        return file.read()[:2]


def raw_mapped(folder):
    return np.memmap(folder / "d.raw", mode="r", dtype=float, shape=(10,))


def a_zarr(folder):
    return zarr.open_array(str(folder / "g.zarr" / "a"), mode="r")


LOCAL = {
    "read_csv": (csv, lambda f: dd.read_csv(f / "d.csv").x.sum()),
    "read_csv in blocks": (csv, lambda f: dd.read_csv(f / "d.csv", blocksize=50).x.sum()),
    "read_parquet": (parquet, lambda f: dd.read_parquet(f / "pq").x.sum()),
    "read_parquet by fsspec": (
        parquet,
        lambda f: dd.read_parquet(f / "pq", filesystem="fsspec").x.sum(),
    ),
    "read_parquet by arrow": (
        parquet,
        lambda f: dd.read_parquet(f / "pq", filesystem="arrow").x.sum(),
    ),
    "read_json": (jsonl, lambda f: dd.read_json(str(f / "d.jsonl"), lines=True).x.sum()),
    "read_json in blocks": (
        jsonl,
        lambda f: dd.read_json(str(f / "d.jsonl"), lines=True, blocksize=50).x.sum(),
    ),
    "read_text": (text, lambda f: db.read_text(str(f / "d.txt")).map(hash_free).sum()),
    "read_text in blocks": (
        text,
        lambda f: db.read_text(str(f / "d.txt"), blocksize=50).map(hash_free).sum(),
    ),
    "from_npy_stack": (npy_stack, lambda f: da.from_npy_stack(str(f / "stack")).sum()),
    "from_zarr": (zarr_group, lambda f: da.from_zarr(str(f / "g.zarr" / "a")).sum()),
    "zarr array": (zarr_group, lambda f: dask.delayed(total)(a_zarr(f))),
    "zarr array by from_array": (
        zarr_group,
        lambda f: da.from_array(a_zarr(f), chunks=5).sum(),
    ),
    "zarr group": (
        zarr_group,
        lambda f: dask.delayed(total_of_group)(zarr.open_group(str(f / "g.zarr"), mode="r")),
    ),
    "memmap": (raw, lambda f: dask.delayed(total)(raw_mapped(f))),
    "memmap by from_array": (raw, lambda f: da.from_array(raw_mapped(f), chunks=5).sum()),
    "np.load": (npy, lambda f: dask.delayed(np.load)(str(f / "d.npy")).sum()),
    "h5py in a function": (hdf5, lambda f: dask.delayed(total_of_h5)(str(f / "d.h5"))),
    "arrow in a function": (parquet, lambda f: dask.delayed(total_of_parquet)(str(f / "pq"))),
    "pandas, Path": (csv, lambda f: dask.delayed(pd.read_csv)(f / "d.csv").x.sum()),
    "open file of fsspec": (
        text,
        lambda f: dask.delayed(first_of_file)(fsspec.open(str(f / "d.txt"), "rt")),
    ),
    "local file system": (
        text,
        lambda f: dask.delayed(sum_on)(fsspec.filesystem("file"), str(f / "d.txt")),
    ),
    "method of a file system": (
        text,
        lambda f: dask.delayed(fsspec.filesystem("file").cat_file)(str(f / "d.txt")),
    ),
    "folder as a file system": (
        text,
        lambda f: dask.delayed(sum_on)(
            fsspec.filesystem("dir", path=str(f), fs=fsspec.filesystem("file")), "d.txt"
        ),
    ),
    "mapper": (text, lambda f: dask.delayed(first_of_mapper)(fsspec.get_mapper(str(f)))),
}


def hash_free(line):
    return int(line.split()[0])


def first_of_mapper(mapper):
    return mapper["d.txt"][:3]


@pytest.mark.parametrize("again", ["built anew", "the same object"])
@pytest.mark.parametrize("name", LOCAL)
def test_a_local_input_is_read_again_only_after_a_change(name, again, cache, tmp_path):
    write, program = LOCAL[name]
    write(tmp_path, 10)
    collection = program(tmp_path)
    first, _ = computed_by(cache, collection)
    collection = program(tmp_path) if again == "built anew" else collection
    second, tasks = computed_by(cache, collection)
    assert (second, tasks) == (first, 0)
    write(tmp_path, 20)
    collection = program(tmp_path) if again == "built anew" else collection
    third, _ = computed_by(cache, collection)
    # A memory map and a collection of HDF5 may keep what they were made from, without a cache too.
    assert third == plainly(collection)
    if again == "built anew":
        assert third != first


def test_a_dataset_of_hdf5_is_never_served_stale(cache, tmp_path):
    """An open file of HDF5 has no certain identity; opening it in the function has one."""
    found = []
    for n in (1, 1, 2):
        hdf5(tmp_path, n)
        with h5py.File(tmp_path / "d.h5", "r") as file:
            found.append(da.from_array(file["a"], chunks=5).sum().compute())
        assert cache.flush(30)
    assert found == [10.0, 10.0, 20.0]


# Remote files -----------------------------------------------------------------------------------


class Served:
    """A folder behind HTTP and in fsspec's memory file system."""

    def __init__(self, folder, port):
        self.folder = folder
        self.http = f"http://127.0.0.1:{port}"
        self.memory = "memory://served"
        self.requests = 0

    def write(self, n):
        frame = pd.DataFrame({"x": np.arange(30) + n})
        packed = io.BytesIO()
        frame.to_parquet(packed)
        self.put("d.csv", frame.to_csv(index=False).encode())
        self.put("d.parquet", packed.getvalue())
        self.put("d.jsonl", frame.to_json(orient="records", lines=True).encode())
        zarr.open_array("memory://served/z.zarr", mode="a", shape=(10,), chunks=(5,), dtype=float)[
            :
        ] = n
        fsspec.filesystem("http").invalidate_cache()

    def put(self, name, content):
        (self.folder / name).write_bytes(content)
        fsspec.filesystem("memory").pipe(f"/served/{name}", content)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    loop = asyncio.new_event_loop()
    started = threading.Event()
    place = Served(folder, 0)

    async def count(request, handler):
        place.requests += 1
        return await handler(request)

    async def serve():
        app = web.Application(middlewares=[web.middleware(count)])
        app.router.add_static("/", folder)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        place.http = f"http://127.0.0.1:{runner.addresses[0][1]}"
        started.set()
        return runner

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(serve(), loop).result(10)
    assert started.is_set()
    yield place
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


def length_at(address):
    with fsspec.open(address, "rb") as file:
        return sum_of(file.read())


def sum_of(content):
    return sum(content)


def sum_of_text(line):
    return sum_of(line.encode())


def constant(address):
    def length_of_constant():
        return length_at(address)

    return length_of_constant


def built_inside(parts):
    return length_at("/".join(parts))


def of_memory(parts):
    return sum_of(fsspec.filesystem("memory").cat_file("/".join(parts)))


def on_system(system, name):
    return sum_of(system.cat_file(name))


def of_open_file(file):
    with file as opened:
        return sum_of(opened.read())


def in_mapper(mapper):
    return sum_of(mapper["d.csv"])


REMOTE = {
    "read_csv": lambda at: dd.read_csv(f"{at}/d.csv").x.sum(),
    "read_parquet": lambda at: dd.read_parquet(f"{at}/d.parquet").x.sum(),
    "read_parquet by fsspec": lambda at: dd.read_parquet(
        f"{at}/d.parquet", filesystem="fsspec"
    ).x.sum(),
    "read_json": lambda at: dd.read_json(f"{at}/d.jsonl", lines=True).x.sum(),
    "read_text": lambda at: db.read_text(f"{at}/d.jsonl").map(sum_of_text).sum(),
    "argument": lambda at: dask.delayed(length_at)(f"{at}/d.csv"),
    "closure": lambda at: dask.delayed(constant(f"{at}/d.csv"))(),
    "built inside": lambda at: dask.delayed(built_inside)([*at.split("/"), "d.csv"]),
    "open file": lambda at: dask.delayed(of_open_file)(fsspec.open(f"{at}/d.csv", "rb")),
    "file system": lambda at: dask.delayed(on_system)(*fsspec.url_to_fs(f"{at}/d.csv")),
    "mapper": lambda at: dask.delayed(in_mapper)(fsspec.get_mapper(at)),
}
OF_MEMORY = {
    "from_zarr": lambda: da.from_zarr("memory://served/z.zarr").sum(),
    "zarr array": lambda: dask.delayed(total)(zarr.open_array("memory://served/z.zarr", mode="r")),
    "inside": lambda: dask.delayed(of_memory)(["served", "d.csv"]),
}


def never_stale(program, cache, served):
    """Two runs, an edit, two more: each time what plain Dask gives, and no task is left out."""
    served.write(100)
    collection = program()
    first, tasks = computed_by(cache, collection)
    assert computed_by(cache, collection) == (first, tasks)
    served.write(200)
    assert computed_by(cache, collection)[0] == plainly(collection)
    second, _ = computed_by(cache, program())
    assert second == plainly(program()) != first


@pytest.mark.parametrize("name", REMOTE)
@pytest.mark.parametrize("scheme", ["http", "memory"])
def test_a_remote_input_is_never_served_stale(scheme, name, cache, served):
    at = getattr(served, scheme)
    never_stale(lambda: REMOTE[name](at), cache, served)


@pytest.mark.parametrize("name", OF_MEMORY)
def test_what_lies_in_memory_is_never_served_stale(name, cache, served):
    never_stale(OF_MEMORY[name], cache, served)


def test_a_global_address_is_never_served_stale(cache, served):
    names = {"length_at": length_at, "ADDRESS": f"{served.http}/d.csv", "__name__": "__main__"}
    exec("def of_global(): return length_at(ADDRESS)", names)
    never_stale(lambda: dask.delayed(names["of_global"])(), cache, served)


def test_every_run_asks_a_server_that_plain_dask_asks(cache, served):
    served.write(1)
    counts = []
    for _ in range(2):
        before = served.requests
        dask.delayed(pd.read_csv)(f"{served.http}/d.csv").compute()
        assert cache.flush(30)
        counts.append(served.requests - before)
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize(
    "address",
    [
        "s3://bucket/a.csv",
        "gs://bucket/a",
        "abfs://container/a",
        "memory://a",
        "zip://a::b.zip",
        "simplecache::s3://bucket/a",
        "postgresql+psycopg2://server/db",
        "redis://server",
    ],
)
def test_an_address_without_a_certain_state_is_refused_with_a_reason(address, cache):
    found = cache.explain(dask.delayed(len)(address))
    assert found.counts()["refused"] == 1
    assert "not known" in repr(found)
