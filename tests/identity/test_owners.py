"""Where recursion stops: installed code counts by distribution and version."""

from __future__ import annotations

import colorsys
import contextlib
import importlib
import json
import shutil
import subprocess
import sys
import types
import zipfile

import numpy as np
import pandas as pd
import pytest

from seamless_dask_cache.errors import ConfigurationError, RefusedError
from seamless_dask_cache.identity import Identifier, code_checksum
from seamless_dask_cache.identity.distributions import PYTHON, Owner, owner_of
from seamless_dask_cache.identity.installed import SHIPPED, maker_of


@pytest.mark.parametrize("name", ["json", "json.decoder", "math", "builtins", "_io", "os.path"])
def test_the_standard_library_is_python(name):
    assert owner_of(name) == PYTHON


def test_installed_packages_have_name_and_version():
    assert owner_of("numpy.linalg") == Owner("numpy", np.__version__)
    assert owner_of("pandas.core.frame") == Owner("pandas", pd.__version__)


@pytest.mark.parametrize(
    "name", ["__main__", "seamless_dask_cache.errors", "no_such_module", "", None]
)
def test_scripts_and_editable_installs_are_the_users(name):
    """The project itself is installed editable where its tests run."""
    owner = owner_of(name)
    assert owner is None or owner.name == "seamless-dask-cache"


