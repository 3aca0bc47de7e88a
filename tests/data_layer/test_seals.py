"""Seals: damage is noticed at every reading, and a seal can only cost time."""

import hashlib
import itertools
import subprocess
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seamless_dask_cache.errors import CorruptBufferError
from seamless_dask_cache.storage import DirectoryStore, private_memory
from seamless_dask_cache.storage import directory as directory_module
from seamless_dask_cache.storage.seals import PART, Seal, Sealing, pieces, seal_of, unpack

CONTENT = np.random.default_rng(0).bytes(2 * PART + 12345)
KEY = hashlib.sha256(CONTENT).hexdigest()
SEALED = seal_of(CONTENT)
BELOW = CONTENT[: directory_module._SEAL_FROM - 1]
PLACES = [0, 1, PART - 1, PART, 2 * PART - 1, 2 * PART, len(CONTENT) - 1]

bits = st.integers(0, 8 * len(CONTENT) - 1)


def flipped(content, bit):
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@given(st.lists(st.integers(0, len(CONTENT)), max_size=8))
def test_a_seal_does_not_depend_on_how_the_content_comes(cuts):
    edges = [0, *sorted(cuts), len(CONTENT)]
    views = [memoryview(CONTENT)[a:b] for a, b in itertools.pairwise(edges)]
    sealing = Sealing()
    for piece in pieces(views):
        sealing.add(piece)
    assert sealing.seal() == SEALED


@pytest.mark.parametrize("length", [0, 1, PART - 1, PART, PART + 1, 2 * PART, len(CONTENT)])
def test_a_seal_holds_the_checksum_and_the_code_of_each_part(length):
    content = CONTENT[:length]
    seal = seal_of(content)
    assert seal.key == hashlib.sha256(content).hexdigest() and seal.nbytes == length
    parts = [content[start : start + PART] for start in range(0, length, PART)]
    assert list(seal.codes) == list(map(zlib.crc32, parts))
    assert seal.fits(content) and seal.fits(memoryview(bytearray(content)))
    assert unpack(seal.pack()) == seal


@given(bits)
def test_every_flipped_bit_is_noticed(bit):
    assert not SEALED.fits(flipped(CONTENT, bit))


def test_memory_that_changes_while_it_is_read_gets_no_seal_that_fits_the_change(monkeypatch):
    """Else the changed buffer would be served under the checksum of the unchanged one."""
    memory = bytearray(CONTENT)

    class ChangesMemory:
        def __init__(self):
            self.digest = hashlib.blake2b()

        def update(self, piece):
            self.digest.update(piece)
            memory[5] ^= 1

        def hexdigest(self):
            return KEY

    monkeypatch.setattr(hashlib, "sha256", ChangesMemory)
    seal = seal_of(memory)
    assert memory[5] != CONTENT[5] and not seal.fits(memory)


@pytest.mark.parametrize("start", [0, 4096, PART, 2 * PART])
@pytest.mark.parametrize("filling", [b"\0", b"\xff", CONTENT[-4096:]])
def test_a_lost_block_is_noticed(start, filling):
    block = (filling * 4096)[:4096]
    assert not SEALED.fits(CONTENT[:start] + block + CONTENT[start + 4096 :])


@pytest.mark.parametrize("length", [0, 1, PART, 2 * PART, len(CONTENT) - 1])
def test_a_truncated_or_extended_buffer_is_noticed(length):
    assert not SEALED.fits(CONTENT[:length])
    assert not seal_of(CONTENT[:length]).fits(CONTENT)


def test_swapped_parts_are_noticed():
    assert not SEALED.fits(CONTENT[PART : 2 * PART] + CONTENT[:PART] + CONTENT[2 * PART :])


def test_a_damaged_seal_is_none():
    packed = SEALED.pack()
    for length in range(len(packed)):
        assert unpack(packed[:length]) is None
    for bit in range(8 * len(packed)):
        assert unpack(flipped(packed, bit)) is None
    assert unpack(packed + b"\0" * 4) is None
    assert unpack(b"\0" * len(packed)) is None


def test_a_seal_of_another_version_is_none():
    body = SEALED.pack()[:-4].replace(b"SDCSEAL\x01", b"SDCSEAL\x02")
    assert unpack(body + zlib.crc32(body).to_bytes(4, "little")) is None


