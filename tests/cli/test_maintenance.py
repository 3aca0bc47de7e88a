"""`seamless-dask-cache backup` and `check`, on files of real servers that go on meanwhile."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import namedtuple
from pathlib import Path

import pytest
from click.testing import CliRunner
from seamless_dask_cache.server import checking, maintenance

from seamless_dask_cache.cli import main

sys.path.append(str(Path(__file__).parents[1] / "server"))  # what starts servers stands there
from serving import DATA, Server, hex_of, wait_for

PUBLISHED = DATA / "seamless-database-2.1.0.db"


def run(*arguments):
    return CliRunner().invoke(main, list(map(str, arguments)))


def refused(*arguments):
    """The one line with which a command refuses."""
    result = run(*arguments)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


def checked(file, *options):
    """What `check --json` prints; its exit code fits it."""
    result = run("check", "--json", file, *options)
    document = json.loads(result.stdout)
    assert result.exit_code == (0 if document["ok"] else 1)
    assert document["ok"] == (not document["problems"] and not document["more_problems"])
    return document


def sql(file, *statements):
    """Change a file as no server would; return the rows that the last statement gives."""
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        return [connection.execute(statement).fetchall() for statement in statements][-1]


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def item(name):
    """A write-back with everything that one may bring."""
    recipe, content = f'{{"recipe": "{name}"}}', f"content of {name}".encode() * 30
    tf, result = hex_of(recipe), hashlib.sha256(content).hexdigest()
    return {
        "transformation": tf,
        "result": result,
        "record": {"schema_version": 1, "tf_checksum": tf, "result_checksum": result},
        "recipe": recipe,
        "content": base64.b64encode(content).decode(),
        "entry": {"function": "f", "key_prefix": name, "seconds": 1.5, "nbytes": len(content)},
        "files": {"/data/a.csv": "10-1"},
    }


@pytest.fixture
def start_server():
    """Start servers that are stopped at the end of the test."""
    servers = []

    def start(file):
        servers.append(Server(file))
        return servers[-1].wait_until_running()

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def filled_once(tmp_path_factory):
    """A file with rows in every table, written by a server through requests, and stopped."""
    server = Server(tmp_path_factory.mktemp("filled") / "filled.db").wait_until_running()
    a, b, c = (item(name) for name in "abc")
    batch = {
        "store": [a, b, c, {"transformation": a["transformation"], "result": b["result"]}],
        "recipes": [{"content": "only a recipe", "function": "g"}],
        "notes": {hex_of("code"): {"source": "def f(): ..."}},
        "cutoffs": [[hex_of("s"), hex_of("x"), a["result"], 3, 0.5]],
        "costs": {hex_of("code"): [1, 0.5, 100, 1, 0.1]},
    }
    writes = [
        {"type": "batch", **batch},
        {"type": "irreproducible", "checksum": c["transformation"], "result": c["result"]},
        {"type": "buffer_info", "checksum": hex_of("b"), "value": {"length": 3}},
        {
            "type": "expression", "checksum": hex_of("e"), "path": ["a", 0],
            "celltype": "mixed", "target_celltype": "int", "value": hex_of("v"),
        },
        {
            "type": "semantic_to_syntactic", "checksum": hex_of("sem"), "celltype": "python",
            "subcelltype": "transformer", "value": [hex_of("syn")],
        },
        {
            "type": "bucket_probe", "bucket_kind": "node", "label": "n", "captured_at": "2026",
            "bucket_checksum": hex_of("p"), "freshness_tokens": {"m": 1},
        },
    ]  # fmt: skip
    try:
        for write in writes:
            status, answer = server.ask("PUT", **write)
            assert status == 200, answer
    finally:
        server.stop()
    return server.file


@pytest.fixture
def filled(filled_once, tmp_path):
    """A copy of that file, to damage."""
    folder = tmp_path / "source"
    folder.mkdir()
    return Path(shutil.copy(filled_once, folder))


@pytest.fixture
def copy(tmp_path):
    """Where a copy may be made: a folder of its own."""
    folder = tmp_path / "copies"
    folder.mkdir()
    return folder / "copy.db"


Load = namedtuple("Load", ["begun", "acknowledged"])


@contextlib.contextmanager
def written_to(server, write, connections=6):
    """Let connections write all the time; lists of numbers that were begun and acknowledged."""
    load, stop = Load([], []), threading.Event()

    def go_on(first):
        connection = server.connect()
        with contextlib.closing(connection):
            for number in range(first, 10**9, connections):
                for body in write(number):
                    if stop.is_set():
                        return
                    load.begun.append(number)
                    connection.request("PUT", "/", json.dumps(body))
                    response = connection.getresponse()
                    assert (response.status, response.read())[0] == 200
                load.acknowledged.append(number)

    threads = [threading.Thread(target=go_on, args=(n,)) for n in range(connections)]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: len(load.acknowledged) > 50)
        yield load
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def ten(number):
    """The names of the items of one batch."""
    return [f"{number}-{part}" for part in range(10)]


def write_ten(number):
    yield {"type": "batch", "store": list(map(item, ten(number)))}


def write_and_overwrite(number):
    """All ways in which rows that belong together come, change and go."""
    items = list(map(item, ten(number)))
    names = [each["transformation"] for each in items]
    yield {"type": "batch", "store": items}
    yield {"type": "transformation", "checksum": names[0], "value": hex_of(f"other {number}")}
    yield {"type": "irreproducible", "checksum": names[1], "result": items[1]["result"]}
    yield {"type": "batch", "forget": names[2:5], "store": [item(f"new {number}")]}
    yield {"type": "batch", "store": [{**items[5], "result": items[6]["result"], "record": None,
                                       "content": None}]}  # fmt: skip


def test_a_copy_is_of_one_moment_while_many_write(start_server, tmp_path, copy, monkeypatch):
    """It has all that was acknowledged before, nothing that began later, no batch by halves."""
    server = start_server(tmp_path / "live.db")
    monkeypatch.setattr(maintenance, "STEP_PAGES", 10)
    begun_before: set[int] = set()
    steps = []

    def progress(done, total):
        if not steps:
            begun_before.update(load.begun)
        steps.append((done, total))
        if len(steps) <= 10:  # nobody is held up while pages are copied
            acknowledged = len(load.acknowledged)
            wait_for(lambda: len(load.acknowledged) > acknowledged + 5)

    with written_to(server, write_ten) as load:
        before = list(load.acknowledged)
        report = maintenance.back_up(server.file, copy, progress=progress)
        assert len(load.acknowledged) > len(before) + 50
    assert len(steps) > 10
    assert len({total for _, total in steps}) == 1
    assert steps[-1] == (report.pages, report.pages)
    known = {checksum for (checksum,) in sql(copy, "SELECT checksum FROM transformation")}
    parts = {
        number: [item(name)["transformation"] in known for name in ten(number)]
        for number in load.begun
    }
    assert all(all(parts[number]) for number in before)
    assert all(number in begun_before for number, there in parts.items() if any(there))
    assert all(all(there) or not any(there) for there in parts.values())
    assert sum(map(sum, parts.values())) == len(known) == report.transformations
    assert checked(copy)["problems"] == []


def test_a_server_serves_the_copy(start_server, tmp_path, copy):
    """The command says what it copied; the copy is a database like any other, writable too."""
    server = start_server(tmp_path / "live.db")
    with written_to(server, write_ten) as load:
        before = list(load.acknowledged)
        done = subprocess.run(
            [sys.executable, "-m", "seamless_dask_cache.cli", "backup", server.file, copy],
            capture_output=True,
            text=True,
        )
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    pattern = r"copied (\S+) to (\S+): ([\d,]+) pages \(([\d,]+) bytes\), ([\d,]+) transformations"
    found = re.match(pattern + r", checked, in [\d.]+ s$", line)
    assert found.group(1, 2) == (str(server.file), str(copy))
    _, nbytes, rows = (int(text.replace(",", "")) for text in found.group(3, 4, 5))
    assert nbytes == copy.stat().st_size
    assert rows >= 10 * len(before)
    assert names_in(copy.parent) == [copy.name]
    restored = start_server(copy)
    items = {each["transformation"]: each for n in before for each in map(item, ten(n))}
    _, answer = restored.get("batch", transformations=list(items), inline=True)
    assert {tf: (each["result"], each["content"]) for tf, each in answer["results"].items()} == {
        tf: (each["result"], each["content"]) for tf, each in items.items()
    }
    assert restored.put("batch", store=[item("new")])[1]["stored"] == 1
    restored.stop()
    assert checked(copy)["problems"] == []


def test_a_check_of_a_database_that_is_written_to_finds_nothing(
    start_server, tmp_path, monkeypatch
):
    """Rows that come and go meanwhile are not taken for damage: it sees one moment."""
    server = start_server(tmp_path / "live.db")

    def later(look):
        def look_later(*arguments):
            before = len(load.acknowledged)
            wait_for(lambda: len(load.acknowledged) > before + 5)
            return look(*arguments)

        return look_later

    monkeypatch.setattr(checking, "_guarded", later(checking._guarded))
    monkeypatch.setattr(checking, "_sorted_pairs", later(checking._sorted_pairs))
    with written_to(server, write_and_overwrite) as load:
        document = checked(server.file)
        assert document["problems"] == []
        rows = document["rows"]
        assert rows["rev_transformation"] == rows["transformation"] >= 5 * 50
    assert [remark["table"] for remark in document["remarks"]] == ["meta_data"]


def test_a_copy_has_everything_and_needs_nothing_beside_it(filled, copy):
    """All rows of all tables, the version of the schema, and the permissions of the file."""
    filled.chmod(0o640)
    before = filled.read_bytes()
    assert run("backup", filled, copy).exit_code == 0
    assert filled.read_bytes() == before
    with contextlib.closing(sqlite3.connect(copy)) as ours:
        assert (
            ours.execute("PRAGMA user_version").fetchone() == sql(filled, "PRAGMA user_version")[0]
        )
        assert ours.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        with contextlib.closing(sqlite3.connect(filled)) as theirs:
            assert list(ours.iterdump()) == list(theirs.iterdump())
    assert names_in(copy.parent) == [copy.name]
    assert copy.stat().st_mode & 0o777 == 0o640


def test_a_file_of_the_published_server_is_copied_as_it_is(tmp_path, copy):
    """Its content, version and source stay as they are: no table of ours is added."""
    folder = tmp_path / "published"
    folder.mkdir()
    file = Path(shutil.copy(PUBLISHED, folder))
    result = run("backup", file, copy)
    assert result.exit_code == 0
    assert ", 1 transformation, checked" in result.output
    assert file.read_bytes() == PUBLISHED.read_bytes()
    assert names_in(folder) == [file.name]
    assert sql(copy, "PRAGMA user_version") == [(0,)]
    with (
        contextlib.closing(sqlite3.connect(copy)) as ours,
        contextlib.closing(sqlite3.connect(file)) as theirs,
    ):
        assert list(ours.iterdump()) == list(theirs.iterdump())
    document = checked(copy)
    assert document["ok"]
    assert [remark["table"] for remark in document["remarks"]] == ["rev_transformation"]
    assert checked(file)["rows"] == document["rows"]
    assert file.read_bytes() == PUBLISHED.read_bytes()
    assert names_in(folder) == [file.name]


def test_a_copy_of_a_newer_program_keeps_its_version(filled, copy):
    """A copy needs no understanding of what is in the tables."""
    sql(filled, "PRAGMA user_version = 999")
    assert run("backup", filled, copy).exit_code == 0
    assert sql(copy, "PRAGMA user_version") == [(999,)]


PREPARED = {
    "missing": lambda source, copy: source.unlink(),
    "text": lambda source, copy: source.write_text("no database" * 1000),
    "empty": lambda source, copy: source.write_bytes(b""),
    "other": lambda source, copy: sql(source, "DROP TABLE transformation"),
    "folder as file": lambda source, copy: (source.unlink(), source.mkdir()),
    "exists": lambda source, copy: copy.write_text("precious"),
    "dangling link": lambda source, copy: copy.symlink_to("nowhere"),
    "folder": lambda source, copy: copy.mkdir(),
    "no folder": lambda source, copy: copy.parent.rmdir(),
    "log": lambda source, copy: Path(f"{copy}-wal").write_text("of another"),
    "journal": lambda source, copy: Path(f"{copy}-journal").write_text("of another"),
}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("missing", "filled.db is missing"),
        ("text", "as a database: file is not a database"),
        ("empty", "filled.db is no database of this kind"),
        ("other", "filled.db is no database of this kind"),
        ("folder as file", "filled.db is no file"),
        ("exists", "copy.db exists already (--overwrite replaces it)"),
        ("dangling link", "copy.db exists, and is no ordinary file"),
        ("folder", "copy.db exists, and is no ordinary file"),
        ("no folder", "the folder "),
        ("log", "copy.db-wal exists"),
        ("journal", "copy.db-journal exists"),
    ],
)
def test_what_cannot_be_copied_is_refused(filled, copy, state, message):
    """In one line with exit code 1; what was there stays, and nothing is left behind."""
    PREPARED[state](filled, copy)
    there = copy.parent.is_dir() and names_in(copy.parent)
    assert message in refused("backup", filled, copy)
    assert (copy.parent.is_dir() and names_in(copy.parent)) == there
    if state == "exists":
        assert copy.read_text() == "precious"


@pytest.mark.parametrize("link", ["itself", "path", "symlink", "hardlink", "beside"])
def test_a_database_is_not_copied_over_itself(filled, link):
    """Under whatever name, nor over what SQLite keeps beside it."""
    other = {
        "itself": filled,
        "path": filled.parent / ".." / filled.parent.name / filled.name,
        "symlink": filled.parent / "link.db",
        "hardlink": filled.parent / "link.db",
        "beside": Path(f"{filled}-shm"),
    }[link]
    if link == "symlink":
        other.symlink_to(filled)
    if link == "hardlink":
        other.hardlink_to(filled)
    before = filled.read_bytes()
    message = "belongs to" if link == "beside" else "itself"
    assert message in refused("backup", "--overwrite", filled, other)
    assert filled.read_bytes() == before


def test_a_copy_is_replaced_when_the_new_one_is_whole(filled, copy):
    """With --overwrite; where that fails, the old copy stays."""
    run("backup", filled, copy)
    first = copy.read_bytes()
    sql(filled, "INSERT INTO note VALUES ('x', '{}')")
    assert run("backup", "--overwrite", filled, copy).exit_code == 0
    second = copy.read_bytes()
    assert first != second
    damage_page(filled, "buffer")
    assert "is damaged" in refused("backup", "--overwrite", filled, copy)
    assert copy.read_bytes() == second
    assert names_in(copy.parent) == [copy.name]


def test_what_comes_meanwhile_is_not_replaced(filled, copy):
    """A file that somebody makes under the same name, while pages are copied, stays."""
    with pytest.raises(maintenance.MaintenanceError, match="exists already"):
        maintenance.back_up(filled, copy, progress=lambda *_: copy.write_text("precious"))
    assert copy.read_text() == "precious"
    assert names_in(copy.parent) == [copy.name]


def test_a_full_disk_is_refused_before_it_is_full(filled, copy, monkeypatch):
    """Servers that write to the same disk must not suffer."""
    Usage = namedtuple("Usage", ["total", "used", "free"])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**6, 10**6 - 4096, 4096))
    assert "has room for 4,096: the disk is full" in refused("backup", filled, copy)
    assert names_in(copy.parent) == []


def test_a_disk_that_fails_meanwhile_leaves_nothing_behind(filled, copy):
    """No file may get longer than this: a write fails, as on a full disk."""
    script = """
