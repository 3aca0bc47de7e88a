"""A pytest plugin: run Dask's own tests on a distributed client, with the cache or without it.

Everything that a test computes goes through one client, also where it names another scheduler:
``assert_eq`` of the collections asks for ``scheduler="sync"``. A test that brings a ``get`` of its
own keeps it. After each test the scheduler's memory is emptied: the next one has to ask the cache.

Workers are threads by default, not processes: Dask's tests patch modules and count calls in their
own process, and those that need this are then among those that pass with the cache off.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import logging
import random
import sys
import time
from collections import Counter
from pathlib import Path

import dask
import distributed
import numpy
import pytest
from distributed.client import _set_global_client

import seamless_dask_cache as sdc

# Everything is stored and restored, however quickly it was computed.
EAGER = {"min_seconds": 0, "load_seconds": 0}
LOCAL = (dask.threaded.get, dask.local.get_sync, dask.multiprocessing.get)
DIED = "ended the process"
COMPLETE = (
    pytest.ExitCode.OK,
    pytest.ExitCode.TESTS_FAILED,
    pytest.ExitCode.NO_TESTS_COLLECTED,
)
COUNTERS = ("hits", "misses", "refused", "computed", "restored", "stored", "healed", "errors")
FAULTS_OF_A_TEST = 3
# What a cluster does besides computing costs more than these small computations.
LEAN = {
    "distributed.worker.profile.enabled": False,
    "distributed.diagnostics.computations.nframes": 0,
    "distributed.admin.system-monitor.interval": "60s",
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.tick.cycle": "60s",
}


class Faults(logging.Handler):
    """What the cache survived during a test, as text."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info or record.levelno >= logging.WARNING:
            self.texts.append(self.format(record))

    def taken(self) -> list[str]:
        texts, self.texts = self.texts[:FAULTS_OF_A_TEST], []
        return texts


