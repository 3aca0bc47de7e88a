"""A provenance: what it can be made of, and which ones are the same."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import enum
import math
import os
import pathlib
import pickle
import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import seamless_dask_cache as sdc
from seamless_dask_cache import RefusedError, value_checksum
from seamless_dask_cache.stores import Provenance, ProvenanceStore

ROOT = pathlib.Path(__file__).parents[2]

leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary()
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=8)
ids = st.lists(st.text(max_size=4), max_size=6)
params = st.dictionaries(st.text(max_size=4), values, max_size=5)
provenances = st.builds(Provenance, st.text(min_size=1, max_size=5), ids, params)


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass(frozen=True)
class Window:
    width: int
    steps: object = ()


@dataclasses.dataclass
class Loose:
    width: int


@settings(max_examples=200, deadline=None)
@given(st.text(min_size=1), ids, params, st.randoms())
def test_order_does_not_count(operation, inputs, given_params, random):
    """Ids and params may come in any order, and are kept sorted."""
    made = Provenance(operation, inputs, given_params)
    shuffled_ids, shuffled = list(inputs), list(given_params.items())
    random.shuffle(shuffled_ids)
    random.shuffle(shuffled)
    other = Provenance(operation, iter(shuffled_ids), iter(shuffled))
    assert other == made
    assert hash(other) == hash(made)
    assert made.input_ids == tuple(sorted(inputs))
    assert [name for name, _ in made.params] == sorted(given_params)


@settings(max_examples=200, deadline=None)
@given(provenances, provenances)
def test_equality_is_that_of_the_key(one, other):
    """Two are equal when their keys are, and that is when every exact value is the same."""
    assert (one == other) == (one.cache_key() == other.cache_key())
    assert (one == other) == (exact(one) == exact(other))


def exact(made):
    return made.operation, made.input_ids, spelled(made.params)


def spelled(value):
    """Text that differs where values differ in type, sign or bits."""
    if isinstance(value, tuple):
        return ("tuple", *map(spelled, value))
    is_nan = isinstance(value, float) and math.isnan(value)
    bits = np.float64(value).tobytes() if is_nan else b""
    return type(value).__name__, repr(value), bits


def test_what_python_takes_for_equal_is_told_apart():
    """1, 1.0, True, "1", 0.0 and -0.0 are different parameters, also inside of tuples."""
    same_for_python = [1, 1.0, True, 1 + 0j, "1", b"1", (1,), (1.0,), 0.0, -0.0, 0, False, None]
    made = [Provenance("smooth", params={"width": value}) for value in same_for_python]
    for one, other in combinations(made, 2):
        assert one != other
        assert one.cache_key() != other.cache_key()
    assert len(set(made)) == len(made)


def test_parts_do_not_run_into_each_other():
    """What moves from one part to another gives another provenance."""
    made = [
        Provenance("a"),
        Provenance("a", ["b"]),
        Provenance("a", ["b", "b"]),
        Provenance("a", ["bb"]),
        Provenance("ab"),
        Provenance("a", [], {"b": None}),
        Provenance("a", [], {"b": ()}),
        Provenance("a", [], {"": "b"}),
        Provenance("a", ["b"], {"b": "b"}),
    ]
    assert len({one.cache_key() for one in made}) == len(made)


PROGRAM = """
import base64, pickle, sys
for line in sys.stdin:
    print(pickle.loads(base64.b64decode(line)).cache_key(), flush=True)