def test_seals_are_the_same_without_the_fast_library():
    code = """
import sys
sys.modules["zlib_ng"] = None
from seamless_dask_cache.storage.seals import crc32, seal_of
assert crc32.__module__ == "zlib"
print(seal_of(bytes(range(256)) * 10_000).pack().hex())
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == seal_of(bytes(range(256)) * 10_000).pack().hex()


@pytest.fixture(params=["mapped", "read"])
def store(request, tmp_path, monkeypatch):
    if request.param == "read":
        monkeypatch.setattr(private_memory, "is_local", lambda folder: False)
    return DirectoryStore(tmp_path / "store")


def file_of(store, key=KEY):
    return store.path / key[:2] / key


def seal_file(store, key=KEY):
    return store.path / ".seals" / key[:2] / key


def damage(path, position):
    """Flip a bit in the file itself, as a disk would."""
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 1]))


def refuse_to_hash(monkeypatch):
    def fail(content):
        raise AssertionError("SHA-256 was computed")

    monkeypatch.setattr(directory_module, "seal_of", fail)


@pytest.mark.parametrize("method", ["put", "add"])
def test_a_large_buffer_is_sealed_when_it_is_stored(store, method, monkeypatch):
    store.put(KEY, CONTENT) if method == "put" else store.add(CONTENT)
    assert unpack(seal_file(store).read_bytes()) == SEALED
    refuse_to_hash(monkeypatch)
    assert bytes(store.get(KEY)) == CONTENT


def test_a_small_buffer_has_no_seal(store):
    store.add(BELOW)
    assert not (store.path / ".seals").exists()


def test_seals_are_not_buffers(store):
    store.add(CONTENT)
    assert list(store) == [KEY] and store.nbytes() == len(CONTENT)
    assert store.has_many([KEY]) == {KEY}
    assert list((store.path / ".tmp").iterdir()) == []


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("position", PLACES)
def test_a_flipped_bit_is_noticed_at_every_reading(store, position, sealed):
    store.add(CONTENT)
    assert bytes(store.get(KEY)) == CONTENT
    if not sealed:
        seal_file(store).unlink()
    damage(file_of(store), position)
    with pytest.raises(CorruptBufferError, match=KEY):
        store.get(KEY)
    assert store.get(KEY) is None and not seal_file(store).exists()
    assert store.put(KEY, CONTENT) and bytes(store.get(KEY)) == CONTENT


def test_a_buffer_without_a_seal_is_verified_and_sealed(store, monkeypatch):
    store.add(CONTENT)
    seal_file(store).unlink()
    assert bytes(store.get(KEY)) == CONTENT
    assert unpack(seal_file(store).read_bytes()) == SEALED
    refuse_to_hash(monkeypatch)
    assert bytes(store.get(KEY)) == CONTENT


WRONG = Seal(KEY, len(CONTENT), (1, 2, 3))
OF_ANOTHER = seal_of(flipped(CONTENT, 5))


@pytest.mark.parametrize(
    "packed",
    [b"", SEALED.pack()[:-1], flipped(SEALED.pack(), 400), WRONG.pack(), OF_ANOTHER.pack()],
    ids=["empty", "truncated", "flipped", "wrong", "another"],
)
def test_a_damaged_seal_does_not_cost_a_good_buffer(store, packed):
    store.add(CONTENT)
    seal_file(store).write_bytes(packed)
    assert bytes(store.get(KEY)) == CONTENT
    assert unpack(seal_file(store).read_bytes()) == SEALED


def test_the_seal_of_another_buffer_says_nothing(store):
    """Were it believed, the other buffer would be served under this name."""
    other = flipped(CONTENT, 5)
    store.add(CONTENT)
    file_of(store).write_bytes(other)
    seal_file(store).write_bytes(OF_ANOTHER.pack())
    with pytest.raises(CorruptBufferError):
        store.get(KEY)


def test_a_damaged_buffer_does_not_get_a_seal(store):
    store.add(CONTENT)
    seal_file(store).unlink()
    damage(file_of(store), 100)
    with pytest.raises(CorruptBufferError):
        store.get(KEY)
    assert [path for path in (store.path / ".seals").rglob("*") if path.is_file()] == []


def test_buffers_are_stored_and_served_where_seals_cannot_be(store):
    store.path.mkdir()
    (store.path / ".seals").write_bytes(b"in the way")
    assert store.add(CONTENT) == KEY
    for _ in range(2):
        assert bytes(store.get(KEY)) == CONTENT
    assert store.delete(KEY) and store.sweep() == 0
    assert list((store.path / ".tmp").iterdir()) == []


def test_a_deleted_buffer_takes_its_seal_along(store):
    store.add(CONTENT)
    assert store.delete(KEY) and not seal_file(store).exists()


def test_sweeping_removes_seals_without_a_buffer(store):
    store.add(CONTENT)
    kept = store.add(CONTENT[:-1])
    file_of(store).unlink()
    assert store.sweep() == 1
    assert not seal_file(store).exists() and seal_file(store, kept).exists()
    assert store.sweep() == 0
