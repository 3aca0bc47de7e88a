"""Where a record comes from, as text and as a picture."""

from __future__ import annotations

import builtins
import itertools
import os
import re
import shutil
import types
import xml.etree.ElementTree as ET
from datetime import datetime, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seamless_dask_cache.stores import GenomeStore, Lineage, Provenance, ProvenanceStore, TrackStore
from seamless_dask_cache.stores.lineage import Ancestor, title_of

# Set by .ci/run, so that pictures are not left out where it counts.
REQUIRED = "SEAMLESS_DASK_CACHE_BROWSER_REQUIRED"
NOW = datetime(2026, 5, 1, tzinfo=timezone.utc)
HOSTILE = 'a "b" \\N \\ {x|y} <i> &lt; &amp; % ü\n\x00\x01\t\ud800 ]]>'


class Named:
    """An item that has a name."""

    def __init__(self, name):
        self.name = name


@pytest.fixture
def dot_program():
    if shutil.which("dot") is None:
        reason = "dot is not installed"
        (pytest.fail if os.environ.get(REQUIRED) else pytest.skip)(reason)


@pytest.fixture
def family():
    """A track made of two tracks that are made of one genome, which is in a linked store."""
    genomes = GenomeStore()
    tracks = TrackStore(linked=[genomes])
    genome = genomes.put(Named("demo"), provenance=Provenance("read", (), {"file": "demo.fa"}))
    windows = tracks.compute("gc", [genome], {"width": 50}, lambda g, width: Named("GC"))
    hits = tracks.compute("find", [genome], {"what": "TATA"}, lambda g, what: Named("hits"))
    both = tracks.compute("intersect", [hits, windows], {}, lambda a, b: Named("both"))
    return types.SimpleNamespace(
        tracks=tracks, genomes=genomes, genome=genome, windows=windows, hits=hits, both=both
    )


def test_a_lineage_leads_back_to_the_inputs(family):
    """Every ancestor is there once, with what made it, from linked stores, too."""
    lineage = family.tracks.lineage(family.both)
    assert lineage.root == family.both
    assert list(lineage.nodes) == [family.both, family.hits, family.genome, family.windows]
    assert sorted(lineage.edges) == sorted(
        [
            (family.hits, family.both),
            (family.windows, family.both),
            (family.genome, family.hits),
            (family.genome, family.windows),
        ]
    )
    both, genome = lineage.nodes[family.both], lineage.nodes[family.genome]
    assert both.inputs == (family.hits, family.windows)
    assert (both.title, both.operation) == ("both", "intersect")
    record = family.genomes[family.genome]
    assert genome == Ancestor(
        family.genome, "demo", "read", (("file", "demo.fa"),), record.created_at, ()
    )


def test_as_text_it_is_a_tree(family):
    """Inputs stand below what was made of them, in the order given; shared ones once."""
    mark = f"demo [{family.genome[:8]}]"
    assert str(family.tracks.lineage(family.both)) == "\n".join(
        [
            "both = intersect() of",
            "├─ hits = find(what='TATA') of",
            f"│  {mark} = read(file='demo.fa')",
            "└─ GC = gc(width=50) of",
            f"   {mark} (above)",
        ]
    )
    assert str(family.tracks.lineage(family.windows)) == "\n".join(
        ["GC = gc(width=50) of", "demo = read(file='demo.fa')"]
    )


def test_what_is_deleted_is_shown_as_such(family):
    """An input that no store knows any more is no error."""
    family.tracks.delete(family.hits)
    lineage = family.tracks.lineage(family.both)
    assert lineage.nodes[family.hits] == Ancestor(family.hits, "?")
    assert not lineage.nodes[family.hits].is_known
    assert f"├─ ? [{family.hits[:8]}] (not in the store)" in lineage.text().split("\n")
    assert "dashed" in lineage.dot()


def test_ids_from_elsewhere_are_shown_as_such():
    """A provenance may name ids that no store ever had."""
    store = ProvenanceStore()
    id = store.put(1, provenance=Provenance("count", ["outer space", "outer space"]))
    assert store.lineage(id).text().split("\n") == [
        "int = count() of",
        "├─ ? [outer sp] (not in the store)",
        "└─ ? [outer sp] (above)",
    ]


def test_an_unknown_record_has_no_lineage():
    """It is an error that names the id."""
    with pytest.raises(KeyError, match="no record has the id 'nobody'"):
        ProvenanceStore().lineage("nobody")


def test_a_provenance_that_names_its_own_id_ends():
    """Made by hand, a circle is shown, and ends."""
    ancestors = {
        "a": Ancestor("a", "A", "f", (), NOW, ("b",)),
        "b": Ancestor("b", "B", "g", (), NOW, ("a",)),
    }
    text = Lineage("a", ancestors).text()
    assert text.split("\n") == ["A [a] = f() of", "B = g() of", "A [a] (above)"]


