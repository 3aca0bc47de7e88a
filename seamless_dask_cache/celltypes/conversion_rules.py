"""Which cell type becomes which, and what that may do to a buffer.

Two flags say what a conversion may do: change the checksum, and fail. Their four combinations are
the classes of seamless-core 0.1.4 (checksum/conversion.py), whose classes for all pairs these are:

============  ============  =========
class         may change    may fail
============  ============  =========
trivial       no            no
reinterpret   no            yes
reformat      yes           no
possible      yes           yes
============  ============  =========

Everything follows from the few `DIRECT` rules. A pair may be *equivalent* to another one, whose
conversion does the same to its buffers; or go *via* a third cell type, and may then do what either
step may do. What follows from none of them is forbidden.
"""

from __future__ import annotations

from functools import cache
from typing import Literal, NamedTuple

from seamless_dask_cache.celltypes import check_celltype

ConversionClass = Literal["trivial", "reinterpret", "reformat", "possible", "forbidden"]

Pair = tuple[str, str]

NUMBERS = ("int", "float", "bool")
CODE = ("python", "ipython")


class Flags(NamedTuple):
    """What a conversion may do."""

    changes: bool
    fails: bool


TRIVIAL, REINTERPRET = Flags(False, False), Flags(False, True)
REFORMAT, POSSIBLE = Flags(True, False), Flags(True, True)

NAMES: dict[Flags, ConversionClass] = {
    TRIVIAL: "trivial",
    REINTERPRET: "reinterpret",
    REFORMAT: "reformat",
    POSSIBLE: "possible",
}


def _pairs(text: str) -> list[Pair]:
    """Read ``a b > c d``: each of the first to each of the others, but not to itself."""
    sources, targets = (side.split() for side in text.split(">"))
    return [(source, target) for source in sources for target in targets if source != target]


def _table(rules: dict[str, Flags]) -> dict[Pair, Flags]:
    return {pair: flags for text, flags in rules.items() for pair in _pairs(text)}


DIRECT = _table(
    {
        "binary plain > mixed": TRIVIAL,
        "str int float bool > plain": TRIVIAL,
        "plain > yaml bytes": TRIVIAL,
        "python > ipython text": TRIVIAL,
        "ipython yaml > text": TRIVIAL,
        "text > bytes": TRIVIAL,
        "mixed > binary plain": REINTERPRET,
        "text > python ipython yaml": REINTERPRET,
        "bytes > text plain": REINTERPRET,
        "plain str > text": REFORMAT,
        "text > plain str": REFORMAT,
        "yaml > plain": REFORMAT,
        "ipython > python": REFORMAT,
        "bytes > binary mixed": REFORMAT,
        "binary mixed > bytes": REFORMAT,
        "int float bool > int float bool str": REFORMAT,
        "binary mixed plain str > int float bool": POSSIBLE,
        "mixed plain > str": POSSIBLE,
    }
)
"""What the rest follows from."""

EQUIVALENT: dict[Pair, Pair] = {
    pair: other
    for text, other in {
        # What is text becomes one JSON string, whatever it may look like.
        "python ipython > plain": ("text", "str"),
        "python ipython yaml > str": ("text", "str"),
        "text python ipython yaml > mixed": ("text", "str"),
        "python ipython yaml > bytes": ("text", "bytes"),
        "python ipython > binary": ("text", "binary"),
        "str > python ipython yaml": ("str", "text"),
        "int float bool > mixed": ("plain", "mixed"),
        "str int float bool > bytes": ("plain", "bytes"),
        "int float bool > text": ("plain", "text"),
    }.items()
    for pair in _pairs(text)
}
"""Pairs whose conversion is that of another pair, of which their buffers are a part."""

VIA: dict[Pair, str] = {
    pair: middle
    for text, middle in {
        "mixed > text": "plain",
        "mixed plain > python ipython": "text",
        "mixed > yaml": "text",
        "bytes > python ipython yaml": "text",
        "bytes > str int float bool": "plain",
        "text yaml > int float bool": "plain",
        "int float bool > yaml": "plain",
        "binary > str": "bytes",
        "text > binary": "mixed",
    }.items()
    for pair in _pairs(text)
}
"""Pairs that go by a third cell type."""


class Step(NamedTuple):
    """One direct conversion."""

    source: str
    target: str
    flags: Flags


def classify_conversion(source: str, target: str) -> ConversionClass:
    """Tell what a conversion may do to a buffer.

    Parameters
    ----------
    source, target : str
        Two of `CELLTYPES`.

    Returns
    -------
    str
        ``trivial``: nothing; ``reinterpret``: fail; ``reformat``: give another checksum;
        ``possible``: both; ``forbidden``: there is no such conversion. The same cell type twice is
        trivial.

    Raises
    ------
    CellTypeError
        For an unknown cell type.

    Examples
    --------
    >>> classify_conversion("plain", "text"), classify_conversion("text", "python")
    ('reformat', 'reinterpret')
    """
    found = steps(source, target)
    if found is None:
        return "forbidden"
    changes = any(step.flags.changes for step in found)
    return NAMES[Flags(changes, any(step.flags.fails for step in found))]


@cache
def steps(source: str, target: str) -> tuple[Step, ...] | None:
    """Give the direct conversions that make up a conversion; None for a forbidden one.

    Raises
    ------
    CellTypeError
        For an unknown cell type.
    """
    check_celltype(source, target)
    if source == target:
        return ()
    pair = (source, target)
    if pair in DIRECT:
        return (Step(source, target, DIRECT[pair]),)
    if pair in EQUIVALENT:
        return steps(*EQUIVALENT[pair])
    if pair in VIA:
        before, after = steps(source, VIA[pair]), steps(VIA[pair], target)
        return None if before is None or after is None else before + after
    return None


def why_forbidden(source: str, target: str) -> str:
    """Say why a conversion is forbidden, and what can be done instead."""
    if "checksum" in (source, target):
        return "a checksum names a buffer that may hold anything: resolve it to have the value"
    if {source, target} <= {*CODE, *NUMBERS, "yaml"}:
        return f"{_kind(source)} is not {_kind(target)}"
    if source == "binary":
        return "an array has no one text: read its value and write that"
    if target == "binary":
        return "JSON does not say of which type an array is: read the value and make an array of it"
    return "seamless-core has no rule for it: go by 'plain', which is trivial for both"


def _kind(celltype: str) -> str:
    return "code" if celltype in CODE else "a number" if celltype in NUMBERS else "YAML"