import resource, sys
from seamless_dask_cache.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, resource.RLIM_INFINITY))
main(["backup", *sys.argv[1:]])
"""
    done = subprocess.run([sys.executable, "-c", script, filled, copy], capture_output=True)
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith(f"Error: cannot copy {filled} to {copy}: d")
    assert names_in(copy.parent) == []


AS_NOBODY = """
import os, sys
from pathlib import Path
from seamless_dask_cache.cli import main
def run(*arguments):
    main(list(arguments), standalone_mode=False)
run("backup", sys.argv[1], sys.argv[2] + ".first")  # loads what cannot be read later
for path in (sys.argv[2] + ".first", sys.argv[1] + "-wal", sys.argv[1] + "-shm"):
    os.unlink(path)
for folder in sys.argv[3:]:
    os.chmod(folder, 0o555)
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
main(["backup", sys.argv[1], sys.argv[2]])
"""


@pytest.fixture
def two_folders():
    """Folders that everybody may reach."""
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        Path(first).chmod(0o777)
        Path(second).chmod(0o777)
        yield Path(first), Path(second)


def test_a_folder_that_cannot_be_written_is_refused(filled, two_folders):
    """In one line, as everything else."""
    source, copies = two_folders
    file = shutil.copy(filled, source)
    command = [sys.executable, "-c", AS_NOBODY, file, copies / "copy.db", copies]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == f"Error: cannot write in {copies}: Permission denied\n"
    assert names_in(copies) == []


def test_a_file_in_a_read_only_folder_is_copied(filled, two_folders):
    """SQLite makes files beside one that it reads; here it need not."""
    source, copies = two_folders
    file = Path(shutil.copy(filled, source))
    command = [sys.executable, "-c", AS_NOBODY, file, copies / "copy.db", source]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert names_in(source) == [file.name]
    assert names_in(copies) == ["copy.db"]


def test_a_copy_is_read_where_its_folder_takes_nothing(filled, two_folders):
    """By SQLite as it is: an archive is read-only, and tools know nothing of our server."""
    folder, _ = two_folders
    assert run("backup", filled, folder / "copy.db").exit_code == 0
    (folder / "copy.db").chmod(0o444)
    folder.chmod(0o555)
    script = f"""
