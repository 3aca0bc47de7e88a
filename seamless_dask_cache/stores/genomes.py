"""Genomes: sequences of chromosomes, what is known on them, and how to cut pieces out of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, SupportsIndex

from seamless_dask_cache.errors import RefusedError
from seamless_dask_cache.stores.chromosomes import checked_chrom, chromosome
from seamless_dask_cache.stores.derived import own_state
from seamless_dask_cache.stores.intervals import Intervals
from seamless_dask_cache.stores.nucleotides import check_letters, reverse_complement
from seamless_dask_cache.stores.ranges import checked_range
from seamless_dask_cache.stores.read_only import ReadOnlyDict
from seamless_dask_cache.stores.tracks import IntervalTrack

TOPOLOGIES = ("linear", "circular")


@dataclasses.dataclass(frozen=True, eq=False)
class Genome:
    """Sequences of chromosomes under a name; it never changes.

    Parameters
    ----------
    name : str
    topology : str or mapping from str to str
        "linear" or "circular": of all chromosomes, or of each.
    sequences : mapping from str to str or bytes
        The letters of each chromosome: IUPAC's for nucleotides, and "-"; case is kept.
    features : IntervalTrack or iterable
        What is known on it: a track, or any objects, which are kept as they are, in a tuple. None
        is none.
    metadata : mapping, optional
        Whatever else is to be kept. What `read_fasta` makes has the descriptions of the chromosomes
        under "descriptions".

    Raises
    ------
    TypeError, ValueError
        For a value of another type, an unknown topology, chromosomes without one, and a letter that
        stands for no nucleotide.

    Notes
    -----
    Genomes are equal when all of this is, the order of the chromosomes included: `features` and
    `metadata` when their identities are, so that arrays and NaN may be in them, and by ``==`` where
    they have none. What they hold is not copied and must not change.

    Examples
    --------
    >>> genome = Genome("phage", "circular", {"chr": "AACCGGT"})
    >>> genome.chrom_lengths
    {'chr': 7}
    >>> genome.sequence("chr", 5, 9), genome.sequence("chr", 0, 3, strand="-")
    ('GTAA', 'GTT')
    """

    name: str
    topology: str | Mapping[str, str]
    sequences: Mapping[str, str]
    features: IntervalTrack | tuple[Any, ...] = ()
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __init__(
        self,
        name: str,
        topology: str | Mapping[str, str],
        sequences: Mapping[str, str | bytes],
        features: IntervalTrack | Iterable[Any] | None = (),
        metadata: Mapping[str, Any] | None = None,
    ):
        letters = _checked_sequences(sequences)
        self._set("name", _checked_name(name))
        self._set("topology", _checked_topology(topology, letters))
        self._set("sequences", ReadOnlyDict(letters))
        self._set("features", _checked_features(features))
        self._set("metadata", ReadOnlyDict(_checked_metadata(metadata)))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    @property
    def chroms(self) -> tuple[str, ...]:
        """The chromosomes, in the order of `sequences`."""
        return tuple(self.sequences)

    @property
    def chrom_lengths(self) -> dict[str, int]:
        """The number of bases of each chromosome."""
        return {chrom: len(letters) for chrom, letters in self.sequences.items()}

    def is_circular(self, chrom: str) -> bool:
        """Tell whether a chromosome has no ends.

        Parameters
        ----------
        chrom : str

        Returns
        -------
        bool

        Raises
        ------
        KeyError
            For an unknown chromosome; the message names the known ones.

        Examples
        --------
        >>> Genome("g", {"a": "linear", "b": "circular"}, {"a": "A", "b": "C"}).is_circular("b")
        True
        """
        known = chromosome(chrom, self.sequences)
        topology = self.topology if isinstance(self.topology, str) else self.topology[known]
        return topology == "circular"

    def sequence(
        self,
        chrom: str,
        start: SupportsIndex = 0,
        end: SupportsIndex | None = None,
        strand: str = "+",
    ) -> str:
        """Return the letters of a range.

        Parameters
        ----------
        chrom : str
        start, end : int
            0-based, half-open; to the end of the chromosome by default. On a circular chromosome
            the range may reach beyond the last base, and goes on with the first: at most once
            around.
        strand : str
            "+" (or "." for none): as they are. "-": the reverse complement.

        Returns
        -------
        str

        Raises
        ------
        KeyError
            For an unknown chromosome.
        TypeError, ValueError
            For a range that is none, or reaches beyond a linear chromosome or more than once around
            a circular one, for a start beyond the end of either without an `end`, and for an
            unknown strand.

        Examples
        --------
        >>> Genome("g", "linear", {"chr1": "ACGT"}).sequence("chr1", 2, 6)
        Traceback (most recent call last):
            ...
        ValueError: chr1 is linear and ends at 4; the range is [2, 6)
        """
        if strand not in ("+", "-", "."):
            raise ValueError(f'a strand is "+", "-" or ".", not {strand!r:.80}')
        letters = self.sequences[chromosome(chrom, self.sequences)]
        first, last = checked_range(start, end)
        kind, cut = ("circular", _around) if self.is_circular(chrom) else ("linear", _along)
        if last is None and first > len(letters):
            raise ValueError(
                f"{chrom} is {kind} and ends at {len(letters)}: a range from {first} on has no end"
            )
        piece = cut(chrom, letters, first, len(letters) if last is None else last)
        return reverse_complement(piece) if strand == "-" else piece

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Genome):
            return NotImplemented
        *ours, features, metadata = self.__seamless_identity__()
        *theirs, others, other_metadata = other.__seamless_identity__()
        if ours != theirs or metadata.keys() != other_metadata.keys():
            return False
        return _same(features, others) and all(
            _same(value, other_metadata[key]) for key, value in metadata.items()
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        bases = sum(map(len, self.sequences.values()))
        return f"<Genome {self.name}: {len(self.sequences)} chroms, {bases} bases>"

    def __reduce__(self) -> tuple[Any, ...]:
        parts = self.name, self.topology, self.sequences, self.features, self.metadata
        return _rebuilt, (type(self), *parts), own_state(self, _FIELDS)

    def __seamless_identity__(self) -> tuple[Any, ...]:
        topology = self.topology if isinstance(self.topology, str) else dict(self.topology)
        # Pairs, as the order of chromosomes can be seen.
        sequences = tuple(self.sequences.items())
        return self.name, topology, sequences, self.features, dict(self.metadata)


_FIELDS = frozenset(field.name for field in dataclasses.fields(Genome))


def _rebuilt(kind: type[Genome], *parts: Any) -> Genome:
    genome = kind.__new__(kind)
    Genome.__init__(genome, *parts)
    return genome


def _same(one: Any, other: Any) -> bool:
    """Tell whether values are equal that may hold arrays, tables and NaN."""
    # Who only reads sequences does not wait for the import.
    from seamless_dask_cache.identity.code import value_checksum

    if one is other:
        return True
    try:
        return value_checksum(one) == value_checksum(other)
    except RefusedError:
        return bool(one == other)


def _along(chrom: str, letters: str, start: int, end: int) -> str:
    if end > len(letters):
        raise ValueError(
            f"{chrom} is linear and ends at {len(letters)}; the range is [{start}, {end})"
        )
    return letters[start:end]


def _around(chrom: str, letters: str, start: int, end: int) -> str:
    length = len(letters)
    if end - start > length:
        raise ValueError(
            f"the range [{start}, {end}) goes more than once around {chrom}, of length {length}"
        )
    first = start % length if length else 0
    last = first + end - start
    return letters[first:last] + letters[: max(last - length, 0)]


def _checked_name(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"the name of a genome is a str, not {name!r:.80}")
    if not name:
        raise ValueError("the name of a genome must not be empty")
    return name


def _checked_sequences(sequences: Any) -> dict[str, str]:
    if not isinstance(sequences, Mapping):
        raise TypeError(f"sequences are a mapping from name to letters, not {sequences!r:.80}")
    return {checked_chrom(chrom): _letters(chrom, sequences[chrom]) for chrom in sequences}


def _letters(chrom: str, given: Any) -> str:
    if isinstance(given, (bytes, bytearray, memoryview)):
        given = bytes(given).decode("latin1")
    if not isinstance(given, str):
        raise TypeError(f"{chrom}: a sequence is a str or bytes, not {given!r:.80}")
    try:
        check_letters(given)
    except ValueError as error:
        raise ValueError(f"{chrom}: {error}") from None
    return str(given)


def _checked_topology(topology: Any, sequences: dict[str, str]) -> str | Mapping[str, str]:
    if isinstance(topology, str):
        return _one_topology(topology)
    if not isinstance(topology, Mapping):
        raise TypeError(f"topology is a str or a mapping, not {topology!r:.80}")
    for chrom in topology:
        if chrom not in sequences:
            raise ValueError(f"topology names {chrom!r:.80}, of which there is no sequence")
    missing = [chrom for chrom in sequences if chrom not in topology]
    if missing:
        raise ValueError(f"topology does not name {missing[0]!r:.80}")
    return ReadOnlyDict({chrom: _one_topology(topology[chrom]) for chrom in sequences})


def _one_topology(topology: Any) -> str:
    if topology not in TOPOLOGIES:
        raise ValueError(f"topology is {' or '.join(map(repr, TOPOLOGIES))}, not {topology!r:.80}")
    return str(topology)


def _checked_features(features: Any) -> IntervalTrack | tuple[Any, ...]:
    if isinstance(features, IntervalTrack):
        return features
    # A tuple of these would hold letters, or names of columns, in place of features.
    table = hasattr(features, "columns") and not isinstance(features, Intervals)
    if table or isinstance(features, (str, bytes, bytearray, Mapping)):
        kind = type(features).__name__
        raise TypeError(f"features are a track or several objects, not a {kind}: {features!r:.80}")
    if features is None:
        return ()
    if not isinstance(features, Iterable):
        raise TypeError(f"features are a track or an iterable, not {features!r:.80}")
    return tuple(features)


def _checked_metadata(metadata: Any) -> dict[str, Any]:
    if metadata is not None and not isinstance(metadata, Mapping):
        raise TypeError(f"metadata is a mapping, not {metadata!r:.80}")
    return dict(metadata or {})
