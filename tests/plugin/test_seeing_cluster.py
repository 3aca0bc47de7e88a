"""What people see of the cache of a real cluster: page, events, metrics, task stream, progress."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request
from types import SimpleNamespace

import dask
import numpy as np
import pytest
from clusters import cluster_of, wait_until_forgotten
from distributed import wait
from seamless_dask_cache.scheduler_plugin import CachePlugin
from seamless_dask_cache.scheduler_plugin.seeing import seeing
from seamless_dask_cache.scheduler_plugin.seeing.events import TOPIC, lifecycle_event

from seamless_dask_cache.dask_internals.display import (
    RESTORE_COLOR,
    RestoreProgress,
    as_restore,
    lighten,
)

NAME = CachePlugin.name


def increment(x):
    return x + 1


def total(*values):
    return sum(values)


def stamp(x):
    return time.time() + x


def slow(x):
    time.sleep(0.03)
    return x


@pytest.fixture
def client(cache_dir):
    with cluster_of(dashboard=True) as client:
        yield client


@pytest.fixture
def wired(client, cache_dir):
    """A client of a cluster with the cache on."""
    client.register_plugin(CachePlugin(cache_dir=cache_dir))
    return client


def plugin_of(client):
    return client.cluster.scheduler.plugins[NAME]


def ask(client, action):
    return client.sync(client.scheduler.seamless_dask_cache, action=action, arguments={})


def tree(n=6):
    return dask.delayed(total)(*(dask.delayed(increment)(i) for i in range(n)))


def run_cold_and_warm(client):
    """Compute a tree twice, and something refused; all of it is on record then."""
    for _ in range(2):
        assert tree().compute() == 21
        assert ask(client, "flush")
        wait_until_forgotten(client)
    client.submit(stamp, 1).result()
    wait_until_forgotten(client)


def base_url(client):
    return f"http://127.0.0.1:{client.cluster.scheduler.http_server.port}"


def get(client, path):
    with urllib.request.urlopen(base_url(client) + path, timeout=30) as answer:
        return answer.read().decode()


def document_of(client, path):
    """The document of a page, as a browser gets it over the websocket."""
    from bokeh.client import pull_session

    session = pull_session(url=base_url(client) + path)
    try:
        return session.document
    finally:
        session.close()


def shown(document, name):
    return document.select_one({"name": name})


# History ------------------------------------------------------------------------------------------


def test_history_agrees_with_the_counters(wired):
    """After a real workload, history by prefix has the numbers of stats."""
    run_cold_and_warm(wired)
    history, stats = plugin_of(wired).seeing.history, ask(wired, "stats")
    totals = history.totals().as_dict()
    for name in ("hits", "misses", "refused", "pruned", "restored", "computed", "stored"):
        assert totals[name] == stats[name], name
    assert totals["bytes_stored"] == stats["bytes_stored"]
    assert totals["seconds_saved"] == pytest.approx(stats["seconds_saved"])
    by_prefix = history.by_prefix()
    assert (by_prefix["increment"].misses, by_prefix["increment"].pruned) == (6, 6)
    assert (by_prefix["total"].misses, by_prefix["total"].restored) == (1, 1)
    assert by_prefix["stamp"].refused == 1
    assert any("clock" in reason for reason in history.refusals())


def test_a_large_graph_is_counted_too(wired, monkeypatch):
    """What is counted in a thread, after the graph was handed over, has the same numbers."""
    monkeypatch.setattr(seeing, "COUNTED_AT_ONCE", 10)
    assert tree(30).compute() == sum(range(1, 31))
    wired.sync(plugin_of(wired).seeing.settled)
    assert plugin_of(wired).seeing.history.by_prefix()["increment"].misses == 30


def test_showing_never_fails_a_computation(wired):
    """When everything about showing is broken, computations go on, and DEBUG is told."""
    broken = plugin_of(wired).seeing
    broken.history = None
    broken._progress.shown = None
    assert tree().compute() == 21
    assert tree().compute() == 21
    assert broken.faults > 0


# Events -------------------------------------------------------------------------------------------


def test_one_event_per_graph(wired):
    """The event log tells of each graph what became of it."""
    run_cold_and_warm(wired)
    cold, warm, refused = (event for _, event in wired.get_events(TOPIC))
    assert (cold["action"], cold["tasks"], cold["misses"], cold["hits"]) == ("graph", 7, 7, 0)
    assert (warm["hits"], warm["pruned"], warm["misses"]) == (7, 6, 0)
    assert warm["prefixes"]["increment"]["pruned"] == 6
    assert warm["seconds_saved"] >= 0
    assert refused["refused"] == 1
    ((reason, count),) = refused["refusals"].items()
    assert "clock" in reason
    assert count == 1


def test_events_name_the_20_largest_prefixes():
    """An event stays small, whatever the graph."""
    from seamless_dask_cache.scheduler_plugin.history import Amounts
    from seamless_dask_cache.scheduler_plugin.seeing.counting import GraphCounts
    from seamless_dask_cache.scheduler_plugin.seeing.events import graph_event

    counts = GraphCounts(
        {f"p{i}": Amounts(hits=i) for i in range(100)}, {f"r{i}": i for i in range(100)}
    )
    event = graph_event(counts)
    assert list(event["prefixes"]) == [f"p{i}" for i in range(99, 79, -1)]
    assert list(event["refusals"]) == [f"r{i}" for i in range(99, 94, -1)]
    assert event["tasks"] == event["hits"] == sum(range(100))


def test_other_events_are_heard_and_kept(wired):
    """What happens to the database or to a result is logged, with keys as text."""
    heard = []
    wired.subscribe_topic(TOPIC, lambda event: heard.append(event[1]))
    wired.run_on_scheduler(tell_of_healing)
    assert wired.get_events(TOPIC)[-1][1] == {
        "action": "healed",
        "key": "('x', 1)",
        "result": "ab" * 32,
    }
    deadline = time.monotonic() + 10
    while not heard:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    assert heard[0]["action"] == "healed"
    assert plugin_of(wired).seeing.history.as_dict()["events"][0]["action"] == "healed"


def tell_of_healing(dask_scheduler):
    dask_scheduler.plugins[NAME].seeing.healed(("x", 1), "ab" * 32)


def test_details_of_events_are_plain():
    """What msgpack cannot carry becomes text."""
    event = lifecycle_event("database-away", reason=OSError("gone"), seconds=1.5, again=None)
    assert event == {"action": "database-away", "reason": "gone", "seconds": 1.5, "again": None}


# The page -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/cache", "/individual-cache"])
def test_the_page_shows_the_workload(wired, path):
    """The page of a scheduler that was there before the cache has totals, curves, bars and rows."""
    run_cold_and_warm(wired)
    assert "static/js/bokeh.min.js" in get(wired, path)
    document = document_of(wired, path)
    assert document.title == "Dask: Cache"
    assert "<b>47 % hits</b>: 7 tasks served, 6 of them" in shown(document, "cache_summary").text
    rows = shown(document, "cache_prefixes").source.data
    assert dict(zip(rows["prefix"], rows["hits"], strict=True)) == {
        "increment": 6,
        "total": 1,
        "stamp": 0,
    }
    curves = shown(document, "cache_tasks").renderers[0].data_source.data
    assert (curves["hits"][-1], curves["misses"][-1], curves["refused"][-1]) == (7, 7, 1)
    bars = shown(document, "cache_bars")
    assert list(bars.y_range.factors)[::-1] == list(rows["prefix"])


def test_an_open_page_follows(wired):
    """A page that is open shows what happens afterwards."""
    from bokeh.client import pull_session

    url = base_url(wired) + "/individual-cache"
    session = pull_session(url=url)
    try:
        assert list(shown(session.document, "cache_prefixes").source.data["prefix"]) == []
        assert wired.submit(increment, 1).result() == 2
        deadline = time.monotonic() + 20
        rows = []
        while rows == []:
            assert time.monotonic() < deadline
            # A second look at the document that the first session has open.
            again = pull_session(url=url, session_id=session.id)
            rows = list(shown(again.document, "cache_prefixes").source.data["prefix"])
            again.close()
        assert rows == ["increment"]
    finally:
        session.close()


def test_the_page_is_linked_and_listed(wired):
    """All pages of the dashboard link to it, and JupyterLab's extension can find it."""
    assert 'href="cache"' in get(wired, "/status")
    assert 'href="individual-cache"' in get(wired, "/status")
    listed = get(wired, "/individual-plots.json")
    assert '"Individual Cache": "/individual-cache"' in listed
    assert '"Individual Task Stream": "/individual-task-stream"' in listed


