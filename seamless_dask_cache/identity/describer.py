"""Describing tasks: from a node of a graph to its recipe."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
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
from seamless_dask_cache.identity.files import (
    FileStates,
    identify_open_files,
    path_candidates,
    refuse_remote,
)
from seamless_dask_cache.identity.freshness import Freshness
from seamless_dask_cache.identity.policy import (
    call_policy,
    hands_over_seeds,
    refuse_shuffle,
    sees_keyword_order,
    writer_name,
)
from seamless_dask_cache.identity.reach import Asked, Reach, Scope
from seamless_dask_cache.identity.recipe import (
    PLAIN,
    RECIPE_VERSION,
    Identity,
    dump_recipe,
    producer_token,
)

Entry = Any
Upstream = Callable[[Key], Identity]


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
        self.freshness = Freshness()
        self._policies: dict[int, tuple[Any, Asked]] = {}

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
            return self.data(node.value, trusted=trusted)
        reach = Reach()

        def inherited(key: Key) -> Identity:
            identity = upstream(key)
            reach.expire(identity.expires)
            return identity

        document, inner = self._task(node, inherited, reach)
        trusted = trusted or reach.lifted
        self._check_effects([*reach.effects, *reach.own.effects], trusted)
        code = _join(reach.codes)
        if inner is not None:
            return inner._replace(code=code, expires=reach.expires, trusted=trusted)
        recipe = dump_recipe(document)
        checksum = hashlib.sha256(recipe).hexdigest()
        return Identity(checksum, recipe, document["function"], code, reach.expires, trusted)

    def data(self, value: Any, *, trusted: bool = False) -> Identity:
        """Return the identity of data: its content, and the state of the files that it names.

        Raises
        ------
        RefusedError
            When it has no certain identity, or brings code with an effect along.
        """
        reach = Reach()
        entry = self._literal(value, reach)
        self._check_effects(reach.own.effects, trusted)
        document = {"data": entry, **self._files(reach.own)}
        checksum = hashlib.sha256(dump_recipe(document)).hexdigest()
        return Identity(checksum, None, "", _join(reach.codes))

    def content(self, value: Any) -> str:
        """Return the value checksum of data that stays as it is, whatever happens to files.

        Raises
        ------
        RefusedError
            When it names files, or has no certain identity.
        """
        reach = Reach()
        self._literal(value, reach)
        if self._files(reach.own):
            raise RefusedError("it names files, which may change")
        return self.data(value).checksum

    def _check_effects(self, effects: list[Effect], trusted: bool) -> None:
        if trusted or self.trusted:
            return
        for effect in effects:
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
        outer, reach.own = reach.own, Scope()
        try:
            return self._described(node, upstream, reach)
        finally:
            reach.effects += reach.own.effects
            reach.own = outer

    def _described(self, node: Any, upstream: Upstream, reach: Reach) -> dict[str, Any]:
        asked = self._policy(node.func)
        policy = asked.policy
        function, args, kwargs = node.func, node.args, node.kwargs
        if policy is not None:
            function = policy.function
            args, kwargs = policy.normalize(args, kwargs)
        code = self._code(function, reach)
        document: dict[str, Any] = {
            "recipe": RECIPE_VERSION,
            "function": code.name,
            "code": code.checksum.hex(),
            "args": [self._argument(a, upstream, reach) for a in args],
        }
        if kwargs:
            named = [[n, self._argument(v, upstream, reach)] for n, v in kwargs.items()]
            # Where the callee sees the order of keywords, it counts.
            document["kwargs"] = named if asked.ordered else dict(named)
        self._judge(node, code, asked, reach)
        document |= self._files(reach.own)
        # A producer with inputs (a frame made from delayed values) makes its data of those.
        if node.data_producer and not node.dependencies and node.key is not None:
            document["producer"] = producer_token(node.key)
        elif not asked.is_dask:
            refuse_remote(reach.own.strings)
        if policy is not None and policy.version is not None:
            document["version"] = self._literal(policy.version, reach)
        return document

    def _judge(self, node: Any, code: CodeIdentity, asked: Asked, reach: Reach) -> None:
        own = reach.own
        reach.calls += 1
        if asked.policy is not None:
            # The user's word covers this call, and not those that make its inputs.
            own.effects.clear()
            reach.lifted_calls += 1
            reach.expire(asked.policy.expires)
            return
        if asked.effect is not None:
            own.effects.append(asked.effect)
        if code.conditional:
            own.effects += applying(code.conditional, node.func, node.args, node.kwargs)
        if hands_over_seeds(code.name):
            own.effects[:] = [effect for effect in own.effects if effect.kind != RANDOM]

    def _files(self, own: Scope) -> dict[str, Any]:
        found = self.file_states.of(*own.files, *own.strings)
        return {"files": found} if found else {}

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
            return self._inner_data(node.value, reach)
        document, inner = self._task(node, upstream, reach)
        if inner is not None:
            return inner
        recipe = dump_recipe(document)
        return Identity(hashlib.sha256(recipe).hexdigest(), recipe, document["function"], "")

    def _inner_data(self, value: Any, reach: Reach) -> Identity:
        identity = self.data(value, trusted=True)
        outer, reach.own = reach.own, Scope()
        self._literal(value, reach)
        reach.effects += reach.own.effects
        reach.own = outer
        return identity

    def _policy(self, function: Any) -> Asked:
        # A graph has few functions and many tasks, so all that depends on the function alone is
        # asked once; the memo keeps the function alive, so that its id cannot be reused.
        memo = self._policies.get(id(function))
        if memo is None:
            refuse_shuffle(function)
            policy = call_policy(function)
            target = function if policy is None else policy.function
            asked = Asked(
                policy,
                _write_effect(function),
                sees_keyword_order(target),
                (getattr(target, "__module__", None) or "").split(".")[0] == "dask",
            )
            memo = self._policies[id(function)] = function, asked
        return memo[1]

    # Arguments --------------------------------------------------------------------------------

    def _argument(self, value: Any, upstream: Upstream, reach: Reach) -> Entry:
        kind = type(value)
        if kind is str:
            reach.own.strings.append(value)
            return value
        if kind is int or kind is bool or value is None:
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
        if kind is str:
            reach.own.strings.append(value)
            return value
        if kind is int or kind is bool or value is None:
            return value
        if kind is float:
            return {"float": value.hex()} if value == value else self._value(value, reach)
        if callable(value) and not isinstance(value, type):
            effect = _write_effect(value)
            if effect is not None:
                reach.own.effects.append(effect)
            code = self._code(value, reach)
            reach.own.effects += code.conditional
            return {"code": code.checksum.hex(), "function": code.name}
        return self._value(value, reach)

    def _value(self, value: Any, reach: Reach) -> Entry:
        found = self.identifier.describe(value)
        if found.has_code:
            reach.codes.append(found.checksum)
        reach.own.effects += found.effects
        reach.own.files += found.files
        reach.own.strings += path_candidates(value)
        kind = type(value)
        return {"type": f"{kind.__module__}.{kind.__qualname__}", "value": found.checksum.hex()}

    def _code(self, function: Any, reach: Reach) -> CodeIdentity:
        code = self.identifier.code(function)
        reach.codes.append(code.checksum)
        reach.own.effects += code.effects
        reach.own.files += code.files
        self.freshness.check(code)
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


identify_open_files()
