"""Cutoffs: results of computations whose inputs are named by their content."""

from __future__ import annotations

import base64
import itertools
import sqlite3

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from seamless_dask_cache.server import cutoffs as cutoffs_module
from serving import Server, hex_of

SKELETON, OTHER_SKELETON = hex_of("clean(_)"), hex_of("fit(_)")
ONE, TWO = hex_of("clean(1)"), hex_of("clean(2)")
RESULT, OTHER = hex_of("r"), hex_of("r2")
TF = hex_of("deep")


def _put(server, *rows, **more):
    status, report = server.put("batch", store=more.pop("store", []), cutoffs=rows, **more)
    assert status == 200, report
    return report


def _get(server, *skeletons, **options):
    status, found = server.get("cutoffs", skeletons=skeletons, **options)
    assert status == 200, found
    return found


def _results(server, skeleton=SKELETON):
    return {checksum: row[0] for checksum, row in _get(server, skeleton).get(skeleton, {}).items()}


def test_what_was_stored_is_found_under_its_skeleton(server):
    """All that differ in their inputs only, and known skeletons only."""
    rows = [
        (SKELETON, ONE, RESULT, 7, 1.5),
        (SKELETON, TWO, OTHER, None, None),
        (OTHER_SKELETON, ONE, OTHER, 0, 0),
    ]
    _put(server, *rows)
    assert _get(server, SKELETON.upper(), OTHER_SKELETON, hex_of("never"), SKELETON) == {
        SKELETON: {ONE: [RESULT, None, None, 7, 1.5], TWO: [OTHER, None, None, None, None]},
        OTHER_SKELETON: {ONE: [OTHER, None, None, 0, 0.0]},
    }
    assert server.get("summary")[1]["cutoffs"] == 3


def test_contents_and_presence_are_those_of_batches(start_server, tmp_path):
    """Small ones inline, when they are asked for; large ones are looked for in the folder."""
    small, empty, large, gone = (hex_of(text) for text in ("small", "", "large", "gone"))
    folder = tmp_path / "buffers" / large[:2]
    folder.mkdir(parents=True)
    (folder / large).write_bytes(b"large")
    server = start_server(tmp_path / "x.db", "--buffers", str(tmp_path / "buffers"))
    for content in (b"small", b""):
        value = base64.b64encode(content).decode()
        server.put("buffer", checksum=hex_of(content.decode()), value=value)
    _put(server, *((SKELETON, result, result, 1, 1) for result in (small, empty, large, gone)))
    inline = {small: base64.b64encode(b"small").decode(), empty: "", large: None, gone: None}
    found = _get(server, SKELETON)[SKELETON]
    assert {result: row[1] for result, row in found.items()} == inline
    assert {result for result, row in found.items() if row[2]} == {small, empty, large}
    assert found[gone][2] is False
    found = _get(server, SKELETON, inline=False)[SKELETON]
    assert {row[1] for row in found.values()} == {None}
    assert {result for result, row in found.items() if row[2]} == {small, empty, large}


def test_the_first_write_stays(server):
    """The same result again adds nothing."""
    _put(server, (SKELETON, ONE, RESULT, 7, 1.5))
    _put(server, (SKELETON, ONE, RESULT, 8, 9.0))
    assert _get(server, SKELETON)[SKELETON][ONE] == [RESULT, None, None, 7, 1.5]


@pytest.mark.parametrize("at_once", [True, False])
def test_a_second_result_makes_a_cutoff_uncertain_for_ever(server, at_once):
    """Whatever comes later, in the same batch or in others; its neighbours stay."""
    later = (OTHER, RESULT, RESULT)
    rows = [(SKELETON, ONE, result, 7, 1.5) for result in (RESULT, *later)]
    _put(server, (SKELETON, TWO, RESULT, 7, 1.5))
    for part in [rows] if at_once else [[row] for row in rows]:
        _put(server, *part)
    assert _results(server) == {TWO: RESULT}


def test_the_cutoff_of_an_irreproducible_transformation_is_never_served(server):
    """Neither the contested result, nor one that comes later, if it names its transformation."""
    item = {"transformation": TF, "result": RESULT}
    _put(server, (SKELETON, ONE, RESULT, 7, 1.5, TF), store=[item])
    assert _results(server) == {ONE: RESULT}
    assert server.put("irreproducible", checksum=TF, result=RESULT) == (200, "OK")
    assert _results(server) == {}
    _put(server, (SKELETON, ONE, RESULT, 7, 1.5, TF), (SKELETON, TWO, OTHER, 7, 1.5, TF))
    assert _results(server) == {}
    _put(server, (SKELETON, TWO, OTHER, 7, 1.5))
    assert _results(server) == {}


