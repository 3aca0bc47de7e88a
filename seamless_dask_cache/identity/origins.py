"""Where the data of a task comes from, and what else its arguments name."""

from __future__ import annotations

from typing import Any

from seamless_dask_cache.identity.callee import Callee, Lexicon
from seamless_dask_cache.identity.files import refuse_remote
from seamless_dask_cache.identity.patches import patches_named
from seamless_dask_cache.identity.reach import Reach, Scope
from seamless_dask_cache.identity.recipe import producer_token


def add_origin(
    document: dict[str, Any], node: Any, callee: Callee, reach: Reach, own: Scope
) -> None:
    """Put Dask's token of what a task reads into its recipe.

    Parameters
    ----------
    document : dict
        The recipe so far.
    node : Task
        What is described.
    callee : Callee
        What it calls.
    reach : Reach
        Tells whether the user vouched for the task.
    own : Scope
        Strings among its arguments.

    Raises
    ------
    RefusedError
        When a user's function is given the address of something remote, whose state is not known.
    """
    # A producer with inputs (a frame made from delayed values) makes its data of those; the token
    # of a user's function says nothing of what it reads, and changes with each comment.
    produces = node.data_producer and not node.dependencies and node.key is not None
    if produces and callee.is_dask:
        document["producer"] = producer_token(node.key)
    elif own.strings and not (callee.is_dask or callee.policy or reach.trusted):
        refuse_remote([text for text in own.strings if "://" in text])


def add_patches(document: dict[str, Any], lexicon: Lexicon, reach: Reach, own: Scope) -> None:
    """Put what the user added to installed classes into a recipe whose strings name it.

    ``getattr(frame, "geo")`` calls the user's code, and so may whatever is given such a name.

    Parameters
    ----------
    document : dict
        The recipe so far.
    lexicon : Lexicon
        Describes what was added.
    reach : Reach
        Gets its code.
    own : Scope
        Strings that the call reaches; gets the effects and files of what was added.

    Raises
    ------
    RefusedError
        When what was added has no certain identity.
    """
    for label, value in patches_named(lexicon.identifier, own.files, own.strings):
        found = lexicon.literal(value)
        document.setdefault("patches", {})[label] = found.entry
        reach.codes += found.codes
        reach.expire(found.expires)
        own.effects += found.effects
        own.files += found.files