import os, sqlite3
if os.getuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
connection = sqlite3.connect("file:{folder}/copy.db?mode=ro", uri=True)
print(connection.execute("PRAGMA integrity_check").fetchone()[0])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "ok\n", done.stderr


def test_a_copy_is_on_the_disk_before_it_has_its_name(filled, copy, monkeypatch):
    """And then the name is, so that loss of power leaves the old state or the new one."""
    steps = []
    flush, rename = os.fsync, Path.replace

    def fsync(descriptor):
        steps.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).suffix)
        flush(descriptor)

    def replace(path, other):
        steps.append("rename")
        return rename(path, other)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    maintenance.back_up(filled, copy)
    assert steps == [".part", "rename", ""]


STOPPED_HALFWAY = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
from rich.progress import Progress
from seamless_dask_cache.cli import main
from seamless_dask_cache.server import maintenance
maintenance.STEP_PAGES = 4
steps = []
def wait_in_the_middle(self, task, **_):
    steps.append(task)
    if len(steps) == 3:
        print("halfway", flush=True)
        sys.stdin.read()
Progress.update = wait_in_the_middle
main(["backup", *sys.argv[1:]])
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_copy_that_is_stopped_halfway_is_no_copy(filled, copy, number):
    """Killed, it leaves none; stopped in another way, it leaves nothing at all."""
    before = filled.read_bytes()
    command = [sys.executable, "-c", STOPPED_HALFWAY, filled, copy]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdout.readline() == b"halfway\n"
        (temporary,) = copy.parent.iterdir()
        process.send_signal(number)
        assert process.wait(20) != 0
        assert b"Traceback" not in process.stderr.read()
    assert not copy.exists()
    assert names_in(copy.parent) == ([temporary.name] if number == signal.SIGKILL else [])
    assert filled.read_bytes() == before
    assert run("backup", filled, copy).exit_code == 0


