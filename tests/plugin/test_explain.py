"""`explain` judges every task of a collection, and runs nothing."""

from __future__ import annotations

import json
import time

import dask
import dask.array as da
import dask.dataframe as dd
import pandas as pd
import pytest
from clusters import kill_server

import seamless_dask_cache as sdc


def increment(x):
    return x + 1


def clock(x):
    return time.time() + x


def lazily(x):
    return (i for i in range(x))


def test_every_task_is_named(client, cache):
    """A miss before, a hit after; upstream of a hit nothing is needed."""
    x = dask.delayed(increment)(dask.delayed(increment)(1))
    before = cache.explain(x)
    assert before.counts() == {"hit": 0, "miss": 2, "refused": 0}
    assert cache.stats()["computed"] == 0
    assert x.compute() == 3
    assert cache.flush(30)
    after = cache.explain(x)
    assert after.counts() == {"hit": 2, "miss": 0, "refused": 0}
    assert after[x.key].result is not None
    assert after[x.key].function.endswith("increment")
    assert "not needed" in repr(after)


def test_refusals_have_a_reason_and_an_origin(client, cache):
    """The clock is named at the task that reads it, and upstream of the next."""
    first = dask.delayed(clock)(1)
    second = dask.delayed(increment)(first)
    found = cache.explain(second)
    assert found[first.key].status == "refused"
    assert "time.time" in found[first.key].reason
    assert "upstream" in found[second.key].reason
    assert found.counts()["refused"] == 2
    assert "<table>" in found._repr_html_()


def test_effects_seen_while_running_are_explained(client, cache):
    """A task that turned out to return nothing is refused from then on."""
    x = dask.delayed(print)("hello", end="")
    x.compute()
    assert cache.explain(x)[x.key].status == "refused"
    assert "None" in cache.explain(x)[x.key].reason


def test_other_collections_and_futures(client, cache):
    """Arrays, persisted collections and several collections at once."""
    x = client.persist(da.arange(20, chunks=5))
    found = cache.explain(x.sum(), (x + 1).max())
    assert found.counts()["refused"] == 0
    assert len(found) > 4
    assert [row["status"] for row in found.to_dict()] == ["miss"] * len(found)


def test_a_future_is_explained_by_the_graph_that_it_came_with(client, cache):
    """Computed and stored: a hit; its inputs have rows as well."""
    first = client.submit(increment, 1)
    second = client.submit(increment, first)
    assert second.result() == 3
    assert cache.flush(30)
    found = cache.explain(second)
    assert found[second].status == "hit" and found[second].requested
    assert found[first.key].status == "hit"
    assert len(cache.explain([first, second], dask.delayed(increment)(5))) == 3


def test_a_future_without_a_task_is_said_to_be_unknown(client, cache):
    """Scattered data is made by no task."""
    (row,) = cache.explain(client.scatter(3))
    assert row.status == "refused" and "does not know how it was made" in row.reason


def test_collections_of_all_kinds_are_found_by_themselves(client, cache):
    """What computes them has another key."""
    x, y = da.ones(10, chunks=5), dask.delayed(increment)(1)
    found = cache.explain({"x": x}, [x.sum(), y])
    assert all(found[collection].requested for collection in (x, x.sum(), y))
    assert sum(row.requested for row in found) == 3
    assert found[y].key == y.key
    assert found[x.name] == found[x] != found[x.sum()]
    frame = dd.from_pandas(pd.DataFrame({"a": range(10)}), npartitions=2)
    found = cache.explain(frame, frame.a.sum())
    assert found[frame].requested and found[frame.a.sum()].requested
    assert found[frame] != found[frame.a.sum()]


def test_a_call_of_a_cached_function_is_explained(client, cache):
    """As the same call would be that is delayed."""
    (row,) = cache.explain(sdc.cached(increment).bind(3))
    assert row.status == "miss" and row.function == "increment"
    with pytest.raises(TypeError, match="not CachedFunction"):
        cache.explain(sdc.cached(increment))


