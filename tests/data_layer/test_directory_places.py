"""What stands in the place of a buffer counts only if it is a file."""

from __future__ import annotations

import hashlib
import os

import pytest

from seamless_dask_cache.errors import StoreError
from seamless_dask_cache.storage import DirectoryStore

CONTENT = b"a buffer"
KEY = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def place(tmp_path):
    path = tmp_path / KEY[:2] / KEY
    path.parent.mkdir()
    return path


def test_a_folder_is_no_buffer(place, tmp_path):
    """It is a miss, counts for nothing and is not replaced."""
    store = DirectoryStore(tmp_path)
    place.mkdir()
    assert not store.has(KEY)
    assert store.get(KEY) is None
    assert store.nbytes() == 0
    with pytest.raises(StoreError):
        store.put(KEY, [CONTENT])
    assert place.is_dir()


def test_a_pipe_is_no_buffer(place, tmp_path):
    """It is not there, and the buffer takes its place."""
    store = DirectoryStore(tmp_path)
    os.mkfifo(place)
    assert not store.has(KEY)
    assert store.nbytes() == 0
    assert store.put(KEY, [CONTENT]) is True
    assert store.get(KEY) == CONTENT


def test_a_link_to_a_file_is_one(place, tmp_path):
    """Buffers may live elsewhere, as long as they can be read."""
    store = DirectoryStore(tmp_path)
    target = tmp_path / "elsewhere"
    place.symlink_to(target)
    assert not store.has(KEY) and store.get(KEY) is None
    target.write_bytes(CONTENT)
    assert store.has(KEY) and store.get(KEY) == CONTENT
    assert store.put(KEY, [CONTENT]) is False
