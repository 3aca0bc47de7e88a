"""Buffers, memory and code that somebody made up, or that changes under our hands."""

from __future__ import annotations

import dataclasses
import enum
import gc
import mmap
import sys
import threading
import time
import warnings

import numpy as np
import pytest

from seamless_dask_cache import (
    Buffer,
    BufferCache,
    BufferInfo,
    CacheMissError,
    CellTypeError,
    Checksum,
    convert,
    deserialize,
    serialize,
)
from seamless_dask_cache.celltypes import ipython
from seamless_dask_cache.sections import Section

STREAM = serialize({"a": np.zeros(3), "b": [np.ones(2)]}, "mixed")


def test_memory_that_could_change_is_not_found_by_its_checksum():
    """A read-only view says nothing about who else writes."""
    for memory in (bytearray(b"[1]\n"), np.frombuffer(b"[1]\n", "u1").copy()):
        buffer = Buffer(memoryview(memory).toreadonly())
        checksum = buffer.checksum
        assert not buffer.is_fixed
        memoryview(memory)[1:2] = b"2"
        gc.collect()
        with pytest.raises(CacheMissError):
            checksum.resolve()
        with pytest.raises(ValueError, match="has changed"):
            buffer.incref()
    with mmap.mmap(-1, 4) as mapped:
        assert not Buffer(memoryview(mapped)).is_fixed


def test_a_copy_of_memory_that_could_change_is_held():
    memory = bytearray(b"held as it was\n")
    buffer = Buffer(memoryview(memory))
    checksum = buffer.checksum
    buffer.incref()
    memory[:4] = b"HELD"
    assert checksum.resolve().content == b"held as it was\n"
    checksum.decref()


def test_views_without_anything_in_them():
    for shape in ((0,), (0, 3), (2, 0)):
        assert Buffer(memoryview(np.empty(shape))).content == b""


@dataclasses.dataclass
class Point:
    x: object
    _hidden: float = float("nan")


class Kind(enum.Enum):
    BAD = float("inf")
    GOOD = 1.5


def test_numbers_that_json_lacks_are_found_wherever_they_are():
    for wrong in (Point(float("nan")), [Point({"a": float("inf")})], Kind.BAD, Point(Kind.BAD)):
        with pytest.raises(CellTypeError, match="no NaN"):
            serialize(wrong, "plain")
    assert serialize([Point(None), Kind.GOOD], "plain") == serialize([{"x": None}, 1.5], "plain")


@pytest.mark.parametrize("beside", ["", ", 1234567890123456789"])
@pytest.mark.parametrize("wrong", ["1e999", "-1e999", r'"\ud800"', "NaN"])
def test_a_long_number_changes_nothing_of_what_is_json(wrong, beside):
    with pytest.raises(CellTypeError, match="plain"):
        deserialize(f"[{wrong}{beside}]".encode(), "plain")
    assert deserialize(rb'["\ud83d\ude00", 1234567890123456789]', "plain")[0] == "\U0001f600"


@pytest.mark.parametrize(
    ("buffer", "celltype"),
    [
        *((b"\x93NUMPY\x01\x00\x30\x00" + text.ljust(48).encode(), "binary") for text in (
            "{'descr':'(1,','fortran_order':False,'shape':()}",
            "{'descr':',','fortran_order':False,'shape':(1,)}",
        )),
        (STREAM.replace(b"[[0, 24, 40], ", b"[[0,     40], "), "mixed"),
        (STREAM.replace(b'"shape": [3]', b'"shape": [9]'), "mixed"),
        (STREAM.replace(b'"shape": [3]', b'"shape":[-3]'), "mixed"),
        (STREAM.replace(b'"properties"', b'"propertiez"'), "mixed"),
        (serialize([np.zeros(1, ">f4")], "mixed").replace(b'">f4"', b'"(1,"'), "mixed"),
        (b"x: " + b"59:" * 200 + b"59.5", "yaml"),
    ],
)  # fmt: skip
def test_odd_buffers_are_wrong_ones(buffer, celltype):
    with pytest.raises(CellTypeError, match=celltype):
        deserialize(buffer, celltype)
    BufferInfo.from_buffer(buffer)


def test_a_stream_whose_form_is_too_large_takes_no_memory():
    buffer = serialize([np.zeros(3)], "mixed")
    for shape in (b"[1000000000000000]", b"[1000000, 1000000000]"):
        head, _, rest = buffer.partition(b'"shape": [3]')
        length = int.from_bytes(head[27:31], "little") + len(shape) - 3
        head = head[:27] + length.to_bytes(4, "little") + head[31:]
        with pytest.raises(CellTypeError, match="bytes in 24 bytes"):
            deserialize(head + b'"shape": ' + shape + rest, "mixed")


