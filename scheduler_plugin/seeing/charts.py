"""Shapes of charts for inline SVG. Pure functions: numbers in, coordinates out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

WIDTH, HEIGHT = 640.0, 180.0
BAR_HEIGHT, BAR_STEP = 16.0, 22.0
LABEL_WIDTH = 200.0
NICE = (1.0, 2.0, 2.5, 5.0, 10.0)


class Tick(NamedTuple):
    """A mark on an axis: where, and what stands there."""

    position: float
    value: float


class AreaChart(NamedTuple):
    """Areas on top of each other over time.

    Attributes
    ----------
    paths : list of str
        The attribute ``d`` of a path for every area, the lowest first.
    ticks : list of Tick
        On the vertical axis.
    start, stop : float
        The first and the last moment.
    """

    paths: list[str]
    ticks: list[Tick]
    start: float
    stop: float


class Bar(NamedTuple):
    """A bar of several parts: its name, its height on the page, and (start, width, value)s."""

    name: str
    y: float
    parts: list[tuple[float, float, float]]


class BarChart(NamedTuple):
    """Horizontal bars, the first on top, and the height of all of them."""

    bars: list[Bar]
    height: float


def stacked_areas(times: Sequence[float], layers: Sequence[Sequence[float]]) -> AreaChart | None:
    """Return areas over time, each on top of the former; None when there is nothing to show.

    Parameters
    ----------
    times : sequence of float
        Ascending.
    layers : sequence of sequences
        For every area its height at every time.
    """
    edges = [[0.0] * len(times), *accumulate(layers, _added)]
    top = max(edges[-1], default=0.0)
    if top <= 0:
        return None
    ticks = nice_ticks(top)
    xs = _scaled(times, times[0], times[-1], WIDTH)
    rows = [[HEIGHT * (1 - value / ticks[-1]) for value in edge] for edge in edges]
    paths = [_area(xs, low, high) for low, high in pairwise(rows)]
    marks = [Tick(HEIGHT * (1 - value / ticks[-1]), value) for value in ticks]
    return AreaChart(paths, marks, times[0], times[-1])


def stacked_bars(rows: Mapping[str, Sequence[Any]], names: Sequence[str]) -> BarChart | None:
    """Return a bar for every task prefix; None when there is nothing to show.

    Parameters
    ----------
    rows : mapping
        As `columns.per_prefix` gives it.
    names : sequence of str
        The columns that are the parts of a bar.
    """
    amounts = [[rows[name][i] for name in names] for i in range(len(rows["prefix"]))]
    longest = max(map(sum, amounts), default=0)
    if longest <= 0:
        return None
    scale = (WIDTH - LABEL_WIDTH) / longest
    bars = [
        Bar(prefix, i * BAR_STEP, _parts(parts, scale))
        for i, (prefix, parts) in enumerate(zip(rows["prefix"], amounts, strict=True))
    ]
    return BarChart(bars, len(bars) * BAR_STEP)


def nice_ticks(top: float, about: int = 4) -> list[float]:
    """Return round numbers from 0 on, the last of them not below a value.

    Parameters
    ----------
    top : float
        Above 0.
    about : int
        Roughly how many steps.
    """
    raw = top / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in NICE if factor * power >= raw * (1 - 1e-9))
    return [i * step for i in range(math.ceil(top / step - 1e-9) + 1)]


def _added(low: Sequence[float], high: Sequence[float]) -> list[float]:
    return [a + b for a, b in zip(low, high, strict=True)]


def _scaled(values: Sequence[float], low: float, high: float, size: float) -> list[float]:
    span = high - low or 1.0
    return [size * (value - low) / span for value in values]


def _area(xs: Sequence[float], low: Sequence[float], high: Sequence[float]) -> str:
    there = [f"{x:.1f},{y:.1f}" for x, y in zip(xs, high, strict=True)]
    back = [f"{x:.1f},{y:.1f}" for x, y in zip(xs, low, strict=True)]
    return f"M{' L'.join([*there, *reversed(back)])} Z"


def _parts(values: Sequence[float], scale: float) -> list[tuple[float, float, float]]:
    starts = accumulate(values, initial=0.0)
    return [
        (LABEL_WIDTH + start * scale, value * scale, value)
        for start, value in zip(starts, values, strict=False)
    ]
