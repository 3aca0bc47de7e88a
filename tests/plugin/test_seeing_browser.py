"""The dashboard page and the report as people see them: in a browser.

Where there is no browser these tests are skipped, unless the environment says that there must be
one.
"""

from __future__ import annotations

import json
import time
from types import SimpleNamespace

import dask
import pytest
from browsing import opened
from clusters import cluster_of, wait_until_forgotten
from seamless_dask_cache.scheduler_plugin.history import History
from seamless_dask_cache.scheduler_plugin.seeing.page import COLORS, SAVED_COLORS
from seamless_dask_cache.scheduler_plugin.seeing.report import report, report_data
from selenium.webdriver.support.wait import WebDriverWait

SIZE = (1400, 900)
HOSTILE = "x<img src=x onerror=document.title='taken'>"

# Bokeh puts every component into a shadow tree of its own.
FIND = """
function find(root, selector) {
    const hosts = [...root.querySelectorAll("*")].filter((e) => e.shadowRoot);
    const inner = hosts.flatMap((e) => find(e.shadowRoot, selector));
    return [...root.querySelectorAll(selector), ...inner];
}
"""
# How many pixels of a figure's canvases are nearly of a colour.
COUNT_PIXELS = """
const [index, color] = arguments;
const wanted = [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16));
let count = 0;
for (const canvas of find(find(document, ".bk-Figure")[index].shadowRoot, "canvas")) {
    if (!canvas.width || !canvas.height) continue;
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    for (let i = 0; i < data.length; i += 4) {
        const far = wanted.some((value, j) => Math.abs(data[i + j] - value) > 24);
        count += !far && data[i + 3] > 200;
    }
}
return count;
"""
TASKS, SAVED, BARS = range(3)


def increment(x):
    return x + 1


def slow(x):
    time.sleep(0.05)
    return bytes(x)


