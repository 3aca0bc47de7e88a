"""However many strings a task is given, the files among them are seen, at bearable cost."""

from __future__ import annotations

import os
import pathlib
from types import SimpleNamespace

import pytest
from dask._task_spec import Task

from seamless_dask_cache.errors import RefusedError
from seamless_dask_cache.identity import Identifier, files, naming
from seamless_dask_cache.identity.describer import Describer
from seamless_dask_cache.identity.files import FileStates, file_state, path_candidates

WORDS = [f"word {number}" for number in range(30_000)]


def use(*values):
    return len(values)


def covers(*values):
    identity = Describer(Identifier()).identify(Task("k", use, *values), None)
    return [name for name, _ in identity.covers]


@pytest.fixture
def path(tmp_path):
    (tmp_path / "input.parquet").write_text("a")
    return str(tmp_path / "input.parquet")


CONTAINERS = {
    "list": lambda path: [*WORDS, path],
    "tuple": lambda path: (*WORDS, path),
    "set": lambda path: {*WORDS, path},
    "frozenset": lambda path: frozenset({*WORDS, path}),
    "keys": lambda path: dict.fromkeys([*WORDS, path]),
    "values": lambda path: dict(enumerate([*WORDS, path])),
    "list of lists": lambda path: [[word] for word in [*WORDS, path]],
    "after numbers": lambda path: [*range(30_000), path],
    "list in an object": lambda path: SimpleNamespace(names=[*WORDS, path]),
    "set in an object": lambda path: SimpleNamespace(names={*WORDS, path}),
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_a_path_among_many_words_is_seen(kind, path):
    assert path in covers(CONTAINERS[kind](path))


@pytest.mark.parametrize("kind", [kind for kind in CONTAINERS if "object" not in kind])
def test_a_path_among_many_words_is_found_in_a_result(kind, path):
    assert path in list(path_candidates(CONTAINERS[kind](path)))


def test_a_path_after_many_paths_is_seen(path):
    assert covers([*(f"/none/{number}" for number in range(12_000)), path]) == [path]


def test_plain_names_are_seen_among_thousands(path, monkeypatch):
    monkeypatch.chdir(pathlib.Path(path).parent)
    pathlib.Path("plain").touch()
    assert covers([*WORDS[:9_000], "plain"]) == ["plain"]


@pytest.mark.parametrize("name", ["input.parquet", pathlib.Path("plain")], ids=repr)
def test_what_looks_like_a_file_is_seen_among_many(name, path, monkeypatch):
    monkeypatch.chdir(pathlib.Path(path).parent)
    pathlib.Path("plain").touch()
    (found,) = covers([*WORDS, name])
    assert os.path.normpath(found) == str(name)


@pytest.mark.parametrize("make", [list, dict.fromkeys, set, tuple])
def test_few_of_many_plain_words_are_asked_about(make, monkeypatch):
    asked = []
    monkeypatch.setattr(files, "settled_state", asked.append)
    covers(make(WORDS), make(WORDS[15_000:]))
    assert 9_000 < len(asked) <= naming.MAX_WORDS + 10


def test_too_many_paths_are_refused(monkeypatch):
    monkeypatch.setattr(naming, "MAX_PATHS", 20_000)
    names = [f"/none/{number}" for number in range(20_001)]
    with pytest.raises(RefusedError, match="look like paths"):
        list(path_candidates(names))
    with pytest.raises(RefusedError, match="look like paths"):
        covers({"half": names[:10_001], "other half": names[10_001:]}, "/none/more")


def test_a_container_within_itself_is_looked_through_once(path):
    value: list[object] = [path]
    value += [value, {"again": value}]
    assert list(path_candidates(value)) == [path, "again"]


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("a/b", True),
        ("a.txt", True),
        (".profile", True),
        ("x.parquet", True),
        ("a", False),
        ("end.", False),
        ("Dr. Who", False),
        ("w. ed", False),
        ("a.123456789", False),
        ("a.b-c", False),
    ],
)
def test_a_path_looks_like_one(text, is_one):
    assert naming.looks_like_a_path(text) is is_one


def test_a_link_to_another_file_of_same_size_and_times_is_another_state(tmp_path, monkeypatch):
    """Whoever prepares two versions may have them written at one moment."""
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    link = tmp_path / "current"
    stat = os.stat
    times = stat(tmp_path / "one")

    def at_one_moment(path):
        own = stat(path)
        fields = ("st_mode", "st_ino", "st_dev", "st_size")
        moment = {"st_mtime_ns": times.st_mtime_ns, "st_ctime_ns": times.st_ctime_ns}
        return SimpleNamespace(**{name: getattr(own, name) for name in fields}, **moment)

    states = []
    for name in ("one", "two", "one"):
        link.unlink(missing_ok=True)
        link.symlink_to(tmp_path / name)
        with monkeypatch.context() as patch:
            patch.setattr(os, "stat", at_one_moment)
            states.append(file_state(str(link)))
    assert states[0] == states[2] != states[1]


def folders(tmp_path, count):
    for number in range(count):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        for name in "abc":
            (folder / name).touch()
    return [str(tmp_path / f"{number}") for number in range(count)]


def test_folders_of_one_pass_share_a_budget(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_ENTRIES", 10)
    monkeypatch.setattr(files, "TICK_NS", 0)  # what was just written is looked through twice
    names = folders(tmp_path, 5)
    states = FileStates()
    assert list(states.of(*names[:4])) == names[:4]
    with pytest.raises(RefusedError, match="too many files"):
        states.of(names[4])
    assert list(states.of(*names[:4], f"{names[4]}/a")) == [*names[:4], f"{names[4]}/a"]
    assert list(FileStates().of(names[4])) == [names[4]]


def test_a_folder_that_is_too_large_uses_the_budget_up(tmp_path, monkeypatch):
    """Each of thousands of tasks that name it would look through it again."""
    monkeypatch.setattr(files, "MAX_ENTRIES", 10)
    monkeypatch.setattr(files, "MAX_FOLDER_ENTRIES", 2)
    (name,) = folders(tmp_path, 1)
    states, walked = FileStates(), []
    walk = os.walk
    monkeypatch.setattr(
        os, "walk", lambda *args, **kwargs: walked.append(1) or walk(*args, **kwargs)
    )
    for _ in range(20):
        with pytest.raises(RefusedError, match="too many files"):
            states.of(name)
    assert len(walked) == 4
