"""Programs leave the same world behind with the cache as without it.

Each program runs four times on plain Dask. In another folder it runs once on plain Dask, once with
an empty cache, once in another session on the same cache, and once more in the first one. Results,
files and everything that was counted must be the same.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import pathlib
import pickle
import random
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import threading
import time
import urllib.request
import uuid
import warnings
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from clusters import cluster_of, wait_until_forgotten
from dask._task_spec import Task
from tqdm import tqdm

import seamless_dask_cache as sdc
from seamless_dask_cache.identity import EFFECT_KINDS

RUNS = 4


class Sessions:
    """Plain Dask, and two sessions that share a cache."""

    def __init__(self, plain, first, second):
        self.plain = [plain] * RUNS
        self.cached = [plain, first, second, first]


@pytest.fixture(scope="module")
def sessions(shared_cache_dir):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(cluster_of(workers=1)) for _ in range(3)]
        caches = [sdc.enable(client, cache_dir=shared_cache_dir) for client in clients[1:]]
        for client, cache in zip(clients[1:], caches, strict=True):
            client.cache = cache
        yield Sessions(*clients)


def run(client, program, folder):
    with client.as_current():
        result = program(client, folder)
    if hasattr(client, "cache"):
        assert client.cache.flush(30)
    wait_until_forgotten(client)
    return result


def tree(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def both_worlds(sessions, program, tmp_path):
    found = []
    for name, clients in (("plain", sessions.plain), ("cached", sessions.cached)):
        folder = tmp_path / name
        folder.mkdir()
        found.append(([run(client, program, folder) for client in clients], tree(folder)))
    return found


# What has an effect -----------------------------------------------------------------------------


def mark(path, x=1):
    with open(path, "a") as file:
        file.write("x")
    return x


def append_inside(parts, x=1):
    with open(os.path.join(*parts, "log"), "a") as file:
        file.write("x")
    return x


def through_a_helper(parts, x=1):
    return append_inside(parts, x) + 1


class Journal:
    def __init__(self, parts):
        self.parts = parts

    def write(self, text):
        with open(os.path.join(*self.parts, "log"), "a") as file:
            file.write(text)


class Job:
    def __init__(self, parts):
        self.log = Journal(parts)

    def __call__(self, x=1):
        self.log.write("x")
        return x


def by_descriptor(parts, x=1):
    handle = os.open(os.path.join(*parts, "log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(handle, b"x")
    os.close(handle)
    return x


def behind_an_unknown_name(parts, x=1):
    frame = pd.DataFrame({"x": [x]})
    getattr(frame, "to_" + "csv")(os.path.join(*parts, "log"), mode="a", header=False)
    return x


def in_a_thread(parts, x=1):
    thread = threading.Thread(target=append_inside, args=(parts,))
    thread.start()
    thread.join()
    return x


def in_a_pool(parts, x=1):
    with ThreadPoolExecutor(2) as pool:
        return sum(pool.map(append_inside, [parts, parts]))


def pickled(parts, x=1):
    for n in itertools.count():
        path = pathlib.Path(*parts, f"{n}.pickle")
        try:
            with path.open("xb") as file:
                pickle.dump(x, file)
        except FileExistsError:
            continue
        return x


def in_place(path):
    values = np.memmap(path, dtype="int64", mode="r+", shape=(1,))
    values += 1
    values.flush()
    return 1


def copies(parts):
    folder = pathlib.Path(*parts)
    (folder / "from").write_text("x")
    return shutil.copy(folder / "from", folder / "to").name


def moves(parts):
    folder = os.path.join(*parts)
    with open(os.path.join(folder, "a"), "w"):
        pass
    os.replace(os.path.join(folder, "a"), os.path.join(folder, f"b{len(os.listdir(folder))}"))
    return 1


def makes_a_folder(parts):
    folder = os.path.join(*parts)
    os.mkdir(os.path.join(folder, f"{len(os.listdir(folder))}"))
    return 1


def touches(parts):
    subprocess.run(["touch", os.path.join(*parts, f"{len(os.listdir(os.path.join(*parts)))}")])
    return 1


def by_a_shell(parts):
    return os.system(f"echo x >> {os.path.join(*parts, 'log')}") + 1


def sets_the_environment(name):
    os.environ[name] = os.environ.get(name, "") + "x"
    return 1


def inserts(parts):
    connection = sqlite3.connect(os.path.join(*parts, "a.db"))
    with contextlib.closing(connection), connection:
        connection.execute("create table if not exists t (x)")
        connection.execute("insert into t values (1)")
    return 1


def fails(parts):
    append_inside(parts)
    raise LookupError("after the effect")


def leaves_a_temporary_file(parts):
    handle, _ = tempfile.mkstemp(dir=os.path.join(*parts), prefix="left")
    os.close(handle)
    return 1


def temporary_and_lasting(parts):
    with tempfile.TemporaryDirectory() as folder, open(os.path.join(folder, "a"), "w") as file:
        file.write("x")
    with open(os.path.join(*parts, "log"), "a") as file:
        file.write("x")
    return 1


def double(x):
    return 2 * x


def partition(frame, parts):
    append_inside(parts)
    return frame


def block(values, parts):
    append_inside(parts)
    return values


def count_rows(folder):
    with contextlib.closing(sqlite3.connect(folder / "a.db")) as connection:
        return connection.execute("select count(*) from t").fetchone()


def small_frame():
    return dd.from_pandas(pd.DataFrame({"x": range(10)}), npartitions=2)


def anew(folder):
    """A folder that was deleted in between."""
    shutil.rmtree(folder / "out", ignore_errors=True)
    return folder / "out"


def fused(client, folder):
    # Plain Dask remembers a key for as long as somebody holds its future.
    first = Task("first", append_inside, folder.parts)
    second = Task(f"second-{uuid.uuid4()}", double, first.ref())
    return client.get({second.key: Task.fuse(first, second)}, second.key)


def after_failing(client, folder):
    with pytest.raises(LookupError, match="after the effect"):
        dask.delayed(fails)(folder.parts).compute()


def written(write):
    def program(client, folder):
        out = anew(folder)
        write(out)
        return sorted(path.name for path in out.iterdir() if path.name[0] != ".")

    return program


def inserted(client, folder):
    return dask.delayed(inserts)(folder.parts).compute(), count_rows(folder)


def environment_set(client, folder):
    name = f"SDC_TEST_{folder.name}"
    result = dask.delayed(sets_the_environment)(name).compute()
    return result, os.environ[name]


def left_behind(client, folder):
    before = len(list(folder.glob("left*")))
    dask.delayed(leaves_a_temporary_file)(folder.parts).compute()
    found = list(folder.glob("left*"))
    for number, path in enumerate(sorted(found, key=lambda p: len(p.name))):
        path.rename(folder / f"left{number:03}")
    return len(found) - before


def counted_in_place(client, folder):
    path = folder / "count"
    if not path.exists():
        np.zeros(1, dtype="int64").tofile(path)
    return dask.delayed(in_place)(str(path)).compute(), int(np.fromfile(path, dtype="int64")[0])


def calling(function):
    return lambda client, folder: dask.delayed(function)(folder.parts).compute()


WITH_EFFECTS = {
    "path as an argument": lambda c, f: dask.delayed(mark)(str(f / "log")).compute(),
    "path built inside": calling(append_inside),
    "through a helper": calling(through_a_helper),
    "method of an object": lambda c, f: dask.delayed(Job(f.parts))(3).compute(),
    "method of a delayed object": lambda c, f: dask.delayed(Job)(dask.delayed(list)(f.parts))(
        3
    ).compute(),
    "os.open": calling(by_descriptor),
    "behind an unknown name": calling(behind_an_unknown_name),
    "in a thread of its own": calling(in_a_thread),
    "in a pool of threads": calling(in_a_pool),
    "inside a fused task": fused,
    "upstream of a reduction": lambda c, f: dask.delayed(sum)(
        [dask.delayed(append_inside)(f.parts, n) for n in range(3)]
    ).compute(),
    "upstream of a cached function": lambda c, f: (
        sdc.cached(double).delayed(dask.delayed(append_inside)(f.parts)).compute()
    ),
    "submitted": lambda c, f: c.submit(append_inside, f.parts, pure=False).result(),
    "mapped": lambda c, f: c.gather(c.map(append_inside, [f.parts] * 2, range(2), pure=False)),
    "in a bag": lambda c, f: (
        db.from_sequence([f.parts] * 4, npartitions=2).map(append_inside).sum().compute()
    ),
    "in a partition": lambda c, f: (
        small_frame().map_partitions(partition, f.parts, meta={"x": "int64"}).x.sum().compute()
    ),
    "in a block": lambda c, f: (
        da.ones(4, chunks=2).map_blocks(block, parts=f.parts, dtype=float).sum().compute()
    ),
    "pickle.dump": calling(pickled),
    "memory map": counted_in_place,
    "shutil.copy": calling(copies),
    "os.replace": calling(moves),
    "os.mkdir": calling(makes_a_folder),
    "subprocess": calling(touches),
    "os.system": calling(by_a_shell),
    "os.environ": environment_set,
    "sqlite": inserted,
    "before an exception": after_failing,
    "a temporary file left behind": left_behind,
    "temporary and lasting files": calling(temporary_and_lasting),
    "to_parquet": written(lambda out: small_frame().to_parquet(out)),
    "to_parquet of delayed parts": written(
        lambda out: dask.compute(small_frame().to_parquet(out, compute=False))
    ),
    "to_csv": written(lambda out: small_frame().to_csv(out)),
    "to_json": written(lambda out: small_frame().to_json(out)),
    "to_textfiles": written(
        lambda out: db.from_sequence("abc", npartitions=2).to_textfiles(str(out / "*.txt"))
    ),
    "to_zarr": written(lambda out: da.ones(4, chunks=2).to_zarr(str(out))),
    "to_npy_stack": written(lambda out: da.to_npy_stack(str(out), da.ones((4, 2), chunks=2))),
}


@pytest.mark.parametrize("name", WITH_EFFECTS)
def test_effects_happen_as_often_as_without_the_cache(name, sessions, tmp_path):
    plain, cached = both_worlds(sessions, WITH_EFFECTS[name], tmp_path)
    assert cached == plain


# The network ------------------------------------------------------------------------------------


@pytest.fixture
def counter():
    """A server on loopback that answers each request with the number of requests so far."""
    server = socket.create_server(("127.0.0.1", 0))
    requests = []

    def serve():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection:
                    connection.recv(1000)
                    requests.append(1)
                    body = str(len(requests)).encode()
                    head = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
                    connection.sendall(head + body)

    thread = threading.Thread(target=serve)
    thread.start()
    yield server.getsockname()[1], requests
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(10)


def by_socket(port):
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return connection.recv(100)[-1:]


def by_hidden_socket(port):
    with getattr(socket, "create_" + "connection")(("127.0.0.1", port), 5) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return connection.recv(100)[-1:]


def by_urllib(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=5) as answer:
        return answer.read()


def by_requests(port):
    import requests

    return requests.get(f"http://127.0.0.1:{port}", timeout=5).text


def by_pandas(port):
    return int(pd.read_csv(f"http://127.0.0.1:{port}", header=None).iloc[0, 0])


NETWORK = [by_socket, by_hidden_socket, by_urllib, by_requests, by_pandas]


@pytest.mark.parametrize("function", NETWORK)
def test_each_run_asks_the_server(function, sessions, counter, tmp_path):
    port, requests = counter

    def program(client, folder):
        return str(dask.delayed(function)(port).compute())

    answers = [run(client, program, tmp_path) for client in sessions.cached]
    assert len(set(answers)) == len(requests) == RUNS


# What differs each time -------------------------------------------------------------------------


def clock():
    return time.time_ns()


def clock_by_name():
    return getattr(time, "time" + "_ns")()


def zoned():
    return datetime.now(timezone.utc)


def at_the_moment():
    return pd.Timestamp.now()


def dice():
    return random.random()


def legacy_dice():
    return np.random.rand()


def new_dice():
    return np.random.default_rng().random()


def identifier():
    return uuid.uuid4()


def shuffled():
    return pd.DataFrame({"x": range(10_000)}).sample(5).x.tolist()


def estimated():
    from sklearn.ensemble import RandomForestRegressor

    model = RandomForestRegressor(n_estimators=2, max_depth=3)
    features = np.arange(200.0).reshape(-1, 2)
    return model.fit(features, features[:, 0]).predict(features).tolist()


def drawn():
    from scipy import stats

    return stats.norm.rvs(size=3).tolist()


VARYING = [
    *(clock, clock_by_name, zoned, at_the_moment, dice, legacy_dice, new_dice, identifier),
    *(shuffled, estimated, drawn),
]


@pytest.mark.parametrize("function", VARYING)
def test_what_differs_each_time_differs_with_the_cache(function, sessions, tmp_path):
    def program(client, folder):
        return repr(dask.delayed(function)().compute())

    results = [run(client, program, tmp_path) for client in sessions.cached]
    assert len(set(results)) == RUNS


# What is no effect ------------------------------------------------------------------------------

logger = logging.getLogger("sdc_test_worlds")


def logs(x):
    logger.warning("working on %s", x)
    return x


def prints(x):
    print(x)
    with contextlib.redirect_stdout(None):
        print(x)
    return x


def with_a_bar(x):
    return sum(tqdm(range(x), disable=False, leave=False))


def with_a_temporary_file(x):
    with tempfile.NamedTemporaryFile("w+") as file:
        file.write(str(x))
        file.seek(0)
        return file.read()


def with_a_temporary_folder(x):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "a"
        with path.open("w") as file:
            file.write(str(x))
        with path.open() as file:
            return file.read()


def spools(x):
    with tempfile.SpooledTemporaryFile(max_size=1) as file:
        file.write(b"abc")
        file.seek(0)
        return file.read()


def imports_late(x):
    import colorsys

    import lazily_imported

    return colorsys.rgb_to_hsv(x, x, x)[2] + lazily_imported.one()


def warns(x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.warn("working", stacklevel=1)
    return x


def sleeps(x):
    time.sleep(0.001)
    return x


def in_threads(x):
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(double, range(x)))


def in_memory_database(x):
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        return connection.execute("select 1 + ?", (x,)).fetchone()[0]


def to_nowhere(x):
    with open(os.devnull, "w") as file:
        file.write(str(x))
    return x


def to_a_text(x):
    return pd.DataFrame({"x": [x]}).to_csv(), json.dumps(x)


def seeded(x):
    chosen = random.Random(x).random() + np.random.default_rng(x).random()
    return chosen, pd.DataFrame({"x": range(9)}).sample(3, random_state=x).x.tolist()


def locked(x):
    with threading.Lock():
        return x


def writes_and_reads_a_temporary_array(x):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "a.npy")
        np.save(path, np.arange(x))
        os.rename(path, os.path.join(folder, "b.npy"))
        return np.load(os.path.join(folder, "b.npy")).sum()


def environment_by_name(x):
    return x, os.environ.get("SDC_TEST_NOT_SET"), "HOME" in os.environ


HARMLESS = [
    *(logs, prints, with_a_bar, with_a_temporary_file, with_a_temporary_folder, spools),
    *(imports_late, warns, sleeps, in_threads, in_memory_database, to_nowhere, to_a_text),
    *(seeded, locked, environment_by_name, writes_and_reads_a_temporary_array),
]


@pytest.fixture
def handler(tmp_path, monkeypatch):
    """A log file, and a module that nobody has imported yet."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "lazily_imported.py").write_text("def one(): return 1\n")
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    handler = logging.FileHandler(tmp_path / "log.txt", delay=True)
    logger.addHandler(handler)
    logger.propagate = False
    yield handler
    logger.removeHandler(handler)
    handler.close()


