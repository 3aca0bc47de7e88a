"""Early cutoff: what is behind a changed task is a hit when its inputs turn out as they were.

When a graph arrives, the database is asked for all calls on record that look like those which miss,
whatever their inputs were (they share a *skeleton*). As soon as the content of all inputs of such a
task is known, its shallow checksum says whether its result is known, too; and that may be the last
input of the next one: a wave that goes through the graph as far as everything is as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import NamedTuple

from seamless_dask_cache.dask_internals import Alias, Key
from seamless_dask_cache.database import LookupAnswer
from seamless_dask_cache.identity.graph import is_task
from seamless_dask_cache.identity.recipe import Identity
from seamless_dask_cache.identity.shallow import shallow_checksum, skeleton_checksum

from .contents import Content, Held, together
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
    inputs : dict
        Key to its inputs that other tasks make: their keys to their transformation checksums.
    users : dict
        Key to the keys that take it as an input.
    order : dict
        Key to its place in the graph, dependencies first.
    contents : dict
        Key to content, of inputs and of what was found, as far as they are known.

    Notes
    -----
    Contents go by key: of two inputs with one transformation, each may have read a file of its own
    moment.
    """

    known: dict[Key, Identity] = field(default_factory=dict)
    inner: Mapping[str, Identity] = field(default_factory=dict)
    rows: dict[Key, Rows] = field(default_factory=dict)
    inputs: dict[Key, dict[Key, str]] = field(default_factory=dict)
    users: dict[Key, list[Key]] = field(default_factory=dict)
    order: dict[Key, int] = field(default_factory=dict)
    contents: dict[Key, Content] = field(default_factory=dict)

    def add(self, key: Key, identity: Identity, rows: Rows, inputs: dict[Key, str]) -> None:
        """Hope for a task."""
        self.known[key], self.rows[key], self.inputs[key] = identity, rows, inputs
        for source in inputs:
            self.users.setdefault(source, []).append(key)

    def drop(self, key: Key) -> None:
        """Hope no more for a task; its content may yet be known, as that of an input."""
        self.known.pop(key, None)

    def answer(self, key: Key) -> LookupAnswer | None:
        """Return what is on record for a task with inputs of this content, if anything is."""
        results: dict[str, str] = {}
        for source, transformation in self.inputs[key].items():
            content = self.contents.get(source)
            if content is None or results.setdefault(transformation, content[0]) != content[0]:
                return None
        recipe = self.known[key].recipe or b""
        shallow = shallow_checksum(recipe, results, self.inner)
        return None if shallow is None else self.rows[key].get(shallow)

    def wave(
        self, start: Mapping[Key, Content], certain: Callable[[Key], bool] | None = None
    ) -> dict[Key, LookupAnswer]:
        """Find the tasks that need not run, now that the content of some inputs is known.

        Parameters
        ----------
        start : mapping
            Key to content, of what has just become known.
        certain : callable, optional
            Tells of a task whether its inputs still are what they were found to be.

        Returns
        -------
        dict
            Key to answer, in the order of the graph.
        """
        found: dict[Key, LookupAnswer] = {}
        self.contents.update(start)
        stack = list(start)
        while stack:
            for key in self.users.get(stack.pop(), ()):
                hopeless = key in self.contents or key not in self.known
                answer = None if hopeless else self.answer(key)
                if answer is not None and (certain is None or certain(key)):
                    found[key] = answer
                    files = together(self.contents[source].files for source in self.inputs[key])
                    self.contents[key] = Content(answer.result, files)
                    stack.append(key)
        return {key: found[key] for key in sorted(found, key=self.order.__getitem__)}


class Hopeful(NamedTuple):
    """A task that misses.

    Attributes
    ----------
    skeleton : str
    inputs : dict
        Key to transformation checksum, of its inputs that other tasks make.
    """

    skeleton: str
    inputs: dict[Key, str]


