"""Conversions between cell types: their classes, and that each keeps to its class."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, note
from hypothesis import strategies as st

from seamless_dask_cache import Buffer, Checksum, classify_conversion, convert
from seamless_dask_cache.celltypes import CELLTYPES, conversion_rules, deserialize, serialize
from seamless_dask_cache.celltypes.conversions import MOST_OF_A_NUMBER
from seamless_dask_cache.errors import CellTypeError, ConversionError
from tests.data_layer.test_celltypes import arrays, json_values, text

PAIRS = json.loads((Path(__file__).parents[1] / "data" / "conversions.json").read_text())["pairs"]
CLASSES = {(pair["source"], pair["target"]): pair["category"] for pair in PAIRS}
ALLOWED = [pair for pair, category in CLASSES.items() if category != "forbidden"]
FORBIDDEN = [pair for pair, category in CLASSES.items() if category == "forbidden"]


def _name(pair):
    return f"{pair[0]}-{pair[1]}"


@pytest.mark.parametrize("pair", CLASSES, ids=_name)
def test_every_pair_has_the_class_that_the_published_library_gives_it(pair):
    """All 156 of them."""
    assert classify_conversion(*pair) == CLASSES[pair]


def test_the_classes_follow_from_a_few_rules():
    """Each pair from one of them, and none of them is of no use."""
    tables = (conversion_rules.DIRECT, conversion_rules.EQUIVALENT, conversion_rules.VIA)
    given_pairs = [pair for table in tables for pair in table]
    assert len(CLASSES) == len(CELLTYPES) * (len(CELLTYPES) - 1) == 156
    assert len(given_pairs) == len(set(given_pairs)) and set(given_pairs) <= set(CLASSES)


@pytest.mark.parametrize("celltype", CELLTYPES)
def test_a_cell_type_becomes_itself_without_a_look(celltype):
    """Whatever is in the buffer."""
    buffer = Buffer(b"\xff\xfe")
    assert classify_conversion(celltype, celltype) == "trivial"
    assert convert(buffer, celltype, celltype) is buffer


PYTHON = [
    "",
    "x = 1",
    "def f(a):\n    return a  # b\n",
    "'''\n%no magic\n'''",
    "\n\n1\n\n",
    "λ = 'ü'",
]
IPYTHON = [
    *PYTHON,
    "%matplotlib inline\nx = 1",
    "files = !ls -l\nfor one in files:\n    !echo {one}",
    "print?\n?int\nint??\n*int?\n?",
    "%%time -n 3\nfoo()\nbar",
    "'''\n%no magic\n'''\n%magic a 'b'\n",
    ",f a b\n;f a b\n/f a b",
    "y = %time 3\n!!ls",
    "if x:\n    %time y\nelse:\n    z?",
]
YAML = [
    "",
    "a: 1\nb: [x, 2.5, null, true]\n",
    "{1: a, 2.5: b, null: c, true: d, [1, 2]: e}",
    "when: 2024-05-06\nthen: 2001-12-14t21:59:43.10-05:00",
    "[.nan, .inf, -.inf, 1e400]",
    "data: !!binary aGVsbG8=",
    "!!set {a, b, 3}",
    "!!omap [a: 1, b: 2]",
    "!!pairs [a: 1, a: 2]",
    "&x [1]\n",
    "[&a {k: v}, *a]",
    "- |\n  two\n  lines\n- >\n  folded\n",
    "123456789012345678901234567890",
]
integers = st.integers(-(10**300), 10**300)
floats = st.floats(allow_nan=False, allow_infinity=False)

values = {
    "plain": json_values,
    "mixed": json_values | arrays() | st.dictionaries(text, arrays(), max_size=2),
    "binary": arrays(),
    "bytes": st.binary() | arrays().map(lambda array: serialize(array, "binary")),
    "text": text | json_values.map(json.dumps),
    "python": st.sampled_from(PYTHON),
    "ipython": st.sampled_from(IPYTHON),
    "yaml": st.sampled_from(YAML) | json_values.map(lambda value: yaml.safe_dump(value)),
    "str": text | integers.map(str) | floats.map(str),
    "int": integers,
    "float": floats,
    "bool": st.booleans(),
    "checksum": st.just("ab" * 32),
}


@pytest.mark.parametrize("source", CELLTYPES)
@given(data=st.data())
def test_every_conversion_keeps_to_its_class(source, data):
    """And gives a valid buffer of the other cell type, whichever of them it is."""
    buffer = Buffer(serialize(data.draw(values[source]), source))
    for pair in ALLOWED:
        if pair[0] == source:
            note(_name(pair))
            keeps_to_its_class(buffer, pair)


def keeps_to_its_class(buffer, pair):
    source, target = pair
    try:
        converted = convert(buffer, source, target)
    except ConversionError:
        assert CLASSES[pair] in ("reinterpret", "possible")
        return
    # Text of any kind is a string of str; whether that is code again is seen when it is read.
    if source != "str" or target not in ("python", "ipython", "yaml"):
        deserialize(converted.content, target)
    if CLASSES[pair] in ("trivial", "reinterpret"):
        assert converted is buffer


@pytest.mark.parametrize(
    "pair", [pair for pair in ALLOWED if CLASSES[pair] == "trivial"], ids=_name
)
def test_a_trivial_conversion_does_not_look_at_the_buffer(pair):
    """Even if there is nothing valid in it."""
    buffer = Buffer(b"\xff{")
    assert convert(buffer, *pair) is buffer


@pytest.mark.parametrize(
    "pair", [pair for pair in ALLOWED if CLASSES[pair] == "reinterpret"], ids=_name
)
def test_a_conversion_that_reinterprets_looks_at_the_buffer(pair):
    """What is nothing of the kind is refused."""
    with pytest.raises(ConversionError, match=r"starts with b'\\xff\{'"):
        convert(b"\xff{", *pair)


@pytest.mark.parametrize("pair", FORBIDDEN, ids=_name)
def test_a_forbidden_conversion_is_refused_with_the_reason(pair):
    """It names the pair, and says why or what to do instead."""
    with pytest.raises(ConversionError, match=f"from '{pair[0]}' to '{pair[1]}': .{{15}}"):
        convert(b"1\n", *pair)


@pytest.mark.parametrize("unknown", ["Plain", "", "json", None])
def test_an_unknown_cell_type_is_refused_by_name(unknown):
    """Whichever of the two it is."""
    for pair in ((unknown, "text"), ("text", unknown), (unknown, unknown)):
        with pytest.raises(CellTypeError, match=f"unknown cell type {unknown!r}; there are plain"):
            classify_conversion(*pair)


NPY = serialize(np.arange(3), "binary")
STREAM = serialize({"a": np.arange(3)}, "mixed")

EXAMPLES = [
    ("plain", "text", b'"hi"\n', b"hi\n"),
    ("plain", "text", b'{\n  "a": 1\n}\n', b'{\n  "a": 1\n}\n'),
    ("text", "plain", b"hi\n", b'"hi"\n'),
    ("text", "plain", b'{"a":1}', b'{"a":1}'),
    ("text", "plain", b"NaN", b'"NaN"\n'),
    ("text", "mixed", b"1\n", b'"1"\n'),
    ("text", "str", b"1\n", b'"1"\n'),
    ("str", "text", b'"a\\nb"\n', b"a\nb\n"),
    ("python", "plain", b"1\n", b'"1"\n'),
    ("yaml", "str", b"a: 1\n", b'"a: 1"\n'),
    ("yaml", "plain", b"a: 1\n", b'{\n  "a": 1\n}\n'),
    ("yaml", "plain", b"", b"null\n"),
    ("yaml", "plain", b"[2024-05-06, .inf]", b'[\n  "2024-05-06",\n  ".inf"\n]\n'),
    ("yaml", "plain", b"{1: a, true: b}", b'{\n  "1": "a",\n  "true": "b"\n}\n'),
    ("yaml", "int", b"42", b"42\n"),
    ("bytes", "binary", NPY, NPY),
    ("bytes", "mixed", NPY, NPY),
    ("bytes", "mixed", STREAM, STREAM),
    ("bytes", "mixed", b"1", b'"1"\n'),
    ("bytes", "mixed", b"\xff", serialize(np.array(b"\xff"), "binary")),
    ("bytes", "binary", b"\x93NUMPY", serialize(np.array(b"\x93NUMPY"), "binary")),
    ("binary", "bytes", serialize(np.array(b"a\0"), "binary"), b"a\0"),
    ("binary", "bytes", serialize(np.array([b"ab", b"c"]), "binary"), b"abc\0"),
    ("binary", "bytes", NPY, NPY),
    ("mixed", "bytes", serialize(np.array(b"ab"), "binary"), b"ab"),
    ("mixed", "bytes", b"[1]", b"[1]"),
    ("binary", "int", serialize(np.array([[3.7]]), "binary"), b"3\n"),
    ("binary", "float", serialize(np.array(b"2.5"), "binary"), b"2.5\n"),
    ("mixed", "float", serialize(np.float32(0.5), "binary"), b"0.5\n"),
    ("mixed", "str", serialize(np.array(b'"x"'), "binary"), b'"x"\n'),
    ("mixed", "text", b'"x"\n', b"x\n"),
    ("plain", "str", b"2.50\n", b'"2.5"\n'),
    ("plain", "int", b'" 12 "\n', b"12\n"),
    ("plain", "bool", b'"False"\n', b"true\n"),
    ("float", "int", b"-2.7\n", b"-2\n"),
    ("int", "float", b"3\n", b"3.0\n"),
    ("bool", "int", b"true\n", b"1\n"),
    ("int", "str", b"3\n", b'"3"\n'),
    ("int", "yaml", b"3\n", b"3\n"),
    ("bytes", "str", b'"x"', b'"x"\n'),
]


@pytest.mark.parametrize(("source", "target", "before", "after"), EXAMPLES)
def test_buffers_become_what_users_expect(source, target, before, after):
    """Byte for byte."""
    assert bytes(convert(before, source, target).content) == after
    assert bytes(convert(memoryview(before), source, target).content) == after


BOMB = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)

FAILURES = [
    ("yaml", "plain", BOMB.encode(), "more than 1000[0-9]{3} values"),
    ("yaml", "plain", b"&x [*x]", "more than 1000[0-9]{3} values|recursion"),
    *(
        ("text", "yaml", text, "tag that its value does not fit|not a buffer")
        for text in (b'!!int ""', b"!!bool x", b"!!timestamp x", b"!!map [1]", b"!!set [a]")
    ),
    ("binary", "int", serialize(np.datetime64(1, "ns"), "binary"), "is not one number"),
    ("plain", "int", b"null\n", "null, lists and dicts"),
    ("plain", "str", b"[1]\n", "null, lists and dicts"),
    ("plain", "int", b'"2.5"\n', "invalid literal"),
    ("binary", "int", NPY, r"shape \(3,\) is not one number"),
    ("mixed", "int", STREAM, "not a buffer"),
    ("text", "python", b"x = (", "not a buffer of cell type 'python'"),
    ("bytes", "text", b"a\xff", "not a buffer of cell type 'text'"),
    ("bytes", "plain", b"{", "not a buffer of cell type 'plain'"),
    ("int", "float", b"1" + b"0" * 400 + b"\n", "too large"),
    ("text", "binary", b"1", "not a buffer of cell type 'binary'"),
]


@pytest.mark.parametrize(("source", "target", "content", "why"), FAILURES)
def test_what_cannot_be_converted_is_refused_with_the_reason(source, target, content, why):
    """The pair, why not, and how the buffer starts."""
    with pytest.raises(ConversionError, match=why) as failure:
        convert(content, source, target)
    assert f"cannot convert from {source!r} to {target!r}" in str(failure.value)
    assert f"{len(content)} bytes starts with" in str(failure.value)


def test_yaml_is_checked_without_writing_out_its_aliases():
    """A few hundred bytes may stand for more than any memory holds."""
    assert convert(BOMB.encode(), "text", "yaml").content == BOMB.encode()


def test_memory_with_gaps_is_converted():
    """It is copied first."""
    assert convert(memoryview(b"a_b_")[::2], "bytes", "text").content == b"ab"


def test_a_number_has_a_thousand_bytes_at_most():
    """One more is refused, before anything is parsed."""
    digits = b"1" * MOST_OF_A_NUMBER
    assert bytes(convert(digits, "plain", "int").content) == digits + b"\n"
    with pytest.raises(ConversionError, match="up to 1000 bytes"):
        convert(digits + b"1", "plain", "int")


def test_the_checksum_of_a_buffer_is_not_computed_again():
    """A conversion that keeps it gives the buffer itself."""
    buffer = Buffer([1, 2], "plain")
    known = buffer.checksum
    assert convert(buffer, "plain", "mixed").checksum is known
    assert convert(buffer, "plain", "text") is buffer
    assert (
        convert(buffer.content, "plain", "mixed").checksum
        == known
        == Checksum.of(b"[\n  1,\n  2\n]\n")
    )


CALLS = {
    "%matplotlib inline\nx = 1": "get_ipython().run_line_magic('matplotlib', 'inline')\nx = 1",
    "x = !ls -l\nfor i in x:\n    !echo {i}": "x = get_ipython().getoutput('ls -l')\n"
    "for i in x:\n    get_ipython().system('echo {i}')",
    "print?\n?int\nint??\n*int?": "get_ipython().run_line_magic('pinfo', 'print')\n"
    "get_ipython().run_line_magic('pinfo', 'int')\n"
    "get_ipython().run_line_magic('pinfo2', 'int')\n"
    "get_ipython().run_line_magic('psearch', '*int')",
    "%%time -n 3\nfoo()\nbar": "get_ipython().run_cell_magic('time', '-n 3', 'foo()\\nbar\\n')",
    "'''\n%not magic\n'''\n%magic a 'b'": "'''\n%not magic\n'''\n"
    "get_ipython().run_line_magic('magic', \"a 'b'\")",
    ",f a b\n;f a b\n/f a b": 'f("a", "b")\nf("a b")\nf(a, b)',
    "y = %time 3": "y = get_ipython().run_line_magic('time', '3')",
    "!!ls": "get_ipython().getoutput('ls')",
    "% foo": "get_ipython().run_line_magic('', 'foo')",
    "?": "get_ipython().show_usage()",
}


@pytest.mark.parametrize(("cell", "code"), CALLS.items())
def test_ipython_becomes_the_calls_that_ipython_makes_of_it(cell, code):
    """As recorded from IPython 9."""
    assert (
        deserialize(convert(serialize(cell, "ipython"), "ipython", "python").content, "python")
        == code
    )
