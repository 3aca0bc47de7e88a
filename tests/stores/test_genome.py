"""Genomes: sequences, topology, pieces and identity."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seamless_dask_cache import value_checksum
from seamless_dask_cache.stores import Genome, Interval, IntervalTrack

IUPAC = "ACGTURYSWKMBDHVN-acgturyswkmbdhvn"
BASES = {
    "A": "A", "C": "C", "G": "G", "T": "T", "R": "AG", "Y": "CT", "S": "CG", "W": "AT", "K": "GT",
    "M": "AC", "B": "CGT", "D": "AGT", "H": "ACT", "V": "ACG", "N": "ACGT",
}  # fmt: skip
SEQUENCES = {"chr": "ACGGTTTT", "plasmid": b"acgN"}
GENOME = Genome(
    "g",
    {"chr": "linear", "plasmid": "circular"},
    SEQUENCES,
    [Interval("chr", 1, 2), "anything"],
    {"assembly": 3},
)


def test_what_a_genome_tells_of_itself():
    assert GENOME.chroms == ("chr", "plasmid") and GENOME.name == "g"
    assert GENOME.chrom_lengths == {"chr": 8, "plasmid": 4}
    assert GENOME.is_circular("plasmid") and not GENOME.is_circular("chr")
    assert GENOME.sequences["plasmid"] == "acgN" and GENOME.metadata["assembly"] == 3
    assert GENOME.features == (Interval("chr", 1, 2), "anything")
    assert Genome("g", "circular", {"c": "A"}).is_circular("c")
    with pytest.raises(KeyError, match="'1'; there are chr, plasmid"):
        GENOME.is_circular("1")


@given(st.text(IUPAC, min_size=1, max_size=12), st.data())
@settings(deadline=None)
def test_a_circular_chromosome_goes_on_with_its_first_base(letters, data):
    """Any range of at most its length, wherever it starts."""
    genome = Genome("g", "circular", {"c": letters})
    start = data.draw(st.integers(0, 3 * len(letters)))
    end = data.draw(st.integers(start, start + len(letters)))
    expected = "".join(letters[i % len(letters)] for i in range(start, end))
    assert genome.sequence("c", start, end) == expected
    with pytest.raises(ValueError, match="more than once around c"):
        genome.sequence("c", start, start + len(letters) + 1)


@given(st.text(IUPAC, max_size=12), st.data())
@settings(deadline=None)
def test_a_linear_chromosome_ends(letters, data):
    genome = Genome("g", "linear", {"c": letters})
    end = data.draw(st.integers(0, len(letters)))
    start = data.draw(st.integers(0, end))
    assert genome.sequence("c", start, end) == letters[start:end]
    assert genome.sequence("c") == letters
    with pytest.raises(ValueError, match=f"c is linear and ends at {len(letters)}"):
        genome.sequence("c", start, len(letters) + 1)
    with pytest.raises(ValueError, match="c is linear"):
        genome.sequence("c", len(letters) + 1)


@pytest.mark.parametrize("letter", sorted(BASES))
def test_the_complement_of_a_letter_stands_for_the_complements_of_its_bases(letter):
    """In either case."""
    complements = {"A": "T", "C": "G", "G": "C", "T": "A"}
    wanted = sorted(complements[base] for base in BASES[letter])
    for given_letter in (letter, letter.lower()):
        found = Genome("g", "linear", {"c": given_letter}).sequence("c", strand="-")
        assert sorted(BASES[found.upper()]) == wanted and found.isupper() == given_letter.isupper()


def test_a_start_beyond_the_end_needs_an_end():
    """On a circular chromosome, too: nothing is no piece of it."""
    for topology in ("linear", "circular"):
        genome = Genome("g", topology, {"a": "ACGTACG"})
        assert genome.sequence("a", 7) == ""
        with pytest.raises(ValueError, match=f"a is {topology} and ends at 7.* from 100 on"):
            genome.sequence("a", 100, None)
    assert genome.sequence("a", 100, 102) == "GT"


def test_the_other_strand_is_read_backwards():
    assert GENOME.sequence("chr", 0, 5, "-") == "ACCGT"
    assert GENOME.sequence("plasmid", 2, 5, "-") == "tNc"
    assert GENOME.sequence("chr", 0, 2, ".") == "AC"
    assert Genome("g", "linear", {"c": "uU-"}).sequence("c", strand="-") == "-Aa"
    with pytest.raises(ValueError, match="not 'x'"):
        GENOME.sequence("chr", strand="x")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"name": ""}, ValueError, "empty"),
        ({"name": None}, TypeError, "not None"),
        ({"topology": "round"}, ValueError, "'linear' or 'circular', not 'round'"),
        ({"topology": None}, TypeError, "not None"),
        ({"topology": {"chr": "linear"}}, ValueError, "does not name 'plasmid'"),
        ({"topology": dict.fromkeys(["chr", "plasmid", "x"], "linear")}, ValueError, "names 'x'"),
        ({"topology": {"chr": "linear", "plasmid": 1}}, ValueError, "not 1"),
        ({"sequences": "ACGT"}, TypeError, "mapping"),
        ({"sequences": {"c": "AC*"}}, ValueError, r"c: '\*' at position 2"),
        ({"sequences": {"c": "ACé"}}, ValueError, "c: 'é' at position 2"),
        ({"sequences": {"c": b"A\xff"}}, ValueError, "c: .* at position 1"),
        ({"sequences": {"c": 5}}, TypeError, "c: .*not 5"),
        ({"sequences": {"": "A"}}, ValueError, "empty"),
        ({"metadata": [1]}, TypeError, "mapping"),
        ({"features": "abc"}, TypeError, "features are .* not a str: 'abc'"),
        ({"features": b"abc"}, TypeError, "not a bytes"),
        ({"features": {"a": 1}}, TypeError, "not a dict"),
        ({"features": pd.DataFrame({"a": [1]})}, TypeError, "not a DataFrame"),
        ({"features": 5}, TypeError, "features are .* not 5"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_value(changes, error, message):
    fields = {"name": "g", "topology": "linear", "sequences": SEQUENCES, **changes}
    if "sequences" not in changes and isinstance(fields["topology"], dict):
        fields["sequences"] = SEQUENCES
    with pytest.raises(error, match=message):
        Genome(**fields)


def test_a_genome_never_changes():
    sequences, metadata = {"c": "A"}, {"a": 1}
    genome = Genome("g", "linear", sequences, metadata=metadata)
    sequences["c"], metadata["a"] = "C", 2
    assert genome.sequences["c"] == "A" and genome.metadata["a"] == 1
    with pytest.raises(TypeError):
        genome.sequences["c"] = "C"
    with pytest.raises(TypeError):
        genome.metadata["a"] = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        genome.name = "h"
    with pytest.raises(TypeError, match="unhashable"):
        hash(genome)


def test_pickles_give_back_equal_genomes():
    for features in ((), IntervalTrack("t", [("chr", 1, 2)]), [Interval("chr", 1, 2)]):
        genome = dataclasses.replace(GENOME, features=features)
        back = pickle.loads(pickle.dumps(genome))
        assert back == genome and back.features == genome.features
        assert value_checksum(back) == value_checksum(genome)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "h"},
        {"topology": "linear"},
        {"sequences": {"plasmid": "acgN", "chr": "ACGGTTTT"}},
        {"sequences": {"chr": "ACGGTTTA", "plasmid": "acgN"}},
        {"features": ()},
        {"metadata": {"assembly": 4}},
    ],
)
def test_genomes_are_equal_by_content_and_so_are_their_identities(changes):
    """The order of the chromosomes counts: it can be seen."""
    same = Genome("g", dict(GENOME.topology), dict(SEQUENCES), GENOME.features, {"assembly": 3})
    other = dataclasses.replace(GENOME, **changes)
    assert same == GENOME != other
    assert value_checksum(same) == value_checksum(GENOME) != value_checksum(other)


class Phage(Genome):
    """A class of somebody else, with an attribute of its own."""


AGAIN = [copy.copy, copy.deepcopy, lambda genome: pickle.loads(pickle.dumps(genome))]


@pytest.mark.parametrize("again", AGAIN)
def test_copies_keep_the_class_and_what_it_added(again):
    phage = Phage("p", {"a": "circular"}, {"a": "ACGT"}, None, {"b": [1]})
    object.__setattr__(phage, "host", "E. coli")
    found = again(phage)
    assert type(found) is Phage and found == phage and found.host == "E. coli"
    assert type(again(GENOME)) is Genome and vars(again(GENOME)) == vars(GENOME)
    with pytest.raises(TypeError, match="cannot be changed"):
        found.metadata["b"] = 2


class Unidentified:
    """Has no identity of its own, and is equal by its number."""

    def __init__(self, number):
        self.number, self.generator = number, (i for i in ())

    def __eq__(self, other):
        return self.number == other.number

    __hash__ = None


def _rich(**changes):
    metadata = {
        "array": np.arange(3),
        "table": pd.DataFrame({"a": [1.0, math.nan]}),
        "nan": float("nan"),
        "nested": [{"a": np.arange(2)}],
        "object": Unidentified(1),
        **changes,
    }
    return Genome("g", "linear", {"c": "A"}, [np.arange(3), pd.DataFrame({"a": [1]})], metadata)


@pytest.mark.parametrize(
    "changes",
    [
        {"array": np.arange(4)},
        {"table": pd.DataFrame({"a": [2.0, math.nan]})},
        {"nan": 0.0},
        {"nested": [{"a": np.arange(3)}]},
        {"object": Unidentified(2)},
        {"more": 1},
    ],
)
def test_genomes_with_arrays_tables_and_nan_can_be_compared(changes):
    """By identity, value by value where one of them has none."""
    assert _rich() == _rich() != _rich(**changes)
    assert _rich() != dataclasses.replace(_rich(), features=[np.arange(3)])
    pairs = [("features", [np.arange(2)]), ("metadata", {"a": math.nan})]
    for field, value in pairs:
        genome = dataclasses.replace(GENOME, **{field: value})
        assert genome == pickle.loads(pickle.dumps(genome)) != GENOME


@pytest.mark.parametrize("again", AGAIN)
def test_copies_of_a_mapping_of_a_genome_refuse_changes_too(again):
    found = again(GENOME.metadata)
    assert found == GENOME.metadata and type(found) is type(GENOME.metadata)


def test_what_a_query_gave_is_several_features():
    """Though it has columns, as a table has."""
    found = IntervalTrack("t", [("chr", 1, 2), ("chr", 3, 4)]).query("chr")
    genome = Genome("g", "linear", {"chr": "ACGT"}, found)
    assert genome.features == (Interval("chr", 1, 2), Interval("chr", 3, 4))


def test_a_genome_is_pickled_once():
    """Its own attributes are not sent a second time as those of a derived class."""
    assert GENOME.__reduce__()[2] is None


def test_a_genome_becomes_a_dict_and_json():
    """Its mappings are dicts, though they refuse every change."""
    genome = Genome("g", {"a": "linear"}, {"a": "ACGT"}, None, {"b": {"c": 1}})
    told = dataclasses.asdict(genome)
    assert told == {
        "name": "g",
        "topology": {"a": "linear"},
        "sequences": {"a": "ACGT"},
        "features": (),
        "metadata": {"b": {"c": 1}},
    }
    assert json.loads(json.dumps(told))["sequences"] == {"a": "ACGT"}


@pytest.mark.parametrize(
    "change",
    [
        lambda mapping: mapping.__setitem__("a", 1),
        lambda mapping: mapping.__delitem__("assembly"),
        lambda mapping: mapping.__ior__({"a": 1}),
        lambda mapping: mapping.clear(),
        lambda mapping: mapping.pop("assembly"),
        lambda mapping: mapping.popitem(),
        lambda mapping: mapping.setdefault("a", 1),
        lambda mapping: mapping.update(a=1),
    ],
)
def test_the_mappings_of_a_genome_refuse_every_change(change):
    with pytest.raises(TypeError, match="cannot be changed"):
        change(GENOME.metadata)
    assert GENOME.metadata == {"assembly": 3}


def test_a_huge_value_is_not_shown_whole():
    for field in ("topology", "sequences", "features"):
        with pytest.raises((TypeError, ValueError)) as error:
            dataclasses.replace(GENOME, **{field: "x" * 10_000})
        assert len(str(error.value)) < 300