def test_deep_nests():
    """As deep as plain reads, mixed reads; what is said of them is true."""
    for depth in (900, 1000):
        content = b"[" * depth + b"1" + b"]" * depth
        info = BufferInfo.from_buffer(content)
        assert info.json_type == "list"
        for celltype in ("plain", "mixed"):
            value, found = deserialize(content, celltype), 0
            while value != 1:
                (value,), found = value, found + 1
            assert info.can_be(celltype) and found == depth


def test_aligned_types_without_padding_survive():
    for name in (">i4", "<c16", "<U2", "<M8[s]"):
        array = np.zeros(2, np.dtype([("m", name)], align=True))
        (in_list,) = deserialize(serialize([array], "mixed"), "mixed")
        for back in (in_list, deserialize(serialize(array, "binary"), "binary")):
            assert back.dtype == array.dtype and back.tobytes() == array.tobytes()


def test_what_python_only_warns_of_is_python():
    """Whatever warnings are made to be."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert deserialize(rb's = "\d"', "python") == r's = "\d"'
        assert deserialize(b"%ls\n" + rb's = "\d"', "ipython")


def test_many_magics_are_found_at_once(monkeypatch):
    """4,000 lines, which took minutes when each was looked for anew; none is one in a text."""
    parsed = []
    check = ipython.check_python
    monkeypatch.setattr(ipython, "check_python", lambda text: parsed.append(1) or check(text))
    code = '%ls\nx = """\n%ls\n!ls\n"""\nif x:\n    !ls {x}\n' * 600
    translated = convert(code.encode(), "ipython", "python").get_value("python")
    assert translated.count("run_line_magic") == translated.count("system(") == 600
    assert translated.count('"""\n%ls\n!ls\n"""') == 600
    assert len(parsed) < 10
    assert ipython.to_python("y = (1\n% 2)\n!ls") == "y = (1\n% 2)\nget_ipython().system('ls')"


# The buffer cache, interrupted by itself ----------------------------------------------------------


class Interrupting:
    """Takes back a reference when it is garbage."""

    def __init__(self, cache, checksum):
        self.cache, self.checksum, self.me = cache, checksum, self
        cache.incref(checksum, Buffer(b"%d" % id(self)) if checksum is None else None)

    def __del__(self):
        self.cache.decref(self.checksum)


def test_references_that_garbage_takes_back_in_the_middle():
    """Collections are forced everywhere: nothing is raised, and the counts come out even."""
    cache = BufferCache(300, 600)
    names = [Checksum.of(b"%d" % n) for n in range(50)]
    before = gc.get_threshold()
    gc.set_threshold(1, 1, 1)
    try:
        for turn in range(400):
            n = turn % 50
            Interrupting(cache, names[n])
            cache.tempref(names[n], Buffer((b"%d" % n).rjust(1)))
            cache.incref(names[n])
            cache.decref(names[n])
    finally:
        gc.set_threshold(*before)
    gc.collect()
    stats = cache.stats()
    assert stats["references"] == 0
    held = cache._strong.entries.values()
    assert stats["strong_bytes"] == sum(entry.nbytes for entry in held)
    cache.clear()


def test_what_changes_a_cache_from_inside_is_put_off():
    """As a ``__del__`` would do it, halfway through another call."""
    cache, name = BufferCache(300, 600), Checksum.of(b"x")
    cache.incref(name)
    with cache._lock:
        cache.decref(name)
        cache.incref(name, Buffer(b"x"))
        kept = cache.tempref(name)
        assert cache.references(name) == 1 and cache.get(name) is None
    assert cache.references(name) == 1 and cache.get(name).content == b"x"
    with cache._lock:
        kept.clear()
        cache.register(Buffer(b"y"))
        cache.clear()
        assert cache.stats()["temprefs"] == cache.references(name) == 1
    assert cache.stats()["temprefs"] == cache.references(name) == 0


def test_what_comes_inside_of_a_section_comes_after_it():
    section, order = Section(), []
    assert not section.put_off(lambda: order.append("never"))
    with section:
        assert section.put_off(lambda: order.append("later"))
        assert section.put_off(lambda: 1 / 0)
        assert section.put_off(lambda: order.append("last"))
        order.append("now")
    assert order == ["now", "later", "last"]


def _is_in(thread, function):
    frame = sys._current_frames().get(thread.ident)
    return frame is not None and frame.f_code.co_name == function


def test_a_section_of_another_thread_is_waited_for():
    section, order = Section(), []
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with section:
            inside.set()
            leave.wait(20)
            order.append("first")

    thread = threading.Thread(target=hold)
    thread.start()
    assert inside.wait(20)
    other = threading.Thread(target=lambda: order.append(section.put_off(print)))
    other.start()
    deadline = time.monotonic() + 20
    while not _is_in(other, "put_off") and time.monotonic() < deadline:
        time.sleep(0.001)
    leave.set()
    thread.join(20)
    other.join(20)
    assert order == ["first", False]
