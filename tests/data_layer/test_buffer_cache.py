"""The buffer cache: what is held, and for how long."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from caching import checksum_of, held, make

from seamless_dask_cache import Buffer, BufferCache, get_buffer_cache
from seamless_dask_cache.errors import ReferenceCountError
from seamless_dask_cache.temprefs import MINIMAL_INTEREST, TempRef


def test_a_buffer_is_found_while_somebody_holds_it():
    cache = BufferCache(100, 100)
    buffer = cache.register(make(1))
    assert cache.get(checksum_of(1)) is buffer
    assert cache.register(make(1)) is buffer
    del buffer
    assert held(cache, 1) == []


def test_a_reference_holds_a_buffer_until_it_is_taken_back():
    cache = BufferCache(100, 100)
    cache.incref(checksum_of(1), make(1))
    cache.incref(checksum_of(1).hex())
    assert held(cache, 1) == [1] and cache.references(checksum_of(1)) == 2
    cache.decref(checksum_of(1).bytes())
    assert held(cache, 1) == [1]
    cache.decref(checksum_of(1))
    assert held(cache, 1) == [] and cache.stats()["strong_bytes"] == 0


def test_a_reference_may_come_before_its_buffer():
    cache = BufferCache(100, 100)
    cache.incref(checksum_of(1))
    assert cache.stats()["strong_bytes"] == 0
    cache.register(make(1))
    assert held(cache, 1) == [1] and cache.stats()["strong_bytes"] == 10


def test_taking_back_more_than_was_given_is_an_error():
    cache = BufferCache(100, 100)
    with pytest.raises(ReferenceCountError, match=checksum_of(1).hex()):
        cache.decref(checksum_of(1))
    cache.tempref(checksum_of(1), make(1))
    with pytest.raises(ReferenceCountError):
        cache.decref(checksum_of(1))
    assert cache.stats()["references"] == 0 and held(cache, 1) == [1]


def test_a_buffer_of_another_checksum_is_refused():
    cache = BufferCache(100, 100)
    with pytest.raises(ValueError, match=checksum_of(2).hex()):
        cache.incref(checksum_of(1), make(2))
    with pytest.raises(ValueError, match=checksum_of(2).hex()):
        cache.tempref(checksum_of(1), make(2))
    assert cache.stats()["references"] == cache.stats()["temprefs"] == 0


def test_a_tempref_fades(clock):
    cache = BufferCache(100, 100, clock=clock)
    ref = cache.tempref(checksum_of(1), make(1), interest=8, fade_factor=4, fade_interval=3)
    clock.now += 3
    assert ref.current_interest() == pytest.approx(2)
    clock.now = ref.ends_at() - 0.001
    assert held(cache, 1) == [1] and ref.current_interest() > MINIMAL_INTEREST
    clock.now += 0.002
    cache.evict()
    assert held(cache, 1) == [] and cache.stats()["faded"] == 1


def test_by_default_a_tempref_lasts_28_seconds(clock):
    assert TempRef(clock=clock).ends_at() - clock.now == pytest.approx(28)


def test_there_is_one_tempref_and_it_is_renewed(clock):
    cache = BufferCache(100, 100, clock=clock)
    first = cache.tempref(checksum_of(1), make(1))
    clock.now += 20
    assert cache.tempref(checksum_of(1)) is first
    clock.now += 20
    cache.evict()
    assert held(cache, 1) == [1] and cache.stats()["temprefs"] == 1
    clock.now += 9
    cache.evict()
    assert held(cache, 1) == []


def test_renewing_with_less_does_not_lower_the_interest(clock):
    cache = BufferCache(100, 100, clock=clock)
    ref = cache.tempref(checksum_of(1), make(1), interest=128)
    cache.tempref(checksum_of(1), interest=1)
    assert ref.current_interest() == 128


def test_a_tempref_that_is_renewed_to_end_sooner_ends_sooner(clock):
    cache = BufferCache(100, 100, clock=clock)
    cache.tempref(checksum_of(1), make(1), fade_interval=100)
    cache.tempref(checksum_of(1), fade_interval=1)
    clock.now += 20
    cache.evict()
    assert held(cache, 1) == []


def test_a_tempref_can_be_refreshed_and_cleared(clock):
    cache = BufferCache(100, 100, clock=clock)
    ref = cache.tempref(checksum_of(1), make(1))
    clock.now += 27
    ref.refresh()
    clock.now += 27
    cache.evict()
    assert held(cache, 1) == [1]
    ref.clear()
    assert held(cache, 1) == []
    ref.refresh()
    assert ref.current_interest() == 0


def test_temprefs_end_although_nobody_uses_the_cache():
    cache = BufferCache(100, 100)
    cache.tempref(checksum_of(1), make(1))
    cache.tempref(checksum_of(2), make(2), interest=1, fade_factor=1e9, fade_interval=0.05)
    deadline = time.monotonic() + 20
    while cache._strong.nbytes != 10 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert cache._strong.nbytes == 10
    cache.clear()


def test_references_and_temprefs_hold_together(clock):
    cache = BufferCache(100, 100, clock=clock)
    cache.incref(checksum_of(1), make(1))
    cache.tempref(checksum_of(1))
    cache.decref(checksum_of(1))
    assert held(cache, 1) == [1]
    cache.incref(checksum_of(1))
    clock.now += 100
    cache.evict()
    assert held(cache, 1) == [1] and cache.stats()["temprefs"] == 0


# The cache of the process -------------------------------------------------------------------------


def test_checksums_and_buffers_use_the_cache_of_the_process():
    before = get_buffer_cache().stats()
    buffer = Buffer(b"of the process")
    buffer.incref()
    checksum = buffer.checksum
    del buffer
    assert checksum.resolve().content == b"of the process"
    checksum.incref()
    checksum.decref()
    checksum.resolve().tempref()
    checksum.resolve().decref()
    assert checksum.resolve().content == b"of the process"
    checksum.tempref().clear()
    with pytest.raises(ReferenceCountError):
        checksum.decref()
    after = get_buffer_cache().stats()
    assert after["strong_bytes"] == before["strong_bytes"]


def test_a_forked_process_can_use_the_cache():
    cache = get_buffer_cache()
    ref = cache.tempref(checksum_of(7), make(7))
    children = []
    forking = threading.Thread(target=lambda: children.append(os.fork() or _as_child()))
    with cache._lock:  # another thread holds it at the moment of the fork
        forking.start()
        forking.join(20)
    (child,) = children
    deadline = time.monotonic() + 10
    ended, status = 0, 0
    while not ended and time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        time.sleep(0.01)
    if not ended:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert ended and os.waitstatus_to_exitcode(status) == 0
    ref.clear()


def _as_child():
    code = 1
    try:
        buffer = make(8)
        buffer.incref()
        buffer.decref()
        code = 0
    finally:
        os._exit(code)
