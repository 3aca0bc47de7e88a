"""Random programs that are edited while their results are on record.

The suite runs a few of them. SEAMLESS_DASK_CACHE_SOAK_SECONDS=600 runs as many as fit into ten
minutes; SEAMLESS_DASK_CACHE_SOAK_SEED says where they begin.
"""

from __future__ import annotations

import os
import random
import time

import dask
import numpy as np
import pytest
from clusters import cluster_of
from dask._task_spec import DataNode, convert_legacy_graph, fuse_linear_task_spec
from distributed import Client
from test_early_cutoff import STORE_ALL

import seamless_dask_cache as sdc

FIRST_SEED = int(os.environ.get("SEAMLESS_DASK_CACHE_SOAK_SEED", "1"))
SECONDS = float(os.environ.get("SEAMLESS_DASK_CACHE_SOAK_SECONDS", "0"))
FEWEST = 2
STEPS = 8
TEXTS = ["old", "new", "o"]

# Of every function there is an edit that gives the same in other words, and one that does not. The
# number in their first line makes each edit a function of its own.
OF_ONE = {
    "increment": ("num(x) + 1", "1 + num(x)", "num(x) + 2"),
    "half": ("num(x) // 2", "num(x) >> 1", "num(x) // 3"),
    "rest": ("num(x) % 3", "num(x) - num(x) // 3 * 3", "num(x) % 2"),
    "table": ("np.arange(6).reshape(2, 3) + num(x)",) * 2
    + ("np.asfortranarray(np.arange(6).reshape(2, 3) + num(x))",),
    "order": ("np.asarray(x).ravel(order='K').tolist()", "list(np.asarray(x).ravel('K'))", "7"),
    "zero": ("float('nan') if num(x) % 2 else -0.0", "[-0.0, float('nan')][num(x) % 2]", "0.0"),
    "text": ("repr(x)", "f'{x!r}'", "type(x).__name__"),
    "large": ("np.arange(3000) + num(x)", "num(x) + np.arange(3000)", "np.arange(3000)"),
    "twins": ("(lambda a: [a, a])([num(x)])",) * 2 + ("[[num(x)], [num(x)]]",),
    "is_twin": ("type(x) is list and len(x) > 1 and x[0] is x[1]",) * 2 + ("len(repr(x))",),
    "name": ("[paths[num(x) % 2]]", "paths[num(x) % 2:][:1]", "paths[:1]"),
    "read": ("text_of(x[0]) if is_name(x) else 'none'",) * 2
    + ("text_of(x[0], 1) if is_name(x) else 'none'",),
    "read_own": ("text_of(''.join(parts))", "text_of(str().join(parts))", "'closed'"),
}
OF_TWO = {
    "plus": ("num(x) + num(y)", "num(y) + num(x)", "num(x) - num(y)"),
    "pair": ("(x, y)", "tuple([x, y])", "(y, x)"),
    "named": ("{'b': x, 'a': y}", "dict(b=x, a=y)", "{'a': y, 'b': x}"),
}


def num(x):
    """Some integer for every value."""
    if isinstance(x, np.ndarray):
        return int(x.sum())
    if isinstance(x, dict):
        return num(list(x.values()))
    if isinstance(x, (list, tuple)):
        return sum(num(item) * (place + 1) for place, item in enumerate(x))
    if isinstance(x, str):
        return sum(map(ord, x))
    return 0 if x != x else int(x)


def text_of(name, size=-1):
    with open(name) as file:
        return file.read(size)


def is_name(x):
    return type(x) is list and len(x) == 1 and type(x[0]) is str and "/" in x[0]


def seen(x):
    """Whatever a function could see of a value, to be compared."""
    if isinstance(x, np.ndarray):
        return x.dtype.str, x.shape, x.strides, x.flags.writeable, x.tobytes()
    if isinstance(x, dict):
        return "dict", [(key, seen(value)) for key, value in x.items()]
    if isinstance(x, (list, tuple)):
        # Of tuples, the items come from other tasks: whether they are one object is up to chance.
        twins = [type(item) is list and item is x[0] for item in x if type(x) is list]
        return type(x), [seen(item) for item in x], twins
    return type(x), repr(x)


