"""Which answers of the database count: those that are young enough, intact, and read from files as
they are now.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping

from seamless_dask_cache.dask_internals import Key
from seamless_dask_cache.database import LookupAnswer
from seamless_dask_cache.storage import BufferStore

from .reads import Reads, States
from .submission import Submission

Answers = dict[str, LookupAnswer]

CLOCK_SECONDS = 60.0
"""By how much the clocks of two schedulers may differ."""


def expired(submission: Submission, answers: Answers, now: float) -> list[str]:
    """Return the transformations whose results are too old, or made from one that is.

    A result from the future was written by a clock that was wrong, or this one is: nobody knows how
    old it is, so it does not count either.

    Parameters
    ----------
    submission : Submission
        Identified.
    answers : dict
        Transformation checksum to answer.
    now : float
        Seconds since the epoch.
    """
    known = submission.identities.known
    if all(identity.expires is None for identity in known.values()):
        return []
    stale: dict[Key, None] = {}
    for key in submission.order:
        identity = known.get(key)
        if identity is None or identity.expires is None:
            continue
        answer = answers.get(identity.checksum)
        too_old = answer is not None and _is_too_old(answer, identity.expires, now)
        if too_old or not stale.keys().isdisjoint(submission.graph[key].dependencies):
            stale[key] = None
    return [known[key].checksum for key in stale if known[key].checksum in answers]


def _is_too_old(answer: LookupAnswer, seconds: float, now: float) -> bool:
    age = now - (answer.created or 0.0)
    return not -CLOCK_SECONDS <= age <= seconds


def judge_files(
    answers: Answers, held: Mapping[Key, Reads]
) -> tuple[dict[str, str], dict[Key, str]]:
    """Find out which files changed since stored results and held ones were made of them.

    Parameters
    ----------
    answers : dict
        Transformation checksum to answer.
    held : mapping
        Key to what the scheduler's result was read from.

    Returns
    -------
    changed : dict
        Transformation checksum to a file that changed.
    outdated : dict
        Key that the scheduler holds to a file that changed.
    """
    states = States()
    changed, outdated = {}, {}
    for transformation, answer in answers.items():
        if answer.files:
            file = states.changed(answer.files)
            if file is not None:
                changed[transformation] = file
    for key, reads in held.items():
        files = reads.all()
        file = "a file" if files is None else states.changed(files)
        if file is not None:
            outdated[key] = file
    return changed, outdated


def servable(answers: Answers, store: BufferStore, broken: Collection[str]) -> Answers:
    """Return the answers whose content is here or in the buffer store.

    Parameters
    ----------
    answers : dict
        Transformation checksum to answer.
    store : BufferStore
        Where larger buffers live.
    broken : collection of str
        Result checksums that could not be restored before.
    """
    absent = [a.result for a in answers.values() if a.content is None and a.result not in broken]
    present = store.has_many(absent)
    return {
        transformation: answer
        for transformation, answer in answers.items()
        if _intact(answer) or (answer.content is None and answer.result in present)
    }


def _intact(answer: LookupAnswer) -> bool:
    return (
        answer.content is not None and hashlib.sha256(answer.content).hexdigest() == answer.result
    )
