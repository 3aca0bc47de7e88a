"""How far versions of installed distributions count, and what is installed."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import pickle
import platform
import sys

import numpy as np
import pytest
from seamless_dask_cache.scheduler_plugin.policy import Policy

from seamless_dask_cache.errors import ConfigurationError
from seamless_dask_cache.identity import Identifier, distributions
from seamless_dask_cache.identity.distributions import Owner, check_policy


def _install(folder, name, version, *modules):
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "RECORD").write_text("".join(f"{module}.py,,\n" for module in modules))
    for module in modules:
        path = folder / f"{module}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text("def g(x): return x")


@pytest.fixture
def checksum(tmp_path, monkeypatch):
    """Install distributions and give the checksum of a function that uses them."""
    count = iter(range(99))

    def checksum(versions, packages, source="import one_made_up as m\ndef f(x): return m.g(x)"):
        folder = tmp_path / str(next(count))
        for name, (version, *modules) in packages.items():
            _install(folder, name, version, *modules)
        with monkeypatch.context() as patch:
            patch.syspath_prepend(folder)
            names: dict[str, object] = {}
            exec(source, names)
            found = Identifier(versions=versions).code(names["f"]).checksum
        for module in [name for name in sys.modules if "made_up" in name]:
            del sys.modules[module]
        return found

    return checksum


def _one(version, name="one-made-up"):
    return {name: (version, "one_made_up")}


@pytest.mark.parametrize(
    ("policy", "patch", "minor", "major"),
    [
        ("exact", True, True, True),
        ("minor", False, True, True),
        ("ignore", False, False, False),
        ({"default": "ignore", "one-made-up": "exact"}, True, True, True),
        ({"default": "exact", "One_Made.Up": "minor"}, False, True, True),
        ({"one-made-up": "ignore"}, False, False, False),
        ({"default": "minor", "another": "exact"}, False, True, True),
        ({"default": "ignore", "another": "exact"}, False, False, False),
        ({}, True, True, True),
        ("exact, one-made-up=minor", False, True, True),
    ],
)
def test_versions_count_as_far_as_the_policy_says(checksum, policy, patch, minor, major):
    base = checksum(policy, _one("1.2.3"))
    assert (checksum(policy, _one("1.2.4")) != base) is patch
    assert (checksum(policy, _one("1.3.3")) != base) is minor
    assert (checksum(policy, _one("2.2.3")) != base) is major


def test_names_of_distributions_are_normalized(checksum):
    policy = {"one.made-up": "ignore"}
    packages = [_one(version, "One_Made.Up") for version in ("1.0", "2.0")]
    assert checksum(policy, packages[0]) == checksum(policy, packages[1])


def test_a_minor_version_is_no_exact_one(checksum):
    """A result of 1.2.3 under a lax policy isn't served to who asks for exactly 1.2."""
    assert checksum("minor", _one("1.2.3")) != checksum("exact", _one("1.2"))
    assert checksum("ignore", _one("1.2.3")) != checksum("exact", _one("1.2.3"))


def test_parts_of_a_namespace_count_one_by_one(checksum):
    source = "import ns_made_up.one as m\ndef f(x): return m.g(x)"

    def both(one, other):
        packages = {"ns-one": (one, "ns_made_up/one"), "ns-other": (other, "ns_made_up/other")}
        return checksum({"default": "exact", "ns-other": "ignore"}, packages, source)

    assert both("1.0", "1.0") == both("1.0", "2.0") != both("2.0", "1.0")


def test_python_is_one_of_the_names():
    policy = check_policy({"python": "minor"})
    numbers = platform.python_version().split(".")
    assert distributions.PYTHON.identity(policy) == f"python {numbers[0]}.{numbers[1]}.*"
    assert distributions.PYTHON.identity("exact") == f"python {platform.python_version()}"


def test_joined_owners_keep_their_pairs():
    owner = Owner("a&b", "1.2.3&4.5.6")
    assert owner.identity("exact") == "a 1.2.3&b 4.5.6"
    assert owner.identity("exact, b=minor") == "a 1.2.3&b 4.5.*"
    assert owner.identity("ignore, a=exact") == "a 1.2.3&b"


def test_a_policy_has_one_written_form():
    written = check_policy({"My_Lib": "ignore", "numpy": "minor", "default": "exact"})
    assert written == "exact, my-lib=ignore, numpy=minor"
    assert check_policy(written) == written
    assert check_policy({"numpy": "minor", "my.lib": "ignore", "pandas": "exact"}) == written


@pytest.mark.parametrize(
    ("policy", "named"),
    [
        ("major", "'major'"),
        ("", "''"),
        ("exact, numpy", "''"),
        ("exact, numpy=huge", "'huge'"),
        ({"numpy": "huge"}, "'huge'"),
        ({"default": "all"}, "'all'"),
        ({"numpy": ["exact"]}, r"\['exact'\]"),
        (["exact"], r"\['exact'\]"),
        (None, "None"),
        (3, "3"),
    ],
)
def test_an_unknown_policy_is_named(policy, named):
    for make in (check_policy, lambda versions: Identifier(versions=versions)):
        with pytest.raises(ConfigurationError, match=named):
            make(policy)
    with pytest.raises(ConfigurationError, match=named):
        Policy(versions=policy)


