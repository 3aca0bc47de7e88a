"""Finding buffers by checksum: in memory, in stores, in the database, and by computing them."""

from __future__ import annotations

import asyncio
import gc
import http.server
import inspect
import json
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import dask
import numpy as np
import pytest
from clusters import cluster_of, kill_server

import seamless_dask_cache as sdc
from seamless_dask_cache import (
    Buffer,
    CacheMissError,
    Checksum,
    get_buffer_cache,
    local,
    recomputation,
)
from seamless_dask_cache.results import dump_result, load_result
from seamless_dask_cache.storage import DirectoryStore


@pytest.fixture
def home(tmp_path):
    """A cache folder that calls in this process use; its server is killed in the end."""
    folder = tmp_path / "cache"
    with dask.config.set({"seamless-dask-cache.cache-dir": str(folder)}):
        local.reset()
        get_buffer_cache().clear()
        gc.collect()
        yield folder
    local.reset()
    kill_server(folder)


def stored_only(value, celltype, folder):
    """The checksum of a buffer that only a store holds."""
    buffer = Buffer(value, celltype)
    DirectoryStore(folder).put(buffer.checksum, buffer.content)
    return buffer.checksum


def result_of(call):
    """The checksum of the result that is on record for a call."""
    client = local.local_cache()
    return Checksum(
        client.ask(lambda c: c.get_transformation_result(sdc.transformation_checksum(call)))
    )


def lose(folder, checksum):
    """Remove the one buffer that nobody else has."""
    gc.collect()
    assert DirectoryStore(folder / "buffers").delete(checksum)


def test_nobody_has_it(home):
    checksum = Checksum.of(b"nobody has this")
    with pytest.raises(CacheMissError, match=checksum.hex()):
        checksum.resolve()
    with pytest.raises(CacheMissError, match="no database"):
        checksum.fingertip_sync()
    assert not home.exists()


def test_what_everybody_has(home):
    assert Buffer({}, "plain").checksum.resolve("plain") == {}
    for content in (b"", b"null\n", b"[]\n", b'""\n', b"true\n"):
        assert Checksum.of(content).resolve().content == content


def test_a_buffer_store_that_is_configured(home, tmp_path):
    checksum = stored_only([1, 2], "plain", tmp_path / "store")
    with dask.config.set({"seamless-dask-cache.buffers": str(tmp_path / "store")}):
        local.reset()
        assert checksum.resolve("plain") == [1, 2]
        assert checksum.resolve().checksum == checksum
    assert not home.exists()


def test_a_damaged_buffer_is_a_miss_that_says_so(home):
    checksum = stored_only("x" * 100, "text", home / "buffers")
    (file,) = [path for path in home.rglob(checksum.hex()) if path.is_file()]
    file.write_bytes(b"y" * 101)
    with pytest.raises(CacheMissError, match="not buffer"):
        checksum.resolve()


def test_a_buffer_of_another_cell_type(home):
    checksum = stored_only("not json", "text", home / "buffers")
    with pytest.raises(sdc.CellTypeError, match="plain"):
        checksum.resolve("plain")


def test_small_buffers_of_the_database(home):
    local.local_cache()._connected()[0].put_buffer(Checksum.of(b"in there"), b"in there")
    assert Checksum.of(b"in there").resolve().content == b"in there"


def test_a_database_that_is_away_is_named(home):
    with dask.config.set({"seamless-dask-cache.database": "http://127.0.0.1:9"}):
        local.reset()
        with pytest.raises(CacheMissError, match=r"the database \(.*127\.0\.0\.1:9"):
            Checksum.of(b"away").resolve()
        with pytest.raises(CacheMissError, match="did not answer lately"):
            Checksum.of(b"away").resolve()


def test_in_an_event_loop(home):
    checksum = stored_only([1, 2], "plain", home / "buffers")

    async def all_of_them():
        assert checksum.resolve("plain") == [1, 2]
        assert checksum.fingertip_sync("plain") == [1, 2]
        return await asyncio.gather(checksum.resolution("plain"), checksum.fingertip("plain"))

    assert asyncio.run(all_of_them()) == [[1, 2], [1, 2]]
    assert inspect.iscoroutinefunction(Checksum.fingertip)