class Room:
    """A cluster that tests share, and its client, which is the default one."""

    def __init__(self, cache_dir: str | None, processes: bool) -> None:
        self.cache_dir = cache_dir
        self.processes = processes
        self.stats: Counter[str] = Counter()
        self.open()

    def open(self) -> None:
        with dask.config.set(LEAN):
            self.cluster = distributed.LocalCluster(
                n_workers=2,
                threads_per_worker=1,
                processes=self.processes,
                dashboard_address=None,
                silence_logs=logging.CRITICAL,
            )
            self.client = distributed.Client(self.cluster)
        self.cache = None
        if self.cache_dir is not None:
            self.cache = sdc.enable(self.client, cache_dir=self.cache_dir, **EAGER)

    def close(self) -> None:
        if self.cache is not None:
            with contextlib.suppress(Exception):
                self.cache.flush(60)
                found = self.cache.stats()
                self.stats.update({name: found[name] for name in COUNTERS})
        with contextlib.suppress(Exception):
            self.client.close(timeout=10)
            self.cluster.close(timeout=10)

    def settle(self) -> None:
        """Empty the scheduler, whatever a test left behind."""
        _set_global_client(self.client)
        if self.emptied(0.2):
            return
        for name in ("last_exc", "last_type", "last_value", "last_traceback"):
            vars(sys).pop(name, None)  # they keep the futures of a failed test
        gc.collect()
        if self.emptied(2):
            return
        with contextlib.suppress(Exception):
            self.client.run_on_scheduler(release_everything)
        if not self.emptied(10):
            self.close()
            self.open()

    def emptied(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.cluster.scheduler.tasks:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        return True


def release_everything(dask_scheduler):
    for name, client in list(dask_scheduler.clients.items()):
        keys = [task.key for task in client.wants_what]
        dask_scheduler.client_releases_keys(keys=keys, client=name)


class Runner:
    """The hooks of one run.

    Outcomes are written as they come, so that what runs when a process dies is known. A run goes on
    where an earlier one with the same file ended.
    """

    def __init__(self, room: Room, outcomes: Path) -> None:
        self.room = room
        self.outcomes = outcomes
        self.faults = Faults()
        logger = logging.getLogger("seamless_dask_cache")
        logger.setLevel(logging.DEBUG)
        logger.addHandler(self.faults)

    def write(self, **facts: object) -> None:
        with self.outcomes.open("a", encoding="utf-8") as file:
            file.write(json.dumps(facts) + "\n")

    def pytest_collection_modifyitems(self, config, items):
        only = config.getoption("--compat-only")
        if only is None:
            options = [config.getoption(f"--compat-{name}") for name in ("share", "each")]
            names = chosen([item.nodeid for item in items], *options)
        else:
            names = set(json.loads(Path(only).read_text(encoding="utf-8")))
        names -= {facts.get("test") for facts in read_lines(self.outcomes)}
        items[:] = [item for item in items if item.nodeid in names]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        random.seed(item.nodeid)
        numpy.random.seed(int(draw(item.nodeid) * 2**32))
        self.outcome, self.text = DIED, ""
        self.write(test=item.nodeid, outcome=DIED)
        started = time.perf_counter()
        try:
            return (yield)
        finally:
            facts = {"test": item.nodeid, "outcome": self.outcome, "text": self.text}
            facts["seconds"] = round(time.perf_counter() - started, 3)
            self.write(**facts, faults=self.faults.taken())
            self.room.settle()

    def pytest_runtest_logreport(self, report):
        if self.outcome == "failed" or (report.passed and report.when != "call"):
            return
        self.outcome = report.outcome
        self.text = report.longreprtext if report.failed else ""

    def pytest_sessionfinish(self, exitstatus):
        self.room.close()
        self.write(stats=self.room.stats, finished=exitstatus in COMPLETE)


def read_lines(outcomes: Path) -> list[dict]:
    if not outcomes.exists():
        return []
    return [json.loads(line) for line in outcomes.read_text(encoding="utf-8").splitlines()]


def chosen(names: list[str], share: float, each: int) -> set[str]:
    """Return a share of the tests, with so many sets of parameters of each at most; 0 for all."""
    taken: Counter[str] = Counter()
    found = set()
    for name in sorted(names, key=draw):
        test = name.partition("[")[0]
        taken[test] += 1
        if draw(test) < share and (not each or taken[test] <= each):
            found.add(name)
    return found


def draw(name: str) -> float:
    """Return a number from 0 to 1 that is the same in every run.

    It chooses a share of the tests, and lets a test draw the same numbers: what it computes can be
    a hit then.
    """
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32


def routed(get_scheduler):
    """Return ``dask.base.get_scheduler`` with the client in the place of local schedulers."""

    def get_scheduler_or_client(*args, **kwargs):
        get = get_scheduler(*args, **kwargs)
        if any(get is local for local in LOCAL) and not in_a_task():
            return distributed.default_client().get
        return get

    return get_scheduler_or_client


def serializing(get):
    """Return ``Client.get``, also for what is computed while a graph is built.

    Dask's tests forbid that building a graph serializes expressions; a local scheduler never does.
    """

    def get_serializing(*args, **kwargs):
        with dask.config.set({"dask-expr-no-serialize": False}):
            return get(*args, **kwargs)

    return get_serializing


def in_a_task() -> bool:
    # Dask gives tasks that compute the synchronous scheduler on purpose: nobody waits for a slot.
    try:
        distributed.get_worker()
    except ValueError:
        return False
    return True


def pytest_addoption(parser):
    group = parser.getgroup("compat")
    group.addoption("--compat-cache", help="folder of the cache; without, it is off")
    group.addoption("--compat-outcomes", help="file that gets one JSON document per line")
    group.addoption("--compat-only", help="file with a JSON list of the tests that are run")
    group.addoption("--compat-share", type=float, default=1.0, help="share of the tests")
    group.addoption("--compat-each", type=int, default=0, help="sets of parameters of a test")
    group.addoption("--compat-processes", action="store_true", help="workers are processes")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests():
    """Route before anybody imports the function by its name."""
    dask.base.get_scheduler = routed(dask.base.get_scheduler)
    distributed.Client.get = serializing(distributed.Client.get)


def pytest_sessionstart(session):
    option = session.config.getoption
    room = Room(option("--compat-cache"), option("--compat-processes"))
    runner = Runner(room, Path(option("--compat-outcomes")))
    session.config.pluginmanager.register(runner, "compat-runner")