def test_the_policy_of_a_cluster_can_be_hashed_and_sent():
    policy = Policy().updated(versions={"default": "exact", "numpy": "minor"})
    assert policy.versions == "exact, numpy=minor"
    assert hash(policy) == hash(Policy(versions="exact, numpy=minor"))
    assert pickle.loads(pickle.dumps(policy)) == policy
    assert policy.updated(min_seconds=1).versions == policy.versions


# What is installed --------------------------------------------------------------------------------


def test_the_environment_lists_python_and_all_distributions():
    found = distributions.environment()
    assert found["python"] == platform.python_version()
    assert found["numpy"] == np.__version__
    assert found["seamless-dask-cache"] == importlib.metadata.version("seamless-dask-cache")
    assert list(found) == sorted(found)


def test_the_environment_follows_the_search_path(tmp_path, monkeypatch):
    before = distributions.environment_checksum()
    _install(tmp_path, "One_Made.Up", "1.2", "one_made_up")
    monkeypatch.syspath_prepend(tmp_path)
    assert distributions.environment()["one-made-up"] == "1.2"
    assert distributions.environment_checksum() != before
    monkeypatch.undo()
    assert distributions.environment_checksum() == before


def test_the_first_of_two_installed_versions_counts(tmp_path, monkeypatch):
    for version in ("1.0", "2.0"):
        _install(tmp_path / version, "one-made-up", version, "one_made_up")
        monkeypatch.syspath_prepend(tmp_path / version)
    assert distributions.environment()["one-made-up"] == "2.0"


def test_the_environment_is_a_document_with_a_checksum():
    document = distributions.environment_document()
    assert json.loads(document) == distributions.environment()
    assert hashlib.sha256(document).hexdigest() == distributions.environment_checksum()


def test_changing_the_answer_changes_nothing():
    distributions.environment().clear()
    assert distributions.environment()


def test_a_longer_path_reads_nothing_again_but_what_changed(tmp_path, monkeypatch):
    """Programs and tests add folders to the path; what is installed elsewhere stays as it was."""
    looked, listed = [], importlib.metadata.distributions
    monkeypatch.setattr(
        distributions, "distributions", lambda path: looked.extend(path) or listed(path=path)
    )
    first, second = tmp_path / "first", tmp_path / "second"
    _install(first, "one-made-up", "1.2", "one_made_up")
    monkeypatch.syspath_prepend(first)
    assert distributions.environment()["one-made-up"] == "1.2"
    second.mkdir()
    del looked[:]
    monkeypatch.syspath_prepend(second)
    assert distributions.environment()["one-made-up"] == "1.2"
    assert looked == [str(second)]
    _install(first, "two-made-up", "2", "two_made_up")
    _install(second, "one-made-up", "3.4", "one_made_up")
    del looked[:]
    monkeypatch.syspath_prepend(tmp_path / "missing")
    found = distributions.environment()
    assert (found["one-made-up"], found["two-made-up"]) == ("3.4", "2")
    assert set(looked) == {str(second), str(first)}
    assert distributions.owner_of("two_made_up") == Owner("two-made-up", "2")


def test_a_path_of_hundreds_of_folders_is_read_once(tmp_path, monkeypatch):
    """Clusters that come and go leave the folders of their workers on the path."""
    looked, listed = [], importlib.metadata.distributions
    monkeypatch.setattr(
        distributions, "distributions", lambda path: looked.extend(path) or listed(path=path)
    )
    folders = [tmp_path / str(n) for n in range(200)]
    for folder in folders:
        folder.mkdir()
        monkeypatch.syspath_prepend(folder)
    assert distributions.environment()
    assert {str(folder) for folder in folders} <= set(looked)
    del looked[:]
    last = tmp_path / "last"
    last.mkdir()
    monkeypatch.syspath_prepend(last)
    assert distributions.environment()
    assert looked == [str(last)]


def test_what_a_distribution_says_for_people_does_not_name_it(tmp_path, monkeypatch):
    _install(tmp_path, "one-made-up", "1.2", "one_made_up")
    with (tmp_path / "one_made_up-1.2.dist-info" / "METADATA").open("a") as file:
        file.write("Summary: one\n  Version: 3\n\nName: other\nVersion: 4\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert distributions.environment()["one-made-up"] == "1.2"
    assert distributions.owner_of("one_made_up") == Owner("one-made-up", "1.2")


def test_all_top_levels_of_a_distribution_are_its_own(tmp_path, monkeypatch):
    """In whatever order the record lists them, and however many files each has."""
    _install(tmp_path, "one-made-up", "1.2", *"abcd")
    lines = [
        "a_made_up/x.py",
        "a_made_up/y.py",
        "b_made_up.py",
        '"c_made_up/a,b.py"',
        "d_made_up/z",
    ]
    lines += ["a_made_up/z.py", "one_made_up-1.2.dist-info/RECORD", "../bin/e_made_up"]
    record = tmp_path / "one_made_up-1.2.dist-info" / "RECORD"
    record.write_text("".join(f"{line},sha256=a/b,1\n" for line in lines))
    monkeypatch.syspath_prepend(tmp_path)
    owners = distributions.owners_on((str(tmp_path),))
    assert {top for _, top in owners} == {f"{name}_made_up" for name in "abcd"}
