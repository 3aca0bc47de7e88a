"""Describing tasks: from a node of a graph to its recipe."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from seamless_dask_cache.dask_internals import (
    Alias,
    DataNode,
    Dict,
    GraphNode,
    Key,
    List,
    NestedContainer,
    Set,
    Task,
    TaskRef,
    Tuple,
    fused_graph,
    in_order,
)
from seamless_dask_cache.errors import RefusedError
from seamless_dask_cache.identity.code import CodeIdentity, Identifier
from seamless_dask_cache.identity.conditions import applying
from seamless_dask_cache.identity.effects import RANDOM, WRITE, Effect
from seamless_dask_cache.identity.files import FileStates, path_candidates
from seamless_dask_cache.identity.policy import (
    CallPolicy,
    call_policy,
    hands_over_seeds,
    refuse_shuffle,
    writer_name,
)
from seamless_dask_cache.identity.recipe import (
    PLAIN,
    RECIPE_VERSION,
    Identity,
    dump_recipe,
    producer_token,
)

Entry = Any
Upstream = Callable[[Key], Identity]


@dataclass
class Reach:
    """What describing one task met on its way: code, effects and the user's word on purity."""

    codes: list[bytes] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    lifted: bool = False
    expires: float | None = None


class Describer:
    """Describe tasks of one graph; not shared between threads.

    Parameters
    ----------
    identifier : Identifier
        Memo tables of this pass.
    allow_effects : frozenset of str
        Kinds of effects that do not refuse a task.
    trusted : bool
        Do not look at effects at all.
    """

    def __init__(
        self,
        identifier: Identifier,
        allow_effects: frozenset[str] = frozenset(),
        *,
        trusted: bool = False,
    ):
        self.identifier = identifier
        self.allow_effects = allow_effects
        self.trusted = trusted
        self.file_states = FileStates()
        self._policies: dict[int, tuple[Any, tuple[CallPolicy | None, Effect | None]]] = {}

    def identify(self, node: Any, upstream: Upstream, *, trusted: bool = False) -> Identity:
        """Return the identity of one node of a graph.

        Parameters
        ----------
        node : GraphNode
            A task, an alias or data.
        upstream : callable
            Gives the identity of each dependency; raises RefusedError for one that has none.
        trusted : bool
            The user said that this task may be cached, whatever its effects.

        Raises
        ------
        RefusedError
            With the reason, when the node has no certain identity or has an effect.
        """
        if type(node) is Alias:
            return upstream(node.target)
        if type(node) is DataNode:
            return self.data(node.value)
        reach = Reach()
        document, inner = self._task(node, upstream, reach)
        trusted = trusted or reach.lifted
        if not (trusted or self.trusted):
            self._check_effects(reach)
        code = _join(reach.codes)
        if inner is not None:
            return inner._replace(code=code, expires=reach.expires, trusted=trusted)
        recipe = dump_recipe(document)
        checksum = hashlib.sha256(recipe).hexdigest()
        return Identity(checksum, recipe, document["function"], code, reach.expires, trusted)

    def data(self, value: Any) -> Identity:
        """Return the identity of a literal value."""
        reach = Reach()
        entry = self._literal(value, reach)
        if isinstance(entry, dict) and set(entry) == {"type", "value"}:
            return Identity(entry["value"], None, "", "")
        text = orjson.dumps(entry, option=orjson.OPT_SORT_KEYS)
        return Identity(hashlib.sha256(b"literal" + text).hexdigest(), None, "", "")

    def _check_effects(self, reach: Reach) -> None:
        for effect in reach.effects:
            if effect.kind not in self.allow_effects:
                raise RefusedError(f"{effect.kind}: calls {effect.name}", effect.path)

    # Tasks ------------------------------------------------------------------------------------

    def _task(
        self, node: Any, upstream: Upstream, reach: Reach
    ) -> tuple[dict[str, Any], Identity | None]:
        if not isinstance(node, Task):
            raise RefusedError(f"unknown kind of graph node: {type(node).__qualname__}")
        fused = fused_graph(node)
        if fused is not None:
            return self._fused(node, fused, upstream, reach)
        if type(node) is not Task and not isinstance(node, NestedContainer):
            raise RefusedError(f"{type(node).__qualname__} keeps state outside the graph")
        return self._call(node, upstream, reach), None

    def _call(self, node: Any, upstream: Upstream, reach: Reach) -> dict[str, Any]:
        if node.is_coro:
            raise RefusedError("an async function runs on the worker's event loop")
        if isinstance(node, NestedContainer):
            return {"function": type(node).__name__, "args": self._container(node, upstream, reach)}
        policy, effect = self._policy(node.func)
        if effect is not None:
            reach.effects.append(effect)
        args, kwargs = node.args, node.kwargs
        if policy is not None:
            reach.lifted = True
            reach.expires = policy.expires
            args, kwargs = policy.normalize(args, kwargs)
        function = node.func if policy is None else policy.function
        code = self._code(function, reach)
        if code.conditional:
            reach.effects.extend(applying(code.conditional, function, node.args, node.kwargs))
        before = len(reach.effects)
        document: dict[str, Any] = {
            "recipe": RECIPE_VERSION,
            "function": code.name,
            "code": code.checksum.hex(),
            "args": [self._argument(a, upstream, reach) for a in args],
        }
        if kwargs:
            document["kwargs"] = {
                name: self._argument(value, upstream, reach) for name, value in kwargs.items()
            }
        if hands_over_seeds(code.name):
            reach.effects[before:] = [e for e in reach.effects[before:] if e.kind != RANDOM]
        self._world(node, reach, args, kwargs, document)
        if policy is not None and policy.version is not None:
            document["version"] = self._literal(policy.version, reach)
        return document

    def _world(
        self,
        node: Any,
        reach: Reach,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        document: dict[str, Any],
    ) -> None:
        # A producer with inputs (a frame made from delayed values) makes its data of those.
        if node.data_producer and not node.dependencies and node.key is not None:
            document["producer"] = producer_token(node.key)
        paths = [*reach.files, *path_candidates(args), *path_candidates(kwargs)]
        files = self.file_states.of(*paths) if paths else None
        if files:
            document["files"] = files

    def _fused(
        self, node: Any, fused: Any, upstream: Upstream, reach: Reach
    ) -> tuple[dict[str, Any], Identity | None]:
        # A fused task is what its inner graph computes, so it shares the identity of the same tasks
        # submitted unfused, and no inner key enters.
        known: dict[Key, Identity] = {}
        for name, source in fused.inputs.items():
            known[name] = self._input(source, upstream, reach)
        produces = False
        for key in in_order(fused.inner):
            inner_node = fused.inner[key]
            produces = produces or (inner_node.data_producer and isinstance(inner_node, Task))
            known[key] = self._inner(inner_node, known.__getitem__, reach)
        output = known[fused.output]
        if node.dependencies or not node.data_producer or produces or not output.recipe:
            return {}, output
        document = {"recipe": RECIPE_VERSION, "function": output.function, "args": [output.entry]}
        return document | {"producer": producer_token(node.key)}, None

    def _inner(self, node: Any, upstream: Upstream, reach: Reach) -> Identity:
        if type(node) is Alias:
            return upstream(node.target)
        if type(node) is DataNode:
            return self.data(node.value)
        document, inner = self._task(node, upstream, reach)
        if inner is not None:
            return inner
        recipe = dump_recipe(document)
        return Identity(hashlib.sha256(recipe).hexdigest(), recipe, document["function"], "")

    def _policy(self, function: Any) -> tuple[CallPolicy | None, Effect | None]:
        # A graph has few functions and many tasks, so both questions are asked once per function;
        # the memo keeps the function alive, so that its id cannot be reused.
        memo = self._policies.get(id(function))
        if memo is None:
            refuse_shuffle(function)
            memo = function, (call_policy(function), _write_effect(function))
            self._policies[id(function)] = memo
        return memo[1]

    # Arguments --------------------------------------------------------------------------------

    def _argument(self, value: Any, upstream: Upstream, reach: Reach) -> Entry:
        kind = type(value)
        if kind is str or kind is int or kind is bool or value is None:
            return value
        if kind is Alias:
            return upstream(value.target).entry
        if isinstance(value, TaskRef):
            return upstream(value.key).entry
        if isinstance(value, GraphNode):
            return self._nested(value, upstream, reach)
        return self._literal(value, reach)

    def _nested(self, node: Any, upstream: Upstream, reach: Reach) -> Entry:
        if type(node) is DataNode:
            return self._literal(node.value, reach)
        if isinstance(node, NestedContainer):
            return self._container(node, upstream, reach)
        document, inner = self._task(node, upstream, reach)
        return {"call": document} if inner is None else inner.entry

    def _container(self, node: Any, upstream: Upstream, reach: Reach) -> Entry:
        items = [self._argument(item, upstream, reach) for item in node.args]
        if isinstance(node, Dict):
            return {"dict": items}
        if isinstance(node, Set):
            return {"set": sorted(items, key=lambda i: orjson.dumps(i, option=PLAIN))}
        return {"list" if isinstance(node, List) else _container_name(node): items}

    def _input(self, source: Any, upstream: Upstream, reach: Reach) -> Identity:
        if isinstance(source, Alias):
            return upstream(source.target)
        if isinstance(source, TaskRef):
            return upstream(source.key)
        if isinstance(source, GraphNode):
            return self._inner(source, upstream, reach)
        return self.data(source)

    def _literal(self, value: Any, reach: Reach) -> Entry:
        kind = type(value)
        if kind is str or kind is int or kind is bool or value is None:
            return value
        if kind is float:
            return {"float": value.hex()} if value == value else self._value(value, reach)
        if callable(value) and not isinstance(value, type):
            effect = _write_effect(value)
            if effect is not None:
                reach.effects.append(effect)
            code = self._code(value, reach)
            reach.effects.extend(code.conditional)
            return {"code": code.checksum.hex(), "function": code.name}
        return self._value(value, reach)

    def _value(self, value: Any, reach: Reach) -> Entry:
        found = self.identifier.describe(value)
        if found.has_code:
            reach.codes.append(found.checksum)
        reach.effects.extend(found.effects)
        reach.files.extend(found.files)
        kind = type(value)
        return {"type": f"{kind.__module__}.{kind.__qualname__}", "value": found.checksum.hex()}

    def _code(self, function: Any, reach: Reach) -> CodeIdentity:
        code = self.identifier.code(function)
        reach.codes.append(code.checksum)
        reach.effects.extend(code.effects)
        reach.files.extend(code.files)
        return code


def _write_effect(function: Any) -> Effect | None:
    name = writer_name(function)
    return None if name is None else Effect(WRITE, name, name)


def _container_name(node: Any) -> str:
    if isinstance(node, Tuple):
        return "tuple"
    raise RefusedError(f"unknown kind of container: {type(node).__qualname__}")


def _join(codes: list[bytes]) -> str:
    if len(codes) == 1:
        return codes[0].hex()
    return hashlib.sha256(b"".join(codes)).hexdigest()
