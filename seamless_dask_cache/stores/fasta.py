"""FASTA files: the sequences of a genome as text.

A line that starts with ">" gives the name of a sequence, up to the first white space, and its
description; the lines after it are its letters. Sources: W. Pearson, the FASTA programs; NCBI,
BLAST query input. Lines may end in CR LF and be of any length; white space between letters is
dropped.

This is read here, not by a library: what dnaio gives depends on the encoding of the locale, and
lines that start with "#" are dropped wherever they are.
"""

from __future__ import annotations

import io
import operator
import os
from collections.abc import Container, Iterator, Mapping
from typing import Any, SupportsIndex

import numpy as np

from seamless_dask_cache.stores.genomes import Genome
from seamless_dask_cache.stores.gzipped import encoded, open_content, stem, write_content
from seamless_dask_cache.stores.nucleotides import other_letters

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
        Descriptions are in ``metadata["descriptions"]``, by chromosome, if there are any; an empty
        one is none.

    Raises
    ------
    OSError
        When the file cannot be read.
    ValueError
        For an empty file, text before the first header, a header without a name or not in UTF-8, a
        name that is there twice, a letter that stands for no nucleotide, and a damaged gzip file.
        The message names the file and, where one of its lines is wrong, the line.

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
        return _genome(content, stem(path) if name is None else name, topology)
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from None


def write_fasta(
    genome: Genome, path: str | os.PathLike[str], line_length: SupportsIndex = 60
) -> None:
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
        For what would not come back: no chromosomes, a name with white space, a description that is
        empty or has line breaks or white space around it, half of a surrogate pair; and for a line
        length below 1.
    TypeError
        For what is no genome, and a line length that is no integer.
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
    if not isinstance(genome, Genome):
        raise TypeError(f"a FASTA file is written of a Genome, not of {genome!r:.80}")
    if not genome.chroms:
        raise ValueError(f"a FASTA file has at least one sequence; {genome!r:.80} has none")
    length = _checked_length(line_length)
    descriptions = _descriptions(genome)
    headers = {chrom: _header(chrom, descriptions) for chrom in genome.chroms}
    write_content(path, _frames(genome, headers, length))


# Reading ------------------------------------------------------------------------------------------


def _genome(content: bytes, name: str, topology: str | Mapping[str, str]) -> Genome:
    sequences, descriptions = _parsed(content)
    metadata = {"descriptions": descriptions} if descriptions else {}
    try:
        return Genome(name, topology, sequences, (), metadata)
    except ValueError as error:
        line = _line_of_other_letters(content)
        raise ValueError(f"line {line}: {error}" if line else str(error)) from None


def _line_of_other_letters(content: bytes) -> int | None:
    # Looked for only when there are some: line by line would be slow.
    start = _first_header(content)
    for number, line in enumerate(io.BytesIO(content[start:]), _line(content, start)):
        if not line.startswith(b">") and other_letters(line.translate(None, _WHITE)):
            return number
    return None


def _parsed(content: bytes) -> tuple[dict[str, bytes], dict[str, str]]:
    sequences: dict[str, bytes] = {}
    descriptions: dict[str, str] = {}
    for start, header, letters in _records(content):
        try:
            name, description = _split(header)
            _check_name(name, sequences)
        except ValueError as error:
            raise ValueError(f"line {_line(content, start)}: {error}") from None
        sequences[name] = letters
        if description:
            descriptions[name] = description
    return sequences, descriptions


def _check_name(name: str, known: Container[str]) -> None:
    if not name:
        raise ValueError("a header without a name")
    if name in known:
        raise ValueError(f"a second sequence {name!r:.80}")


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
    try:
        words = header.decode("utf-8").split(None, 1)
    except UnicodeDecodeError:
        raise ValueError(f"expected a header in UTF-8, not {header!r:.80}") from None
    return words[0] if words else "", words[1].strip() if len(words) > 1 else ""


def _line(content: bytes, position: int) -> int:
    return content.count(b"\n", 0, position) + 1


# Writing ------------------------------------------------------------------------------------------


def _checked_length(line_length: SupportsIndex) -> int:
    if isinstance(line_length, bool) or not hasattr(line_length, "__index__"):
        raise TypeError(f"line_length must be an int, not {line_length!r:.80}")
    if operator.index(line_length) < 1:
        raise ValueError(f"line_length must be at least 1, not {line_length!r:.80}")
    return operator.index(line_length)


def _descriptions(genome: Genome) -> Mapping[str, Any]:
    descriptions = genome.metadata.get("descriptions", {})
    if not isinstance(descriptions, Mapping):
        raise TypeError(f"descriptions are a mapping from name to str, not {descriptions!r:.80}")
    unknown = [chrom for chrom in descriptions if chrom not in genome.sequences]
    if unknown:
        raise ValueError(f"a description of {unknown[0]!r:.80}, of which there is no sequence")
    return descriptions


def _header(chrom: str, descriptions: Mapping[str, Any]) -> bytes:
    if chrom.split() != [chrom]:
        raise ValueError(f"a name in a FASTA file has no white space: {chrom!r:.80}")
    if chrom not in descriptions:
        return encoded(f">{chrom}\n")
    _check_description(chrom, descriptions[chrom])
    return encoded(f">{chrom} {descriptions[chrom]}\n")


def _check_description(chrom: str, description: Any) -> None:
    if not isinstance(description, str):
        raise TypeError(f"{chrom}: a description is a str, not {description!r:.80}")
    if not description:
        raise ValueError(f"{chrom}: an empty description would not come back: leave it out")
    if "\n" in description or "\r" in description or description != description.strip():
        raise ValueError(
            f"{chrom}: a description is one line without white space around it, "
            f"not {description!r:.80}"
        )


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