def test_the_result_of_an_array_is_compared_with_its_own_earlier_self(client, cache, tmp_path):
    """Not with that of another array, though every input of both is a result of some task."""

    def total(clean, name):
        x = da.arange(100, chunks=50).map_blocks(clean, dtype=int)
        return getattr(x, name)()

    computed(cache, total(lambda block: block * 2, "sum"))
    computed(cache, total(lambda block: block * 4, "mean"))
    x = total(lambda block: block * 3, "sum")
    found = cache.explain(x)
    assert all("mean" not in row.reason for row in found)
    assert not any(" 50 " in difference.text for row in found for difference in row.differences)
    assert sum("<lambda>" in row.reason for row in found) >= 2


def test_checksums_can_be_asked_for():
    """The identity of a delayed value, of a collection, and of what has none."""
    one = sdc.transformation_checksum(dask.delayed(increment)(1))
    assert one == sdc.transformation_checksum(dask.delayed(increment)(1))
    assert one != sdc.transformation_checksum(dask.delayed(increment)(2))
    assert len(one) == 64
    several = sdc.transformation_checksum(da.arange(20, chunks=5) + 1)
    assert len(several) == 4
    assert len(set(several.values())) == 4
    with pytest.raises(sdc.RefusedError, match=r"time\.time"):
        sdc.transformation_checksum(dask.delayed(clock)(1))
    with pytest.raises(sdc.ConfigurationError, match="int"):
        sdc.transformation_checksum(3)


def test_the_scheduler_finds_the_same_checksum(client, cache):
    """What the client says is what the scheduler stores."""
    x = dask.delayed(increment)(41)
    mine = sdc.transformation_checksum(x)
    assert cache.explain(x)[x.key].transformation == mine


def test_results_that_cannot_be_stored(client, cache):
    """A generator as a result is given to Dask as it is; nothing is stored."""
    value = client.submit(lazily, 3)
    assert client.submit(next, value).result() == 0
    assert cache.flush(30)
    assert cache.stats()["stored"] == 0


# Why a miss is a miss -----------------------------------------------------------------------------

SOURCE = """
LIMIT = 3

def strip(text):
    return text.strip()

def clean(text):
    return strip(text)[:LIMIT]

def locked(text):
    return text, LOCK

def reads_clock(text):
    return helper(text)

def helper(text):
    import time
    return time.time()
"""


def program(folder, old="", new="", **names):
    """The functions of a script, as it is before or after an edit."""
    path = folder / "script.py"
    path.write_text(SOURCE.replace(old, new))
    # Functions of __main__ travel by value, as those of a script do.
    names |= {"__name__": "__main__", "__file__": str(path)}
    exec(compile(path.read_text(), str(path), "exec", dont_inherit=True), names)
    return names


def computed(cache, collection):
    """Compute, and wait until all of it is on record."""
    result = collection.compute()
    assert cache.flush(30)
    return result


def test_an_edited_helper_is_named_with_its_diff(client, cache, tmp_path):
    """The miss names the helper and the file; the details have the changed line."""
    clean = program(tmp_path)["clean"]
    assert computed(cache, dask.delayed(clean)(" abcd")) == "abc"
    edited = program(tmp_path, "text.strip()", "text.lstrip()")["clean"]
    x = dask.delayed(edited)(" abcd")
    row = cache.explain(x)[x.key]
    assert row.status == "miss"
    assert row.reason == "code changed: helper `strip` (script.py)"
    assert "-    return text.strip()\n" in row.differences[0].diff
    assert "+    return text.lstrip()" in cache.explain(x).details()
    assert json.loads(cache.explain(x).to_json())[0]["differences"][0]["kind"] == "code"


def test_an_edited_constant_and_argument_are_named(client, cache, tmp_path):
    """Old and new values, found again by another scheduler's memory of nothing."""
    computed(cache, dask.delayed(program(tmp_path)["clean"])(" abcd"))
    edited = program(tmp_path, "LIMIT = 3", "LIMIT = 4")["clean"]
    x = dask.delayed(edited)("efgh")
    assert cache.explain(x)[x.key].reason == (
        "global LIMIT of `clean`: 3 -> 4; args[0]: ' abcd' -> 'efgh'"
    )


