"""Programs whose edits could not be seen are refused, or their use of code is an effect."""

from __future__ import annotations

import sys

import pytest
from code_refused import EFFECTS, REFUSED
from code_tables import write_program

from seamless_dask_cache.errors import RefusedError
from seamless_dask_cache.identity import Identifier


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a program and give its ``f``."""

    def run(program):
        write_program(tmp_path, program)
        monkeypatch.syspath_prepend(tmp_path)
        names = {"__name__": "program"}
        exec(compile((tmp_path / "program.py").read_text(), "program.py", "exec"), names)
        return names["f"]

    yield run
    sys.modules.pop("helpers", None)


@pytest.mark.parametrize("name", REFUSED)
def test_code_that_cannot_be_known_is_refused_with_the_reason(run, name):
    program, reason = REFUSED[name]
    with pytest.raises(RefusedError, match=reason):
        Identifier().code(run(program))


@pytest.mark.parametrize("name", EFFECTS)
def test_code_that_changes_or_reads_what_is_not_seen_has_an_effect(run, name):
    program, effect = EFFECTS[name]
    assert effect in {found.name for found in Identifier().code(run(program)).effects}
