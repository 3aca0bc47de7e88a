"""Costs: what running a code took so far."""

from __future__ import annotations

import pytest
from serving import hex_of

CODE, OTHER = hex_of("def clean"), hex_of("def fit")


def _put(server, **costs):
    status, report = server.put("batch", costs={hex_of(name): row for name, row in costs.items()})
    assert status == 200, report


def _get(server, *names):
    codes = [hex_of(name) for name in names]
    status, answer = server.get("batch", transformations=[], codes=codes)
    assert status == 200 and answer["results"] == {}
    return {
        name: answer["costs"][hex_of(name)] for name in names if hex_of(name) in answer["costs"]
    }


def test_costs_add_up_and_come_with_a_lookup(server):
    """Known codes only, beside the results."""
    server.put("batch", store=[{"transformation": CODE, "result": OTHER}])
    _put(server, f=[2, 1.5, 100, 1, 0.25], g=[0, 0, 0, 3, 0.5])
    _put(server, f=[1, 1.0, 50, 0, 0])
    wanted = [hex_of("f").upper(), hex_of("g"), hex_of("f"), hex_of("never")]
    answer = server.get("batch", transformations=[CODE], codes=wanted)[1]
    assert answer["costs"] == {
        hex_of("f"): [3, 2.5, 150.0, 1, 0.25],
        hex_of("g"): [0, 0.0, 0.0, 3, 0.5],
    }
    assert answer["results"][CODE]["result"] == OTHER
    assert "costs" not in server.get("batch", transformations=[CODE])[1]
    assert _get(server, "never") == {}


def test_sums_over_many_runs_or_loads_are_halved(server):
    """So that means follow changes; runs and loads each by themselves."""
    _put(server, f=[1000, 2000.0, 4000, 10, 1.0])
    assert _get(server, "f")["f"] == [1000, 2000.0, 4000.0, 10, 1.0]
    _put(server, f=[1, 7.0, 8, 990, 9.0])
    assert _get(server, "f")["f"] == [501, 1007.0, 2008.0, 1000, 10.0]
    _put(server, f=[0, 0, 0, 1, 3.0])
    assert _get(server, "f")["f"] == [501, 1007.0, 2008.0, 501, 8.0]


def test_the_mean_follows_a_function_that_got_faster(server):
    """Within a few batches, however long it was slow."""
    for _ in range(5):
        _put(server, f=[10_000, 10_000.0, 0, 0, 0])
    for _ in range(5):
        _put(server, f=[1_000, 1.0, 0, 0, 0])
    runs, seconds, *_ = _get(server, "f")["f"]
    assert seconds / runs < 0.5


@pytest.mark.parametrize(
    "costs",
    [
        3,
        [],
        {"12": [1, 1, 1, 1, 1]},
        {CODE: 3},
        {CODE: None},
        {CODE: [1, 1, 1, 1]},
        {CODE: [1, 1, 1, 1, 1, 1]},
        {CODE: [1.5, 1, 1, 1, 1]},
        {CODE: [-1, 1, 1, 1, 1]},
        {CODE: [1, -0.5, 1, 1, 1]},
        {CODE: [1, 1, 1e300, 1, 1]},
        {CODE: [1, 1, 1, None, 1]},
        {CODE: [1, 1, 1, 1, None]},
        {CODE: [1, 1, 1, True, 1]},
    ],
)
def test_malformed_costs_refuse_the_whole_batch(server, costs):
    """With a text that names the part, and nothing stored."""
    status, text = server.put(
        "batch", store=[{"transformation": CODE, "result": OTHER}], costs=costs
    )
    assert status == 400 and text.startswith("ERROR: ") and "costs" in text
    assert server.get("summary")[1]["transformations"] == 0


@pytest.mark.parametrize("codes", [3, "x", ["x"], [None], {}])
def test_malformed_codes_are_refused(server, codes):
    """With a text, not a crash."""
    status, text = server.get("batch", transformations=[], codes=codes)
    assert status == 400 and "codes" in text