def test_a_cutoff_that_contradicts_its_transformation_is_uncertain(server):
    """The batch says that the result diverges from the one in force."""
    _put(server, store=[{"transformation": TF, "result": RESULT}])
    item = {"transformation": TF, "result": OTHER}
    assert _put(server, (SKELETON, ONE, OTHER, 7, 1.5, TF), store=[item])["diverged"] == [TF]
    assert _results(server) == {}
    _put(server, (SKELETON, ONE, RESULT, 7, 1.5, TF), (SKELETON, TWO, RESULT, 7, 1.5, TF))
    assert _results(server) == {TWO: RESULT}


def test_a_cutoff_may_name_a_transformation_that_is_not_stored(server):
    """Such as one that was too cheap."""
    _put(server, (SKELETON, ONE, RESULT, 7, 1.5, TF))
    assert _results(server) == {ONE: RESULT}


def test_what_is_forgotten_does_not_come_back_through_a_cutoff(server):
    """Nor what a published client overwrites."""
    item = {"transformation": TF, "result": RESULT}
    _put(server, (SKELETON, ONE, RESULT, 7, 1.5), (SKELETON, TWO, OTHER, 7, 1.5), store=[item])
    _put(server, forget=[TF])
    assert _results(server) == {TWO: OTHER}
    _put(server, (SKELETON, ONE, RESULT, 7, 1.5), store=[item], forget=[TF])
    assert _results(server) == {ONE: RESULT, TWO: OTHER}
    server.put("transformation", checksum=TF, value=hex_of("r3"))
    assert _results(server) == {TWO: OTHER}


def test_a_result_that_another_program_contested_is_not_served(server):
    """The published server writes into the same file, and knows nothing of our table."""
    _put(server, (SKELETON, ONE, RESULT, 7, 1.5), (SKELETON, TWO, OTHER, 7, 1.5))
    connection = sqlite3.connect(server.file)
    connection.execute(
        "INSERT INTO irreproducible_transformation (result, checksum, metadata) VALUES (?, ?, '')",
        (RESULT, TF),
    )
    connection.commit()
    connection.close()
    assert _results(server) == {TWO: OTHER}


@pytest.mark.parametrize(
    ("row", "named"),
    [
        (3, "list"),
        ({"skeleton": SKELETON}, "list"),
        ([], "list"),
        ([SKELETON, ONE, RESULT, 7], "list"),
        ([SKELETON, ONE, RESULT, 7, 1.5, None, None], "list"),
        (["12", ONE, RESULT, 7, 1.5], "skeleton"),
        ([SKELETON, None, RESULT, 7, 1.5], "checksum"),
        ([SKELETON, ONE, None, 7, 1.5], "result"),
        ([SKELETON, ONE, RESULT, -1, 1.5], "nbytes"),
        ([SKELETON, ONE, RESULT, 2**63, 1.5], "nbytes"),
        ([SKELETON, ONE, RESULT, 7, "x"], "seconds"),
        ([SKELETON, ONE, RESULT, 7, 1.5, "x"], "transformation"),
    ],
)
def test_a_malformed_cutoff_refuses_the_whole_batch_and_is_named(server, row, named):
    """Nothing of it is stored."""
    good = [SKELETON, ONE, RESULT, 7, 1.5]
    item = {"transformation": TF, "result": RESULT}
    status, text = server.put("batch", store=[item], cutoffs=[good, good, good, row, good])
    assert status == 400 and text.startswith("ERROR: ")
    assert "cutoffs[3]" in text and named in text
    assert server.get("summary")[1]["transformations"] == 0
    assert _results(server) == {}


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"skeletons": "x"},
        {"skeletons": ["x"]},
        {"skeletons": [3]},
        {"skeletons": [SKELETON], "limit": -1},
        {"skeletons": [SKELETON], "limit": 20_001},
        {"skeletons": [SKELETON], "inline": 1},
    ],
)
def test_a_malformed_question_is_refused(server, query):
    """With a text, not a crash."""
    status, text = server.get("cutoffs", **query)
    assert (status, text[:7]) == (400, "ERROR: ")