class Program:
    """A random graph whose functions are edited, and the files that it reads."""

    def __init__(self, rng, folder, seed):
        self.rng, self.seed, self.folder = rng, seed, folder
        self.nodes = [self._node(place) for place in range(rng.randrange(3, 12))]
        self.edits = [(rng.choice([0, 0, 1]), 0)] * len(self.nodes)
        for _ in range(6):
            self.rewrite_a_file()

    def _node(self, place):
        rng, kind = self.rng, self.rng.random()
        if place and kind < 0.15:
            return ("alias", rng.randrange(place))
        if place and kind < 0.5:
            return (rng.choice(list(OF_TWO)), rng.randrange(place), rng.randrange(place))
        if place and kind < 0.9:
            return (rng.choice(list(OF_ONE)), rng.randrange(place))
        return (rng.choice(list(OF_ONE)), None)

    def rewrite_a_file(self):
        (self.folder / f"{self.rng.randrange(3)}.txt").write_text(self.rng.choice(TEXTS))

    def edit(self, step):
        for place in self.rng.sample(range(len(self.nodes)), 2):
            self.edits[place] = (self.rng.choice([0, 0, 1, 1, 1, 2]), step)

    def function(self, place):
        kind, (version, edit) = self.nodes[place][0], self.edits[place]
        body = {**OF_ONE, **OF_TWO}[kind][version]
        parameters = "x, y" if kind in OF_TWO else "x"
        namespace = {
            "np": np,
            "num": num,
            "is_name": is_name,
            "text_of": text_of,
            "paths": [str(self.folder / f"{n}.txt") for n in range(2)],
            "parts": list(str(self.folder / "2.txt")),
        }
        source = f"def f({parameters}):\n    edit = {self.seed, place, edit}\n    return {body}"
        exec(source, namespace)
        return namespace["f"]

    def graph(self, prefix, held):
        """The graph; of the places that are held, it takes what they are held as."""
        graph = {}
        for place, node in enumerate(self.nodes):
            inputs = [held.get(p, f"{prefix}{p}") for p in node[1:] if p is not None]
            if place in held:
                continue
            if node[0] == "alias" and node[1] not in held:
                graph[f"{prefix}{place}"] = inputs[0]
            elif node[0] == "alias":
                graph[f"{prefix}{place}"] = (num, inputs[0])
            else:
                graph[f"{prefix}{place}"] = (self.function(place), *(inputs or [place]))
        return graph


class Submitted:
    """Futures of one graph, and what they should be."""

    def __init__(self, program, clients, prefix, before):
        rng = program.rng
        held = {} if before is None else before.futures
        free = [place for place in range(len(program.nodes)) if place not in held]
        places = rng.sample(free, min(len(free), rng.randrange(1, 4)))
        graph = program.graph(prefix, held)
        keys = [f"{prefix}{place}" for place in places]
        values = {} if before is None else before.expected
        if keys and not held and rng.random() < 0.3:
            graph = fuse_linear_task_spec(convert_legacy_graph(graph), set(keys))
        made = self._computed(program, keys, prefix, values)
        self.expected = dict(zip(places, made, strict=True))
        # Several clients may ask for the same keys.
        some = clients if rng.random() < 0.3 else [rng.choice(clients)]
        self.asked = [client.get(graph, keys, sync=False) if keys else [] for client in some]
        self.futures = dict(zip(places, self.asked[0], strict=True))

    @staticmethod
    def _computed(program, keys, prefix, values):
        graph = program.graph(prefix, {place: f"held-{place}" for place in values})
        # A bare list would be made anew, and what it holds twice would be two things then.
        held = {f"held-{place}": value for place, value in values.items()}
        given = {name: DataNode(name, value) for name, value in held.items()}
        return [dask.get({**graph, **given}, key) for key in keys]

    def check(self):
        for futures in self.asked:
            for expected, future in zip(self.expected.values(), futures, strict=True):
                assert seen(future.result(timeout=60)) == seen(expected)
        del self.asked[1:]


def check_all(batch):
    for submitted in batch:
        submitted.check()


def run(seed, clients, cache, folder):
    """Run one random program for some steps, several graphs at a time."""
    rng = random.Random(seed)
    program, held = Program(rng, folder, seed), []
    for step in range(STEPS):
        if rng.random() < 0.3:
            program.rewrite_a_file()
        else:
            program.edit(step)
        batch = [
            Submitted(program, clients, f"{seed}-{step}-{n}-", rng.choice([None, *held]))
            for n in range(rng.choice([1, 1, 2, 3]))
        ]
        if rng.random() < 0.2:
            gone = batch.pop()
            clients[0].cancel([f for futures in gone.asked for f in futures], force=True)
            del gone
        check_all(batch)
        held = [*held, *batch][: rng.randrange(3)]
        del batch
        if rng.random() < 0.8:
            assert cache.flush(30)


@pytest.mark.timeout(SECONDS + 170)
def test_random_edits(cache_dir, tmp_path):
    """Whatever was edited, held, cancelled or read anew: every value is as computed by Python."""
    until, seed = time.monotonic() + SECONDS, FIRST_SEED
    with (
        dask.config.set({"distributed.scheduler.validate": True}),
        cluster_of() as client,
        Client(client.cluster) as other,
    ):
        cache = sdc.enable(client, cache_dir=cache_dir, **STORE_ALL)
        while seed < FIRST_SEED + FEWEST or time.monotonic() < until:
            print("seed", seed)
            run(seed, [client, other], cache, tmp_path)
            client.cluster.scheduler.validate_state()
            seed += 1
        print(cache.stats())
        assert cache.stats()["errors"] == 0
