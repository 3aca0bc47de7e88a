"""The same program gives the same result without the cache, cold and warm."""

from __future__ import annotations

import pickle

import dask
import numpy as np
import pandas as pd
import programs
import pytest
from clusters import cluster_of

import seamless_dask_cache as sdc


def same(left, right):
    """Compare exactly, types included."""
    assert type(left) is type(right)
    if isinstance(left, pd.DataFrame):
        pd.testing.assert_frame_equal(left, right, check_exact=True)
    elif isinstance(left, pd.Series):
        pd.testing.assert_series_equal(left, right, check_exact=True)
    elif isinstance(left, np.ndarray):
        np.testing.assert_array_equal(left, right, strict=True)
    elif isinstance(left, (list, tuple)):
        assert len(left) == len(right)
        for a, b in zip(left, right, strict=True):
            same(a, b)
    elif isinstance(left, dict):
        assert list(left) == list(right)
        same(list(left.values()), list(right.values()))
    else:
        assert pickle.dumps(left) == pickle.dumps(right)


def run_all(*, processes, cache_dir=None):
    """Run every program on a cluster of its own; returns results and counters by program."""
    results, counters = {}, {}
    with cluster_of(processes=processes) as client:
        cache = None if cache_dir is None else sdc.enable(client, cache_dir=cache_dir)
        for program in programs.PROGRAMS:
            before = cache.stats() if cache else {}
            results[program] = program(client)
            if cache:
                assert cache.flush(30)
                after = cache.stats()
                counters[program] = {
                    name: after[name] - before[name] for name in after if name != "database"
                }
    return results, counters


@pytest.fixture(scope="module", params=[False, True], ids=["threads", "processes"])
def runs(request, tmp_path_factory):
    from clusters import kill_server

    folder = tmp_path_factory.mktemp("cache")
    off, _ = run_all(processes=request.param)
    cold = run_all(processes=request.param, cache_dir=folder)
    warm = run_all(processes=request.param, cache_dir=folder)
    kill_server(folder)
    return off, cold, warm


@pytest.mark.parametrize("program", programs.PROGRAMS)
def test_results_are_those_of_plain_dask(runs, program):
    """Whatever the cache holds, a program gives what it gives without it."""
    off, (cold, _), (warm, _) = runs
    same(cold[program], off[program])
    same(warm[program], off[program])


@pytest.mark.parametrize("program", programs.PROGRAMS)
def test_a_second_run_computes_nothing(runs, program):
    """A new cluster finds every requested result of an earlier one."""
    _, (_, cold), (_, warm) = runs
    assert cold[program]["computed"] > 0
    assert cold[program]["stored"] > 0
    assert warm[program]["computed"] == 0
    assert warm[program]["misses"] == 0
    assert warm[program]["refused"] == 0
    assert warm[program]["hits"] == warm[program]["tasks"] > 0
    assert warm[program]["errors"] == 0


def test_the_scheduler_finds_nothing_wrong_with_itself(tmp_path, caplog):
    """With Dask's own checks of its state on, all programs run cold, warm and healing."""
    from clusters import kill_server

    with dask.config.set(
        {"distributed.scheduler.validate": True, "distributed.worker.validate": True}
    ):
        off, _ = run_all(processes=False)
        for _ in range(2):
            results, _ = run_all(processes=False, cache_dir=tmp_path)
            for program, value in results.items():
                same(value, off[program])
        with cluster_of() as client:
            cache = sdc.enable(client, cache_dir=tmp_path)
            client.run_on_scheduler(serve_what_is_gone, folder=tmp_path / "buffers")
            for program in programs.PROGRAMS:
                same(program(client), off[program])
            assert cache.stats()["healed"] > 0
            assert cache.stats()["errors"] == 0
    kill_server(tmp_path)
    assert "AssertionError" not in caplog.text
    assert "run_spec" not in caplog.text


def serve_what_is_gone(dask_scheduler, folder):
    """Lose the buffers of all hits after every lookup."""
    engine = dask_scheduler.plugins["seamless-dask-cache"].engine
    servable = engine._servable

    def losing(answers):
        found = servable(answers)
        for answer in found.values():
            (folder / answer.result[:2] / answer.result).unlink(missing_ok=True)
        return found

    engine._servable = losing
