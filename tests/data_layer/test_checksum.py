"""Checksums and buffers."""

import hashlib
import pickle
import subprocess
import sys

import pytest

from seamless_dask_cache.buffer import Buffer
from seamless_dask_cache.checksum import Checksum, checksum_hex
from seamless_dask_cache.errors import CellTypeError

HEX = hashlib.sha256(b"x").hexdigest()


@pytest.mark.parametrize("source", [HEX, HEX.upper(), bytes.fromhex(HEX), Checksum(HEX)])
def test_every_form_of_a_checksum_makes_the_same_checksum(source):
    checksum = Checksum(source)
    assert checksum.hex() == str(checksum) == checksum_hex(source) == HEX
    assert checksum.bytes() == bytes.fromhex(HEX)


@pytest.mark.parametrize("content", [b"x", bytearray(b"x"), memoryview(b"x")])
def test_the_checksum_of_a_buffer_is_its_sha256(content):
    assert Checksum.of(content) == HEX
    assert Checksum.of_frames([content, b"y"]) == Checksum.of(b"xy")


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ("abc", ValueError),
        ("g" * 64, ValueError),
        (" " + HEX[1:], ValueError),
        (HEX + "\n", ValueError),
        ("٣" * 64, ValueError),
        (b"abc", ValueError),
        ("", ValueError),
        (None, TypeError),
        (42, TypeError),
        (bytearray(32), TypeError),
    ],
)
def test_what_is_no_checksum_is_refused_by_name(wrong, error):
    with pytest.raises(error, match="checksum") as caught:
        Checksum(wrong)
    assert repr(wrong)[:60] in str(caught.value)


def test_a_checksum_and_its_hex_string_find_each_other():
    checksum = Checksum(HEX)
    assert checksum == HEX and HEX.__eq__(checksum) is NotImplemented and checksum == Checksum(HEX)
    assert {checksum: 1}[HEX] == {HEX: 1}[checksum] == 1
    assert checksum != HEX.replace("2", "3") and checksum != 5 and checksum is not None


def test_checksums_are_ordered_as_their_hex_strings():
    low, high = Checksum("0" * 64), Checksum("f" * 64)
    assert sorted([high, low]) == [low, high]
    assert low < high and low <= high and high > low and high >= low
    assert low < "f" * 64 and high > "0" * 64
    with pytest.raises(TypeError):
        _ = low < 5


def test_a_checksum_is_immutable_and_can_be_pickled():
    checksum = Checksum(HEX)
    with pytest.raises(AttributeError):
        checksum._hex = "0" * 64
    with pytest.raises(AttributeError):
        del checksum._hex
    with pytest.raises(AttributeError):
        checksum.other = 1
    assert pickle.loads(pickle.dumps(checksum)) == checksum


def test_a_buffer_is_made_from_bytes_or_from_a_value():
    assert Buffer(b"42\n").content == Buffer(42, "int").content == b"42\n"
    assert Buffer(42, "int").get_value("float") == 42.0
    assert Buffer(b"42\n").checksum == Checksum.of(b"42\n")
    assert len(Buffer(b"42\n")) == 3
    assert Buffer(Buffer(b"42\n")) == Buffer(b"42\n") != Buffer(b"")
    assert pickle.loads(pickle.dumps(Buffer(b"42\n"))) == Buffer(b"42\n")


def test_a_buffer_computes_its_checksum_once(monkeypatch):
    buffer = Buffer(b"x")
    first = buffer.get_checksum()
    monkeypatch.setattr(Checksum, "of", None)
    assert buffer.checksum is buffer.get_checksum() is first


def test_a_buffer_keeps_a_memoryview_but_copies_a_bytearray():
    content = bytearray(b"abc")
    kept, copied = Buffer(memoryview(content)), Buffer(content)
    content[0] = 0
    assert bytes(kept.content) == b"\0bc" and copied.content == b"abc"


def test_a_buffer_gives_an_independent_value_each_time():
    buffer = Buffer([1, [2]], "plain")
    buffer.get_value("plain")[1].append(3)
    assert buffer.get_value("plain") == [1, [2]]


def test_a_buffer_can_be_saved_and_loaded(tmp_path):
    Buffer(b"\x00\xff").save(tmp_path / "b")
    assert Buffer.load(tmp_path / "b") == Buffer(b"\x00\xff")


@pytest.mark.parametrize("wrong", [None, 42, "text", [b"x"]])
def test_a_buffer_is_not_made_from_a_value_without_a_cell_type(wrong):
    with pytest.raises(TypeError):
        Buffer(wrong)


def test_an_unknown_cell_type_is_refused_with_the_known_ones():
    with pytest.raises(CellTypeError, match=r"'json'.*plain"):
        Buffer(1, "json")


def test_the_data_layer_loads_numpy_only_for_those_who_need_it():
    code = (
        "import sys, seamless_dask_cache.buffer as b, seamless_dask_cache.results as r;"
        "import seamless_dask_cache.storage;"
        "b.Buffer(1, 'plain').get_value('text'); r.load_result(r.dump_result((1, 2)).tobytes());"
        "heavy = {'numpy', 'pandas', 'distributed', 'aiohttp', 'yaml'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
