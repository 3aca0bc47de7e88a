"""The report: one HTML file that needs nothing else."""

from __future__ import annotations

import html.parser
import re
import time
from types import SimpleNamespace

import dask
import pytest
from seamless_dask_cache.scheduler_plugin import CachePlugin
from seamless_dask_cache.scheduler_plugin.history import History
from seamless_dask_cache.scheduler_plugin.seeing.report import report, report_data, write_report

HOSTILE = "<script>alert(1)</script>\"'&"
VOID = {"meta"}
FETCHING = {"src", "href", "xlink:href", "srcset", "action", "data", "poster", "background"}


class Page(html.parser.HTMLParser):
    """Tags, attributes and texts of a page; it must be well-formed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts, self.open = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data.strip())

    def cells_after(self, text):
        start = self.texts.index(text) + 1
        return [t for t in self.texts[start : start + 40] if t]


def data_of(history, **changes):
    seeing = SimpleNamespace(history=history, since=1_000.0)
    given = {"stats": {}, "settings": {}, "database": {}} | changes
    return report_data(seeing, **given)


def filled():
    history = History()
    for second in range(20):
        history.note(1_000.0 + second, "inc", hits=2, pruned=1, misses=1, seconds_saved=30.0)
        history.note(1_000.0 + second, "add", refused=1, bytes_saved=2**20)
    history.note_refusals({"clock: it calls time.time": 15, "it makes an actor": 5})
    return history


def test_the_report_has_the_numbers():
    """Totals, rows by prefix, reasons, counters, settings, versions and the database."""
    data = data_of(
        filled(),
        stats={"graphs": 7, "hits": 1_234_567},
        settings={"allow_effects": frozenset({"random", "clock"}), "min_seconds": 0.02},
        database={"results": 99},
    )
    page = Page(report(data))
    assert page.texts[page.texts.index("hits") - 1] == "50 %"
    assert "10.0 min" in page.texts
    assert page.cells_after("inc")[0] != ""
    row = page.texts.index("inc", page.texts.index("bytes saved"))
    cells = [text for text in page.texts[row : row + 40] if text][:10]
    assert cells == ["inc", "40", "20", "20", "0", "0", "0", "0", "10.0 min", "0 B"]
    assert page.cells_after("clock: it calls time.time")[0] == "15"
    assert page.cells_after("graphs")[0] == "7"
    assert "1,234,567" in page.texts
    assert page.cells_after("allow effects")[0] == "clock, random"
    assert page.cells_after("results")[0] == "99"
    assert page.cells_after("dask")[0] == dask.__version__
    assert page.tags.count("path") == 4
    assert page.tags.count("rect") == 6


def test_the_report_needs_nothing_else():
    """No script, no reference to anything outside, no handler of events."""
    text = report(data_of(filled(), database={"results": 99}))
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "object", "embed", "form"} & set(page.tags)
    for name, value in page.attributes:
        assert name not in FETCHING, (name, value)
        assert not name.startswith("on")
    assert not re.search(r"https?:|url\(|@import", text)


def test_what_users_name_is_escaped():
    """Prefixes, reasons, events and settings are text, whatever they contain."""
    history = filled()
    history.note(1_019.0, HOSTILE, hits=100)
    history.note_refusals({HOSTILE: 1})
    history.note_event(1.0, {"action": HOSTILE, HOSTILE: HOSTILE})
    named = {HOSTILE: HOSTILE}
    data = data_of(history, stats=named, settings=named, database=named)
    text = report(data)
    assert "<script" not in text
    page = Page(text)
    assert "script" not in page.tags
    assert sum(HOSTILE in t for t in page.texts) >= 8


@pytest.mark.parametrize("history", [History(), filled()])
def test_a_report_can_always_be_made(history):
    """Also before anything happened, and when the database is away."""
    text = report(data_of(history))
    assert "It did not answer." in text
    assert ("No task was submitted." in text) == (not history.series())


def test_a_report_stays_small():
    """With as many points, prefixes, reasons and events as are kept, it is below a megabyte."""
    history = History()
    for second in range(3_000):
        history.note(float(second), f"prefix-{second}", hits=second, misses=1, refused=1)
        history.note_refusals({f"reason {second}": 1})
        history.note_event(float(second), {"action": "healed", "key": "k" * 50})
    assert len(report(data_of(history))) < 1_000_000


def test_a_report_is_written_whole_or_not_at_all(tmp_path):
    """The file is replaced in one step, and a failure leaves the old one and nothing else."""
    path = tmp_path / "report.html"
    assert write_report(path, "old é") == path
    assert path.read_text(encoding="utf-8") == "old é"
    with pytest.raises(UnicodeEncodeError):
        write_report(path, "new \udcff")
    assert path.read_text(encoding="utf-8") == "old é"
    assert list(tmp_path.iterdir()) == [path]
    write_report(str(path), "new")
    assert path.read_text() == "new"
    with pytest.raises(FileNotFoundError):
        write_report(tmp_path / "nowhere" / "report.html", "new")


def increment(x):
    return x + 1


def stamp(x):
    return time.time() + x


def test_the_report_of_a_real_workload(client, cache_dir, tmp_path):
    """What a cluster computed, restored and refused stands in the report of that cluster."""
    client.register_plugin(CachePlugin(cache_dir=cache_dir))
    assert client.gather(client.map(increment, range(5))) == [1, 2, 3, 4, 5]
    client.submit(stamp, 1).result()
    answer = client.scheduler.seamless_dask_cache
    assert client.sync(answer, action="flush", arguments={})
    data = client.sync(answer, action="report", arguments={})
    assert data["history"]["totals"]["misses"] == 5
    assert data["stats"]["stored"] == 5
    page = Page(write_report(tmp_path / "report.html", report(data)).read_text(encoding="utf-8"))
    row = page.texts.index("increment", page.texts.index("bytes saved"))
    cells = [text for text in page.texts[row : row + 40] if text][:8]
    assert cells == ["increment", "0", "0", "5", "0", "0", "5", "5"]
    assert any("clock" in text for text in page.texts)
    assert page.cells_after("patience")[0] == "10.0"