def test_a_long_chain_is_shown():
    """5,000 steps give as many lines, none of them long."""
    store = ProvenanceStore()
    id = store.put(0)
    for _ in range(5000):
        id = store.compute("step", [id], {}, lambda x: x + 1)
    lineage = store.lineage(id)
    lines = lineage.text().split("\n")
    assert len(lines) == len(lineage.nodes) == 5001
    assert set(lines) == {"int = step() of", "int"}
    assert len(lineage.edges) == lineage.dot().count("->") == 5000


def test_a_deep_tree_is_shown_in_parts():
    """What lies deep among branches gets a tree of its own; no line gets long."""
    store = ProvenanceStore()
    id = base = store.put(0)
    for _ in range(3000):
        id = store.compute("step", [id, base], {}, lambda x, y: x + 1)
    text = store.lineage(id).text()
    assert max(map(len, text.split("\n"))) < 150
    assert text.count("step()") == 3000
    assert text.count("\n\n") > 100
    assert not any(tree.split("\n")[0].endswith("(above)") for tree in text.split("\n\n"))
    assert len(re.findall(r"\[.{8}\] \(below\)", text)) == text.count("(below)") > 100
    lines = text.split("\n")
    for mark in set(re.findall(r"(\[.{8}\]) \(below\)", text)):
        marked = [line for line in lines if mark in line]
        described = [line for line in marked if not line.endswith(("(above)", "(below)"))]
        assert len(described) == 1
        before = marked[: marked.index(described[0])]
        assert before
        assert all(line.endswith("(below)") for line in before)


def test_many_inputs_are_shown():
    """A record made of 5,000 others has as many branches."""
    store = ProvenanceStore()
    ids = sorted(store.put(number) for number in range(5000))
    lineage = store.lineage(store.compute("sum", ids, {}, lambda *items: sum(items)))
    assert lineage.text().count("─ int") == 5000
    assert lineage.text().endswith("\n└─ int")


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(0, 30), max_size=4), min_size=1, max_size=30))
def test_every_ancestor_is_described_once(steps):
    """Whatever was made of what: each ancestor once, each edge as one line."""
    ancestors = {}
    for number, inputs in enumerate(steps):
        chosen = tuple(str(one % number) for one in inputs) if number else ()
        ancestors[str(number)] = Ancestor(str(number), f"t{number}", "f", (), NOW, chosen)
    root = str(len(steps) - 1)
    store = {id: one for id, one in ancestors.items() if id in reached(root, ancestors)}
    lineage = Lineage(root, store)
    lines = [line for line in lineage.text().split("\n") if line]
    described = [line for line in lines if " = f()" in line]
    assert sorted(title(line) for line in described) == sorted(a.title for a in store.values())
    trees = 1 + lineage.text().count("\n\n")
    assert len(lines) == len(lineage.edges) + trees
    for line in lines:
        again = [other for other in lines if title(other) == title(line)]
        assert len(again) == 1 or all("[" in other for other in again)


def title(line):
    return re.search(r"t\d+", line)[0]


def reached(root, ancestors):
    found, waiting = set(), [root]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += ancestors[one].inputs
    return found


def test_titles_are_labels_names_or_types():
    """What is called something is shown under that; nothing else is taken for a name."""
    labelled = types.SimpleNamespace(label=Named("genes"), name="other")
    odd = types.SimpleNamespace(label=["no", "text"], name=3)
    assert [title_of(item) for item in (labelled, Named("x"), Named(""), odd, 5)] == [
        *("genes", "x", "Named", "SimpleNamespace", "int")
    ]


def test_line_breaks_in_names_break_no_line():
    """Control characters are written out."""
    lineage = Lineage("1", {"1": Ancestor("1", HOSTILE, HOSTILE, (("x", HOSTILE),), NOW)})
    (line,) = lineage.text().split("\n")
    assert line.count("\\n\\x00\\x01\\t\\ud800") == 2
    line.encode()


# Pictures -----------------------------------------------------------------------------------------

SVG = "{http://www.w3.org/2000/svg}"


def boxes(svg):
    """The boxes of a picture, by id, with their lines of text; and its number of arrows."""
    groups = ET.fromstring(svg).iter(f"{SVG}g")
    kinds = {"node": {}, "edge": []}
    for group in groups:
        lines = ["".join(text.itertext()) for text in group.iter(f"{SVG}text")]
        if group.get("class") == "node":
            kinds["node"][group.get("id")] = lines
        elif group.get("class") == "edge":
            kinds["edge"].append(group)
    return kinds["node"], len(kinds["edge"])