@pytest.fixture
def hears_ctrl_c():
    """Jobs in the background ignore it, and so do their children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_a_statement_that_takes_long(hears_ctrl_c):
    """Such as SQLite's own check of a large file."""
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 5e7)"
    timer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    with (
        contextlib.closing(sqlite3.connect(":memory:")) as connection,
        pytest.raises(KeyboardInterrupt) as caught,
        maintenance.interruptible(connection),
    ):
        timer.start()
        connection.execute(endless + " SELECT count(*) FROM n").fetchone()
    timer.join()
    assert isinstance(caught.value.__context__, sqlite3.OperationalError)


def page_of(file, table):
    """The first page of a table."""
    ((page,),) = sql(file, f"SELECT rootpage FROM sqlite_master WHERE name = '{table}'")
    return page


def damage_page(file, table):
    """Overwrite a page of a table, as a failing disk would."""
    page = page_of(file, table)
    with file.open("r+b") as stream:
        stream.seek((page - 1) * 4096)
        stream.write(b"\xff" * 4096)


def test_a_damaged_database_is_not_copied_unless_that_is_asked_for(filled, copy):
    """With --no-check it is, page by page."""
    damage_page(filled, "transformation")
    damage_page(filled, "sqlite_autoindex_transformation_1")
    assert "is damaged" in refused("backup", filled, copy)
    assert names_in(copy.parent) == []
    result = run("backup", "--no-check", filled, copy)
    assert result.exit_code == 0
    assert "an unknown number of transformations, not checked" in result.output
    assert copy.stat().st_size == filled.stat().st_size


