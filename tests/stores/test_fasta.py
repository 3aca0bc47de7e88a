"""FASTA files: read, written, refused."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seamless_dask_cache.stores import Genome, fasta, read_fasta, write_fasta


def read(tmp_path, text, name="file.fa", **options):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_fasta(path, **options)


@pytest.mark.parametrize(
    "text",
    [
        ">a the first > one\nACgt\nNN\n>b\n\n>c\tx\nA\n",
        "\n\n>a  the first > one \nACgtNN\n>b\n>c x\nA",
        ">a the first > one\r\nACgt\r\n\r\nNN\r\n>b\r\n>c x\r\nA\r\n",
        "\ufeff> a the first > one\nAC gt\n NN\n>b\n>c x\nA\n\n",
    ],
)
def test_what_is_the_same_genome_is_read_as_the_same(tmp_path, text):
    """Lines of any length, white space, CR LF, lower case, empty sequences, descriptions."""
    genome = read(tmp_path, text)
    descriptions = {"a": "the first > one", "c": "x"}
    sequences = {"a": "ACgtNN", "b": "", "c": "A"}
    assert genome == Genome("file", "linear", sequences, (), {"descriptions": descriptions})


def test_name_and_topology_are_those_that_are_given(tmp_path):
    genome = read(
        tmp_path, ">a\nA\n>b\nC\n", name="x.fa.gz", topology={"a": "circular", "b": "linear"}
    )
    assert genome.name == "x" and genome.is_circular("a") and not genome.is_circular("b")
    assert dict(genome.metadata) == {}
    assert read(tmp_path, ">a\nA\n", topology="circular", name="y").is_circular("a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an empty file"),
        ("\n \n", "an empty file"),
        ("\nACGT\n>a\nA\n", r"line 2: expected '>' and a name before letters, not b'ACGT'"),
        (">a\nA\n>b\nC\n>a x\nG\n", "line 5: a second sequence 'a'"),
        (">a\nA\n>\nC\n", "line 3: a header without a name"),
        (">a\nAC\n#*GT\n", "line 3: a: '#' at position 2"),
        (">a\nAC>b\nGT\n", "line 2: a: '>' at position 2"),
        ("\n \n  >a\nA C\n\nG\r\n>b x*\n\nACGT\nA*\n>c\n*", r"line 10: b: '\*' at position 5"),
        (">a\rACGT\r>b\rC\r", "line 1: .*no other CR"),
        (b">a\nA\n>b \xe9\nAC\n", r"line 3: expected a header in UTF-8, not b'b \\xe9'"),
        (">a\nACé\n", "line 2: a: .* at position 2"),
    ],
)
def test_what_is_no_genome_is_an_error_that_names_the_file(tmp_path, text, message):
    with pytest.raises(ValueError, match=f"file.fa.*{message}"):
        read(tmp_path, text)


def test_an_error_of_the_caller_names_no_line(tmp_path):
    """What is wrong with name or topology is not wrong in a line."""
    read(tmp_path, ">a\nA\n")
    for options in ({"topology": {"b": "linear"}}, {"topology": "round"}, {"name": ""}):
        with pytest.raises(ValueError, match=r"file.fa: (topology|the name)"):
            read_fasta(tmp_path / "file.fa", **options)


def test_compression_is_told_by_content(tmp_path):
    """Several members, whatever the name; a damaged file is an error that names it."""
    content = gzip.compress(b">a\nAC") + gzip.compress(b"GT\n")
    assert read(tmp_path, content).sequences["a"] == "ACGT"
    with pytest.raises(ValueError, match=r"file.fa: damaged gzip"):
        read(tmp_path, content[:-5])


names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=5).filter(
    lambda text: text.split() == [text]
)
descriptions = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=8).map(
    str.strip
)
letters = st.text("ACGTUNRYKMSWBDHVacgtn-", max_size=30)


@given(
    st.dictionaries(names, st.tuples(letters, descriptions), min_size=1, max_size=4),
    st.integers(1, 9),
    st.sampled_from(["", ".gz"]),
    st.sampled_from([1, 2, 1 << 16]),
)
@settings(deadline=None)
def test_what_is_written_is_read_as_an_equal_genome(
    tmp_path_factory, chroms, line_length, suffix, at_once
):
    """Names, letters and descriptions; lines are of the length that was asked for."""
    path = tmp_path_factory.getbasetemp() / f"round.fa{suffix}"
    told = {chrom: text for chrom, (_, text) in chroms.items() if text}
    sequences = {chrom: sequence for chrom, (sequence, _) in chroms.items()}
    genome = Genome("g", "linear", sequences, (), {"descriptions": told} if told else None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fasta, "_LINES_AT_ONCE", at_once)
        write_fasta(genome, path, line_length)
    assert read_fasta(path, "g") == genome
    content = gzip.decompress(path.read_bytes()) if suffix else path.read_bytes()
    for sequence in sequences.values():
        for start in range(0, len(sequence), line_length):
            assert f"\n{sequence[start : start + line_length]}\n".encode() in content


@pytest.mark.parametrize(
    ("chrom", "told", "error", "message"),
    [
        ("a b", {}, ValueError, "a b"),
        ("a\n", {}, ValueError, "white space"),
        ("a", {"a": "x\ny"}, ValueError, "one line"),
        ("a", {"a": " x"}, ValueError, "white space around"),
        ("a", {"a": 5}, TypeError, "not 5"),
        ("a", {"b": "x"}, ValueError, "description of 'b'"),
        ("a", ["x"], TypeError, "mapping"),
        ("a", {"a": ""}, ValueError, "a: an empty description would not come back"),
        ("a", {"a": None}, TypeError, "not None"),
        ("a\udc80", {}, ValueError, r"surrogate pair in '>a\\udc80"),
        ("a", {"a": "\ud800"}, ValueError, r"surrogate pair in '>a \\ud800"),
    ],
)
def test_what_would_not_come_back_is_refused_and_the_old_file_stays(
    tmp_path, chrom, told, error, message
):
    path = tmp_path / "a.fa"
    path.write_text("old")
    genome = Genome("g", "linear", {chrom: "A"}, (), {"descriptions": told})
    with pytest.raises(error, match=message):
        write_fasta(genome, path)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(ValueError, match="not 0"):
        write_fasta(Genome("g", "linear", {"a": "A"}), path, line_length=0)


@pytest.mark.parametrize(
    ("genome", "length", "error", "message"),
    [
        ({"a": "A"}, 60, TypeError, "of a Genome, not of {'a': 'A'}"),
        (Genome("g", "linear", {}), 60, ValueError, "<Genome g: 0 chroms, 0 bases> has none"),
        (
            Genome("g", "linear", {"a": "A"}),
            "60",
            TypeError,
            "must be an int, not '60'",
        ),
        (Genome("g", "linear", {"a": "A"}), 60.0, TypeError, "not 60.0"),
        (Genome("g", "linear", {"a": "A"}), True, TypeError, "not True"),
    ],
)
def test_what_cannot_be_written_is_refused_with_its_value(tmp_path, genome, length, error, message):
    with pytest.raises(error, match=message):
        write_fasta(genome, tmp_path / "a.fa", length)
    assert not list(tmp_path.iterdir())


def test_an_empty_description_is_none(tmp_path):
    """In a file it is nothing but white space after the name."""
    assert dict(read(tmp_path, ">a \nA\n>b\t \nC\n").metadata) == {}


def test_letters_per_line_may_be_any_kind_of_integer(tmp_path):
    write_fasta(Genome("g", "linear", {"a": "ACG"}), tmp_path / "a.fa", np.int64(2))
    assert (tmp_path / "a.fa").read_text() == ">a\nAC\nG\n"