@pytest.mark.parametrize("function", HARMLESS)
def test_harmless_functions_are_hits(function, sessions, handler, tmp_path, capsys):
    def program(client, folder):
        before = client.cache.stats()["computed"] if hasattr(client, "cache") else 0
        result = dask.delayed(function)(3).compute()
        after = client.cache.stats()["computed"] if hasattr(client, "cache") else 0
        return result, after - before

    found = [run(client, program, tmp_path) for client in sessions.cached]
    assert [tasks for _, tasks in found[1:]] == [1, 0, 0]
    assert all(result == found[0][0] for result, _ in found)


# What was lifted --------------------------------------------------------------------------------


def secret():
    return os.urandom(8)


def counts_itself(x):
    return x + os.getpid()


def reads_the_environment(name):
    return os.environ.get(name, "") + str(time.sleep(0))


def evaluates(text):
    return eval(text)


def looks_in_place(parts):
    return os.path.exists(os.path.join(*parts, "log"))


def asks_the_cluster(name):
    from distributed import Semaphore

    return Semaphore(name=name, max_leases=1).name


def asks_for_an_address(host):
    return socket.getaddrinfo(host, 80)[0][-1]


def reads_input(text):
    import sys

    return text + type(sys.stdin).__name__


LIFTED = {
    "clock": (clock, lambda f: []),
    "random": (dice, lambda f: []),
    "uuid": (identifier, lambda f: []),
    "secrets": (secret, lambda f: []),
    "write": (append_inside, lambda f: [f.parts]),
    "process": (by_a_shell, lambda f: [f.parts]),
    "process-state": (counts_itself, lambda f: [1]),
    "environment": (reads_the_environment, lambda f: ["HOME"]),
    "dynamic code": (evaluates, lambda f: ["1 + 1"]),
    "hidden-file": (looks_in_place, lambda f: [f.parts]),
    "coordination": (asks_the_cluster, lambda f: ["sdc-test"]),
    "network": (asks_for_an_address, lambda f: ["localhost"]),
    "input": (reads_input, lambda f: ["a"]),
}
WAYS = [
    *((kind, "allow_effects") for kind in LIFTED),
    *((kind, how) for kind in ("clock", "write") for how in ("annotate", "cached")),
]


def test_every_kind_can_be_lifted():
    assert set(LIFTED) == EFFECT_KINDS


@pytest.mark.parametrize(("kind", "how"), WAYS)
def test_each_effect_is_refused_told_and_lifted(kind, how, tmp_path, client, cache_dir):
    function, arguments = LIFTED[kind]
    effectful = dask.delayed(function)(*arguments(tmp_path))
    cache = sdc.enable(client, cache_dir=cache_dir)
    assert f"{kind}: calls " in repr(cache.explain(effectful))
    effectful.compute()
    assert cache.flush(30)
    assert (cache.stats()["stored"], cache.stats()["refused"]) == (0, 1)
    lifted = {"allow_effects": {kind}} if how == "allow_effects" else {}
    annotation = {"cache": True} if how == "annotate" else {}
    cache = sdc.enable(client, cache_dir=cache_dir, **lifted)
    called = sdc.cached(function).delayed if how == "cached" else dask.delayed(function)
    results = []
    for _ in range(2):
        with dask.annotate(**annotation):
            results.append(called(*arguments(tmp_path)).compute(optimize_graph=False))
        assert cache.flush(30)
    assert results[0] == results[1]
    assert cache.stats()["hits"] == 1
