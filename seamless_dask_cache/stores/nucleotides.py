"""Letters of nucleotides.

Source: IUPAC-IUB, Nomenclature for incompletely specified bases in nucleic acid sequences (1984).
"""

from __future__ import annotations

_LETTERS = "ACGTURYSWKMBDHVN-"
_COMPLEMENTS = "TGCAAYRSWMKVHDBN-"
_TABLE = str.maketrans(_LETTERS + _LETTERS.lower(), _COMPLEMENTS + _COMPLEMENTS.lower())
_BYTES = (_LETTERS + _LETTERS.lower()).encode()


def reverse_complement(sequence: str) -> str:
    """Return the other strand, in its own direction.

    Parameters
    ----------
    sequence : str
        IUPAC letters; case is kept. "U" is complemented to "A", and "A" always to "T".

    Returns
    -------
    str

    Examples
    --------
    >>> reverse_complement("AACgtR")
    'YacGTT'
    """
    return sequence.translate(_TABLE)[::-1]


def other_letters(content: bytes) -> bytes:
    """Return what stands neither for a nucleotide nor, as "-", for a gap.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    bytes
        All others, in their order.

    Examples
    --------
    >>> other_letters(b"AC*GT")
    b'*'
    """
    return content.translate(None, _BYTES)


def check_letters(sequence: str) -> None:
    """Check that a sequence has only letters of nucleotides, and "-" for gaps.

    Parameters
    ----------
    sequence : str

    Raises
    ------
    ValueError
        For anything else; the message names the first and its position, counted from 0.

    Examples
    --------
    >>> check_letters("ACGTnN")
    >>> check_letters("AC*GT")
    Traceback (most recent call last):
        ...
    ValueError: '*' at position 2 is no letter of a nucleotide (IUPAC)
    """
    # Whole chromosomes: no loop over bases unless one of them is wrong.
    if sequence.isascii() and not other_letters(sequence.encode()):
        return
    letters = _LETTERS + _LETTERS.lower()
    where = next(i for i, letter in enumerate(sequence) if letter not in letters)
    raise ValueError(
        f"{sequence[where]!r} at position {where} is no letter of a nucleotide (IUPAC)"
    )