# Computing again ----------------------------------------------------------------------------------

HELPED = 2


def helper(x):
    return x * HELPED


@sdc.cached
def table(rows, *more, start=0.5, options=(), **names):
    return [helper(row) + start for row in range(rows)] + [more, options, sorted(names)]


@sdc.cached(ignore=["verbose"], celltypes={"data": "binary"})
def scaled(data, factor, verbose=False):
    return data * factor


@sdc.cached
def what_it_says(backwards, n):
    """Depends on a file that no string names, so that only a run can tell."""
    text = Path(backwards[::-1]).read_text()
    if text == "raise":
        raise RuntimeError("not any more")
    return [text] * n


def test_a_decorated_call_is_computed_again(home):
    value = table(2000, 1, "x", start=1.5, options={"a": (1, slice(2))}, z=None)
    call = table.bind(2000, 1, "x", start=1.5, options={"a": (1, slice(2))}, z=None)
    checksum = result_of(call)
    lose(home, checksum)
    with pytest.raises(CacheMissError):
        checksum.resolve()
    buffer = asyncio.run(checksum.fingertip())
    assert buffer.checksum == checksum and load_result(buffer.content) == value
    assert not DirectoryStore(home / "buffers").has(checksum)
    assert checksum.resolve() is buffer


def test_what_a_call_took_counts_for_its_result(home):
    """Of two results in memory, the one goes first that is cheaper to have again."""
    table(3000)
    cost = get_buffer_cache()._strong._costs[result_of(table.bind(3000)).hex()]
    assert 0 < cost.recomputation < 10 and cost.download is not None


def test_an_input_that_is_named_by_its_buffer(home):
    data = np.arange(10_000.0)
    scaled(data, 3, verbose=True)
    checksum = result_of(scaled.bind(data, 3))
    lose(home, checksum)
    with pytest.raises(CacheMissError, match="nobody has"):
        checksum.fingertip_sync()
    kept = Buffer(data, "binary")
    kept.incref()
    assert checksum.fingertip_sync("binary").tolist() == (data * 3).tolist()
    kept.decref()
    gc.collect()
    assert checksum.resolve("binary").tolist() == (data * 3).tolist()


def test_an_input_that_is_named_by_its_content_only(home):
    table(2000, options=np.arange(10.0))
    checksum = result_of(table.bind(2000, options=np.arange(10.0)))
    lose(home, checksum)
    with pytest.raises(CacheMissError, match=r"numpy\.ndarray\) is named by its content only"):
        checksum.fingertip_sync()


def test_code_that_has_changed_is_not_run(home, monkeypatch):
    table(2001)
    checksum = result_of(table.bind(2001))
    lose(home, checksum)
    monkeypatch.setitem(globals(), "HELPED", 3)
    with pytest.raises(CacheMissError, match="the code of table has changed"):
        checksum.fingertip_sync()
    monkeypatch.undo()
    assert load_result(checksum.fingertip_sync().content)[1] == 2.5


def calls_what_is_installed(n):
    return np.arange(n).tolist()


def test_versions_count_as_far_as_they_did(home):
    """The policy under which a result was recorded."""
    with dask.config.set({"seamless-dask-cache.policy": {"versions": "ignore"}}):
        local.reset()
        function = sdc.cached(calls_what_is_installed)
        function(4000)
        checksum = result_of(function.bind(4000))
        lose(home, checksum)
        assert load_result(checksum.fingertip_sync().content) == list(range(4000))


def test_what_the_user_said_of_a_function_counts(home):
    """The same code under another version is not what gave the result."""
    first_version = sdc.cached(version=1)(first)
    first_version(4000)
    checksum = result_of(first_version.bind(4000))
    lose(home, checksum)
    others = [sdc.cached(version=version)(first) for version in (2, 3, 4)]
    assert load_result(checksum.fingertip_sync().content) == list(range(4000))
    get_buffer_cache().clear()
    del first_version
    gc.collect()
    with pytest.raises(CacheMissError, match="its code, or a file that it reads, has changed"):
        checksum.fingertip_sync()
    del others


