"""The tables of edits: equal checksums for programs that do the same, others for others.

Every program is identified in two fresh interpreters with different hash seeds: as an imported
module, as a script, cell by cell as in a notebook, and as unpickled from what cloudpickle wrote in
the other interpreter. Where a way of running gives the same result, it gives the same checksum.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import code_ways
import pytest
from code_callables import CALLABLES, READING
from code_classes import CLASSES
from code_fields import FIELDS
from code_functions import FUNCTIONS, NAMES
from code_keeps import KEEPS
from code_modules import MODULES
from code_refused import EFFECTS, REFUSED
from code_tables import write_program

CHANGES = {**FUNCTIONS, **NAMES, **MODULES, **CLASSES, **FIELDS, **CALLABLES, **READING}
_CASES = {**CHANGES, **KEEPS}
_PAGE = Path(__file__).parents[2] / "docs" / "identity.md"
_LIBRARIES = {"light": ["numpy"], "heavy": ["numba", "pandas", "pydantic", "attrs"]}


@pytest.fixture(scope="session")
def reports(tmp_path_factory):
    """Identify every program, those that need large libraries in interpreters of their own."""
    roots = {kind: tmp_path_factory.mktemp(kind) for kind in _LIBRARIES}
    for number, edit in enumerate(_CASES.values()):
        heavy = any(name in edit.before for name in _LIBRARIES["heavy"])
        root = roots["heavy" if heavy else "light"]
        write_program(root / f"{number:03d} before", edit.before)
        write_program(root / f"{number:03d} after", edit.after)
    with ThreadPoolExecutor() as pool:
        found = [report for chain in pool.map(_chain, roots.items()) for report in chain]
    merged: dict[str, dict[str, dict[str, str]]] = defaultdict(dict)
    for report in found:
        for program, ways in report.items():
            merged[program] |= {way: answer for way, answer in ways.items() if answer}
    return merged


def _chain(item: tuple[str, Path]) -> list[dict[str, dict[str, dict[str, str]]]]:
    kind, root = item
    return [_run(root, "1", "dump", kind), _run(root, "271828", "load", kind)]


def _run(root: Path, seed: str, mode: str, kind: str) -> dict[str, dict[str, dict[str, str]]]:
    answer = subprocess.run(
        [sys.executable, code_ways.__file__, str(root), mode, *_LIBRARIES[kind]],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def _answers(reports, name: str) -> list[tuple[str, dict[str, str]]]:
    number = list(_CASES).index(name)
    return [
        (f"{side}, {way}", answer)
        for side in ("before", "after")
        for way, answer in reports[f"{number:03d} {side}"].items()
    ]


def _by(key: str, other: str, answers) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for _, answer in answers:
        found[answer[key]].add(answer[other])
    return found


@pytest.mark.parametrize("name", _CASES)
def test_a_program_of_the_tables_can_be_cached(reports, name):
    """Neither refused nor impure: each row says something about what is really cached."""
    answers = _answers(reports, name)
    assert {"before, imported", "after, imported"} <= {way for way, _ in answers}
    assert [answer for _, answer in answers if "code" not in answer or answer["effects"]] == []


@pytest.mark.parametrize("name", CHANGES)
def test_an_edit_of_what_runs_changes_the_checksum(reports, name):
    """Whatever gives another result has another checksum, in every way of running it."""
    found = _by("code", "result", _answers(reports, name))
    assert [results for results in found.values() if len(results) > 1] == []
    assert len(found) > 1


@pytest.mark.parametrize("name", CHANGES)
def test_all_ways_of_running_a_program_agree(reports, name):
    """Where the program gives in some way what it gives when imported."""
    answers = dict(_answers(reports, name))
    for side in ("before", "after"):
        imported = answers[f"{side}, imported"]
        same = {w: a for w, a in answers.items() if w.startswith(side)}
        codes = {w: a["code"] for w, a in same.items() if a["result"] == imported["result"]}
        assert set(codes.values()) == {imported["code"]}, codes


@pytest.mark.parametrize("name", KEEPS)
def test_an_edit_for_people_keeps_the_checksum(reports, name):
    """What only people read does not enter the identity, in any way of running it."""
    answers = _answers(reports, name)
    assert len(_by("code", "result", answers)) == len(_by("result", "code", answers)) == 1


def _rows() -> dict[str, list[str]]:
    """Read the tables of the page: the rows below each heading."""
    rows: dict[str, list[str]] = defaultdict(list)
    heading = ""
    for line in _PAGE.read_text().splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif found := re.match(r"\| (?!what is edited|what the function does)(.+?) +\|", line):
            rows[heading].append(found[1].replace("`", ""))
    return rows


@pytest.mark.parametrize(
    ("heading", "table"),
    [
        ("The function itself", FUNCTIONS),
        ("The names that it uses", NAMES),
        ("Modules and imports", MODULES),
        ("Classes", CLASSES),
        ("Annotated fields", FIELDS),
        ("Callables and libraries", CALLABLES),
        ("Code that reads code", READING),
        ("What does not change it", KEEPS),
        ("What is refused", REFUSED),
        ("What is an effect", EFFECTS),
    ],
)
def test_the_page_on_identity_has_the_rows_that_are_tested(heading, table):
    assert _rows()[heading] == [name.replace("`", "") for name in table]
