"""Equal values have equal checksums in every process; different ones differ everywhere."""

from __future__ import annotations

import base64
import itertools
import json
import os
import pathlib
import pickle
import subprocess
import sys

import pytest
import value_kinds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from value_tables import CHANGED_BY_PICKLE, DIFFERENT, EQUAL

from seamless_dask_cache.identity import value_checksum

HERE = pathlib.Path(__file__).parent


def build(source):
    """Make a value from its source text."""
    return eval(source, vars(value_kinds))


class Interpreter:
    """Another Python with a hash seed of its own."""

    def __init__(self, seed):
        self.process = subprocess.Popen(
            [sys.executable, HERE / "value_child.py"],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(HERE)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.communicate(timeout=60)


@pytest.fixture(scope="module")
def others():
    """Two interpreters that share nothing with this one."""
    interpreters = [Interpreter(seed) for seed in ("1", "271828")]
    yield interpreters
    for interpreter in interpreters:
        interpreter.close()


@pytest.mark.parametrize("group", DIFFERENT)
def test_values_that_differ_in_type_or_content_differ(group):
    found = {source: value_checksum(build(source)) for source in DIFFERENT[group]}
    for one, other in itertools.combinations(found, 2):
        assert found[one] != found[other], (one, other)


@pytest.mark.parametrize("sources", EQUAL, ids=lambda row: row[0][:30])
def test_equal_values_are_the_same_however_they_were_made(sources):
    assert len({value_checksum(build(source)) for source in sources}) == 1


def test_rebuilt_values_agree_in_every_process(others):
    sources = [*itertools.chain(*DIFFERENT.values()), *itertools.chain(*EQUAL)]
    here = [value_checksum(build(source)) for source in sources]
    for other in others:
        there = other.ask(sources=sources)
        assert dict(zip(sources, there, strict=True)) == dict(zip(sources, here, strict=True))


def test_pickled_values_agree_in_every_process(others):
    sources = [
        source
        for source in itertools.chain(*DIFFERENT.values(), *EQUAL)
        if source not in CHANGED_BY_PICKLE
    ]
    values = [build(source) for source in sources]
    here = [value_checksum(value) for value in values]
    sent = [base64.b64encode(pickle.dumps(value, protocol=5)).decode() for value in values]
    for other in others:
        there = other.ask(pickles=sent)
        assert dict(zip(sources, there, strict=True)) == dict(zip(sources, here, strict=True))


_LEAVES = (
    st.none().map(repr)
    | st.booleans().map(repr)
    | st.integers().map(repr)
    | st.floats(allow_nan=False, allow_infinity=False).map(repr)
    | st.sampled_from(
        ["nan(1)", "float('inf')", "...", "Colour.RED", "Bits.A | Bits.C", "np.int8(3)"]
    )
    | st.text().map(repr)
    | st.binary(max_size=50).map(repr)
    | st.decimals().map(lambda value: f"decimal.Decimal({str(value)!r})")
    | st.datetimes().map(repr)
    | st.timedeltas().map(repr)
    | st.tuples(st.integers(-9, 9), st.integers(-9, 9)).map("slice{}".format)
    | st.lists(st.integers(-9, 9), max_size=5).map("np.array({}, 'i2')".format)
)
_KEYS = st.integers().map(repr) | st.text().map(repr) | st.sampled_from(["None", "(1, 'a')"])


def _listed(pattern):
    return lambda items: pattern.format(", ".join(items))


_SOURCES = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner, max_size=20).map(_listed("[{}]"))
        | st.lists(inner, max_size=4).map(_listed("tuple([{}])"))
        | st.lists(inner, max_size=4).map(_listed("collections.deque([{}])"))
        | st.lists(_KEYS, max_size=20).map(_listed("set([{}])"))
        | st.lists(_KEYS, max_size=4).map(_listed("Names([{}])"))
        | st.lists(st.tuples(_KEYS, inner).map(": ".join), max_size=4).map(_listed("{{{}}}"))
        | st.tuples(inner, inner).map(_listed("Point({})"))
        | st.tuples(inner, inner).map(_listed("Slotted({})"))
        | st.tuples(inner, inner).map(_listed("Pair({})"))
        | inner.map("types.SimpleNamespace(a={})".format)
        | inner.map("cycle({})".format)
    ),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(_SOURCES)
def test_any_value_agrees_in_every_process(others, source):
    """Built there from its source text, and sent there as a pickle."""
    value = build(source)
    here = value_checksum(value)
    sent = base64.b64encode(pickle.dumps(value)).decode()
    for other in others:
        assert other.ask(sources=[source], pickles=[sent]) == [here, here]
