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
    ],
)
def test_options_that_make_no_sense(options):
    """A wrong option is told when the function is decorated."""
    with pytest.raises(sdc.ConfigurationError):
        sdc.cached(**options)(lambda x, depth=3: x)


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
