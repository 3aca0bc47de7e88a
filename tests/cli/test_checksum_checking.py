"""`seamless-checksum --check`, as `sha256sum -c` where that has an answer."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess

import pytest
from checksum_runs import Done, run, sha256

from seamless_dask_cache.checksum_commands.checking import Options, check_lists

A, B = sha256(b"a"), sha256(b"b")


def check(*arguments, **options):
    return run("seamless-checksum", "--check", *arguments, **options)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "new\nline").write_bytes(b"b")
    (tmp_path / "back\\slash").write_bytes(b"b")
    return tmp_path


LISTS = {
    "good": f"{A}  a\n",
    "binary": f"{A} *a\n",
    "upper case": f"{A.upper()}  a\n",
    "no newline at the end": f"{A}  a",
    "line ends of an editor": f"{A}  a\r\n",
    "escapes": f"\\{B}  new\\nline\n\\{B}  back\\\\slash\n",
    "different": f"{B}  a\n{A}  a\n{B}  a\n",
    "one different": f"{B}  a\n",
    "missing": f"{A}  nothing\n",
    "two missing": f"{A}  nothing\n{A}  .\n{A}  a\n",
    "escaped and different": f"\\{A}  new\\nline\n",
    "improper": f"{A}  a\nnonsense\n{A[1:]}  a\n{A}x  a\n",
    "one improper": f"{A}  a\n\\{A}  a\\b\n",
    "comments": f"# what is here\n{A}  a\n",
    "nothing": "",
    "only improper": "nonsense\n",
    "only comments": "# nothing\n",
    "an empty name": f"{A}  a\n{A}  \n",
    "itself": f"{A}  -\n",
    "bare": f"{A}\n",
    "not ASCII digits": f"{A}  a\n{'٣' * 64}  a\n",
    "an old option": f"{A}  a\n{A}   a\n",
}


needs_sha256sum = pytest.mark.skipif(not shutil.which("sha256sum"), reason="no coreutils here")


def agrees(folder, *arguments, ours=check, **given):
    """Compare exit code, results and warnings with those of `sha256sum`."""
    ours = ours(*arguments, cwd=folder, **given)
    theirs = subprocess.run(
        ["sha256sum", "-c", *arguments],
        cwd=folder,
        capture_output=True,
        env={**os.environ, "LC_ALL": "C"},
        **given,
    )
    assert (ours.code, ours.out) == (theirs.returncode, theirs.stdout)
    assert told(ours.err) == told(theirs.stderr.decode())
    return ours


def told(text):
    """What was said, without the name of the program, and of standard input, and quotes."""
    text = re.sub("^(seamless-checksum|sha256sum): ", "", text, flags=re.M)
    return text.replace("standard input", "-").replace("'", "")


@needs_sha256sum
@pytest.mark.parametrize("name", LISTS)
def test_check_says_what_sha256sum_says(folder, name, monkeypatch, capfdbinary):
    """Results, warnings and exit code of a list agree."""
    (folder / "list").write_text(LISTS[name], newline="")
    monkeypatch.chdir(folder)

    def in_process(*lists, cwd):
        code = check_lists(lists, Options(False, False, False, False, None, None))
        out, err = capfdbinary.readouterr()
        return Done(code, out, err.decode())

    agrees(folder, "list", ours=in_process)


@needs_sha256sum
@pytest.mark.parametrize("options", [[], ["--quiet"], ["--status"]], ids=str)
def test_many_lists_at_once(folder, options):
    """Each list has its own warnings, one that is missing does not keep the others."""
    for name, text in LISTS.items():
        (folder / name).write_text(text, newline="")
    ours = agrees(folder, *options, *LISTS, "no such list")
    assert ours.code == 1
    assert (b": OK" in ours.out) == (not options)
    assert (ours.out == b"") == (options == ["--status"])


@needs_sha256sum
@pytest.mark.parametrize("arguments", [[], ["-"], ["a list", "-"]], ids=str)
@pytest.mark.parametrize("name", ["good", "itself", "nothing"])
def test_standard_input_is_a_list(folder, arguments, name):
    """Without a list, and as `-`; what it names `-` cannot be itself."""
    (folder / "a list").write_text(LISTS["escapes"])
    agrees(folder, *arguments, input=LISTS[name].encode())


def test_a_list_may_name_standard_input(folder):
    """Where the list is a file, `-` is what comes from outside."""
    (folder / "list").write_text(f"{A}  -\n")
    assert check("list", cwd=folder, input=b"a") == (0, b"-: OK\n", "")
    assert check("list", cwd=folder, input=b"b").code == 1


def test_what_was_printed_can_be_checked(folder):
    """Lists of our own are lists."""
    printed = run("seamless-checksum", "a", "new\nline", "back\\slash", cwd=folder).out
    code, out, err = check(cwd=folder, input=printed)
    assert (code, err) == (0, "")
    assert out == b"a: OK\n\\new\\nline: OK\nback\\slash: OK\n"
    (folder / "new\nline").write_bytes(b"c")
    assert check(cwd=folder, input=printed).out.count(b"FAILED") == 1


def test_a_name_with_a_zero_byte_cannot_be_read(folder):
    """It is an entry like others, of a file that cannot be there."""
    code, out, err = check(cwd=folder, input=f"{A}  a\0b\n{A}  a\n".encode())
    assert (code, out) == (1, b"a\0b: FAILED open or read\na: OK\n")
    assert "null byte" in err


def test_a_list_without_lines_is_read_in_bounded_pieces(folder):
    """What is no list, but large, gives the warning of one, and a later line counts."""
    (folder / "list").write_bytes(b"\xff" * 200_000 + f"\n{A}  a\n".encode())
    code, out, err = check("list", cwd=folder)
    assert (code, out) == (0, b"a: OK\n")
    assert "WARNING: 4 lines are improperly formatted" in err


@pytest.mark.parametrize("name", ["x", "x.gz", "x.INDEX"])
def test_a_checksum_file_stands_for_what_is_beside_it(tmp_path, name):
    """`X.CHECKSUM` checks X, the compressed X, or an index without its folder."""
    pack = gzip.compress if name == "x.gz" else bytes
    (tmp_path / name).write_bytes(pack(b"content"))
    assert run("seamless-checksum-file", name, cwd=tmp_path).code == 0
    assert check("x.CHECKSUM", cwd=tmp_path) == (0, b"x: OK\n", "")
    (tmp_path / name).write_bytes(pack(b"something else"))
    assert check("x.CHECKSUM", cwd=tmp_path)[:2] == (1, b"x: FAILED\n")
    (tmp_path / name).unlink()
    assert check("x.CHECKSUM", cwd=tmp_path)[:2] == (1, b"x: FAILED open or read\n")


def test_the_checksum_of_a_file_as_it_is(tmp_path):
    """`--raw` leaves the suffix in the name, and so checking needs no `--raw`."""
    (tmp_path / "x.gz").write_bytes(b"not compressed at all")
    assert run("seamless-checksum-file", "--raw", "x.gz", cwd=tmp_path).code == 0
    assert check("x.gz.CHECKSUM", cwd=tmp_path) == (0, b"x.gz: OK\n", "")


@pytest.mark.parametrize("options", [[], ["--follow-links"], ["--raw"]], ids=str)
def test_the_checksum_of_a_folder_is_that_of_its_files(tmp_path, options):
    """`DIR.CHECKSUM` reads the folder again, and not what is said of it in `DIR.INDEX`."""
    (tmp_path / "d" / "inner").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_text("1")
    (tmp_path / "d" / "inner" / "a.gz").write_bytes(gzip.compress(b"2"))
    (tmp_path / "d" / "link").symlink_to("../elsewhere")
    assert run("seamless-checksum-index", *options, "d", cwd=tmp_path).code == 0
    assert check(*options, "d.CHECKSUM", cwd=tmp_path)[:2] == (0, b"d: OK\n")
    (tmp_path / "d" / "inner" / "b").write_text("")
    assert check(*options, "d.CHECKSUM", cwd=tmp_path)[:2] == (1, b"d: FAILED\n")
    (tmp_path / "d" / "broken").symlink_to("nowhere")
    code, out, err = check(*options, "d.CHECKSUM", cwd=tmp_path)
    assert (code, out) == (1, b"d: FAILED open or read\n")
    assert "d/broken: a symbolic link to nothing" in err