def test_a_whole_database_has_no_problems(filled, filled_once):
    """Rows of every table are looked at, and nothing is changed."""
    before = filled.read_bytes()
    result = run("check", filled)
    assert (result.exit_code, result.stderr) == (0, "")
    (line,) = result.stdout.splitlines()
    assert re.fullmatch(r"\S+: no problems in \d+ rows in 16 tables; [\d.]+ s", line)
    assert all(checked(filled)["rows"].values())
    assert filled.read_bytes() == before


WRONG = "is not 64 lower-case hexadecimal digits"
DAMAGES = [
    ("transformation", "result = upper(result)", f"result {WRONG}"),
    ("transformation", "result = CAST(result AS BLOB)", f"result {WRONG}"),
    ("transformation", "checksum = substr(checksum, 2)", f"checksum {WRONG}"),
    ("transformation", "result = result || char(0) || 'x'", f"result {WRONG}"),
    ("rev_transformation", "checksum = ''", f"checksum {WRONG}"),
    ("buffer_info", "buffer_info = '{'", "buffer_info is no JSON: "),
    ("buffer_info", "buffer_info = '[]'", "buffer_info is no JSON object"),
    ("buffer_info", "buffer_info = CAST(x'7b22ff223a317d' AS TEXT)", "buffer_info is not UTF-8"),
    ("syntactic_to_semantic", "syntactic = 'x'", f"syntactic {WRONG}"),
    ("syntactic_to_semantic", "semantic = 'x'", f"semantic {WRONG}"),
    ("expression", "input_checksum = 'x'", f"input_checksum {WRONG}"),
    ("expression", "result = 'x'", f"result {WRONG}"),
    ("expression", "path = 'a.b'", "path is no JSON: "),
    ("meta_data", "metadata = ''", "metadata is no JSON: "),
    ("meta_data", "metadata = CAST(metadata AS BLOB)", "metadata is no text"),
    ("meta_data", f"result = '{'0' * 64}'", "metadata names another result than its row"),
    (
        "meta_data",
        "metadata = json_set(metadata, '$.tf_checksum', 'x')",
        "metadata names another transformation than its row",
    ),
    (
        "meta_data",
        "metadata = json_remove(metadata, '$.result_checksum')",
        "metadata names another result than its row",
    ),
    ("bucket_probe", "freshness_tokens = 'm=1'", "freshness_tokens is no JSON: "),
    ("bucket_probe", "bucket_checksum = 'x'", f"bucket_checksum {WRONG}"),
    ("irreproducible_transformation", "metadata = 'x'", "metadata is no JSON: "),
    (
        "irreproducible_transformation",
        "metadata = json_set(metadata, '$.result_checksum', 'x')",
        "metadata names another result than its row",
    ),
    ("buffer", "content = x'00'", "content has the SHA-256 6e340b9cffb37a98"),
    ("buffer", "content = CAST(content AS TEXT)", "content is no BLOB"),
    ("cache_entry", "result = 'x'", f"result {WRONG}"),
    ("files_read", "files = 'x'", "files is no JSON: "),
    ("files_read", """files = '{"a": 1}'""", "files does not map paths to texts"),
    ("recipe", "checksum = 'x'", f"checksum {WRONG}"),
    ("note", "document = 'null'", "document is no JSON object"),
    ("cutoff", "result = x'00'", "result is not 32 bytes: 00"),
    ("cutoff", "skeleton = hex(skeleton)", "skeleton is not 32 bytes: "),
    ("cost", "code = x''", "code is not 32 bytes"),
    ("cost", "runs = -1", "runs is no number from 0: -1"),
    ("divergence", "result = 'x'", f"result {WRONG}"),
]


