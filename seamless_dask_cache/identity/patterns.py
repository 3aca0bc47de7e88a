"""Patterns: the identities inside fused tasks that differ only in their inputs.

Dask builds one inner graph for all blocks of an array and fuses it with the inputs of each block.
What such a graph makes of inputs that are named by placeholders is worked out once; for each block
the placeholders are replaced by the checksums of its inputs. The recipes are, byte for byte, those
that describing each block by itself would give.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from seamless_dask_cache.dask_internals import FusedGraph, Key, in_order
from seamless_dask_cache.identity.reach import NoPatternError, Reach
from seamless_dask_cache.identity.recipe import Identity, dump_recipe

Upstream = Callable[[Key], Identity]
Description = tuple["dict[str, Any]", "Identity | None"]
Describe = Callable[[Any, Upstream, Reach], Description]


class Holes:
    """Placeholders for checksums that are not known yet.

    Notes
    -----
    They are drawn at random, so that no text in a recipe can be taken for one.
    """

    def __init__(self) -> None:
        self._mark = secrets.token_hex(16)
        self._pattern = re.compile(rb"%b([0-9]{32})" % self._mark.encode())

    def hole(self, number: int) -> str:
        """Return the placeholder of a number: 64 characters, as a checksum has."""
        return f"{self._mark}{number:032}"

    def step(self, recipe: bytes, function: str) -> Step | None:
        """Turn a recipe with placeholders into a step of a pattern; None where there are none."""
        texts = self._pattern.split(recipe)
        if len(texts) == 1:
            return None
        form = b"%b".join(text.replace(b"%", b"%%") for text in texts[::2])
        return Step(form, tuple(map(int, texts[1::2])), function)


class Step(NamedTuple):
    """A task inside of a fused one.

    Attributes
    ----------
    form : bytes
        Its recipe, with ``%b`` for each checksum of an input.
    inputs : tuple of int
        Which: numbers of inputs of the whole, and, after them, of earlier steps.
    function : str
        Name of its function.
    """

    form: bytes
    inputs: tuple[int, ...]
    function: str


class Pattern(NamedTuple):
    """How the identities inside of a fused task follow from those of its inputs.

    Attributes
    ----------
    steps : tuple of Step
        Dependencies first.
    output : Identity or int
        The result, where no input enters it; else its number.
    reach : Reach
        What the tasks inside meet.
    """

    steps: tuple[Step, ...]
    output: Identity | int
    reach: Reach

    def filled(self, inputs: Sequence[Identity], inner: dict[str, Identity]) -> Identity:
        """Return the identity of the result for some inputs.

        Parameters
        ----------
        inputs : sequence of Identity
            In the order in which they were numbered.
        inner : dict
            Gets the identities of the steps by their checksums.
        """
        if not isinstance(self.output, int):
            return self.output
        known = list(inputs)
        checksums = [identity.checksum.encode() for identity in inputs]
        for form, numbers, function in self.steps:
            recipe = form % tuple([checksums[number] for number in numbers])
            checksum = hashlib.sha256(recipe).hexdigest()
            checksums.append(checksum.encode())
            made = inner.get(checksum)
            if made is None:
                made = inner[checksum] = Identity(checksum, recipe, function, "")
            known.append(made)
        return known[self.output]


def find_pattern(
    fused: FusedGraph, are_data: Sequence[bool], describe: Describe, inner: dict[str, Identity]
) -> Pattern | None:
    """Work out the pattern of an inner graph.

    Parameters
    ----------
    fused : FusedGraph
        With any inputs.
    are_data : sequence of bool
        Which inputs are data rather than results of tasks.
    describe : callable
        Gives the document of an inner node, or, if it has none of its own, its identity.
    inner : dict
        Gets the identities of those tasks that no input enters, by their checksums.

    Returns
    -------
    Pattern or None
        None where the identities depend on those of the inputs in another way than by naming them.
    """
    try:
        return _Builder(fused, are_data).pattern(describe, inner)
    except NoPatternError:
        return None


class _Builder:
    """Describes an inner graph whose inputs are placeholders."""

    def __init__(self, fused: FusedGraph, are_data: Sequence[bool]) -> None:
        self.fused = fused
        self.holes = Holes()
        self.reach = Reach(pattern=True)
        self.steps: list[Step] = []
        self.numbers: dict[str, int] = {}
        self.known: dict[Key, Identity] = {
            name: self.placeholder(None if is_data else b"-")
            for name, is_data in zip(fused.inputs, are_data, strict=True)
        }

    def placeholder(self, recipe: bytes | None) -> Identity:
        number = len(self.numbers)
        hole = self.holes.hole(number)
        self.numbers[hole] = number
        return Identity(hole, recipe, "", "")

    def pattern(self, describe: Describe, inner: dict[str, Identity]) -> Pattern:
        for key in in_order(self.fused.inner, self.known):
            document, made = describe(self.fused.inner[key], self.known.__getitem__, self.reach)
            self.known[key] = self.made(document, inner) if made is None else made
        output = self.known[self.fused.output]
        return Pattern(tuple(self.steps), self.numbers.get(output.checksum, output), self.reach)

    def made(self, document: dict[str, Any], inner: dict[str, Identity]) -> Identity:
        recipe = dump_recipe(document)
        step = self.holes.step(recipe, document["function"])
        if step is None:
            made = made_of(document)
            return inner.setdefault(made.checksum, made)
        self.steps.append(step)
        return self.placeholder(b"-")


def made_of(document: dict[str, Any]) -> Identity:
    """Return the identity of a task by itself: without code, expiry and files.

    Parameters
    ----------
    document : dict
        Its recipe.
    """
    recipe = dump_recipe(document)
    return Identity(hashlib.sha256(recipe).hexdigest(), recipe, document["function"], "")
