"""What is written down of a graph for later explanations: recipes and notes."""

from __future__ import annotations

from collections.abc import Iterable

from seamless_dask_cache.dask_internals import Key
from seamless_dask_cache.explaining.notes import Note, collect_notes, recipes_of
from seamless_dask_cache.identity.code import Identifier

from .link import Description
from .submission import Submission

MAX_RECIPES = 2_000
MAX_KNOWN = 100_000


def describing(
    submission: Submission, identifier: Identifier, keys: Iterable[Key], known: set[str]
) -> Description:
    """Prepare writing down the recipes of some tasks, and what the checksums in them stand for.

    Recipes count also where no result will be stored: what is made of theirs may be.

    Parameters
    ----------
    submission : Submission
        Identified.
    identifier : Identifier
        With which it was identified.
    keys : iterable
        Keys of tasks that are computed.
    known : set of str
        Checksums that were written down before; those of this graph are added.

    Returns
    -------
    callable
        For `DatabaseLink.describe`; makes recipes and notes, at most 2,000 of each.
    """
    keys = list(keys)

    def describe() -> tuple[list[dict[str, str]], dict[str, Note]]:
        graph, identities = submission.graph, submission.identities
        if len(known) > MAX_KNOWN:
            known.clear()
        found = recipes_of(identities, keys)
        new = {c: i for c, i in found.items() if c not in known and i.recipe}
        recipes = [
            {"function": identity.function, "content": (identity.recipe or b"").decode()}
            for identity in list(new.values())[:MAX_RECIPES]
        ]
        notes = collect_notes(graph, identities, identifier, known, keys=keys)
        known.update(list(new)[:MAX_RECIPES], notes)
        return recipes, notes

    return describe