@pytest.mark.parametrize(
    ("table", "change", "text"), DAMAGES, ids=[f"{t}-{c[:40]}" for t, c, _ in DAMAGES]
)
def test_each_kind_of_damage_is_found(filled, table, change, text):
    """In one row of several, whose table and key are named; other rows are not."""
    key = {"bucket_probe": "label", "cost": "code", "cutoff": "checksum", "expression": "path"}
    key = key.get(table, "syntactic" if table.startswith("synt") else "checksum")
    sql(filled, f'UPDATE "{table}" SET {change} WHERE {key} = (SELECT max({key}) FROM "{table}")')
    document = checked(filled)
    (found,) = [p for p in document["problems"] if p["text"].startswith(text)]
    assert found["table"] == table
    assert found["key"]
    # A row that is gone or renamed may be missed elsewhere, too.
    others = [p for p in document["problems"] if p is not found]
    assert {p["table"] for p in others} <= {"buffer", "meta_data", "recipe", "transformation"}
    result = run("check", filled)
    assert result.exit_code == 1
    (line,) = [line for line in result.stdout.splitlines() if text in line]
    assert line.startswith(f"{table} {found['key']}: {text}")


@pytest.mark.parametrize(
    ("statements", "table", "text"),
    [
        (["DELETE FROM rev_transformation WHERE id = 1"], "transformation", "has no pair in rev"),
        (
            [
                "DELETE FROM rev_transformation",
                "INSERT INTO rev_transformation (checksum, result)"
                " SELECT checksum, result FROM transformation LIMIT 1",
                "INSERT INTO rev_transformation (checksum, result)"
                " SELECT checksum, result FROM transformation LIMIT 1",
            ],
            "transformation",
            "has no pair in rev",
        ),
        (["DROP TABLE rev_transformation"], "rev_transformation", "is missing"),
        (
            ["DELETE FROM buffer WHERE content = x'6f6e6c79206120726563697065'"],
            "recipe",
            "has no text in buffer",
        ),
        (["ALTER TABLE note RENAME COLUMN document TO x"], "note", "has no document"),
        (
            [
                "DROP TABLE meta_data",
                "CREATE TABLE meta_data (checksum PRIMARY KEY, metadata)",
                "INSERT INTO meta_data VALUES ('x', '{}')",
            ],
            "meta_data",
            "has no result: no server can use it",
        ),
    ],
)
def test_what_does_not_fit_together_is_found(filled, statements, table, text):
    """Rows without the one they need, tables and columns that are missing."""
    sql(filled, *statements)
    (found,) = checked(filled)["problems"]
    assert found["table"] == table
    assert text in found["text"]