@pytest.mark.parametrize(("now", "named"), [("raise", "not any more"), ("other", "it gives")])
def test_a_function_that_does_something_else_now(home, tmp_path, now, named):
    """What another run gives is not taken for the result."""
    file = tmp_path / "read"
    file.write_text("first")
    arguments = str(file)[::-1], 3000
    what_it_says(*arguments)
    checksum = result_of(what_it_says.bind(*arguments))
    lose(home, checksum)
    file.write_text(now)
    with pytest.raises(CacheMissError, match=named):
        checksum.fingertip_sync()
    file.write_text("first")
    assert load_result(checksum.fingertip_sync().content) == ["first"] * 3000


def test_another_process_computes_it_again(home, tmp_path):
    """A module that this process never imported: its name stands in the notes."""
    module = tmp_path / "modules" / "elsewhere_41.py"
    module.parent.mkdir()
    module.write_text(
        textwrap.dedent(
            """
            import seamless_dask_cache as sdc

            @sdc.cached
            def numbers(n, by):
                return [i * by for i in range(n)]
            """
        )
    )
    code = "import elsewhere_41 as e, sys; e.numbers(3000, 7)"
    environment = {
        "PYTHONPATH": str(module.parent),
        "DASK_SEAMLESS_DASK_CACHE__CACHE_DIR": str(home),
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
    }
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, cwd=tmp_path)
    checksum = Checksum.of(dump_result([i * 7 for i in range(3000)]).tobytes())
    lose(home, checksum)
    code = f"""
import sys, seamless_dask_cache as sdc
checksum = sdc.Checksum({checksum.hex()!r})
assert "elsewhere_41" not in sys.modules
print(checksum.fingertip_sync().checksum)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        check=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == checksum.hex()


def first(n):
    return list(range(n))


def second(values, by):
    return [value * by for value in values]


def test_what_a_plugin_ran_is_computed_again(home):
    """A chain of tasks of which nothing is left but the recipes."""
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=home, min_seconds=0, store_share=1e9)
        start = dask.delayed(first)(3000)
        graph = dask.delayed(second)(start, [2, 3][1])
        value = client.compute(graph).result()
        assert cache.flush(30)
        call = sdc.transformation_checksum(graph)
        checksum = Checksum(local.local_cache().ask(lambda c: c.get_transformation_result(call)))
        for file in (home / "buffers").rglob("??*"):
            if file.is_file():
                file.unlink()
        get_buffer_cache().clear()
        gc.collect()
        assert load_result(checksum.fingertip_sync().content) == value == second(first(3000), 3)
        cache.disable()


def grown(values):
    return [*values, len(values)]


def taken_from(values):
    return values.pop()


def looked_at(values):
    return sum(values)


def both(taken, seen):
    return [taken, seen] * 3000


def recorded(home, graph):
    """The checksum of a result that a cluster recorded."""
    with cluster_of() as client:
        cache = sdc.enable(client, cache_dir=home, min_seconds=0, store_share=1e9)
        client.compute(graph).result()
        assert cache.flush(30)
        call = sdc.transformation_checksum(graph)
    found = local.local_cache().ask(lambda c: c.get_transformation_result(call))
    return Checksum(found)


@pytest.fixture
def nothing_stored(monkeypatch):
    """Everything has to be computed, with everything upstream."""

    def resolve(checksum):
        raise CacheMissError("not stored")

    monkeypatch.setattr(recomputation, "resolve", resolve)


def test_a_long_chain_is_computed_again(home, nothing_stored):
    """Longer than Python's stack is deep."""
    graph = dask.delayed(first)(3000)
    for _ in range(400):
        graph = dask.delayed(grown)(graph)
    checksum = recorded(home, graph)
    assert len(load_result(checksum.fingertip_sync().content)) == 3400


def test_each_task_that_is_run_again_has_inputs_of_its_own(home, nothing_stored):
    """One of two changes what both are given; on the cluster they share it, in their order."""
    start = dask.delayed(first)(5)
    graph = dask.delayed(both)(dask.delayed(taken_from)(start), dask.delayed(looked_at)(start))
    checksum = recorded(home, graph)
    apart = Checksum.of(dump_result([4, 10] * 3000).tobytes())
    if checksum == apart:
        assert checksum.fingertip_sync().checksum == apart
    else:
        with pytest.raises(CacheMissError, match=f"it gives {apart}"):
            checksum.fingertip_sync()