def test_registering_again_adds_no_second_page(wired, cache_dir):
    """The page that is there shows the cache that is there now."""
    assert wired.submit(increment, 1).result() == 2
    applications = list(wired.cluster.scheduler.http_application.applications)
    wired.register_plugin(CachePlugin(cache_dir=cache_dir))
    assert wired.cluster.scheduler.http_application.applications == applications
    assert get(wired, "/status").count('href="cache"') == 1
    assert "0 tasks served" in shown(document_of(wired, "/cache"), "cache_summary").text
    ask(wired, "disable")
    wired.unregister_scheduler_plugin(NAME)
    assert shown(document_of(wired, "/cache"), "cache_summary").text == "The cache is off."


def test_a_scheduler_without_dashboard_needs_no_page(cache_dir):
    """With the dashboard switched off, the cache starts all the same."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=1,
            processes=False,
            dashboard_address=":0",
            scheduler_kwargs={"dashboard": False},
        ) as cluster,
        Client(cluster) as client,
    ):
        client.register_plugin(CachePlugin(cache_dir=cache_dir))
        assert client.submit(increment, 1).result() == 2
        assert plugin_of(client).seeing.faults == 0
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(client, "/cache")


WITHOUT = """
import sys
for name in ("bokeh", "prometheus_client"):
    sys.modules[name] = None  # importing it raises ImportError