"""


@pytest.fixture(scope="module", params=["1", "271828"])
def other_process(request):
    """Gives the key that another process with another hash seed computes."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONHASHSEED": request.param, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def key_of(made):
            process.stdin.write(base64.b64encode(pickle.dumps(made)).decode() + "\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        yield key_of
        process.stdin.close()


@settings(max_examples=100, deadline=None)
@given(made=provenances)
def test_keys_are_the_same_in_every_process(other_process, made):
    """A pickle takes no key along: the other process computes it anew, and it is the same."""
    assert made.cache_key().encode() not in pickle.dumps(made)
    assert other_process(made) == made.cache_key()


@pytest.mark.parametrize("value", [len, datetime.date(2026, 1, 2), pathlib.PurePosixPath("a")])
def test_keys_of_other_values_are_the_same_in_every_process(other_process, value):
    """Functions, dates and paths count by what they are."""
    made = Provenance("use", params={"x": value})
    assert other_process(made) == made.cache_key()


def test_the_key_stays_what_it_is():
    """A key that was written down is found again by later versions."""
    made = Provenance("intersect", ["b", "a"], {"slop": 5, "by": ("chr1", 0.5)})
    assert made.cache_key() == KNOWN


KNOWN = "38b0a471494539c0bed9cdac9e8000db71b63248f71a3eb1b9413461e5125977"


@settings(max_examples=50, deadline=None)
@given(provenances)
def test_it_can_be_pickled_and_read_again(made):
    """A pickle gives an equal one; so does what it prints."""
    assert pickle.loads(pickle.dumps(made)) == made
    if "nan" not in repr(made):
        assert eval(repr(made), {"Provenance": Provenance, "inf": math.inf}) == made


def test_it_cannot_be_changed():
    """It is frozen."""
    made = Provenance("read")
    for name in ("operation", "input_ids", "params"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(made, name, "other")


@pytest.mark.parametrize(
    "value",
    [
        Colour.RED,
        Window(3),
        datetime.date(2026, 1, 2),
        pathlib.PurePosixPath("a/b"),
        np.float64(1.5),
        range(3),
        len,
        int,
        pytest,
    ],
    ids=repr,
)
def test_other_hashable_values_can_be_parameters(value):
    """What is hashable and has a certain identity is taken."""
    assert Provenance("use", params={"x": value}) == Provenance("use", params=[("x", value)])


@pytest.mark.parametrize(
    ("value", "kind", "instead"),
    [
        ([1, 2], "a list", "tuple"),
        ({"a": 1}, "a dict", "tuple of pairs"),
        ({1}, "a set", "tuple(sorted(...))"),
        (frozenset([1]), "a set", "tuple(sorted(...))"),
        ({}.keys(), "a set", "tuple(sorted(...))"),
        (np.arange(3), "an array", "checksum"),
        (bytearray(b"x"), "a bytearray", "bytes"),
        (Loose(1), "a dataclass", "frozen"),
        (Window(1, [1]), "a list", "tuple"),
        (Window(1, frozenset()), "a set", "tuple"),
    ],
)
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_what_cannot_be_hashed_or_has_no_order_is_refused(value, kind, instead, depth):
    """The error names the parameter, the value, and what to give instead, however deep it lies."""
    for _ in range(depth):
        value = ("x", value)
    with pytest.raises(sdc.RefusedError) as caught:
        Provenance("smooth", ["a"], {"fine": 1, "wide": value})
    text = str(caught.value)
    assert "parameter 'wide'" in text
    assert kind in text
    assert f"give {instead}" in text or instead in text.split("; give ")[1]
    assert text.count("[1]") >= depth
    assert isinstance(caught.value, TypeError)


def test_what_is_refused_is_shown_short():
    """A large value does not fill the screen."""
    with pytest.raises(sdc.RefusedError, match=r"\.\.\., which cannot be hashed") as caught:
        Provenance("smooth", params={"by": list(range(10_000))})
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("value", [object(), (1, object()), iter([1])])
def test_what_has_no_certain_identity_is_refused(value):
    """An error names the parameter of which another process could not tell what it is."""
    with pytest.raises(sdc.RefusedError, match="parameter 'by' has no certain identity: "):
        Provenance("smooth", params={"a": 1, "by": value})


def test_deep_nesting_is_refused_and_breaks_nothing():
    """Values that nest deeper than Python's stack give an error."""
    value = ()
    for _ in range(100_000):
        value = (value,)
    with pytest.raises(sdc.RefusedError, match="nested more than 100 deep"):
        Provenance("smooth", params={"by": value})


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (("",), ValueError, "must not be empty"),
        ((3,), TypeError, "operation must be a str, not 3"),
        (("a", "an id"), TypeError, "several ids"),
        (("a", 5), TypeError, "several ids, such as a list of them, not 5"),
        (("a", [5]), TypeError, "an input id must be a str, not 5"),
        (("a", [], "xy"), TypeError, "mapping or pairs of name and value, not 'xy'"),
        (("a", [], 5), TypeError, "mapping or pairs of name and value, not 5"),
        (("a", [], ["xy"]), TypeError, "pairs of name and value, not 'xy'"),
        (("a", [], [("x", 1, 2)]), TypeError, r"not \('x', 1, 2\)"),
        (("a", [], {1: 2}), TypeError, "name of a parameter must be a str, not 1"),
        (("a", [], [("x", 1), ("x", 1)]), ValueError, "'x' is there twice"),
        (("a", [], {("x", 1)}), sdc.RefusedError, "a set, .*, which has no order"),
        (("a", [], frozenset()), sdc.RefusedError, "a set, .*, which has no order"),
    ],
)
def test_bad_arguments_are_named(arguments, error, text):
    """An argument that makes no sense gives an error that shows it."""
    with pytest.raises(error, match=text):
        Provenance(*arguments)


def test_subclasses_of_str_are_the_str():
    """Members of an enumeration of str, and numpy's str, count as their text."""

    class Name(str, enum.Enum):
        READ = "read"

    made = Provenance(Name.READ, [np.str_("a")], {Name.READ: 1})
    assert made == Provenance("read", ["a"], {"read": 1})
    assert type(made.operation) is type(made.input_ids[0]) is type(made.params[0][0]) is str


@dataclasses.dataclass(unsafe_hash=True)
class Hashed:
    """Can be changed all the same."""

    width: int


@dataclasses.dataclass(frozen=True)
class Partial:
    width: int
    rest: int = dataclasses.field(init=False)


class Unshown:
    def __hash__(self):
        raise TypeError

    def __repr__(self):
        raise ZeroDivisionError


def test_dataclasses_that_can_be_changed_are_refused():
    """Also those that say that they can be hashed; frozen ones may lack a field."""
    with pytest.raises(RefusedError, match="give a frozen one"):
        Provenance("o", (), {"k": Hashed(1)})
    assert Provenance("o", (), {"k": Partial(1)}) != Provenance("o", (), {"k": Partial(2)})


def test_a_value_that_cannot_be_shown_is_refused_all_the_same():
    """The message says so, instead of an error of its own."""
    with pytest.raises(RefusedError, match="cannot be shown: ZeroDivisionError"):
        Provenance("o", (), {"k": Unshown()})


def test_a_provenance_is_an_argument_of_tasks(store_of_numbers):
    """And so is a record: each has an identity, which is that of its parts."""
    made = Provenance("o", ("b", "a"), {"k": 1})
    assert value_checksum(made) == value_checksum(Provenance("o", ("a", "b"), {"k": 1}))
    assert value_checksum(made) != value_checksum(Provenance("o", ("a", "b"), {"k": 2}))
    one, other = store_of_numbers.list_all()
    assert value_checksum(one) == value_checksum(one) != value_checksum(other)


@pytest.fixture
def store_of_numbers():
    store = ProvenanceStore()
    store.put(1), store.put(2)
    return store
