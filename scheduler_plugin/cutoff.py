"""Early cutoff: what is behind a changed task is a hit when its inputs turn out as they were.

When a graph arrives, the database is asked for all calls on record that look like those which miss,
whatever their inputs were (they share a *skeleton*). As soon as the content of all inputs of such a
task is known, its shallow checksum says whether its result is known, too; and that may be the last
input of the next one: a wave that goes through the graph as far as everything is as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from enum import Enum

from seamless_dask_cache.dask_internals import Key
from seamless_dask_cache.database import LookupAnswer
from seamless_dask_cache.identity.graph import is_task
from seamless_dask_cache.identity.recipe import Identity
from seamless_dask_cache.identity.shallow import (
    input_checksums,
    shallow_checksum,
    skeleton_checksum,
)

from .submission import Submission

Rows = Mapping[str, LookupAnswer]


@dataclass
class Hopes:
    """The tasks of one graph that may be spared, and what it takes.

    Attributes
    ----------
    known : dict
        Key to identity, of the tasks that may be spared.
    inner : dict
        Transformation checksum to identity of tasks inside fused ones.
    rows : dict
        Key to the calls on record that look like it: shallow checksum to answer.
    users : dict
        Transformation checksum to the keys that take it as an input.
    order : dict
        Key to its place in the graph, dependencies first.
    """

    known: dict[Key, Identity] = field(default_factory=dict)
    inner: Mapping[str, Identity] = field(default_factory=dict)
    rows: dict[Key, Rows] = field(default_factory=dict)
    users: dict[str, list[Key]] = field(default_factory=dict)
    order: dict[Key, int] = field(default_factory=dict)

    def add(self, key: Key, identity: Identity, rows: Rows) -> None:
        """Hope for a task."""
        self.known[key], self.rows[key] = identity, rows
        for checksum in input_checksums(identity.recipe or b"", self.inner):
            self.users.setdefault(checksum, []).append(key)

    def answer(self, key: Key, content: Callable[[str], str | None]) -> LookupAnswer | None:
        """Return what is on record for a task with inputs of this content, if anything is."""
        shallow = shallow_checksum(self.known[key].recipe or b"", content, self.inner)
        return None if shallow is None else self.rows[key].get(shallow)

    def wave(
        self, start: Iterable[str], contents: MutableMapping[str, str]
    ) -> dict[Key, LookupAnswer]:
        """Find the tasks that need not run, now that the content of some inputs is known.

        Parameters
        ----------
        start : iterable of str
            Transformation checksums whose content has just become known.
        contents : dict
            Transformation checksum to result checksum; those that are found are added.

        Returns
        -------
        dict
            Key to answer, in the order of the graph.
        """
        found: dict[Key, LookupAnswer] = {}
        stack = list(start)
        while stack:
            for key in self.users.get(stack.pop(), ()):
                answer = self.answer(key, contents.get) if key not in found else None
                if answer is not None:
                    found[key] = answer
                    contents[self.known[key].checksum] = answer.result
                    stack.append(self.known[key].checksum)
        return {key: found[key] for key in sorted(found, key=self.order.__getitem__)}


def skeletons_of(submission: Submission) -> dict[Key, str]:
    """Return the skeletons of the tasks that miss, as far as early cutoff applies to them.

    A result that is too old after a while is not served for its content; and a task that nobody
    identified has no recipe.
    """
    identities = submission.identities
    found = {}
    for key, identity in identities.known.items():
        hopeful = identity.recipe and identity.expires is None and is_task(submission.graph[key])
        if hopeful and identity.checksum not in submission.answers:
            skeleton = skeleton_checksum(identity.recipe or b"", identities.inner)
            if skeleton is not None:
                found[key] = skeleton
    return found


def hopes_of(
    submission: Submission, skeletons: Mapping[Key, str], rows: Mapping[str, Rows]
) -> Hopes | None:
    """Return what may be spared of a graph; None when nothing on record looks like it."""
    order = {key: place for place, key in enumerate(submission.order)}
    hopes = Hopes(inner=submission.identities.inner, order=order)
    for key, skeleton in skeletons.items():
        if skeleton in rows:
            hopes.add(key, submission.identities.known[key], rows[skeleton])
    return hopes if hopes.known else None


def settle(
    submission: Submission,
    hopes: Hopes,
    contents: MutableMapping[str, str],
    reads: Callable[[Key], dict[str, str] | None],
) -> None:
    """Serve what is known by the content of its inputs before anything runs.

    Parameters
    ----------
    submission : Submission
        Looked up. Gets answers, and the hopes that are left.
    hopes : Hopes
        What may be spared.
    contents : mutable mapping
        Transformation checksum to result checksum; what is found is added.
    reads : callable
        Gives the files that the result of a key outside the graph was read from.
    """
    contents.update({checksum: answer.result for checksum, answer in submission.answers.items()})
    found = hopes.wave([c for c in hopes.users if c in contents], contents)
    files = {c: answer.files or {} for c, answer in submission.answers.items()}
    for key, entry in submission.externals.items():
        if isinstance(entry, Identity):
            files[entry.checksum] = reads(key) or {}
    for key, answer in found.items():
        identity = hopes.known[key]
        inputs = input_checksums(identity.recipe or b"", hopes.inner)
        mine = {name: state for c in inputs for name, state in files.get(c, {}).items()}
        files[identity.checksum] = mine
        if answer.present:
            submission.answers[identity.checksum] = replace(answer, files=mine or None)
            submission.by_content.add(identity.checksum)
    if len(found) < len(hopes.known):
        submission.hopes = hopes


class Role(Enum):
    """What becomes of a task that a wave reached, or that stands behind one."""

    LEFT = "it runs as if nothing had been found"
    RESTORED = "its result is brought back"
    DROPPED = "nobody needs it any more"


def roles_of(
    found: Mapping[Key, LookupAnswer],
    *,
    users: Callable[[Key], Iterable[Key]],
    wanted: Callable[[Key], bool],
    movable: Callable[[Key], bool],
    servable: Collection[Key],
) -> dict[Key, Role]:
    """Decide what becomes of the tasks that a wave found.

    Parameters
    ----------
    found : mapping
        Key to answer, dependencies first.
    users : callable
        Gives the keys that depend on a key, in the scheduler.
    wanted : callable
        Tells whether somebody asked for a key.
    movable : callable
        Tells whether a task may still be changed: no worker has heard of it.
    servable : collection
        Keys whose result can be brought back; of others only the checksum is known.
    """
    roles: dict[Key, Role] = {}

    def needs_inputs(key: Key) -> bool:
        return roles.get(key, Role.LEFT) is Role.LEFT

    for key in reversed(list(found)):
        if not movable(key):
            roles[key] = Role.LEFT
        elif not wanted(key) and not any(map(needs_inputs, users(key))):
            roles[key] = Role.DROPPED
        else:
            roles[key] = Role.RESTORED if key in servable else Role.LEFT
    return roles
