"""FASTA files: the sequences of a genome as text.

A line that starts with ">" gives the name of a sequence, up to the first white space, and its
description; the lines after it are its letters. Sources: W. Pearson, the FASTA programs; NCBI,
BLAST query input. Lines may end in CR LF and be of any length; white space between letters is
dropped.

This is read here, not by a library: what dnaio gives depends on the encoding of the locale, and
lines that start with "#" are dropped wherever they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from seamless_dask_cache.stores.genomes import Genome
from seamless_dask_cache.stores.gzipped import open_content, stem, write_content

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_WHITE = b" \t\r\n\v\f"
_LINES_AT_ONCE = 1 << 16


def read_fasta(
    path: str | os.PathLike[str],
    name: str | None = None,
    topology: str | Mapping[str, str] = "linear",
) -> Genome:
    """Read a genome from a FASTA file, plain or gzip.

    Parameters
    ----------
    path : str or path-like
        Whether it is compressed is told by its content.
    name : str, optional
        Of the genome; that of the file without its endings by default.
    topology : str or mapping from str to str
        As for Genome.

    Returns
    -------
    Genome
        Descriptions are in ``metadata["descriptions"]``, by chromosome, if there are any.

    Raises
    ------
    OSError
        When the file cannot be read.
    ValueError
        For an empty file, text before the first header, a header without a name, a name that is
        there twice, a letter that stands for no nucleotide, and a damaged gzip file. The message
        names the file.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "tiny.fa")
    >>> _ = path.write_text(">chr1 the first\\nACGT\\nacg\\n>chr2\\nNN\\n")
    >>> genome = read_fasta(path)
    >>> genome.name, dict(genome.sequences), dict(genome.metadata)
    ('tiny', {'chr1': 'ACGTacg', 'chr2': 'NN'}, {'descriptions': {'chr1': 'the first'}})
    """
    with open_content(path) as file:
        content = file.read().removeprefix(_BYTE_ORDER_MARK)
    try:
        sequences, descriptions = _parsed(content)
        metadata = {"descriptions": descriptions} if descriptions else {}
        return Genome(name or stem(path), topology, sequences, (), metadata)
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from None


def write_fasta(genome: Genome, path: str | os.PathLike[str], line_length: int = 60) -> None:
    """Write the sequences of a genome to a FASTA file, as a whole or not at all.

    Parameters
    ----------
    genome : Genome
        Its sequences are written, and the descriptions in ``metadata["descriptions"]``; FASTA has
        no room for the name, the topology, features and other metadata.
    path : str or path-like
        Compressed when it ends in ".gz".
    line_length : int
        Letters per line, at least 1.

    Raises
    ------
    ValueError
        For a name with white space or a description with line breaks or white space around it,
        which would not come back, and for a line length below 1.
    OSError
        When the file cannot be written; the one that was there before is there.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp(), "tiny.fa")
    >>> write_fasta(Genome("tiny", "linear", {"chr1": "ACGTACG"}), path, line_length=4)
    >>> path.read_text()
    '>chr1\\nACGT\\nACG\\n'
    """
    if line_length < 1:
        raise ValueError(f"line_length must be at least 1, not {line_length!r}")
    descriptions = _descriptions(genome)
    headers = {chrom: _header(chrom, descriptions.get(chrom, "")) for chrom in genome.chroms}
    write_content(path, _frames(genome, headers, line_length))


# Reading ------------------------------------------------------------------------------------------


def _parsed(content: bytes) -> tuple[dict[str, bytes], dict[str, str]]:
    sequences: dict[str, bytes] = {}
    descriptions: dict[str, str] = {}
    for start, header, letters in _records(content):
        name, description = _split(header)
        if not name or name in sequences:
            what = f"a second sequence {name!r}" if name else "a header without a name"
            raise ValueError(f"line {_line(content, start)}: {what}")
        sequences[name] = letters
        if description:
            descriptions[name] = description
    return sequences, descriptions


def _records(content: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield where a record starts, its header and its letters."""
    start = _first_header(content)
    while start >= 0:
        following = content.find(b"\n>", start)
        record = content[start : None if following < 0 else following]
        header, _, lines = record.partition(b"\n")
        yield start, header[1:], lines.translate(None, _WHITE)
        start = following + 1 if following >= 0 else -1


def _first_header(content: bytes) -> int:
    blank = len(content) - len(content.lstrip())
    if blank == len(content):
        raise ValueError("an empty file, with no sequence in it")
    if content[blank : blank + 1] != b">":
        text = content[blank : blank + 60].split(b"\n")[0]
        raise ValueError(
            f"line {_line(content, blank)}: expected '>' and a name before letters, not {text!r}"
        )
    return blank


def _split(header: bytes) -> tuple[str, str]:
    if b"\r" in header.rstrip():
        # A file with CR alone at the ends of lines would be one long description.
        raise ValueError("expected lines that end in LF or CR LF, and no other CR")
    words = header.decode("utf-8").split(None, 1)
    return words[0] if words else "", words[1].strip() if len(words) > 1 else ""


def _line(content: bytes, position: int) -> int:
    return content.count(b"\n", 0, position) + 1


# Writing ------------------------------------------------------------------------------------------


def _descriptions(genome: Genome) -> Mapping[str, Any]:
    descriptions = genome.metadata.get("descriptions", {})
    if not isinstance(descriptions, Mapping):
        raise TypeError(f"descriptions are a mapping from chromosome to str, not {descriptions!r}")
    unknown = [chrom for chrom in descriptions if chrom not in genome.sequences]
    if unknown:
        raise ValueError(f"a description of {unknown[0]!r}, of which there is no sequence")
    return descriptions


def _header(chrom: str, description: Any) -> bytes:
    if chrom.split() != [chrom]:
        raise ValueError(f"a name in a FASTA file has no white space: {chrom!r}")
    if not isinstance(description, str):
        raise TypeError(f"{chrom}: a description is a str, not {description!r}")
    if "\n" in description or "\r" in description or description != description.strip():
        raise ValueError(
            f"{chrom}: a description is one line without white space around it, not {description!r}"
        )
    return f">{chrom} {description}".rstrip().encode() + b"\n"


def _frames(genome: Genome, headers: Mapping[str, bytes], line_length: int) -> Iterator[bytes]:
    for chrom, letters in genome.sequences.items():
        yield headers[chrom]
        yield from _lines(letters, line_length)


def _lines(letters: str, length: int) -> Iterator[bytes]:
    """Yield letters with a line break after so many, many lines at once."""
    at_once = length * _LINES_AT_ONCE
    for start in range(0, len(letters), at_once):
        piece = letters[start : start + at_once].encode()
        whole = len(piece) // length
        lines = np.full((whole, length + 1), ord("\n"), np.uint8)
        lines[:, :length] = np.frombuffer(piece, np.uint8)[: whole * length].reshape(whole, length)
        yield lines.tobytes()
        if whole * length < len(piece):
            yield piece[whole * length :] + b"\n"
