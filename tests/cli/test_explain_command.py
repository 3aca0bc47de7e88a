"""`seamless-dask-cache explain`, as a user types it; no Dask cluster runs meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys

import dask
import psutil
import pytest
from click.testing import CliRunner

from seamless_dask_cache.cli import main
from seamless_dask_cache.dask_internals import expression_of, materialize
from seamless_dask_cache.database import DatabaseClient
from seamless_dask_cache.embedded import ensure_server
from seamless_dask_cache.explaining.notes import collect_notes, recipes_of
from seamless_dask_cache.identity.code import Identifier
from seamless_dask_cache.identity.graph import identify_graph

SOURCE = '''
import dataclasses
import time

import dask

LIMIT = 3


@dataclasses.dataclass
class Model:
    """A dataclass looks its module up when it is made."""

    rate: float = 0.5

    def fit(self, x):
        return x * self.rate


def strip(text):
    return text.strip()


def clean(text, side="left"):
    return strip(text)[:LIMIT]


@dask.delayed
def lazy(text):
    return strip(text)


def clock(text):
    return strip(text), time.time()


def never(text):
    return text, OPEN


OPEN = open(__file__)
OPEN.close()
print("this belongs to the standard error")

if __name__ == "__main__":
    raise SystemExit("run as a program")
'''


def run(*arguments):
    return CliRunner().invoke(main, ["explain", *map(str, arguments)])


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SOURCE)
    return path


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """A cache folder with its server."""
    folder = tmp_path_factory.mktemp("cache")
    yield folder
    for process in psutil.process_iter(["cmdline"]):
        if str(folder / "cache.db") in (process.info["cmdline"] or []):
            process.kill()
            process.wait(10)


@pytest.fixture
def folder(database):
    """The cache folder, with nothing in it."""
    with client_of(database) as client:
        while entries := client.entries(limit=1000):
            client.forget([entry["checksum"] for entry in entries])
    yield database


def client_of(folder):
    endpoint = ensure_server(folder)
    return DatabaseClient(endpoint.url, endpoint.token)


def remember(folder, path, name, *args, created=1.7e9, allowed=(), **kwargs):
    """Put a call on record, as a cluster would whose scheduler has this file."""
    names = {"__name__": "script", "__file__": str(path)}
    exec(compile(path.read_text(), str(path), "exec", dont_inherit=True), names)
    expression, keys = expression_of((dask.delayed(names[name])(*args, **kwargs),), finalize=True)
    graph, _ = materialize(expression, set(keys))
    identifier = Identifier(allow_effects=frozenset(allowed))
    identities = identify_graph(graph, None, identifier=identifier)
    (identity,) = recipes_of(identities, keys).values()
    entry = {"function": identity.function, "key_prefix": identity.function, "seconds": 1.5}
    item = {
        "transformation": identity.checksum,
        "result": "ab" * 32,
        "recipe": identity.recipe.decode(),
        "entry": {**entry, "nbytes": 1000, "created": created, "format": "pickle"},
    }
    with client_of(folder) as client:
        client.store([item], notes=collect_notes(graph, identities, identifier, ()))
    return identity.checksum


def test_a_function_as_it_is_on_record(folder, script):
    remember(folder, script, "clean", "a", side="right")
    result = run(f"{script}::clean", "--cache-dir", folder)
    assert result.exit_code == 0, result.output
    assert f"{script}::clean: known" in result.output
    assert "calls with the same arguments are hits" in result.output
    assert "clean('a', side='right')" in result.output


def test_an_edited_function_names_the_helper_with_a_diff(folder, script):
    remember(folder, script, "clean", "a")
    script.write_text(SOURCE.replace("text.strip()", "text.rstrip()"))
    result = run(f"{script}::clean", "--cache-dir", folder)
    assert result.exit_code == 0, result.output
    assert "changed" in result.output
    assert "code changed: helper `strip` (script.py)" in result.output
    assert "-    return text.strip()" in result.output
    assert "+    return text.rstrip()" in result.output
    found = json.loads(run(f"{script}::clean", "--cache-dir", folder, "--json").stdout)
    assert found["status"] == "changed"
    assert found["differences"][0]["path"] == "clean -> strip -> code"


def test_methods_and_delayed_functions(folder, script):
    remember(folder, script, "strip", "a")
    for name, function in (("Model.fit", "fit"), ("lazy", "lazy")):
        result = run(f"{script}::{name}", "--cache-dir", folder)
        assert result.exit_code == 0, result.output
        assert f"no call of `{function}` is on record" in result.output


def test_a_method_is_found_where_it_was_called_on_an_object(folder, script):
    script.write_text(SOURCE + BOUND)
    remember(folder, script, "bound", 3)
    result = run(f"{script}::Model.fit", "--cache-dir", folder)
    assert f"{script}::Model.fit: known" in result.output
    assert "fit(3)" in result.output
    script.write_text((SOURCE + BOUND).replace("x * self.rate", "x + self.rate"))
    result = run(f"{script}::Model.fit", "--cache-dir", folder)
    assert "changed" in result.output
    assert "-    return x * self.rate" in result.output
    assert "is not used any more" not in result.output


BOUND = """
bound = Model().fit
"""


def test_a_file_that_looks_itself_up_while_it_is_imported(folder, tmp_path):
    path = tmp_path / "looking.py"
    lines = ["from __future__ import annotations", "import dataclasses", "@dataclasses.dataclass"]
    path.write_text(
        "\n".join([*lines, "class Point:", "    x: int = 1", "def f(): return Point()"])
    )
    result = run(f"{path}::f", "--cache-dir", folder)
    assert "no call of `f` is on record" in result.output


def test_a_refused_function_says_where(folder, script):
    result = run(f"{script}::clock", "--cache-dir", folder)
    assert result.exit_code == 0, result.output
    assert "clock: calls time.time (at clock -> time.time)" in result.output
    result = run(f"{script}::never", "--cache-dir", folder)
    assert "an open file" in result.output and "never -> global OPEN" in result.output
    found = json.loads(run(f"{script}::never", "--cache-dir", folder, "--json").stdout)
    assert found["status"] == "refused" and found["refusals"][0]["path"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nowhere.py::f", "there is no file nowhere.py"),
        ("{script}::missing", "it has: Model, clean, clock, lazy, never, strip"),
        ("{script}::Model.missing", "it has: fit"),
        ("{script}::LIMIT", "is no function, but int"),
        ("{broken}::f", "cannot be imported: SyntaxError"),
        ("{leaving}::f", "cannot be imported: SystemExit: enough"),
        ("{package}::double", "no call of `double` is on record"),
        ("no-such-key", "nothing is on record under 'no-such-key'"),
        ("ab12cd", "nothing is on record under 'ab12cd'"),
        ("ab" * 32, "is not on record"),
        ("", "name a FILE.py::function"),
        (" ", "name a FILE.py::function"),
    ],
)
def test_what_is_wrong_is_said(folder, script, tmp_path, target, message):
    broken, leaving, package = (tmp_path / n for n in ("broken.py", "leaving.py", "shelf"))
    broken.write_text("def f(:")
    leaving.write_text("raise SystemExit('enough')")
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "tools.py").write_text("def twice(x): return x + x")
    (package / "deep.py").write_text("from .tools import twice\ndef double(x): return twice(x)")
    places = {"script": script, "broken": broken, "leaving": leaving}
    target = target.format(**places, package=package / "deep.py")
    result = run(target, "--cache-dir", folder)
    assert message in result.output
    assert "Traceback" not in result.output
    assert result.exit_code == (0 if "shelf" in target else 1)


def test_a_record_by_checksum_and_by_key(folder, script):
    first = remember(folder, script, "clean", "a", created=1.7e9)
    second = remember(folder, script, "clean", "b", created=1.8e9)
    result = run(second, "--cache-dir", folder)
    assert result.exit_code == 0, result.output
    for text in (
        f"transformation {second}",
        "function  clean",
        "args[0] = 'b'",
        "1,000 bytes, 1.500 s to compute",
        f"differs from {first[:12]}",
        "args[0]: 'a' -> 'b'",
    ):
        assert text in result.output
    assert run(second[:10], "--cache-dir", folder).output == result.output
    by_key = run("clean", "--cache-dir", folder).output
    assert "(keys are not kept; the newest of 2 whose key begins with 'clean')" in by_key
    assert f"  also {first[:12]}" in by_key
    assert second in by_key
    assert second in run("clean-0123abcd-4567-89ab-cdef-0123456789ab", "--cache-dir", folder).output
    assert "no earlier recipe" in run(first, "--cache-dir", folder).output


def test_a_secret_is_shown_by_no_form_of_the_command(folder, script):
    script.write_text(SOURCE + "def login(user, password=''): return user\n")
    for number in (1, 2):
        checksum = remember(folder, script, "login", "me", password=f"hunter{number}")
    for target in (f"{script}::login", checksum, "login"):
        result = run(target, "--cache-dir", folder)
        assert result.exit_code == 0, result.output
        assert "password" in result.output and "hunter" not in result.output


def test_what_a_policy_allowed_is_said_to_be_stored(folder, script):
    remember(folder, script, "clock", "a", allowed={"clock"})
    result = run(f"{script}::clock", "--cache-dir", folder)
    assert "clock: known" in result.output
    assert "stored under a policy that allows what it does" in result.output
    assert "clock: calls time.time" in result.output


def test_of_many_recipes_the_newest_are_said_to_be_compared(folder, script, monkeypatch):
    monkeypatch.setattr("seamless_dask_cache.cli.explain_record.CANDIDATES", 2)
    first, *_, last = [remember(folder, script, "clean", text) for text in "abc"]
    assert "the nearest earlier one of the 2 newest:" in run(last, "--cache-dir", folder).output
    assert first


def test_a_record_as_json(folder, script):
    checksum = remember(folder, script, "clean", "a")
    found = json.loads(run(checksum, "--cache-dir", folder, "--json").stdout)
    assert found["recipe"]["args"] == ["a"]
    assert found["result"] == "ab" * 32
    assert found["nearest"] is None and found["differences"] == []


def test_a_folder_without_a_cache(tmp_path):
    result = run("a-key", "--cache-dir", tmp_path / "empty")
    assert result.exit_code == 1
    assert "there is no cache in" in result.output


def test_the_command_imports_no_cluster(folder, script):
    """The database alone is enough."""
    code = "import sys; from seamless_dask_cache.cli import main\ntry: main()\nfinally: "
    code += "assert 'distributed' not in sys.modules, 'distributed'"
    command = [sys.executable, "-c", code, "explain", f"{script}::clean"]
    done = subprocess.run([*command, "--cache-dir", str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "this belongs to the standard error" in done.stderr
    assert "this belongs" not in done.stdout
