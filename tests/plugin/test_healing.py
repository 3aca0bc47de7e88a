"""Results that cannot be restored are computed after all, wherever they came from."""

from __future__ import annotations

import time

import dask
import numpy as np
import psutil
import pytest
from clusters import cluster_of, kill_server
from distributed import wait

import seamless_dask_cache as sdc


def make(n):
    return np.arange(n, dtype="float64")


def double(x):
    return 2 * x


def total(x):
    return float(x.sum())


def increment(x):
    return x + 1


def holders(dask_scheduler):
    """Clients of the plugin's own that still want something."""
    return [name for name in dask_scheduler.clients if "seamless" in name]


def lose_buffers(cache_dir):
    for path in (cache_dir / "buffers").glob("*/*"):
        path.unlink()


def lose(client, future):
    """Kill the worker that holds a future, so that it has to be made again."""
    (addresses,) = client.who_has([future]).values()
    import os

    pid = client.run(os.getpid, workers=[addresses[0]])[addresses[0]]
    psutil.Process(pid).kill()


def history(client):
    """Two generations of futures; the first is let go of."""
    first = client.submit(make, 20_000, key="first")
    second = client.submit(double, first, key="second")
    wait(second)
    first.release()
    return second


@pytest.fixture
def filled(cache_dir):
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=cache_dir)
        history(client)
        assert cache.flush(30)
        assert cache.stats()["stored"] == 2
    return cache_dir


@pytest.mark.parametrize("afterwards", ["nothing", "enable again", "disable"])
def test_an_input_that_was_let_go_of_is_made_again(filled, afterwards):
    """A restored result is lost, its buffer too, and its input was forgotten long ago."""
    with cluster_of(processes=True) as client:
        cache = sdc.enable(client, cache_dir=filled)
        second = history(client)
        assert cache.stats()["computed"] == 0
        if afterwards == "enable again":
            cache = sdc.enable(client, cache_dir=filled)
        elif afterwards == "disable":
            cache.disable()
        lose_buffers(filled)
        lose(client, second)
        assert client.submit(total, second).result(timeout=60) == 2 * make(20_000).sum()


def test_many_restores_heal_on_one_thread(cache_dir):
    """Healing needs no second thread: 40 chains on a worker that has one."""

    def chains():
        return [dask.delayed(double)(dask.delayed(make)(1000 + n)) for n in range(40)]

    with cluster_of(workers=1) as client:
        cache = sdc.enable(client, cache_dir=cache_dir, min_seconds=0, load_seconds=0)
        first = client.gather(client.compute(chains()))
        assert cache.flush(30)
    with cluster_of(workers=1) as client:
        cache = sdc.enable(client, cache_dir=cache_dir)

        def lossy(dask_scheduler, folder):
            engine = dask_scheduler.plugins["seamless-dask-cache"].engine
            servable = engine._servable

            def losing(answers):
                found = servable(answers)
                for path in folder.glob("*/*"):
                    path.unlink()
                return found

            engine._servable = losing

        client.run_on_scheduler(lossy, folder=cache_dir / "buffers")
        second = client.gather(client.compute(chains()))
        for a, b in zip(first, second, strict=True):
            np.testing.assert_array_equal(a, b)
        assert cache.stats()["healed"] == 40
        assert cache.flush(30)
        assert client.run_on_scheduler(holders) == []


async def heal_another(dask_scheduler, key):
    """Ask for the original of a restored task whose key has come to mean something else."""
    task = dask_scheduler.tasks[key]
    before = task.run_spec
    plugin = dask_scheduler.plugins["seamless-dask-cache"]
    return await plugin.healing.heal(key, "0" * 64, "1" * 64, True), task.run_spec is before


def test_a_key_that_means_something_else_is_not_healed(client, cache):
    """A restore task that fails late does not touch what its key was given to meanwhile."""
    future = client.submit(increment, 1, key="reused")
    wait(future)
    assert client.run_on_scheduler(heal_another, key="reused") == (False, True)


def test_annotations_hold_for_what_heals(filled):
    """A task that must run on a certain worker does so also when it is healed."""
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=filled)
        where = list(client.scheduler_info()["workers"])[1]
        original = sdc.scheduler_plugin.engine.Engine._servable

        def losing(engine, answers):
            found = original(engine, answers)
            lose_buffers(filled)
            return found

        sdc.scheduler_plugin.engine.Engine._servable = losing
        try:
            future = client.submit(make, 20_000, key="first", workers=[where])
            wait(future)
        finally:
            sdc.scheduler_plugin.engine.Engine._servable = original
        assert cache.stats()["healed"] == 1
        assert list(client.who_has([future])[future.key]) == [where]