def stamp(x):
    return time.time() + x


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    """A browser; its pages are left before their cluster is closed, see `browser`."""
    with opened(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def browser(chromium):
    """A browser that has nothing on record."""
    chromium.set_window_size(*SIZE)
    chromium.get("about:blank")
    errors(chromium)
    requests(chromium)
    yield chromium
    chromium.get("about:blank")


@pytest.fixture
def client(cache_dir):
    with cluster_of(dashboard=True) as client:
        yield client


@pytest.fixture
def individual(browser, cache, client):
    """The page by itself, open before anything was computed."""
    browser.get(f"{base_url(client)}/individual-cache")
    wait(browser, lambda: "0 tasks served" in summary(browser))
    return browser


def base_url(client):
    return f"http://127.0.0.1:{client.cluster.scheduler.http_server.port}"


def run_cold_and_warm(cache):
    """Compute something twice, and something refused."""
    for _ in range(2):
        dask.compute([dask.delayed(slow)(100_000 + i) for i in range(6)])
        assert cache.flush()
        wait_until_forgotten(cache.client)
    cache.client.submit(stamp, 1).result()


# What the browser shows ---------------------------------------------------------------------------


def wait(browser, condition):
    WebDriverWait(browser, 30, 0.05).until(lambda _: condition())


def run(browser, script, *arguments):
    return browser.execute_script(FIND + script, *arguments)


def texts(browser, selector):
    found = "return find(document, arguments[0]).map((e) => e.innerText.trim())"
    return run(browser, found, selector)


def summary(browser):
    return " ".join(texts(browser, ".bk-clearfix"))


def rows(browser):
    """The table of prefixes: the first cell of each row to the others."""
    cells = """
    return find(document, ".slick-row").map(
        (row) => [...row.querySelectorAll(".slick-cell")].map((e) => e.innerText.trim())
    )"""
    return {first: others for first, *others in run(browser, cells)}


def pixels(browser, figure, color):
    return run(browser, COUNT_PIXELS, figure, color)


def sizes(browser, selector):
    found = """
    return find(document, arguments[0]).map((e) => {
        const box = e.getBoundingClientRect();
        return [box.width, box.height];
    })"""
    return run(browser, found, selector)


def errors(browser):
    """What the console complained of since it was asked before."""
    return [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def requests(browser):
    """The addresses that were asked for since this was asked before, without what a page brings."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    sockets = [m["params"] for m in messages if m["method"] == "Network.webSocketCreated"]
    urls = [p["request"]["url"] for p in sent] + [p["url"] for p in sockets]
    return [url for url in urls if not url.startswith("data:")]


# The page -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/cache", "/individual-cache"])
def test_the_page_is_drawn(browser, cache, client, path):
    """Summary, plots and table are there, without an error and without asking anybody else."""
    run_cold_and_warm(cache)
    browser.get(base_url(client) + path)
    wait(browser, lambda: len(rows(browser)) >= 2)
    assert browser.title == "Dask: Cache"
    assert "46 % hits: 6 tasks served" in summary(browser)
    assert rows(browser)["slow"][:3] == ["6", "6", "0"]
    assert rows(browser)["stamp"][:3] == ["0", "0", "1"]
    assert rows(browser)["slow"][-1].startswith("586.")
    assert rows(browser)["slow"][-1].endswith(" KiB")
    for figure, color in [(TASKS, c) for c in COLORS.values()] + [(BARS, COLORS["hits"])]:
        assert pixels(browser, figure, color) > 50, (figure, color)
    for color in SAVED_COLORS.values():
        assert pixels(browser, SAVED, color) > 20, color
    assert errors(browser) == []
    server = base_url(client).removeprefix("http:")
    urls = requests(browser)
    assert f"ws:{server}{path}/ws" in urls
    assert [url for url in urls if server not in url] == []


def test_an_open_page_follows(individual, cache, client):
    """New rows, and new numbers in the rows that are there, come by themselves."""
    assert rows(individual) == {}
    assert pixels(individual, BARS, COLORS["misses"]) == 0
    assert client.submit(increment, 1).result() == 2
    wait(individual, lambda: rows(individual).get("increment", [])[:2] == ["0", "1"])
    wait(individual, lambda: pixels(individual, BARS, COLORS["misses"]) > 50)
    assert pixels(individual, BARS, COLORS["hits"]) == 0
    for hits in range(1, 4):
        assert cache.flush()
        wait_until_forgotten(client)
        assert client.submit(increment, 1).result() == 2
        wait(individual, lambda hits=hits: rows(individual)["increment"][:2] == [str(hits), "1"])
        assert f"{hits} task" in summary(individual)
    wait(individual, lambda: pixels(individual, BARS, COLORS["hits"]) > 50)
    assert errors(individual) == []


def test_names_of_tasks_are_only_shown(individual, client):
    """A name that looks like HTML is text; it is neither an element nor run."""
    assert client.submit(increment, 1, key=f"{HOSTILE}-1").result() == 2
    wait(individual, lambda: rows(individual) != {})
    assert list(rows(individual)) == [HOSTILE]
    assert run(individual, "return find(document, 'img[src=x]').length") == 0
    assert individual.title == "Dask: Cache"
    assert errors(individual) == []


def test_titles_of_columns_can_be_read(individual):
    """No title in the table is cut off."""
    cut = """
    return find(document, ".slick-header-column")
        .filter((e) => e.querySelector(".slick-column-name").offsetWidth > e.clientWidth)
        .map((e) => e.innerText)"""
    assert "seconds saved" in texts(individual, ".slick-header-column")
    assert run(individual, cut) == []


def test_a_small_pane_scrolls(individual, cache):
    """Where there is little room, nothing shrinks until it cannot be read."""
    run_cold_and_warm(cache)
    individual.set_window_size(700, 500)
    wait(individual, lambda: sizes(individual, ".bk-Figure")[TASKS][0] < 400)
    heights = [height for _, height in sizes(individual, ".bk-Figure")]
    assert min(heights[:BARS]) >= 190
    assert heights[BARS] >= 300
    scrolls = "const e = document.scrollingElement; return e.scrollHeight > e.clientHeight"
    assert run(individual, scrolls)


# The report ---------------------------------------------------------------------------------------


@pytest.fixture
def offline(browser):
    browser.set_network_conditions(offline=True, latency=0, throughput=0)
    yield browser
    browser.delete_network_conditions()


def test_the_report_needs_nobody(offline, cache, client, tmp_path):
    """Opened from disk, without a network, the report is complete and asks for nothing."""
    run_cold_and_warm(cache)
    assert client.submit(increment, 1, key=f"{HOSTILE}-1").result() == 2
    path = cache.report(tmp_path / "report.html")
    offline.get(path.as_uri())
    body = texts(offline, "body")[0]
    for text in ("43 %\nhits", "slow", "calls time.time", "Settings", HOSTILE):
        assert text in body, text
    assert offline.title.startswith("Cache report")
    assert [width > 300 for width, _ in sizes(offline, "svg path")] == [True] * 4
    assert max(width for width, _ in sizes(offline, "svg rect")) > 300
    assert requests(offline) == [path.as_uri()]
    assert offline.get_log("browser") == []


@pytest.mark.parametrize("width", [SIZE[0], 700])
def test_the_report_fits_the_window(browser, cache, tmp_path, width):
    """The page is as wide as its window, and every number stands on one line with its unit."""
    run_cold_and_warm(cache)
    browser.set_window_size(width, SIZE[1])
    browser.get(cache.report(tmp_path / "report.html").as_uri())
    assert run(browser, "return document.scrollingElement.scrollWidth <= window.innerWidth")
    heights = [height for _, height in sizes(browser, "tr:has(td + td + td)")]
    assert len(heights) == 2
    assert max(heights) < 40


def test_large_numbers_are_written_out(browser, tmp_path):
    """The axes of a long history have digits, which people read, and no powers of ten."""
    history = History()
    history.note(1_000.0, "slow", hits=2_500_000, seconds_saved=2_500_000.0)
    seeing = SimpleNamespace(history=history, since=1_000.0)
    path = tmp_path / "report.html"
    path.write_text(report(report_data(seeing, stats={}, settings={}, database={})))
    browser.get(path.as_uri())
    shown = run(browser, "return find(document, 'svg text').map((e) => e.textContent)")
    assert {"3,000,000", "3,000,000 s"} <= set(shown)