def test_the_path_into_a_value_is_named(client, cache):
    """A dictionary inside a task's argument, by its key."""
    computed(cache, client_call(len, {"alpha": [1, 2.5]}))
    x = client_call(len, {"alpha": [1, 3.5]})
    found = cache.explain(x)
    assert found[0].reason == "what is in `literal`.data['alpha'][1]: 2.5 -> 3.5"
    assert found[x.key].origin == found[0].key


def client_call(function, argument):
    return dask.delayed(function)(dask.delayed(argument, traverse=False))


def test_what_is_made_of_a_miss_points_to_where_it_began(client, cache):
    """One task differs; those downstream name their input and the origin."""

    def chain(number):
        first = dask.delayed(increment)(number)
        second = dask.delayed(str)(first)
        return first, dask.delayed(len)(second)

    computed(cache, chain(1)[1])
    first, last = chain(20)
    found = cache.explain(last)
    assert found[first.key].reason == "args[0]: 1 -> 20"
    assert found[first.key].origin is None
    assert found[last.key].reason.startswith("because its input 'str-")
    assert found[last.key].origin == first.key
    assert found[last.key].differences == ()


def test_a_first_call_and_an_unstored_result_are_told_apart(client, cache):
    """Nothing like it on record; or on record, and not worth storing."""
    first = dask.delayed(increment)(1)
    last = dask.delayed(str)(first)
    assert cache.explain(last)[last.key].reason == "no earlier call of `builtins.str` is on record"
    computed(cache, last)
    other = dask.delayed(len)(dask.delayed(increment)(1))
    rows = {row.function: row.reason for row in cache.explain(other)}
    assert rows["increment"] == "it was computed before, and its result was not stored"


def test_the_chunks_of_an_array_are_explained_through_fused_tasks(client, cache):
    """A changed constant in a blockwise expression, with the task that it is in."""
    computed(cache, (da.arange(20, chunks=5) + 1).sum())
    x = (da.arange(20, chunks=5) + 2).sum()
    reasons = {row.reason for row in cache.explain(x)}
    assert any(reason.endswith("args[1]: 1 -> 2") for reason in reasons)


def test_a_refusal_has_the_path_to_the_offending_object(client, cache, tmp_path):
    """The clock, two functions deep."""
    x = dask.delayed(program(tmp_path)["reads_clock"])("x")
    row = cache.explain(x)[x.key]
    assert row.status == "refused"
    assert row.path == "reads_clock -> helper -> time.time"
    y = dask.delayed(increment)(x)
    assert cache.explain(y)[y.key].origin == x.key


def test_without_a_database_misses_are_named_all_the_same(client, cache, cache_dir):
    """No difference can be told; nothing fails or waits for long."""
    x = dask.delayed(increment)(1)
    computed(cache, x)
    kill_server(cache_dir)
    (cache_dir / "cache.db").unlink()
    (cache_dir / "cache.db").mkdir()
    started = time.monotonic()
    row = cache.explain(dask.delayed(increment)(2))[0]
    assert row.status == "miss" and row.differences == ()
    assert time.monotonic() - started < 60
    assert dask.delayed(increment)(2).compute() == 3


def test_explaining_a_wide_graph_asks_the_database_a_few_times_only(client, cache, monkeypatch):
    """A thousand misses are explained by a handful of requests."""
    computed(cache, dask.delayed(list)([dask.delayed(increment)(i) for i in range(300)]))
    asked = []
    from seamless_dask_cache.database import AsyncDatabaseClient

    original = AsyncDatabaseClient._request

    async def counting(self, method, **fields):
        asked.append(fields["type"])
        return await original(self, method, **fields)

    monkeypatch.setattr(AsyncDatabaseClient, "_request", counting)
    found = cache.explain(
        dask.delayed(list)([dask.delayed(increment)(i + 1000) for i in range(300)])
    )
    assert found.counts()["miss"] == 301
    assert len(asked) < 12, asked