@pytest.mark.usefixtures("dot_program")
def test_a_picture_shows_every_ancestor(family, tmp_path):
    """It is SVG with a box for each of them, and an arrow for each time that one was an input."""
    path = family.tracks.lineage(family.both).visualize(tmp_path / "family.svg")
    assert path == tmp_path / "family.svg"
    found, arrows = boxes(path.read_bytes())
    assert found == {
        family.both: ["both", "intersect()"],
        family.hits: ["hits", "find(what='TATA')"],
        family.windows: ["GC", "gc(width=50)"],
        family.genome: ["demo", "read(file='demo.fa')"],
    }
    assert arrows == 4


@pytest.mark.usefixtures("dot_program")
def test_names_are_drawn_as_they_are(tmp_path):
    """Quotes, backslashes, braces, entities and control characters break nothing."""
    ancestors = {
        HOSTILE: Ancestor(HOSTILE, HOSTILE, HOSTILE, (), NOW, ("gone",)),
        "gone": Ancestor("gone", "?"),
        "many": Ancestor("many", "x" * 1000, None, (), NOW),
    }
    path = Lineage(HOSTILE, ancestors).visualize(tmp_path / "hostile.svg")
    found, _ = boxes(path.read_bytes())
    shown = 'a "b" \\N \\ {x|y} <i> &lt; &amp; % ü\\n\\x00\\x01\\t\\ud800 ]]>'
    assert found[shown.replace("\\n", "\n", 1).replace("\n", "\\n")] == [shown, f"{shown}()"]
    assert found["gone"] == ["not in the store", "gone"]
    assert found["many"] == ["x" * 199 + "…"]


@pytest.mark.usefixtures("dot_program")
@pytest.mark.parametrize(
    ("name", "format", "written", "start"),
    [
        ("a.svg", None, "a.svg", b"<?xml"),
        ("a", None, "a.svg", b"<?xml"),
        ("a.PNG", None, "a.PNG", b"\x89PNG"),
        ("a.b", "png", "a.b.png", b"\x89PNG"),
        ("a.pdf", "pdf", "a.pdf", b"%PDF"),
    ],
)
def test_the_format_is_that_of_the_name(family, tmp_path, name, format, written, start):
    """The ending tells the format; another format is added to the name."""
    path = family.tracks.lineage(family.both).visualize(str(tmp_path / name), format)
    assert path == tmp_path / written
    assert path.read_bytes().startswith(start)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("dot_program")
def test_without_a_name_there_is_a_picture_for_notebooks(family):
    """Notebooks show it, and the lineage itself as a picture, too."""
    lineage = family.tracks.lineage(family.both)
    shown = lineage.visualize()
    (picture,) = shown._repr_mimebundle_().values()
    assert len(boxes(picture)[0]) == len(boxes(lineage._repr_svg_())[0]) == 4


@pytest.mark.usefixtures("dot_program")
def test_an_unknown_format_is_told(family, tmp_path):
    """Nothing is written then."""
    with pytest.raises(ValueError, match="unknown format: 'docx'"):
        family.tracks.lineage(family.both).visualize(tmp_path / "a.docx")
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_told(family, monkeypatch):
    """The error says how to get it; notebooks show the text."""
    real = builtins.__import__

    def without(name, *rest):
        if name == "graphviz":
            raise ModuleNotFoundError("No module named 'graphviz'")
        return real(name, *rest)

    lineage = family.tracks.lineage(family.both)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(RuntimeError, match=r"seamless-dask-cache\[graphviz\]"):
        lineage.visualize("a.svg")
    assert lineage._repr_svg_() is None


def test_a_missing_program_is_told(family, monkeypatch, tmp_path):
    """The error says how to get it; notebooks show the text; nothing is written."""
    lineage = family.tracks.lineage(family.both)
    monkeypatch.setenv("PATH", str(tmp_path))
    for arguments in ([tmp_path / "a.svg"], []):
        with pytest.raises(RuntimeError, match="program dot of Graphviz"):
            lineage.visualize(*arguments)
    assert lineage._repr_svg_() is None
    assert not list(tmp_path.iterdir())


def test_long_values_are_cut():
    """A checksum among the parameters does not fill a line; the ancestor has it whole."""
    made = Provenance("read", (), {"checksum": "ab" * 32, "name": "x"})
    store = ProvenanceStore()
    id = store.put(1, provenance=made)
    shown = "'" + "ab" * 19 + "…"
    assert str(store.lineage(id)) == f"int = read(checksum={shown}, name='x')"
    assert store.lineage(id).nodes[id].params == made.params


def test_the_order_of_inputs_is_shown_by_their_order():
    """It stands in no brackets."""
    store = ProvenanceStore()
    items = [store.put(Named(name)) for name in "abc"]
    for order in itertools.permutations(items):
        made = store.compute("join", order, {"by": "-"}, lambda a, b, c, by: Named(f"{a}{b}{c}"))
        lines = store.lineage(made).text().split("\n")
        assert lines[0].endswith(" = join(by='-') of")
        assert [line[-1] for line in lines[1:]] == [store[id].item.name for id in order]
