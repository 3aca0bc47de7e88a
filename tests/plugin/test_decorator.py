"""``@cached``: with and without a cluster, under one identity."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import dask
import pytest
from clusters import kill_server

import seamless_dask_cache as sdc
from seamless_dask_cache import local


@sdc.cached
def train(x, depth=2):
    """Train."""
    return {"x": x, "depth": depth}


@sdc.cached(version=1, ignore=["verbose"])
def area(width, height, verbose=False):
    return width * height


@pytest.fixture(autouse=True)
def own_cache(cache_dir):
    """Calls in this process use a cache of the test's own."""
    local.reset()
    with dask.config.set({"seamless-dask-cache.cache-dir": str(cache_dir)}):
        yield
    local.reset()


def test_a_plain_function_remembers_without_dask():
    """The second call is answered from the cache; keyword or position does not matter."""
    square = sdc.cached(lambda x: x * x)
    assert square(4) == 16
    client = local.local_cache()._connected()[0]
    assert client.summary()["transformations"] == 1
    assert square(x=4) == 16
    assert client.summary()["transformations"] == 1


def test_the_result_comes_from_the_cache(tmp_path):
    """What another process computed is not computed again."""
    (tmp_path / "work.py").write_text(
        textwrap.dedent("""
            import seamless_dask_cache as sdc

            @sdc.cached
            def work(x):
                print("computing")
                return [x, (x,)]

            if __name__ == "__main__":
                assert work(3) == [3, (3,)]
        """)
    )
    environment = {"DASK_SEAMLESS_DASK_CACHE__CACHE_DIR": str(tmp_path / "c"), "PATH": "/bin"}
    command = [sys.executable, "work.py"]
    try:
        printed = [
            subprocess.run(
                command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
            ).stdout
            for _ in range(2)
        ]
    finally:
        kill_server(tmp_path / "c")
    assert printed == ["computing\n", ""]


def test_one_identity_for_all_ways_to_call(client, cache):
    """A call, a submission and a delayed call share their result and their checksum."""
    future = area.submit(3, 4)
    assert future.result() == 12
    assert cache.flush(30)
    assert area(3, height=4, verbose=True) == 12
    assert area.delayed(width=3, height=4).compute() == 12
    assert cache.stats()["hits"] == 1
    bound = sdc.transformation_checksum(area.bind(3, 4))
    assert bound == sdc.transformation_checksum(area.delayed(3, height=4, verbose=True))
    assert bound != sdc.transformation_checksum(area.bind(4, 3))
    with_client = local.local_cache()._connected()[0]
    assert bound in {entry["checksum"] for entry in with_client.entries()}


def test_version_and_ignored_parameters():
    """A new version is another transformation; an ignored parameter is none."""
    newer = sdc.cached(version=2)(area.function)
    same = sdc.cached(version=1, ignore=["verbose"])(area.function)
    assert sdc.transformation_checksum(same.bind(1, 2, True)) == sdc.transformation_checksum(
        area.bind(1, 2)
    )
    assert sdc.transformation_checksum(newer.bind(1, 2)) != sdc.transformation_checksum(
        area.bind(1, 2)
    )


def test_none_results_of_cached_functions_are_stored(client, cache):
    """The decorator is the user's word that the function is pure."""
    nothing = sdc.cached(lambda x: None)
    assert nothing.submit(1).result() is None
    assert cache.flush(30)
    assert cache.stats()["stored"] == 1


def test_expired_results_are_computed_again(client, cache):
    """A result that is older than `expires` counts no more."""
    young = sdc.cached(expires="1 hour")(lambda x: x + 1)
    old = sdc.cached(expires=0)(lambda x: x + 1)
    assert young.submit(1).result() == 2
    assert cache.flush(30)
    assert young(1) == 2
    assert young.delayed(1).compute() == 2
    assert cache.stats()["hits"] == 1
    assert old.delayed(1).compute() == 2
    assert cache.stats()["hits"] == 1


def test_celltypes_identify_arguments():
    """A parameter with a cell type is identified by its buffer of that type."""
    text = sdc.cached(celltypes={"x": "text"})(lambda x: x)
    assert sdc.transformation_checksum(text.bind("a\n\n")) == sdc.transformation_checksum(
        text.bind("a")
    )


@pytest.mark.parametrize(
    "options",
    [
        {"ignore": ["depht"]},
        {"celltypes": {"x": "jpeg"}},
        {"celltypes": {"y": "text"}},
        {"expires": "soon"},
        {"expires": -1},
        {"files": 3},
        {"files": ""},
        {"files": ["data.csv", None]},
        {"files": [b"data.csv"]},
    ],
)
def test_options_that_make_no_sense(options):
    """A wrong option is told when the function is decorated."""
    with pytest.raises(sdc.ConfigurationError):
        sdc.cached(**options)(lambda x, depth=3: x)


def test_a_wrong_file_is_named():
    """The message says which value is no path."""
    with pytest.raises(sdc.ConfigurationError, match="17"):
        sdc.cached(files=["data.csv", 17])(lambda x: x)


def _checksum(files):
    function = sdc.cached(files=files)(lambda x: x)
    return sdc.transformation_checksum(function.bind(1))