def test_what_the_published_server_leaves_behind_is_no_problem(start_server, filled):
    """Stale and double pairs, NaN, records of overwritten results, an old empty table."""
    stale = f"VALUES ('{hex_of('old')}', '{hex_of('tf')}')"
    sql(
        filled,
        f"INSERT INTO rev_transformation (result, checksum) {stale}, {stale[7:]}",
        "UPDATE buffer_info SET buffer_info = '{\"length\": NaN}'",
        "UPDATE irreproducible_transformation SET metadata = '\"\"'",
        "UPDATE cutoff SET result = NULL",
        "DELETE FROM cache_entry",
        "DROP TABLE note",
        "DROP TABLE bucket_probe",
        "CREATE INDEX transformation_result ON transformation (result)",
    )
    ((name,),) = sql(filled, "SELECT checksum FROM transformation LIMIT 1")
    sql(filled, f"UPDATE transformation SET result = '{hex_of('x')}' WHERE checksum = '{name}'")
    sql(
        filled,
        f"INSERT INTO rev_transformation (result, checksum) VALUES ('{hex_of('x')}', '{name}')",
    )
    output = run("check", filled)
    assert output.exit_code == 0
    lines = output.stdout.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("remark: rev_transformation: ") and lines[0].endswith(": 3")
    assert lines[1].startswith("remark: meta_data: ") and lines[1].endswith(": 1")
    sql(filled, "DROP TABLE meta_data", "CREATE TABLE meta_data (checksum PRIMARY KEY, metadata)")
    assert checked(filled)["ok"]


def test_a_pair_that_a_dying_server_did_not_write_can_be_mended(start_server, filled):
    """The published server writes it after the result; what the problem names adds it."""
    sql(
        filled,
        "DELETE FROM rev_transformation WHERE id = 1",
        "CREATE INDEX transformation_result ON transformation (result)",
    )
    (found,) = checked(filled)["problems"]
    assert "a writable server of seamless-dask-cache adds it" in found["text"]
    start_server(filled).stop()
    assert checked(filled)["ok"]


def test_a_pair_that_a_published_server_is_about_to_write_is_no_problem(filled, monkeypatch):
    """It writes the result in one transaction and the pair in the next; the check waits for it."""
    query = "SELECT result, checksum FROM rev_transformation WHERE id = 1"
    ((result, checksum),) = sql(filled, query)
    sql(
        filled,
        "DELETE FROM rev_transformation WHERE id = 1",
        "CREATE INDEX transformation_result ON transformation (result)",
    )
    insert = "INSERT INTO rev_transformation (result, checksum) VALUES "
    pauses = [lambda: None, lambda: sql(filled, f"{insert} ('{result}', '{checksum}')")]
    monkeypatch.setattr(time, "sleep", lambda _: pauses.pop(0)())
    assert checked(filled)["ok"]
    assert pauses == []


def test_bytes_that_changed_on_the_disk_are_found_in_buffers(filled):
    """SQLite does not notice them: the structures are whole."""
    content = filled.read_bytes()
    assert content.count(b"only a recipe") == 1
    filled.write_bytes(content.replace(b"only a recipe", b"only a Recipe"))
    (found,) = checked(filled)["problems"]
    assert (found["table"], found["key"]) == ("buffer", hex_of("only a recipe"))


