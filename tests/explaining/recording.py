"""What a database would have on record of some graphs, in memory."""

from __future__ import annotations

import importlib.util
import sys

import dask

from seamless_dask_cache.dask_internals import expression_of, materialize
from seamless_dask_cache.explaining.differences import compare
from seamless_dask_cache.explaining.entries import parse_recipe
from seamless_dask_cache.explaining.notes import collect_notes, recipes_of
from seamless_dask_cache.identity.code import Identifier
from seamless_dask_cache.identity.graph import identify_graph


class Record:
    """Recipes and notes of one collection, as of now."""

    def __init__(self, collection):
        expression, self.keys = expression_of((collection,), finalize=True)
        self.graph, _ = materialize(expression, set(self.keys))
        self.identifier = Identifier()
        self.identities = identify_graph(self.graph, None, identifier=self.identifier)
        assert not self.identities.refused, self.identities.refused
        inner = recipes_of(self.identities, self.graph)
        self.recipes = {name: parse_recipe(found.recipe) for name, found in inner.items()}
        self.notes = collect_notes(self.graph, self.identities, self.identifier, ())
        self.recipe = self.recipes[self.identities.known[self.keys[0]].checksum]


def differences(old, new):
    """What differs between two records."""
    recipes, notes = {**old.recipes, **new.recipes}, {**old.notes, **new.notes}
    return compare(old.recipe, new.recipe, recipes.get, notes.get)


def record_call(function, *args, **kwargs):
    """The record of one delayed call."""
    return Record(dask.delayed(function)(*args, **kwargs))


def load(folder, name, source):
    """A module of the user, as it stands in a file now."""
    path = folder / f"{name}.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    # Not through the loader: its cache takes an edit within one second for none.
    exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)
    return module