def test_files_of_a_function_count_by_content(tmp_path):
    """A changed byte, a missing file, a new match is another transformation; touching is none."""
    path = tmp_path / "data.csv"
    path.write_text("a")
    declared = [str(path), path, sdc.File(path), [path], (str(tmp_path / "*.csv"),), tmp_path]
    assert _checksum(()) not in {_checksum(files) for files in declared}
    for files in declared:
        before = _checksum(files)
        path.touch()
        assert _checksum(files) == before
        path.write_text("b")
        changed = _checksum(files)
        path.unlink()
        missing = _checksum(files)
        path.write_text("a")
        assert len({before, changed, missing}) == 3
        assert _checksum(files) == before


def test_a_new_match_of_a_pattern_is_another_transformation(tmp_path):
    """A file that appears counts if the pattern matches it."""
    pattern = str(tmp_path / "*.csv")
    empty = _checksum(pattern)
    (tmp_path / "a.csv").write_text("a")
    one = _checksum(pattern)
    (tmp_path / "a.txt").write_text("a")
    assert _checksum(pattern) == one
    (tmp_path / "b.csv").write_text("a")
    assert len({empty, one, _checksum(pattern)}) == 3


def test_a_call_is_repeated_when_its_files_changed(tmp_path):
    """Without a cluster: the same function object, called before and after an edit."""
    path = tmp_path / "data.txt"
    path.write_text("one")

    @sdc.cached(files=path)
    def read(n):
        with open(tmp_path / "data.txt") as file:
            return file.read() * n

    assert read(2) == "oneone"
    path.write_text("two")
    assert read(2) == "twotwo"


def test_a_task_is_repeated_when_its_files_changed(client, cache, tmp_path):
    """On a cluster: as a delayed call, and within a function that calls the cached one."""
    path = tmp_path / "data.txt"
    path.write_text("one")

    @sdc.cached(files=[path])
    def read(n):
        with open(tmp_path / "data.txt") as file:
            return file.read() * n

    def outer(n):
        return read(n) + "!"

    assert read.delayed(2).compute() == "oneone"
    assert dask.delayed(outer, pure=True)(2).compute() == "oneone!"
    path.write_text("two")
    assert read.delayed(2).compute() == "twotwo"
    assert dask.delayed(outer, pure=True)(2).compute() == "twotwo!"


def test_a_file_as_an_argument_counts_by_content(client, cache, tmp_path):
    """Touched, it is a hit; changed, it is computed again."""
    path = tmp_path / "data.txt"
    path.write_text("one")

    def read(file):
        with open(file) as opened:
            return opened.read()

    def run():
        found = dask.delayed(read)(sdc.File(path)).compute()
        assert cache.flush(30)
        return found, cache.stats()["hits"]

    assert run() == ("one", 0)
    path.touch()
    assert run() == ("one", 1)
    path.write_text("two")
    assert run() == ("two", 1)
    path.write_text("one")
    assert run() == ("one", 2)


def test_files_travel_with_the_function(tmp_path):
    """A decorated function that is pickled by value keeps what it was given."""
    import cloudpickle

    path = tmp_path / "data.txt"
    path.write_text("one")
    function = sdc.cached(files=[path, "*.csv", sdc.File("b")], version=3)(lambda x: x)
    copy = cloudpickle.loads(cloudpickle.dumps(function))
    assert (copy.files, copy.version) == (function.files, 3)


def test_a_cached_function_within_another_counts(tmp_path):
    """Its code, its version and its files are part of what calls it."""
    path = tmp_path / "data.txt"
    path.write_text("one")

    def checksum(function, **options):
        helper = sdc.cached(**options)(function)
        return sdc.code_checksum(lambda x: helper(x))

    found = [
        checksum(lambda x: x),
        checksum(lambda x: x + 1),
        checksum(lambda x: x, version=2),
        checksum(lambda x: x, files=path),
    ]
    path.write_text("two")
    found.append(checksum(lambda x: x, files=path))
    assert len(set(found)) == len(found)
    assert found[-1] == checksum(lambda x: x, files=path)


_LEFT_OUT = object()


def test_a_default_that_marks_an_argument_left_out():
    """Such a marker is known by its address only, and still no reason to refuse."""
    function = sdc.cached(lambda x, y=_LEFT_OUT: x if y is _LEFT_OUT else [x, y])
    left_out = sdc.transformation_checksum(function.bind(1))
    assert left_out == sdc.transformation_checksum(function.bind(1, _LEFT_OUT))
    assert left_out != sdc.transformation_checksum(function.bind(1, 2))
    with pytest.raises(sdc.RefusedError):
        sdc.transformation_checksum(function.bind(1, object()))
    assert (function(1), function(1, 2)) == (1, [1, 2])


def test_arguments_without_identity_are_computed():
    """A generator as an argument has no identity: computed, not stored, no error."""
    total = sdc.cached(lambda items: sum(items))
    assert total(i for i in range(4)) == 6
    with pytest.raises(sdc.RefusedError):
        sdc.transformation_checksum(total.bind(i for i in range(4)))


def test_a_database_that_does_not_answer_is_no_error(caplog):
    """Calls are computed when the database is away."""
    with dask.config.set({"seamless-dask-cache.database": "http://127.0.0.1:9"}):
        assert train(1) == {"x": 1, "depth": 2}
    assert "computing without it" in caplog.text


def test_metadata_of_the_function_is_kept():
    """The decorated function looks like itself."""
    assert train.__name__ == "train"
    assert train.__doc__ == "Train."
    assert repr(area.bind(1, 2)) == "<call of area>"
