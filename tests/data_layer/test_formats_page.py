"""The page on formats says what is so, and the example runs."""

from __future__ import annotations

import ast
import json
import re
import struct
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from seamless_dask_cache import Checksum, deserialize, serialize

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/formats.md").read_text(encoding="utf-8")


def test_the_example_on_the_page_is_what_is_written():
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    written = serialize({"b": [1, "x"], "a": np.array([1.0, 2.0])}, "mixed")
    assert ast.literal_eval(f"({block})") == written
    assert f"{len(written)} bytes" in PAGE and Checksum.of(written).hex() in PAGE


# A reader that knows nothing but the page: no numpy, arrays come back as (type, shape, bytes) -----


def read(buffer):
    """Read a stream as the page describes it."""
    at = 0

    def take(count):
        nonlocal at
        at += count
        return buffer[at - count : at]

    assert take(15) == b"\x94SEAMLESS-MIXED"
    assert take(take(1)[0]) == b"mixed-plain"
    form = json.loads(take(struct.unpack("<I", take(4))[0]))
    assert take(9) == b"\x93SEAMLESS"
    json_length, data_length = struct.unpack("<QQ", take(16))
    offsets, skeleton = json.loads(take(json_length))
    data = take(data_length)
    assert at == len(buffer) and offsets[0] == 0 and offsets[-1] == data_length
    pieces = (data[a:b] for a, b in pairwise(offsets))
    return filled(skeleton, form, pieces)


def filled(skeleton, form, pieces):
    if isinstance(form, str):
        return skeleton
    if form.get("storage") == "pure-binary":
        shape = form["shape"] if form["type"] == "array" else None
        kind = form["items"] if form["type"] == "array" else form
        return kind["type"], shape, next(pieces)
    if isinstance(skeleton, list):
        assert form["type"] == "array" and form["shape"] == [len(skeleton)]
        forms = [form["items"]] * len(skeleton) if form["identical"] else form["items"]
        return [filled(item, one, pieces) for item, one in zip(skeleton, forms, strict=True)]
    forms = form.get("properties", {})
    return {key: filled(skeleton[key], forms[key], pieces) for key in sorted(skeleton)}


TYPES = {"b": "boolean", "i": "integer", "u": "integer", "f": "number", "S": "string"}


def expected(value):
    """The same for a value that was never written."""
    if isinstance(value, np.ndarray):
        kind = TYPES.get(value.dtype.kind, "numpy") if value.dtype.isnative else "numpy"
        return kind, list(value.shape), value.tobytes()
    if isinstance(value, list):
        return [expected(item) for item in value]
    if isinstance(value, dict):
        return {key: expected(value[key]) for key in sorted(value)}
    return value


arrays = hnp.arrays(
    st.sampled_from(["<f8", "<i2", "<u4", "?", "S3", "U2", "<c16", "<M8[s]"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
    elements=None,
).map(lambda array: np.asfortranarray(array) if array.ndim > 1 else array)
values = st.recursive(
    arrays | st.none() | st.booleans() | st.integers() | st.text("aé\u2028", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abé", max_size=3), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(values, arrays)
def test_a_reader_made_from_the_page_reads_everything(value, array):
    """Whatever is written as a stream, the page is enough to read."""
    whole = {"z": value, "a": array, "m": [array, [value]]}
    assert read(serialize(whole, "mixed")) == expected(whole)


def test_a_structure_lies_in_memory_as_the_page_says():
    """Alignment and padding of a structure, computed from the form alone."""
    dtype = np.dtype(
        [("a", "i1"), ("b", "f8"), ("c", "i2", (3,)), ("d", [("e", "S3")])], align=True
    )
    array = np.zeros(1, dtype)
    array["b"], array["c"] = 1.5, [[1, 2, 3]]
    buffer = serialize([array], "mixed")
    form = json.loads(re.search(rb"mixed-plain....(.*)\x93SEAMLESS", buffer, re.DOTALL)[1])
    places, size, _ = layout(form["items"]["items"])
    assert places == {name: dtype.fields[name][1] for name in dtype.names}
    assert size == dtype.itemsize
    back = deserialize(buffer, "mixed")[0]
    assert back.dtype == dtype and back.tobytes() == array.tobytes()


def layout(form):
    """Offsets of the fields, size, and alignment of a type."""
    if form["type"] == "tuple":
        _, size, alignment = layout(form["items"])
        count = 1
        for length in form["shape"]:
            count *= length
        return {}, size * count, alignment
    if form["type"] != "object":
        return {}, form["bytesize"], 1 if form["type"] == "string" else form["bytesize"]
    places, at, largest = {}, 0, 1
    for name in form["order"]:
        _, size, alignment = layout(form["properties"][name])
        at += -at % alignment
        places[name] = at
        at, largest = at + size, max(largest, alignment)
    return places, at + -at % largest, largest


def test_the_example_script_runs():
    """What it prints is what its comments say."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples/data_layer.py")],
        capture_output=True,
        text=True,
        check=True,
    )
    said = done.stdout.splitlines()
    assert said[1] == "resolved: 10.75"
    assert "text to python: reinterpret" in said and "number: 2024" in said
    assert said[-1] == "let go of, and nobody else has it"
