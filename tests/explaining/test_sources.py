"""The text of a function: its source only where that is certain."""

from __future__ import annotations

import re
import types
import zipfile

import pytest
from recording import load

from seamless_dask_cache.explaining.sources import (
    LONGEST_SOURCE,
    disassembly,
    function_text,
    source_of,
)
from seamless_dask_cache.identity.installed import SHIPPED

SOURCE = '''
def first(x):
    """Add one."""
    return x + 1  # one more


class Model:
    def fit(self, x):
        return [item + 1 for item in x]


square = lambda x: (
    x * x
)
'''


def test_the_source_of_what_stands_in_a_file(tmp_path):
    module = load(tmp_path, "stands", SOURCE)
    text = function_text(module.first)
    assert text == {
        "text": 'def first(x):\n    """Add one."""\n    return x + 1  # one more\n',
        "form": "source",
        "file": "stands.py",
    }
    assert function_text(module.Model.fit)["text"].startswith("def fit(self, x):")
    assert function_text(module.square)["text"] == "square = lambda x: (\n    x * x\n)\n"


def test_decorators_belong_to_the_source(tmp_path):
    source = "import functools\n\n@functools.lru_cache\n@functools.cache\ndef f(x):\n    return x\n"
    module = load(tmp_path, "decorated", source)
    text = function_text(module.f.__wrapped__.__wrapped__)["text"]
    assert text.startswith("@functools.lru_cache\n@functools.cache\ndef f(x):")


def test_the_source_of_what_was_sent_without_its_file(tmp_path):
    """It stands in the file of its module, and counts under the same condition."""
    module = load(tmp_path, "sent", SOURCE)
    here = function_text(module.first)
    code = module.first.__code__.replace(co_filename=SHIPPED)
    sent = types.FunctionType(code, {"__file__": module.__file__})
    assert function_text(sent) == here
    assert function_text(types.FunctionType(code, {}))["form"] == "bytecode"
    (tmp_path / "sent.py").write_text(SOURCE.replace("x + 1", "x + 2"))
    assert function_text(sent)["form"] == "bytecode"


def test_what_was_edited_since_is_no_source(tmp_path):
    module = load(tmp_path, "edited", SOURCE)
    (tmp_path / "edited.py").write_text(SOURCE.replace("x + 1", "x + 2"))
    text = function_text(module.first)
    assert text["form"] == "bytecode"
    assert "LOAD_CONST 1" in text["text"]
    assert "x + 2" not in text["text"]


def test_what_was_moved_since_is_found_where_it_is_now(tmp_path):
    module = load(tmp_path, "moved", SOURCE)
    (tmp_path / "moved.py").write_text("import os\n\n\n" + SOURCE)
    assert function_text(module.first)["text"].startswith("def first(x):")


def test_of_two_that_do_the_same_the_one_on_the_line_is_the_source(tmp_path):
    source = "def f():\n    return 1  # early\n\nearly = f\n\ndef f():\n    return 1  # late\n"
    module = load(tmp_path, "twins", source)
    assert "early" in function_text(module.early)["text"]
    assert "late" in function_text(module.f)["text"]


def test_source_in_a_zip_file_is_found(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "lib.zip", "w") as archive:
        archive.writestr("zipped.py", SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path / "lib.zip"))
    import zipped

    assert function_text(zipped.first)["form"] == "source"


@pytest.mark.parametrize("filename", ["<stdin>", "/nowhere/at/all.py", "<ipython-input-1>"])
def test_what_has_no_file_is_disassembled(filename):
    names = {}
    exec(compile(SOURCE, filename, "exec", dont_inherit=True), names)
    assert source_of(names["first"].__code__, names) is None
    assert function_text(names["first"])["form"] == "bytecode"


def test_a_disassembly_is_the_same_wherever_the_function_stands():
    texts = set()
    for lines in (0, 7):
        names = {}
        exec(compile("\n" * lines + SOURCE, f"<{lines}>", "exec", dont_inherit=True), names)
        texts.add(disassembly(names["Model"].fit.__code__))
    assert len(texts) == 1
    assert not re.search(r"0x[0-9a-f]{6}|line \d", texts.pop())


def test_a_file_that_is_broken_or_huge_costs_nothing(tmp_path):
    module = load(tmp_path, "broken", SOURCE)
    for content in ("def first(x:\n", SOURCE + "# " + "x" * 2_000_000):
        (tmp_path / "broken.py").write_text(content)
        assert function_text(module.first)["form"] == "bytecode"


def test_a_long_text_is_cut(tmp_path):
    body = "".join(f"    x = x + {i}\n" for i in range(3000))
    module = load(tmp_path, "lengthy", f"def f(x):\n{body}    return x\n")
    text = function_text(module.f)["text"]
    assert len(text.encode()) <= LONGEST_SOURCE
    assert text.endswith("(cut here)\n")