import warnings
warnings.simplefilter("ignore")
sys.path.insert(0, {folder!r})
from distributed import Client, LocalCluster
from seamless_dask_cache.scheduler_plugin import CachePlugin
from operator import neg
if __name__ == "__main__":
    with LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as cluster:
        with Client(cluster) as client:
            client.register_plugin(CachePlugin(cache_dir={cache!r}))
            assert client.submit(neg, 1).result() == -1
            seeing = cluster.scheduler.plugins["seamless-dask-cache"].seeing
            assert seeing.faults == 0
            assert seeing.history.totals().misses == 1
    print("fine")
"""


def test_bokeh_and_prometheus_are_not_needed(cache_dir, tmp_path):
    """Where neither can be imported, there is no page and no metric, and everything else works."""
    script = tmp_path / "script.py"
    folder = __file__.rsplit("/", 1)[0]
    script.write_text(WITHOUT.format(folder=folder, cache=str(cache_dir)))
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "fine", done.stderr


# Metrics ------------------------------------------------------------------------------------------


def metrics_of(client):
    """The metrics of the cache that a scheduler answers over HTTP."""
    lines = (line.split() for line in get(client, "/metrics").splitlines())
    start = "dask_scheduler_seamless_cache_"
    return {
        line[0].removeprefix(start): float(line[1]) for line in lines if line[0].startswith(start)
    }


def test_counters_are_in_the_metrics(wired):
    """Every counter of stats is on /metrics, beside Dask's own."""
    before = get(wired, "/metrics")
    assert "dask_scheduler_workers" in before
    run_cold_and_warm(wired)
    metrics, stats = metrics_of(wired), ask(wired, "stats")
    del stats["database"]
    for name, value in stats.items():
        if isinstance(value, (int, float)):
            assert metrics[f"{name}_total"] == pytest.approx(value), name
    assert metrics["hits_total"] == 7
    assert metrics["database_up"] == 1


def test_each_scheduler_answers_for_itself(wired, cache_dir):
    """Two schedulers in one process, without a cache, with one, registered twice: own numbers."""
    assert wired.submit(increment, 1).result() == 2
    assert metrics_of(wired)["graphs_total"] == 1
    with cluster_of(workers=1) as other:
        assert metrics_of(other) == {}
        other.register_plugin(CachePlugin(cache_dir=cache_dir))
        other.register_plugin(CachePlugin(cache_dir=cache_dir))
        assert other.gather(other.map(increment, range(3))) == [1, 2, 3]
        assert other.submit(increment, 10).result() == 11
        assert metrics_of(other)["graphs_total"] == ask(other, "stats")["graphs"] > 1
        assert metrics_of(wired)["graphs_total"] == 1


# The task stream and progress ---------------------------------------------------------------------