def _install(folder, version: str, direct_url: str | None = None) -> None:
    info = folder / f"fakelib-{version}.dist-info"
    info.mkdir(parents=True)
    (folder / "fakelib.py").write_text("def g(x): return x")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: fakelib\nVersion: {version}\n")
    (info / "RECORD").write_text("fakelib.py,,\n")
    if direct_url:
        (info / "direct_url.json").write_text(direct_url)


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Install a made-up distribution and give the checksum of a function that uses it."""
    count = iter(range(99))

    def checksum(version, versions="exact", direct_url=None):
        folder = tmp_path / str(next(count))
        _install(folder, version, direct_url)
        with monkeypatch.context() as patch:
            patch.syspath_prepend(folder)
            sys.modules.pop("fakelib", None)
            names: dict[str, object] = {}
            exec("import fakelib\ndef f(x): return fakelib.g(x)", names)
            found = Identifier(versions=versions).code(names["f"])
        sys.modules.pop("fakelib", None)
        return found.checksum

    return checksum


def test_a_new_version_changes_the_checksum(fake):
    assert fake("1.2.3") != fake("1.2.4")


def test_the_minor_policy_ignores_patch_releases(fake):
    assert fake("1.2.3", "minor") == fake("1.2.4", "minor") != fake("1.3.0", "minor")


def test_the_ignore_policy_ignores_versions(fake):
    assert fake("1.2.3", "ignore") == fake("2.0", "ignore")


def test_an_editable_install_counts_by_source(fake):
    editable = json.dumps({"dir_info": {"editable": True}})
    assert fake("1.0", direct_url=editable) == fake("2.0", direct_url=editable) != fake("1.0")


def test_an_unknown_policy_is_an_error():
    with pytest.raises(ConfigurationError):
        Identifier(versions="major")


def test_code_in_a_zip_file_is_the_users(tmp_path, monkeypatch):
    found = []
    for number in (1, 2):
        path = tmp_path / f"{number}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("zipped_code.py", f"def f(x): return {number}")
        with monkeypatch.context() as patch:
            patch.syspath_prepend(path)
            sys.modules.pop("zipped_code", None)
            found.append(code_checksum(__import__("zipped_code").f))
    sys.modules.pop("zipped_code", None)
    assert found[0] != found[1]


def test_a_compiled_function_counts_by_its_distribution_and_is_refused_without_one(
    tmp_path, monkeypatch
):
    from scipy.special import _comb as installed

    shutil.copy(installed.__file__, tmp_path)
    with monkeypatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        own = importlib.import_module("_comb")
    del sys.modules["_comb"]
    assert "cython" in type(own._comb_int).__name__
    assert code_checksum(installed._comb_int)
    for function in (own._comb_int, lambda x: own._comb_int(x, 2)):
        with pytest.raises(RefusedError, match="belongs to no installed distribution"):
            code_checksum(function)


EDITABLE = """
import sys
sys.path.insert(0, sys.argv[1])
import editable_code, cloudpickle
from seamless_dask_cache.identity import code_checksum
shipped = cloudpickle.loads(cloudpickle.dumps(editable_code.f))
print(code_checksum(editable_code.f), code_checksum(shipped))
"""


@pytest.mark.parametrize("how", ["editable", "zip"])
def test_an_edit_of_an_editable_install_or_a_zip_file_is_seen_in_fresh_interpreters(how, tmp_path):
    def checksums(number, comment=""):
        place = tmp_path / f"{number}{len(comment)}"
        place.mkdir()
        source = f"{comment}def g(x): return {number}\ndef f(x): return g(x)\n"
        if how == "zip":
            with zipfile.ZipFile(place / "code.zip", "w") as archive:
                archive.writestr("editable_code.py", source)
            place = place / "code.zip"
        else:
            (place / "editable_code.py").write_text(source)
            info = place / "editable_code-1.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(
                "Metadata-Version: 2.1\nName: editable-code\nVersion: 1\n"
            )
            (info / "RECORD").write_text("editable_code.py,,\n")
            (info / "direct_url.json").write_text('{"dir_info": {"editable": true}}')
        command = [sys.executable, "-c", EDITABLE, str(place)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    first, edited, commented = checksums(1), checksums(2), checksums(1, "# a comment\n")
    assert len(set(first)) == len(set(edited)) == 1
    assert first == commented != edited


def test_names_are_for_people():
    identifier = Identifier()
    assert identifier.code(pd.DataFrame.sum).name.endswith("DataFrame.sum")
    assert identifier.code(np.sum).name == "numpy.sum"
    assert identifier.code(lambda: 1).name == "<lambda>"


def test_an_unknown_ufunc_is_refused():
    with pytest.raises(RefusedError):
        code_checksum(np.frompyfunc(lambda x: x, 1, 1))


def test_tasks_of_dask_collections_have_identities():
    """What Dask itself puts into graphs is neither refused nor taken for impure."""
    import dask.array as da
    import dask.dataframe as dd

    frame = dd.from_pandas(pd.DataFrame({"a": [1, 2, 3], "b": [1.0, 2.0, 3.0]}), npartitions=2)
    array = da.random.default_rng(3).normal(size=(20, 20), chunks=10)
    for collection in (
        frame.groupby("a").b.mean(),
        frame.merge(frame, on="a"),
        frame.shuffle("a"),
        (array + array.T).sum(axis=0),
        da.linalg.svd(array.rechunk((10, 20)))[0],
    ):
        identifier = Identifier()
        identifier.graph_node_hook = repr
        optimize = getattr(collection, "optimize", lambda collection=collection: collection)
        for node in dict(optimize().__dask_graph__()).values():
            if hasattr(node, "func"):
                assert identifier.code(node.func).effects == ()
                arguments = [list(node.args), list(node.kwargs.values())]
                assert identifier.describe(arguments).effects == ()


def _sent(function):
    """A function as it is after cloudpickle 3.1.3 sent it: a copy, whose code has no file."""
    code = function.__code__.replace(co_filename=SHIPPED)
    names = {"__name__", "__file__", "__package__", *code.co_names}
    space = {name: value for name, value in function.__globals__.items() if name in names}
    sent = types.FunctionType(code, space, function.__name__, None, function.__closure__)
    sent.__module__ = "__main__"
    return sent


def test_what_was_sent_without_its_file_is_found_in_the_source_of_its_module():
    """As the wrapper that a decorator of the standard library makes."""
    wrapper = contextlib.contextmanager(lambda: (yield))
    assert maker_of(wrapper) == maker_of(_sent(wrapper)) == PYTHON


def test_what_only_names_an_installed_module_is_not_of_its_maker():
    """Code that was generated, in a namespace of its own: what it uses there must count."""
    space = {"__name__": "contextlib", "__file__": contextlib.__file__, "limit": 5}
    exec("def generated():\n    return limit\n", space)
    assert maker_of(space["generated"]) is None
    assert maker_of(_sent(space["generated"])) is None


@pytest.mark.parametrize("send", [lambda function: function, _sent], ids=["here", "sent"])
def test_an_installed_function_with_globals_of_the_user_is_the_users(send):
    """A copy of it, in a namespace where a constant of the module has another value."""

    def variant(third):
        space = {**vars(colorsys), "ONE_THIRD": third}
        function = types.FunctionType(colorsys.hls_to_rgb.__code__, space)
        return types.FunctionType(send(function).__code__, space)

    assert variant(0.1)(0.2, 0.3, 0.4) != variant(0.3)(0.2, 0.3, 0.4)
    assert maker_of(variant(0.1)) is None
    assert code_checksum(variant(0.1)) != code_checksum(variant(0.3))
    assert maker_of(variant(colorsys.ONE_THIRD)) == PYTHON


def test_what_names_a_module_without_source_has_no_maker():
    """Such as one that is compiled, or that is not installed here."""
    for name in ("math", "numpy.linalg._umath_linalg", "this", "nowhere", "nowhere.at_all"):
        space = {"__name__": name}
        exec("def generated():\n    return 1\n", space)
        assert maker_of(_sent(space["generated"])) is None
