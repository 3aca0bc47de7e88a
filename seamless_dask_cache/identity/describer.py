"""Describing tasks: from a node of a graph to its recipe."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Any

import orjson

from seamless_dask_cache.dask_internals import (
    Alias,
    DataNode,
    FusedGraph,
    GraphNode,
    Key,
    NestedContainer,
    Task,
    TaskRef,
    container_made_by,
    fused_graph,
    in_order,
)
from seamless_dask_cache.errors import RefusedError
from seamless_dask_cache.identity.callee import Callee, Lexicon
from seamless_dask_cache.identity.code import Identifier
from seamless_dask_cache.identity.conditions import applying
from seamless_dask_cache.identity.files import (
    ContentPath,
    FileStates,
    identify_open_files,
)
from seamless_dask_cache.identity.inline import INLINED, inlined
from seamless_dask_cache.identity.origins import add_origin, add_patches
from seamless_dask_cache.identity.patterns import Pattern, find_pattern, made_of
from seamless_dask_cache.identity.reach import Reach, Scope
from seamless_dask_cache.identity.recipe import (
    PLAIN,
    RECIPE_VERSION,
    Identity,
    dump_recipe,
    producer_token,
)

Entry = Any
Upstream = Callable[[Key], Identity]

_CONTAINERS: dict[type, str] = {list: "list", tuple: "tuple", set: "set", dict: "dict"}


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

    Attributes
    ----------
    inner : dict
        Transformation checksum to identity of what was met inside fused tasks.
    """

    def __init__(
        self,
        identifier: Identifier,
        allow_effects: frozenset[str] = frozenset(),
        *,
        trusted: bool = False,
    ):
        self.allow_effects = allow_effects
        self.trusted = trusted
        self.lexicon = Lexicon(identifier)
        self.file_states = FileStates()
        self.inner: dict[str, Identity] = {}
        self._patterns: dict[tuple[Any, ...], tuple[Any, tuple[Pattern | None] | None]] = {}

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
        kind = type(node)
        if kind is Alias:
            return upstream(node.target)
        if kind is DataNode:
            return self.data(node.value, trusted=trusted)
        reach = Reach()
        reach.trusted = trusted or self.trusted
        document, made = self._task(node, upstream, reach)
        trusted = trusted or reach.lifted
        if reach.effects:
            self._check_effects(reach.effects, trusted)
        code = self.lexicon.join(reach.codes)
        covers = tuple(reach.covers.items()) if reach.covers else ()
        if made is not None:
            return Identity(*made[:3], code, reach.expires, trusted, covers)
        recipe = dump_recipe(document)
        checksum = hashlib.sha256(recipe).hexdigest()
        name = document["function"]
        return Identity(checksum, recipe, name, code, reach.expires, trusted, covers)

    def data(self, value: Any, *, trusted: bool = False) -> Identity:
        """Return the identity of data: its content, and the state of the files that it names.

        Raises
        ------
        RefusedError
            When it has no certain identity, or brings code with an effect along.
        """
        reach = Reach()
        identity = self._data(value, reach)
        self._check_effects(reach.effects, trusted)
        return identity

    def content(self, value: Any) -> str:
        """Return the value checksum of data that stays as it is, whatever happens to files.

        Raises
        ------
        RefusedError
            When it names files, or has no certain identity.
        """
        identity = self.data(value)
        if identity.covers:
            raise RefusedError("it names files, which may change")
        return identity.checksum

    def _data(self, value: Any, reach: Reach) -> Identity:
        own = Scope()
        document = {"data": self._literal(value, reach, own)}
        self._add_files(document, own, reach)
        reach.effects += own.effects
        checksum = hashlib.sha256(dump_recipe(document)).hexdigest()
        covers = tuple(reach.covers.items())
        return Identity(checksum, None, "", self.lexicon.join(reach.codes), covers=covers)

    def _check_effects(self, effects: Iterable[Any], trusted: bool) -> None:
        if trusted or self.trusted:
            return
        for effect in effects:
            if effect.kind not in self.allow_effects:
                raise RefusedError(f"{effect.kind}: calls {effect.name}", effect.path)

    # Tasks ------------------------------------------------------------------------------------

    def _task(
        self, node: Any, upstream: Upstream, reach: Reach
    ) -> tuple[dict[str, Any], Identity | None]:
        if type(node) is Task:
            fused = fused_graph(node)
            if fused is not None:
                return self._fused(node, fused, upstream, reach)
            return self._call(node, upstream, reach), None
        if isinstance(node, NestedContainer):
            return self._container_node(node, upstream, reach), None
        if isinstance(node, Task):
            raise RefusedError(f"{type(node).__qualname__} keeps state outside the graph")
        raise RefusedError(f"unknown kind of graph node: {type(node).__qualname__}")

    def _container_node(self, node: Any, upstream: Upstream, reach: Reach) -> dict[str, Any]:
        own, kind = Scope(), container_made_by(node)
        if kind is None:
            raise RefusedError(f"unknown kind of container: {type(node).__qualname__}")
        made = self._container(kind, node.args, upstream, reach, own)
        document = {"function": type(node).__name__, "args": made}
        self._add_files(document, own, reach)
        reach.effects += own.effects
        return document

    def _call(self, node: Any, upstream: Upstream, reach: Reach) -> dict[str, Any]:
        callee, args, kwargs = self.lexicon.callee(node), node.args, node.kwargs
        if callee.policy is not None:
            args, kwargs = callee.policy.normalize(args, kwargs)
        own = Scope()
        code = callee.code
        reach.codes.append(code.checksum)
        document: dict[str, Any] = {
            "recipe": RECIPE_VERSION,
            "function": code.name,
            "code": callee.checksum,
            "args": self._arguments(args, upstream, reach, own),
        }
        if kwargs:
            values = self._arguments(kwargs.values(), upstream, reach, own)
            named = zip(kwargs, values, strict=True)
            # Where the callee sees the order of keywords, it counts.
            document["kwargs"] = list(map(list, named)) if callee.ordered else dict(named)
        if callee.policy is not None:
            self._add_word(document, callee, reach, own)
        own.files += code.files
        add_patches(document, self.lexicon, reach, own)
        self._judge(node, callee, reach, own)
        self._add_files(document, own, reach)
        add_origin(document, node, callee, reach, own)
        return document

    def _judge(self, node: Any, callee: Callee, reach: Reach, own: Scope) -> None:
        reach.calls += 1
        reach.expire(callee.code.expires)
        if callee.policy is not None:
            # The user's word covers this call, and not those that make its inputs.
            reach.lifted_calls += 1
            reach.expire(callee.policy.expires)
            return
        reach.effects += callee.effects_of(node.args, node.kwargs)
        if own.effects:
            reach.effects += callee.caused(own.effects)
        conditional = callee.code.conditional
        if conditional:
            found = applying(conditional, node.func, node.args, node.kwargs)
            reach.effects += callee.caused(found)

    def _add_files(self, document: dict[str, Any], own: Scope, reach: Reach) -> None:
        if not own.files and not own.strings:
            return
        found = self.file_states.of(*own.files, *own.strings)
        if found:
            document["files"] = found
            reach.covers.update(found)
        for path in own.files:
            if type(path) is ContentPath:
                reach.covers[path] = path.state or ""

    def _add_word(self, document: dict[str, Any], callee: Callee, reach: Reach, own: Scope) -> None:
        found, paths = callee.contents(self.lexicon.identifier)
        if found:
            document["contents"] = found
            own.files += paths
        if callee.version is not None:
            said = Scope()
            document["version"] = self._literal(callee.version, reach, said)
            reach.effects += said.effects

    def _fused(
        self, node: Any, fused: FusedGraph, upstream: Upstream, reach: Reach
    ) -> tuple[dict[str, Any], Identity | None]:
        # A fused task is what its inner graph computes, so it shares the identity of the same tasks
        # submitted unfused, and no inner key enters.
        reach.need_inputs()
        inputs = [self._input(source, upstream, reach) for source in fused.inputs.values()]
        output = self._output(fused, inputs, reach)
        if node.dependencies or not node.data_producer or not output.recipe or _produces(fused):
            return {}, output
        document = {"recipe": RECIPE_VERSION, "function": output.function, "args": [output.entry]}
        return document | {"producer": producer_token(node.key)}, None

    def _output(self, fused: FusedGraph, inputs: list[Identity], reach: Reach) -> Identity:
        pattern = self._pattern(fused, inputs) if inputs else None
        if pattern is not None:
            reach.include(pattern.reach)
            return pattern.filled(inputs, self.inner)
        known = dict(zip(fused.inputs, inputs, strict=True))
        for key in in_order(fused.inner, known):
            known[key] = self._inner_identity(fused.inner[key], known.__getitem__, reach)
        output: Identity = known[fused.output]
        return output

    def _pattern(self, fused: FusedGraph, inputs: list[Identity]) -> Pattern | None:
        """Return the pattern of an inner graph that occurs again; most occur once."""
        are_data = tuple([identity.recipe is None for identity in inputs])
        key = (id(fused.inner), fused.output, tuple(fused.inputs), *are_data)
        if key not in self._patterns:
            self._patterns[key] = fused.inner, None
            return None
        known = self._patterns[key][1]
        if known is None:
            known = (find_pattern(fused, are_data, self._inner, self.inner),)
            self._patterns[key] = fused.inner, known
        return known[0]

    def _inner_identity(self, node: Any, upstream: Upstream, reach: Reach) -> Identity:
        document, made = self._inner(node, upstream, reach)
        if made is not None:
            return made
        made = made_of(document)
        return self.inner.setdefault(made.checksum, made)

    def _inner(
        self, node: Any, upstream: Upstream, reach: Reach
    ) -> tuple[dict[str, Any], Identity | None]:
        kind = type(node)
        if kind is Alias:
            return {}, upstream(node.target)
        if kind is DataNode:
            return {}, self._inner_data(node.value, reach)
        return self._task(node, upstream, reach)

    def _inner_data(self, value: Any, reach: Reach) -> Identity:
        inner = Reach()
        identity = self._data(value, inner)
        reach.include(inner)
        return identity

    # Arguments --------------------------------------------------------------------------------

    def _arguments(
        self, values: Iterable[Any], upstream: Upstream, reach: Reach, own: Scope
    ) -> list[Entry]:
        entries: list[Entry] = []
        for value in values:
            kind = type(value)
            if kind is TaskRef:
                entries.append(_named(upstream(value.key), reach))
            elif kind is int:
                entries.append(value)
            elif kind is Alias:
                entries.append(_named(upstream(value.target), reach))
            elif isinstance(value, GraphNode):
                entries.append(self._nested(value, upstream, reach, own))
            elif isinstance(value, TaskRef):
                entries.append(_named(upstream(value.key), reach))
            else:
                entries.append(self._literal(value, reach, own))
        return entries

    def _nested(self, node: Any, upstream: Upstream, reach: Reach, own: Scope) -> Entry:
        if type(node) is DataNode:
            return self._literal(node.value, reach, own)
        container = container_made_by(node)
        if container is not None:
            return self._container(container, node.args, upstream, reach, own)
        document, inner = self._task(node, upstream, reach)
        return {"call": document} if inner is None else inner.entry

    def _container(
        self, kind: type, values: Any, upstream: Upstream, reach: Reach, own: Scope
    ) -> Entry:
        items = self._arguments(values, upstream, reach, own)
        if kind is set:
            reach.need_inputs()
            items.sort(key=lambda item: orjson.dumps(item, option=PLAIN))
        return {_CONTAINERS[kind]: items}

    def _input(self, source: Any, upstream: Upstream, reach: Reach) -> Identity:
        if isinstance(source, (TaskRef, Alias)):
            identity = upstream(source.key if isinstance(source, TaskRef) else source.target)
            reach.inherit(identity)
            return identity
        if isinstance(source, GraphNode):
            return self._inner_identity(source, upstream, reach)
        return self._inner_data(source, reach)

    def _literal(self, value: Any, reach: Reach, own: Scope) -> Entry:
        kind = type(value)
        if kind is str:
            own.strings.append(value)
            return value
        if kind is int or kind is bool or value is None:
            return value
        if kind is float and value == value:
            return {"float": value.hex()}
        if kind in INLINED:
            entry = inlined(value, own.strings)
            if entry is not None:
                return entry
        found = self.lexicon.literal(value)
        reach.codes += found.codes
        reach.expire(found.expires)
        own.effects += found.effects
        own.files += found.files
        own.strings += found.strings
        return found.entry


def _produces(fused: FusedGraph) -> bool:
    # An inner producer has its own token in its recipe, and data its content.
    return any(node.data_producer for node in fused.inner.values())


def _named(identity: Identity, reach: Reach) -> Entry:
    if identity.expires is not None or identity.covers:
        reach.inherit(identity)
    return {"value" if identity.recipe is None else "transformation": identity.checksum}


identify_open_files()