@pytest.mark.parametrize("processes", [False, True], ids=["threads", "processes"])
def test_restores_have_their_own_colour_and_name(cache_dir, processes):
    """In Dask's task stream, restores are neither named nor coloured as what they stand for."""
    with cluster_of(processes=processes, workers=1, dashboard=True) as client:
        client.register_plugin(CachePlugin(cache_dir=cache_dir))
        client.get_task_stream()  # from here on, the scheduler keeps it
        assert client.gather(client.map(slow, range(4))) == list(range(4))
        assert ask(client, "flush")
        wait_until_forgotten(client)
        assert client.gather(client.map(slow, range(6))) == list(range(6))
        stream = client.cluster.scheduler.plugins["task-stream"]
        drawn = stream.rectangles(0)
        names = list(drawn["name"])
        assert names.count("restore-slow") == 4
        assert names.count("slow") == 6
        colors = dict(zip(names, drawn["color"], strict=True))
        assert colors["restore-slow"] == RESTORE_COLOR
        assert colors["slow"] != RESTORE_COLOR
        actions = {part["action"] for m in client.get_task_stream() for part in m["startstops"]}
        assert actions <= {"compute", "transfer", "deserialize", "disk-read", "disk-write"}
        document = document_of(client, "/individual-task-stream")
        drawn = shown(document, "task_stream").renderers[0].data_source.data
        assert RESTORE_COLOR in drawn["color"]


def test_the_stream_keeps_no_results(cache_dir):
    """Messages that the task stream keeps for long do not hold what workers attached to them."""
    with cluster_of(processes=True, workers=1) as client:
        client.register_plugin(CachePlugin(cache_dir=cache_dir))
        client.get_task_stream()
        client.submit(increment, 1).result()
        assert ask(client, "flush")
        assert ask(client, "stats")["stored"] == 1
        wait_until_forgotten(client)
        client.submit(increment, 1).result()
        cold, warm = client.get_task_stream()
        assert NAME not in cold["metadata"]
        assert set(warm["metadata"][NAME]) == {"restored"}


def test_what_a_worker_of_the_same_process_sent_stays():
    """Such a message is the worker's own; it may be sent once more."""
    metadata = {NAME: {"result": "ab"}}
    lighten(metadata, NAME, "inproc://1/2/3")
    assert metadata == {NAME: {"result": "ab"}}
    lighten(metadata, NAME, "tcp://127.0.0.1:1")
    assert metadata == {}
    lighten(None, NAME, "tcp://127.0.0.1:1")


def test_only_computing_becomes_restoring():
    """Other parts of a restore's time, and other messages, stay what they are."""
    parts = [{"action": a, "start": 0.0, "stop": 1.0} for a in ("transfer", "compute")]
    other = {"key": "x", "startstops": parts, "metadata": {}}
    assert as_restore(other, NAME) is other
    message = {**other, "metadata": {NAME: {"restored": 5}}}
    shown_as = as_restore(message, NAME)
    assert [part["action"] for part in shown_as["startstops"]] == ["transfer", "cache-restore"]
    assert message["startstops"] == parts
    assert as_restore({"key": "x", "startstops": parts}, NAME)["startstops"] == parts


def test_a_restore_in_bulk_is_in_the_stream(wired):
    """Results that came back without tasks of their own are drawn as one restore."""
    wired.get_task_stream()
    wired.run_on_scheduler(tell_of_bulk)
    drawn = wired.cluster.scheduler.plugins["task-stream"].rectangles(0)
    assert list(drawn["name"]) == ["restore-increment"]
    assert list(drawn["color"]) == [RESTORE_COLOR]
    assert plugin_of(wired).seeing.history.by_prefix()["increment"].restored == 3


def tell_of_bulk(dask_scheduler):
    # Dask's task stream of 2025.4 takes only what the scheduler knows.
    keys = [f"increment-{i}" for i in range(3)]
    for key in keys:
        dask_scheduler.new_task(key, None, "memory")
    seeing = dask_scheduler.plugins[NAME].seeing
    worker = next(iter(dask_scheduler.workers))
    seeing.restored_in_bulk(keys, worker, 1.0, 2.0, nbytes=10)


def states_by_prefix(client):
    """What Dask's progress bars show: counts by prefix, without what is forgotten."""
    return client.run_on_scheduler(_states)


def _states(dask_scheduler):
    found = {}
    for name, prefix in dask_scheduler.task_prefixes.items():
        states = {s: n for s, n in prefix.states.items() if n and s != "forgotten"}
        if states:
            found[name] = states
    return found


