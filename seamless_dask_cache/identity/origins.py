"""Where the data of a task comes from, as far as its arguments tell."""

from __future__ import annotations

from typing import Any

from seamless_dask_cache.identity.callee import Callee
from seamless_dask_cache.identity.files import refuse_remote
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
    # A producer with inputs (a frame made from delayed values) makes its data of those.
    if node.data_producer and not node.dependencies and node.key is not None:
        document["producer"] = producer_token(node.key)
    elif own.strings and not (callee.is_dask or callee.policy or reach.trusted):
        refuse_remote([text for text in own.strings if "://" in text])
