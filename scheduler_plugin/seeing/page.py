"""The page "Cache" as Bokeh models. Imports Bokeh, so only a dashboard imports it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from bokeh.layouts import column, row
from bokeh.models import (
    AdaptiveTicker,
    ColumnDataSource,
    CustomJSTickFormatter,
    DataRange1d,
    DataTable,
    Div,
    FactorRange,
    HTMLTemplateFormatter,
    LinearAxis,
    NumberFormatter,
    NumeralTickFormatter,
    TableColumn,
)
from bokeh.plotting import figure

from ..history import FIELDS, History
from .columns import OUTCOMES, bytes_text, per_prefix, seconds_text, share_text, so_far

COLORS = {"hits": "#00b3a4", "misses": "#f28e2b", "refused": "#9e9e9e"}
SAVED_COLORS = {"seconds_saved": "#4e79a7", "bytes_saved": "#b07aa1"}
MAX_BARS = 20
# In proportion; the table makes them fit.
WIDTHS = {
    "prefix": 170,
    "hits": 48,
    "misses": 62,
    "refused": 66,
    "restored": 70,
    "computed": 80,
    "stored": 58,
    "seconds_saved": 112,
    "bytes_saved": 96,
}
# What is cut off is shown in full when the mouse rests on it.
WHOLE_NAME = '<span title="<%- value %>"><%- value %></span>'
SHORT_NAME = "return tick.length > 30 ? tick.slice(0, 29) + '\u2026' : tick"


class CachePage:
    """What the cache of a scheduler did: totals, over time, and by task prefix.

    Parameters
    ----------
    history : callable
        Gives the history to show, or None while there is no cache. Asked at every update.

    Attributes
    ----------
    root : bokeh.models.LayoutDOM
        What a document shows.
    over_time, bars, prefixes : ColumnDataSource
        Running totals; the prefixes with the most tasks; all prefixes.
    summary : Div
        The totals in words.
    """

    def __init__(self, history: Callable[[], History | None]):
        self._history = history
        self._shown: tuple[int, int] | None = None
        self.summary = Div(name="cache_summary", sizing_mode="stretch_width")
        names = [*OUTCOMES, *SAVED_COLORS]
        self.over_time = ColumnDataSource({name: [] for name in ("time", *names)})
        empty: dict[str, list[Any]] = {name: [] for name in ("prefix", *FIELDS)}
        self.bars, self.prefixes = ColumnDataSource(dict(empty)), ColumnDataSource(dict(empty))
        self._bars_range = FactorRange()
        self._table = self._prefixes_table()
        self.root = column(
            self.summary,
            _row(self._tasks_figure(), self._saved_figure(), min_height=200),
            _row(self._bars_figure(), self._table, min_height=320),
            name="cache",
            sizing_mode="stretch_both",
        )

    def update(self) -> None:
        """Show what is new."""
        history = self._history()
        shown = (id(history), history.version if history else 0)
        if shown == self._shown:
            return
        self._shown = shown
        data = (history or History()).as_dict()
        self.summary.text = _summary(data["totals"]) if history else "The cache is off."
        columns = so_far(data["series"], [*OUTCOMES, *SAVED_COLORS])
        # Bokeh shows times as they come; what people read is the time on the scheduler's wall.
        offset = time.localtime().tm_gmtoff
        columns["time"] = [1_000 * (moment + offset) for moment in columns["time"]]
        self.over_time.data = columns
        self.prefixes.data = _rows(data["prefixes"], None)
        # A table is drawn again when its view changes, which new values in as many rows do not do.
        self._table.view.tags = list(shown)
        bars = _rows(data["prefixes"], MAX_BARS)
        self._bars_range.factors = bars["prefix"][::-1]
        self.bars.data = bars

    def _tasks_figure(self) -> Any:
        plot = _timeline("Tasks", "cache_tasks")
        plot.varea_stack(
            list(OUTCOMES),
            x="time",
            color=list(COLORS.values()),
            legend_label=list(OUTCOMES),
            source=self.over_time,
        )
        plot.yaxis.formatter = NumeralTickFormatter(format="0,0")
        return _with_legend_above(plot)

    def _saved_figure(self) -> Any:
        plot = _timeline("Saved", "cache_saved")
        plot.yaxis.axis_label = "seconds"
        plot.extra_y_ranges = {"bytes": DataRange1d(start=0)}
        plot.add_layout(
            LinearAxis(
                y_range_name="bytes",
                axis_label="bytes",
                formatter=NumeralTickFormatter(format="0 b"),
                ticker=AdaptiveTicker(base=1024, mantissas=[1, 2, 4, 8, 16, 32, 64, 128, 256, 512]),
            ),
            "right",
        )
        lines = [
            plot.line("time", "seconds_saved", source=self.over_time, **_line("seconds_saved")),
            plot.line(
                "time",
                "bytes_saved",
                source=self.over_time,
                y_range_name="bytes",
                line_dash="dashed",
                **_line("bytes_saved"),
            ),
        ]
        # Each axis follows its own line only.
        plot.y_range.renderers, plot.extra_y_ranges["bytes"].renderers = lines[:1], lines[1:]
        return _with_legend_above(plot)

    def _bars_figure(self) -> Any:
        plot = figure(
            title="Tasks by prefix",
            name="cache_bars",
            y_range=self._bars_range,
            x_range=DataRange1d(start=0),
            tools="hover",
            tooltips=f"@prefix: {', '.join(f'@{name} {name}' for name in OUTCOMES)}",
            toolbar_location=None,
            sizing_mode="stretch_both",
        )
        plot.hbar_stack(
            list(OUTCOMES),
            y="prefix",
            height=0.8,
            color=list(COLORS.values()),
            source=self.bars,
        )
        plot.xaxis.formatter = NumeralTickFormatter(format="0,0")
        plot.yaxis.formatter = CustomJSTickFormatter(code=SHORT_NAME)
        return plot

    def _prefixes_table(self) -> Any:
        number = NumberFormatter(format="0,0", text_align="right")
        formats = {
            "prefix": HTMLTemplateFormatter(template=WHOLE_NAME),
            "seconds_saved": NumberFormatter(format="0,0.0", text_align="right"),
            "bytes_saved": NumberFormatter(format="0[.]0 b", text_align="right"),
        }
        columns = [
            TableColumn(
                field=name,
                title=name.replace("_", " "),
                formatter=formats.get(name, number),
                width=width,
            )
            for name, width in WIDTHS.items()
        ]
        return DataTable(
            source=self.prefixes,
            columns=columns,
            name="cache_prefixes",
            index_position=None,
            reorderable=False,
            sizing_mode="stretch_both",
        )


def _row(*children: Any, min_height: int) -> Any:
    return row(*children, sizing_mode="stretch_both", min_height=min_height)


def _timeline(title: str, name: str) -> Any:
    plot = figure(
        title=title,
        name=name,
        x_axis_type="datetime",
        y_range=DataRange1d(start=0),
        tools="xpan,xwheel_zoom,reset",
        toolbar_location="above",
        sizing_mode="stretch_both",
    )
    # As many as a narrow pane has room for.
    plot.xaxis.ticker.desired_num_ticks = 3
    return plot


def _with_legend_above(plot: Any) -> Any:
    """Move the legend to where it covers nothing."""
    plot.add_layout(plot.legend[0], "above")
    plot.legend.orientation = "horizontal"
    plot.legend.border_line_color = None
    plot.legend.padding = 0
    return plot


def _line(name: str) -> dict[str, Any]:
    label = name.replace("_", " ")
    return {"color": SAVED_COLORS[name], "line_width": 2, "legend_label": label}


def _rows(prefixes: dict[str, Any], most: int | None) -> dict[str, list[Any]]:
    return {"prefix": [], **{name: [] for name in FIELDS}} | per_prefix(prefixes, most)


def _summary(totals: dict[str, Any]) -> str:
    saved = f"{seconds_text(totals['seconds_saved'])} and {bytes_text(totals['bytes_saved'])}"
    return (
        f"<b>{share_text(totals)} hits</b>: {totals['hits']:,} tasks served, "
        f"{totals['pruned']:,} of them never scheduled; {totals['misses']:,} computed, "
        f"{totals['refused']:,} refused. <b>{saved} saved.</b> "
        f"{totals['stored']:,} results stored ({bytes_text(totals['bytes_stored'])})."
    )