def test_progress_shows_restores_under_their_own_name(wired):
    """Restored results in memory have a bar of their own; all is as before when they are gone."""
    futures = wired.map(slow, range(4))
    wait(futures)
    assert states_by_prefix(wired) == {"slow": {"memory": 4}}
    del futures
    assert ask(wired, "flush")
    wait_until_forgotten(wired)
    futures = wired.map(slow, range(6))
    wait(futures)
    assert states_by_prefix(wired) == {"slow": {"memory": 2}, "restore-slow": {"memory": 4}}
    bars = shown(document_of(wired, "/individual-progress"), "task_progress").renderers
    sources = [bar.data_source.data for bar in bars if "name" in bar.data_source.data]
    assert set(sources[0]["name"]) == {"slow", "restore-slow"}
    assert 'dask_scheduler_tasks{state="memory"} 6.0' in get(wired, "/metrics")
    del futures
    wait_until_forgotten(wired)
    assert states_by_prefix(wired) == {}
    assert not plugin_of(wired).seeing.followed
    assert "restore-slow" not in wired.cluster.scheduler.task_prefixes


def test_progress_survives_replacing(wired, cache_dir):
    """A new plugin leaves no counts of the old one behind."""
    wait(wired.map(increment, range(3)))
    assert ask(wired, "flush")
    wait_until_forgotten(wired)
    futures = wired.map(increment, range(3))
    wait(futures)
    assert states_by_prefix(wired) == {"restore-increment": {"memory": 3}}
    wired.register_plugin(CachePlugin(cache_dir=cache_dir))
    assert states_by_prefix(wired) == {"increment": {"memory": 3}}
    del futures
    wait_until_forgotten(wired)
    assert states_by_prefix(wired) == {}


def test_progress_survives_restarting(cache_dir):
    """A restart of the workers leaves no counts behind, and later restores are shown again."""
    with cluster_of(processes=True, workers=1) as client:
        client.register_plugin(CachePlugin(cache_dir=cache_dir))
        wait(client.map(abs, range(3)))
        assert ask(client, "flush")
        client.restart()
        for _ in range(2):
            futures = client.map(abs, range(3))
            wait(futures)
            assert states_by_prefix(client) == {"restore-abs": {"memory": 3}}
            client.restart()
            assert states_by_prefix(client) == {}


def test_a_healed_restore_is_shown_as_computed(client, cache_dir):
    """A task whose buffer is gone counts for its own prefix again."""
    client.register_plugin(CachePlugin(cache_dir=cache_dir))
    array = client.submit(np.arange, 5_000).result()
    assert ask(client, "flush")
    wait_until_forgotten(client)
    plugin_of(client).engine._servable = lambda answers: answers
    for path in (cache_dir / "buffers").glob("*/*"):
        path.unlink()
    future = client.submit(np.arange, 5_000)
    np.testing.assert_array_equal(future.result(), array)
    assert states_by_prefix(client) == {"arange": {"memory": 1}}
    assert [event["action"] for _, event in client.get_events(TOPIC)].count("healed") == 1


def test_counts_are_kept_through_any_transitions():
    """Whatever states a task passes unheard, sums over prefixes are right, and nothing remains."""
    from distributed.scheduler import TaskGroup, TaskPrefix, TaskState

    scheduler = SimpleNamespace(tasks={}, task_prefixes={})
    prefix = scheduler.task_prefixes["x"] = TaskPrefix("x")
    group = TaskGroup("x", prefix)
    task = TaskState("x-1", None, "released", group, validate=False)
    scheduler.tasks["x-1"] = task
    progress = RestoreProgress(scheduler)
    progress.begin(["x-1", "unknown"])
    for state in ("waiting", "processing", "released", "memory"):
        task.state = state
        if state != "processing":
            progress.moved("x-1")
        assert prefix.states["forgotten"] == 0
    bar = scheduler.task_prefixes["restore-x"]
    assert {s: n for s, n in bar.states.items() if n} == {"memory": 1}
    assert not any(prefix.states.values())
    task.state = "forgotten"
    progress.moved("x-1")
    assert {s: n for s, n in prefix.states.items() if n} == {"forgotten": 1}
    prefix.remove_group(group)
    assert not any(prefix.states.values())
    assert "restore-x" not in scheduler.task_prefixes