def test_a_result_on_record_that_is_wrong_is_found_out(home):
    """It is not of the cell type; the source is at hand."""
    client = local.local_cache()._connected()[0]
    source, lie = Buffer([12], "plain"), Buffer("lie", "text")
    client.set_expression(source.checksum, [0], "plain", "int", lie.checksum)
    assert sdc.Expression(source.checksum, [0], "plain", "int").evaluate() == 12
    assert client.get_expression(source.checksum, [0], "plain", "int") == Buffer(12, "int").checksum


@pytest.mark.parametrize("body", [b"null", b"{}", b'"xyz"', b"\xff", b"[[]]"])
def test_a_database_that_answers_anything(home, body):
    """What is at hand needs none; what is not is missed, whatever it answers."""

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_PUT = do_GET

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        with dask.config.set({"seamless-dask-cache.database": url}):
            local.reset()
            source = Buffer([12, body.hex()], "plain")
            assert sdc.Expression(source.checksum, [0], "plain", "int").evaluate() == 12
            for find in (Checksum.resolve, Checksum.fingertip_sync):
                with pytest.raises(CacheMissError, match="nobody has"):
                    find(Checksum.of(b"not here" + body))
            local.reset()
        server.shutdown()
        thread.join(20)


@pytest.mark.parametrize(
    "document",
    [
        {"function": "planted_41.go", "code": "0" * 64, "args": []},
        {"function": "List", "args": {}},
        {"function": "List", "args": {"list": [{"call": 5}]}},
        {"function": 5},
        {"function": "os.system", "code": "0" * 64, "args": ["exit 1"]},
        [],
    ],
)
def test_recipes_that_somebody_made_up(home, tmp_path, monkeypatch, document):
    """Nothing is imported for their sake, nothing is run, and it is a miss."""
    (tmp_path / "planted_41.py").write_text("raise SystemExit(3)")
    monkeypatch.syspath_prepend(tmp_path)
    client = local.local_cache()._connected()[0]
    recipe = json.dumps(document, indent=2, sort_keys=True) + "\n"
    transformation = Checksum.of(recipe.encode())
    result = Checksum.of(b"of it" + recipe.encode())
    client.set_transformation_result(transformation, result)
    monkeypatch.setattr(type(client), "recipes", lambda self, **_: [{"recipe": recipe}])
    with pytest.raises(CacheMissError, match=transformation.hex()):
        result.fingertip_sync()
    assert "planted_41" not in sys.modules


def test_recipes_that_nobody_understands(home):
    checksum = Checksum.of(b"a result")
    client = local.local_cache()._connected()[0]
    transformation = Checksum.of(b"a transformation").hex()
    client.set_transformation_result(transformation, checksum)
    with pytest.raises(CacheMissError, match="recipe is not on record"):
        checksum.fingertip_sync()


def test_expressions_are_shared_through_the_database(home, monkeypatch):
    from seamless_dask_cache import expression

    local.local_cache()._connected()
    checksum = stored_only({"a": ["shared"]}, "plain", home / "buffers")
    one = sdc.Expression(checksum, ["a", slice(0, 1), 0], "plain", "text")
    assert one.evaluate() == "shared"
    key = (checksum, ["a", {"slice": [0, 1, None]}, 0], "plain", "text")
    client = local.local_cache()._connected()[0]
    assert client.get_expression(*key) == one.get_checksum() == Checksum.of(b"shared\n")
    monkeypatch.setattr(expression, "_results", {})
    get_buffer_cache().clear()
    lose(home, checksum)
    assert one.evaluate() == "shared"


def test_facts_on_buffers_go_through_the_database(home):
    client = local.local_cache()._connected()[0]
    info = sdc.BufferInfo.from_buffer(Buffer(np.zeros((2, 3)), "binary"))
    assert client.get_buffer_info(info.checksum) is None
    client.set_buffer_info(info.checksum, info.as_dict())
    assert sdc.BufferInfo.from_dict(info.checksum, client.get_buffer_info(info.checksum)) == info
