"""Functions that refer to each other have checksums that do not depend on where one begins."""

from __future__ import annotations

import itertools

from seamless_dask_cache.identity import Identifier

_SOURCE = """
def a(x): return x and b(x - 1)
def b(x): return x and c(x - 2) + a(x)
def c(x): return T['a'](x) + R.run(x)
def d(x): return a(x) + e(x)
def e(x): return x and e(x - 1)
class Registry:
    def run(self, x): return R, b, x
R = Registry()
T = {'a': a}
"""
_NAMES = "abcde"


def _functions():
    names: dict[str, object] = {"__name__": "__main__"}
    exec(_SOURCE, names)
    return {name: names[name] for name in _NAMES}


def test_a_checksum_does_not_depend_on_what_was_hashed_before():
    """Every order of entry gives every function the same checksum."""
    expected = {name: Identifier().code(f).checksum for name, f in _functions().items()}
    assert len(set(expected.values())) == len(_NAMES)
    for order in itertools.permutations(_NAMES):
        functions, identifier = _functions(), Identifier()
        assert all(identifier.code(functions[name]).checksum == expected[name] for name in order)


def test_an_edit_anywhere_in_a_knot_changes_every_member():
    expected = {name: Identifier().code(f).checksum for name, f in _functions().items()}
    names: dict[str, object] = {"__name__": "__main__"}
    exec(_SOURCE.replace("c(x - 2)", "c(x - 3)"), names)
    changed = {n for n in _NAMES if Identifier().code(names[n]).checksum != expected[n]}
    assert changed == set("abcd")


def test_members_of_a_symmetric_knot_with_different_partners_differ():
    """Two knots whose members look alike one by one are told apart by how they are tied."""
    template = "def p(x): return {0}\ndef q(x): return {1}\nv = p, q"
    one: dict[str, object] = {}
    two: dict[str, object] = {}
    exec(template.format("v[0]", "v[0]"), one)
    exec(template.format("v[0]", "v[1]"), two)
    assert Identifier().code(one["p"]).checksum != Identifier().code(two["p"]).checksum


def test_a_changed_global_is_seen_by_the_next_pass():
    names: dict[str, object] = {}
    exec("N = [1]\ndef f(): return N", names)
    before = Identifier().code(names["f"]).checksum
    names["N"].append(2)
    assert Identifier().code(names["f"]).checksum != before


def test_a_deep_chain_of_helpers_needs_no_recursion():
    source = "".join(f"def h{i}(x): return h{i + 1}(x)\n" for i in range(3000))
    names: dict[str, object] = {}
    exec(source + "def h3000(x): return x", names)
    assert len(Identifier().code(names["h0"]).checksum) == 32


def test_parts_name_the_helper_that_changed():
    names: dict[str, object] = {}
    source = "N = 1\ndef g(x): return x + N\ndef f(x): return g(x)"
    exec(source, names)
    before = Identifier().code(names["f"]).parts
    exec(source.replace("N = 1", "N = 2"), names)
    after = Identifier().code(names["f"]).parts
    assert {path for path in after if before.get(path) != after[path]} == {"f -> g -> global N"}


def test_files_are_noted():
    names: dict[str, object] = {}
    exec("P = '/data/a.csv'\ndef g(): return P\ndef f(x, y='b.txt'): return g(), 'c/d'", names)
    assert set(Identifier().code(names["f"]).files) == {"/data/a.csv", "b.txt", "c/d"}


def _ring(colours: str):
    source = "def make(colour):\n def f(x, colour=colour): return target(x)\n"
    source += (
        " target = None\n def aim(other):\n  nonlocal target\n  target = other\n return f, aim"
    )
    names: dict[str, object] = {}
    exec(source, names)
    members = [names["make"](colour) for colour in colours]
    for (_, aim), (following, _) in zip(members, members[1:] + members[:1], strict=True):
        aim(following)
    return members[0][0]


def test_rings_of_the_same_members_in_another_order_differ():
    """Every member looks the same in both rings; only further steps around tell them apart."""
    assert Identifier().code(_ring("aabb")).checksum != Identifier().code(_ring("abab")).checksum
    assert Identifier().code(_ring("aabb")).checksum == Identifier().code(_ring("aabb")).checksum