def _many(skeleton, count):
    return [(skeleton, hex_of(f"{skeleton}{n}"), hex_of(f"r{n}"), n, 1.0) for n in range(count)]


def test_more_rows_than_one_part_holds_come_whole(server):
    """Each once; the limit holds for each skeleton."""
    rows = _many(SKELETON, 20_010) + _many(OTHER_SKELETON, 5)
    _put(server, *rows)
    found = _get(server, SKELETON, OTHER_SKELETON)
    assert {skeleton: len(known) for skeleton, known in found.items()} == {
        SKELETON: 20_000,
        OTHER_SKELETON: 5,
    }
    expected = {checksum: result for _, checksum, result, _, _ in rows}
    for known in found.values():
        assert {checksum: row[0] for checksum, row in known.items()}.items() <= expected.items()
    found = _get(server, OTHER_SKELETON, SKELETON, limit=8_200)
    assert [len(known) for known in found.values()] == [5, 8_200]
    assert _get(server, SKELETON, limit=0) == {}


def test_many_skeletons_with_a_row_each_come_whole(server):
    """More than one part reads, unknown ones among them."""
    rows = [(hex_of(f"s{n}"), ONE, RESULT, n, 1.0) for n in range(20_000)]
    _put(server, *rows)
    wanted = [hex_of(f"s{n}") for n in range(-1_000, 20_000)]
    found = _get(server, *wanted)
    assert list(found) == wanted[1_000:]
    assert [known[ONE][3] for known in found.values()] == list(range(20_000))


def test_an_answer_has_at_most_a_hundred_thousand_rows(server):
    """Those of the skeletons that were asked for first."""
    names = [hex_of(f"s{n}") for n in range(6)]
    for name in names:
        _put(server, *_many(name, 19_000))
    found = _get(server, *reversed(names))
    assert list(found) == names[::-1]
    assert [len(known) for known in found.values()] == [19_000] * 5 + [5_000]


def test_an_answer_is_cut_when_its_contents_get_large(start_server, tmp_path):
    """The row that goes beyond is the last; without contents all of them come."""
    server = start_server(tmp_path / "x.db")
    size = cutoffs_module.MAX_CONTENT // 3
    for n in range(6):
        text = f"{n}" * size
        value = base64.b64encode(text.encode()).decode()
        assert server.put("buffer", checksum=hex_of(text), value=value) == (200, "OK")
        _put(server, (SKELETON, hex_of(f"{n}"), hex_of(text), size, 1.0))
    found = _get(server, SKELETON, OTHER_SKELETON)[SKELETON]
    assert len(found) == 4 and all(row[1] for row in found.values())
    assert len(_get(server, SKELETON, inline=False)[SKELETON]) == 6


# Any history -------------------------------------------------------------------------------------

_numbers = itertools.count()
_rows = st.tuples(st.integers(0, 2), st.integers(0, 2), st.sampled_from(["r", "s", "t"]))
_steps = st.lists(
    st.tuples(st.lists(_rows, max_size=5), st.sets(st.sampled_from(["r", "s"]), max_size=1)),
    max_size=6,
)


@pytest.fixture(scope="module")
def one_server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("cutoffs") / "x.db").wait_until_running()
    yield server
    server.stop()


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=_steps)
def test_after_any_history_cutoffs_are_those_of_a_simple_model(one_server, steps):
    """First result, uncertain after a second one; forgotten with a transformation's result."""
    number = next(_numbers)
    name = {n: hex_of(f"{number}-{n}") for n in [0, 1, 2, "r", "s", "t"]}
    model = {}
    for rows, forget in steps:
        for result in forget:
            item = {"transformation": hex_of(f"{number} gave {result}"), "result": name[result]}
            one_server.put("batch", store=[item])
            model = {key: known for key, known in model.items() if known != result}
        for skeleton, checksum, result in rows:
            known = model.setdefault((skeleton, checksum), result)
            model[skeleton, checksum] = result if known == result else None
        written = [(name[s], name[c], name[r], 1, 1.0) for s, c, r in rows]
        gone = [hex_of(f"{number} gave {result}") for result in forget]
        _put(one_server, *written, forget=gone)
        found = _get(one_server, name[0], name[1], name[2])
        expected = {}
        for (skeleton, checksum), result in model.items():
            if result is not None:
                expected.setdefault(name[skeleton], {})[name[checksum]] = name[result]
        shown = {s: {c: row[0] for c, row in rows.items()} for s, rows in found.items()}
        assert shown == expected