def test_a_cluster_that_may_not_load_pickles_harms_nobody(cache_dir):
    """A result that this cluster must not load is computed here, and stays for the others."""

    def program(client):
        return client.submit(tuple, [1, 2], key="pair").result()

    stored = []
    for allow in (True, False, True):
        with cluster_of() as client:
            cache = sdc.enable(client, cache_dir=cache_dir, allow_pickle=allow)
            assert program(client) == (1, 2)
            assert cache.flush(30)
            stored.append(cache.stats())
    assert [s["computed"] for s in stored] == [1, 1, 0]


def test_a_map_over_many_futures_is_quick(client, cache):
    """Restoring n results of n futures takes n steps: no key holds all inputs."""
    inputs = client.map(increment, range(1500))
    client.gather(client.map(double, inputs))
    assert cache.flush(60)
    del inputs
    inputs = client.map(increment, range(1500), pure=False)
    wait(inputs)
    outputs = client.map(double, inputs, pure=False)
    assert client.gather(outputs)[-1] == 3000
    assert client.run_on_scheduler(holders) == []


def test_scattered_data_on_a_stuck_worker_does_not_hold_other_graphs(cache_dir):
    """Asking for the content of data is bounded, and asked once."""
    with cluster_of(processes=True) as client:
        sdc.enable(client, cache_dir=cache_dir, patience=2)
        stuck, free = client.scheduler_info()["workers"]
        data = client.scatter(np.arange(10), workers=[stuck])
        import os

        process = psutil.Process(client.run(os.getpid, workers=[stuck])[stuck])
        process.suspend()
        try:
            waiting = [client.submit(total, data, key=f"t{n}") for n in range(8)]
            started = time.monotonic()
            assert client.submit(increment, 1, workers=[free]).result(timeout=60) == 2
            elapsed = time.monotonic() - started
        finally:
            process.resume()
        assert [f.result(timeout=60) for f in waiting] == [45.0] * 8
        # 8 submissions that each waited for their own answer would have taken 16 s.
        assert elapsed < 12


def test_results_whose_pickling_ends_everything(client, cache):
    """A class whose pickling raises SystemExit does not take the worker with it."""

    class Exits:
        def __reduce__(self):
            raise SystemExit(3)

    def exits():
        return Exits()

    future = client.submit(exits, key="exits")
    wait(future)
    assert future.status == "finished"
    assert client.submit(increment, 1).result() == 2


def test_a_server_that_is_stopped_and_goes_on(client, cache, cache_dir):
    """A suspended database is waited for within patience, left alone, and used again."""
    from clusters import server_process

    client.run_on_scheduler(
        lambda dask_scheduler: setattr(
            dask_scheduler.plugins["seamless-dask-cache"].engine.link, "patience", 1.0
        )
    )
    process = server_process(cache_dir)
    process.suspend()
    try:
        assert [client.submit(increment, n).result(timeout=60) for n in range(3)] == [1, 2, 3]
    finally:
        process.resume()
    assert cache.flush(90)
    assert cache.stats()["stored"] == 3
    assert server_process(cache_dir).pid == process.pid


def test_an_answer_that_is_no_answer(client, cache_dir):
    """Something else on the database's port answers: computed, and stored once it is back."""
    import http.server
    import threading

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            length = int(self.headers.get("Content-Length", 0))
            self.rfile.read(length)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>please log in</html>")

        do_PUT = do_GET

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    try:
        with pytest.raises(sdc.DatabaseError, match="no database"):
            sdc.enable(client, database=url)
        cache = sdc.enable(client, cache_dir=cache_dir)

        def mislead(dask_scheduler, url):
            plugin = dask_scheduler.plugins["seamless-dask-cache"]
            database = plugin.engine.link.connection.current
            database.url, kept = url, database.url
            return kept

        client.run_on_scheduler(mislead, url=url)
        assert client.submit(increment, 1).result(timeout=60) == 2
        assert cache.flush(60)
        assert cache.stats()["stored"] == 1
    finally:
        server.shutdown()
        server.server_close()
        kill_server(cache_dir)