def hopefuls_of(submission: Submission) -> dict[Key, Hopeful]:
    """Return the tasks that miss, as far as early cutoff applies to them.

    A result that is too old after a while is not served for its content; and a task that nobody
    identified has no recipe.
    """
    identities, identifier = submission.identities, submission.identifier
    versions = "exact" if identifier is None else identifier.versions
    found = {}
    for key, identity in identities.known.items():
        hopeful = identity.recipe and identity.expires is None and is_task(submission.graph[key])
        if hopeful and identity.checksum not in submission.answers:
            inputs = _made_inputs(submission, key)
            checksums = set(inputs.values())
            recipe = identity.recipe or b""
            skeleton = skeleton_checksum(recipe, checksums, identities.inner, versions)
            if skeleton is not None:
                found[key] = Hopeful(skeleton, inputs)
    return found


def hopes_of(
    submission: Submission, hopefuls: Mapping[Key, Hopeful], rows: Mapping[str, Rows]
) -> Hopes | None:
    """Return what may be spared of a graph; None when nothing on record looks like it."""
    order = {key: place for place, key in enumerate(submission.order)}
    hopes = Hopes(inner=submission.identities.inner, order=order)
    for key, (skeleton, inputs) in hopefuls.items():
        if skeleton in rows:
            hopes.add(key, submission.identities.known[key], rows[skeleton], inputs)
    return hopes if hopes.known else None


def _made_inputs(submission: Submission, key: Key) -> dict[Key, str]:
    """Return the inputs that tasks make, with their transformations; of aliases, what they mean."""
    graph, found = submission.graph, {}
    for source in graph[key].dependencies:
        node = graph.get(source)
        while isinstance(node, Alias):
            source = node.target
            node = graph.get(source)
        entry = submission.identities.known.get(source) or submission.externals.get(source)
        if isinstance(entry, Identity) and entry.recipe is not None:
            found[source] = entry.checksum
    return found


def settle(submission: Submission, hopes: Hopes, held: Held) -> None:
    """Serve what is known by the content of its inputs before anything runs.

    Parameters
    ----------
    submission : Submission
        Looked up. Gets answers, and the hopes that are left.
    hopes : Hopes
        What may be spared.
    held : mapping
        Key to content, of what the scheduler holds, or will hold by then; None where that is not
        known. Such a key is what it is there, and not what is on record for it.
    """
    known = submission.identities.known

    def content_of(key: Key) -> Content | None:
        if key in held:
            return held[key]
        identity = known.get(key)
        answer = None if identity is None else submission.answers.get(identity.checksum)
        return None if answer is None else Content(answer.result, answer.files or {})

    for key in held:
        hopes.drop(key)
    new = {key: content_of(key) for key in hopes.users if key not in hopes.contents}
    found = hopes.wave({key: content for key, content in new.items() if content is not None})
    _serve(submission, hopes, found)
    submission.hopes = hopes if hopes.known.keys() - hopes.contents.keys() else None


def _serve(submission: Submission, hopes: Hopes, found: Mapping[Key, LookupAnswer]) -> None:
    answers, contradictory = submission.answers, set()
    for key, answer in found.items():
        checksum, files = hopes.known[key].checksum, hopes.contents[key].files
        if answer.present and files is not None:
            mine = answers.setdefault(checksum, replace(answer, files=dict(files) or None))
            submission.by_content.add(checksum)
            if mine.result != answer.result:
                contradictory.add(checksum)
    # Of two results of one transformation nobody knows which one a third task would have.
    for checksum in contradictory:
        submission.by_content.discard(checksum)
        del answers[checksum]


def served(submission: Submission) -> dict[Key, Content]:
    """Return the content of what a graph gets from the database; for graphs that come after it."""
    answers, found = submission.answers, {}
    for key, identity in submission.identities.known.items():
        answer = answers.get(identity.checksum)
        if answer is not None:
            found[key] = Content(answer.result, answer.files or {})
    return found


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