@pytest.mark.parametrize("table", ["buffer", "meta_data", "recipe_function", "transformation"])
def test_overwritten_pages_are_found(filled, table):
    """What SQLite says about them is told, and what can be read is checked all the same."""
    sql(filled, "UPDATE note SET document = 'null'")
    damage_page(filled, table)
    document = checked(filled)
    assert document["problems"][0]["table"] is None
    table = table.removesuffix("_function")
    unchecked = {p["table"] for p in document["problems"] if "cannot be checked" in p["text"]}
    assert unchecked == {table}
    unread = {p["table"] for p in document["problems"] if "cannot be read to its" in p["text"]}
    assert (table in unread) == (table != "recipe")
    assert "document is no JSON object" in [p["text"] for p in document["problems"]]
    assert "file: " in run("check", filled).stdout


def test_every_line_that_sqlite_says_is_a_problem(filled):
    """However many it puts into one row; its headings are not."""
    with filled.open("r+b") as stream:
        stream.seek((page_of(filled, "buffer") - 1) * 4096 + 2000)
        stream.write(bytes(range(256)) * 8)
    texts = [p["text"] for p in checked(filled)["problems"] if p["table"] is None]
    assert len(texts) > 3
    assert not [text for text in texts if "\n" in text or "***" in text or text == "ok"]


def test_overwritten_bytes_in_the_middle_of_the_file_are_found(filled):
    """Wherever they are: a page of any kind."""
    with filled.open("r+b") as stream:
        stream.seek(filled.stat().st_size // 2)
        stream.write(os.urandom(4096))
    result = run("check", filled)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert "file: " in result.output


def test_problems_beyond_the_limit_are_counted(filled):
    """As many as asked for are printed, 20 by default."""
    rows = ", ".join(f"('{n:064x}', '[]')" for n in range(30))
    sql(filled, f"INSERT INTO note VALUES {rows}")
    lines = run("check", filled).stdout.splitlines()
    assert len(lines) == 22
    assert lines[0] == f"note {0:064x}: document is no JSON object"
    assert lines[20] == "... and 10 other problems"
    assert ": 30 problems in " in lines[21]
    assert len(run("check", "--limit", "0", filled).stdout.splitlines()) == 2
    document = checked(filled, "--limit", "29")
    assert (len(document["problems"]), document["more_problems"]) == (29, 1)
    assert len(run("check", "--limit", "30", filled).stdout.splitlines()) == 31


def test_keys_are_printed_harmlessly(filled):
    """A damaged file may hold anything, such as what a terminal obeys, or a long text."""
    sql(filled, f"INSERT INTO note VALUES (char(27) || '[2J', '{{}}'), ('{'x' * 10**5}', '{{}}')")
    result = run("check", filled)
    assert "\x1b" not in result.stdout
    assert "note \\x1b[2J: checksum is not" in result.stdout
    assert max(map(len, result.stdout.splitlines())) < 400


@pytest.mark.parametrize("state", ["missing", "text", "empty", "other", "folder as file"])
def test_what_cannot_be_checked_is_refused(filled, state):
    """In one line with exit code 1, and not as a database with problems."""
    PREPARED[state](filled, None)
    assert str(filled) in refused("check", filled)
    assert str(filled) in refused("check", "--json", filled)


@pytest.mark.parametrize("command", ["backup", "check"])
def test_a_damaged_schema_is_told_in_one_line(filled, copy, command):
    """Whatever SQLite quotes: bytes that are no text, and what a terminal obeys."""
    content = filled.read_bytes()
    for damaged in (b'ON "\xc9\x1b\nergence"', b'ON "di\x1b\nrgence"'):
        filled.write_bytes(content.replace(b'ON "divergence"', damaged))
        line = refused(command, filled, *[copy] * (command == "backup"))
        assert line.startswith(f"Error: cannot open {filled} as a database: malformed database")
        assert "\\x1b\\n" in line
        assert line.isprintable()
    assert names_in(copy.parent) == []


def test_a_file_of_a_newer_program_is_not_checked(filled):
    """Nobody here knows what must be true of it."""
    sql(filled, "PRAGMA user_version = 999")
    assert "has schema version 999" in refused("check", filled)


@pytest.mark.parametrize(
    ("command", "text"), [("backup", "Large buffers are not part"), ("check", "Large buffers, in")]
)
def test_the_help_says_that_large_buffers_are_elsewhere(command, text):
    """They stand in a folder, which is copied apart."""
    assert text in " ".join(run(command, "--help").output.split())
