"""What all calls of one function, and all uses of one value, have in common in a graph.

A graph has few functions and many tasks. What depends on the function alone is worked out once per
pass, and so is a refusal: the memo keeps what it describes alive, so that its id is not reused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple

from seamless_dask_cache.errors import RefusedError
from seamless_dask_cache.identity.code import CodeIdentity, Identifier
from seamless_dask_cache.identity.content import contents
from seamless_dask_cache.identity.effects import RANDOM, WRITE, Effect, seed_parameter
from seamless_dask_cache.identity.files import ContentPath, path_candidates
from seamless_dask_cache.identity.freshness import Freshness
from seamless_dask_cache.identity.installed import dotted_names
from seamless_dask_cache.identity.policy import (
    CallPolicy,
    call_policy,
    hands_over_seeds,
    refuse_shuffle,
    sees_keyword_order,
    writer_name,
)


class Callee:
    """What was asked of a function once.

    Parameters
    ----------
    function : callable
        What a task calls.
    code : CodeIdentity
        Of the function, without what :func:`~seamless_dask_cache.cached` put around it.
    policy : CallPolicy or None
        What the user said of it.

    Attributes
    ----------
    code : CodeIdentity
        As given.
    checksum : str
        Of the code, as recipes have it.
    policy : CallPolicy or None
        As given.
    effects : tuple of Effect
        Of each call, whatever its arguments are.
    is_dask : bool
        It is one of Dask's own functions.
    """

    __slots__ = (
        "_contents",
        "_function",
        "_ordered",
        "_seed",
        "_seeded",
        "checksum",
        "code",
        "effects",
        "is_dask",
        "policy",
    )

    def __init__(self, function: Any, code: CodeIdentity, policy: CallPolicy | None) -> None:
        self._function = function if policy is None else policy.function
        self._ordered: bool | None = None
        self._contents: tuple[dict[str, str], list[ContentPath]] | None = None
        self.code = code
        self.checksum = code.checksum.hex()
        self.policy = policy
        self._seeded = hands_over_seeds(code.name)
        self._seed = seed_parameter(dotted_names(self._function)) if code.effects else None
        writes = write_effect(function)
        self.effects = self.caused([*code.effects, *([] if writes is None else [writes])])
        module = getattr(self._function, "__module__", None) or ""
        self.is_dask = module.split(".")[0] == "dask"

    def caused(self, effects: Iterable[Effect]) -> tuple[Effect, ...]:
        """Return those of some effects that a call has; it may take seeds as arguments."""
        return tuple(e for e in effects if not (self._seeded and e.kind == RANDOM))

    def effects_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Effect, ...]:
        """Return the effects of a call: a generator of random numbers is pure if it has a seed."""
        if self._seed is None:
            return self.effects
        seed = args[0] if args else kwargs.get(self._seed)
        if type(seed) is not int:  # what another task makes may be None
            return self.effects
        return tuple(effect for effect in self.effects if effect.kind != RANDOM)

    @property
    def version(self) -> Any:
        """What the user gave as the version of the function, or None."""
        return None if self.policy is None else self.policy.version

    def contents(self, identifier: Identifier) -> tuple[dict[str, str], list[ContentPath]]:
        """Return what lies in the files that the user named for it, looked at once per pass."""
        if self._contents is None:
            files = () if self.policy is None else self.policy.files
            self._contents = contents(files, identifier)
        return self._contents

    @property
    def ordered(self) -> bool:
        """Whether it sees in which order its keywords are given."""
        if self._ordered is None:
            self._ordered = sees_keyword_order(self._function)
        return self._ordered


class Literal(NamedTuple):
    """How a value stands in recipes, and what it brings along.

    Attributes
    ----------
    entry : object
        Its place in the recipe; never changed.
    codes : tuple of bytes
        Checksums of code in it.
    effects : tuple of Effect
        Of functions in it.
    files : tuple of str
        What it names as files.
    strings : tuple of str
        Strings in it, which may name files.
    expires : float or None
        Seconds after which results of functions in it count no more.
    """

    entry: Any
    codes: tuple[bytes, ...]
    effects: tuple[Effect, ...]
    files: tuple[str, ...]
    strings: tuple[str, ...]
    expires: float | None


class Lexicon:
    """Functions and values of one pass, each described once.

    Parameters
    ----------
    identifier : Identifier
        Memo tables of the pass.
    """

    def __init__(self, identifier: Identifier) -> None:
        self.identifier = identifier
        self.freshness = Freshness()
        self._callees: dict[int, tuple[Any, Callee | RefusedError]] = {}
        self._literals: dict[int, tuple[Any, Literal | RefusedError]] = {}
        # Whole families of tasks name the same code; they share the text, too.
        self._joined: dict[tuple[bytes, ...], str] = {}

    def callee(self, task: Any) -> Callee:
        """Describe what a task calls.

        Raises
        ------
        RefusedError
            When the function has no certain identity, or is asynchronous.
        """
        function = task.func
        known = self._callees.get(id(function))
        if known is None:
            known = self._callees[id(function)] = function, self._ask(task)
        found = known[1]
        if type(found) is not Callee:
            raise _again(found)
        return found

    def literal(self, value: Any) -> Literal:
        """Describe a value that is an argument.

        Raises
        ------
        RefusedError
            When it has no certain identity.
        """
        known = self._literals.get(id(value))
        if known is None:
            known = self._literals[id(value)] = value, self._describe(value)
        found = known[1]
        if type(found) is not Literal:
            raise _again(found)
        return found

    def join(self, codes: list[bytes]) -> str:
        """Return one checksum for all code that a task names.

        Parameters
        ----------
        codes : list of bytes
            In any order: that of the tasks inside of a fused one is another in each process.
        """
        key = tuple(codes)
        joined = self._joined.get(key)
        if joined is None:
            parts = sorted(set(codes))
            digest = hashlib.sha256(b"".join(parts)).hexdigest()
            joined = self._joined[key] = parts[0].hex() if len(parts) == 1 else digest
        return joined

    def _ask(self, task: Any) -> Callee | RefusedError:
        function = task.func
        try:
            if task.is_coro:
                raise RefusedError("an async function runs on the worker's event loop")
            refuse_shuffle(function)
            policy = call_policy(function)
            code = self._code(function if policy is None else policy.function)
        except RefusedError as error:
            return _again(error)
        return Callee(function, code, policy)

    def _describe(self, value: Any) -> Literal | RefusedError:
        try:
            if callable(value) and not isinstance(value, type):
                return self._describe_function(value)
            return self._describe_value(value)
        except RefusedError as error:
            return _again(error)

    def _describe_function(self, function: Any) -> Literal:
        writes = write_effect(function)
        code = self._code(function)
        effects = (*code.effects, *code.conditional)
        return Literal(
            {"code": code.checksum.hex(), "function": code.name},
            (code.checksum,),
            effects if writes is None else (writes, *effects),
            code.files,
            (),
            code.expires,
        )

    def _describe_value(self, value: Any) -> Literal:
        found = self.identifier.describe(value)
        kind = type(value)
        return Literal(
            {"type": f"{kind.__module__}.{kind.__qualname__}", "value": found.checksum.hex()},
            (found.checksum,) if found.has_code else (),
            found.effects,
            found.files,
            tuple(path_candidates(value)),
            found.expires,
        )

    def _code(self, function: Any) -> CodeIdentity:
        code = self.identifier.code(function)
        self.freshness.check(code)
        return code


def _again(refusal: Any) -> RefusedError:
    # The error that was raised holds frames, and what lies in them.
    return RefusedError(refusal.reason, refusal.path)


def write_effect(function: Any) -> Effect | None:
    """Return the effect of a function that is known to write, or None for any other."""
    name = writer_name(function)
    return None if name is None else Effect(WRITE, name, name)
