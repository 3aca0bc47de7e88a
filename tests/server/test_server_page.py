"""The page that people see of a server, in a real browser."""

from __future__ import annotations

import pytest
from browsing import opened
from selenium.webdriver.common.by import By
from serving import hex_of, wait_for

HOSTILE = "x<img src=x onerror=document.title='taken'>"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with opened(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


def _store(server, name, **entry):
    item = {"transformation": hex_of(name), "result": hex_of("r"), "entry": entry}
    assert server.put("batch", store=[item])[0] == 200


def _figures(browser):
    boxes = browser.find_elements(By.CSS_SELECTOR, ".figures div")
    return {box.text.split("\n")[1]: box.text.split("\n")[0] for box in boxes}


def test_a_browser_gets_a_page_of_what_is_on_record(browser, server):
    """How much there is, and the newest results first; what programs made up is shown as text."""
    browser.get(server.url)
    wait_for(lambda: "None yet" in browser.page_source)
    _store(server, "old", function="pkg.train", seconds=7200.0, nbytes=80_000_000, created=1e9)
    _store(server, "new", function=HOSTILE, key_prefix="clean", seconds=0.25, created=2e9)
    server.get_text("transformation", checksum=hex_of("old"))
    server.get_text("transformation", checksum=hex_of("unknown"))
    browser.get(server.url)
    figures = wait_for(lambda: _figures(browser))
    assert figures["transformations"] == "2"
    assert (figures["hits since the start"], figures["misses since the start"]) == ("1", "1")
    assert figures["of computing on record"] == "2.0 h"
    assert figures["of results"] == "80.0 MB"
    rows = [row.text for row in browser.find_elements(By.CSS_SELECTOR, "#entries tr")][1:]
    assert rows[0].startswith(f"{HOSTILE} clean 250.0 ms") and "2033-05-18 03:33:20" in rows[0]
    assert rows[1].startswith("pkg.train 2.0 h 80.0 MB 2001-09-09 01:46:40")
    assert browser.title == "fresh.db: Seamless database"
    problems = [entry for entry in browser.get_log("browser") if "favicon" not in entry["message"]]
    assert problems == []


def test_a_browser_presents_the_token_as_a_password(browser, start_server, tmp_path):
    """And a wrong one sees nothing."""
    (tmp_path / "token").write_text("s3cret")
    server = start_server(tmp_path / "x.db", "--token-file", str(tmp_path / "token"))
    for password, found in (("wrong", False), ("s3cret", True)):
        browser.get(server.url.replace("//", f"//anybody:{password}@"))
        assert ("Seamless database" in browser.title) is found


def test_programs_get_no_page(server):
    """An empty body of theirs is malformed, as it always was."""
    assert server.raw("GET", "")[0] == 400
    assert server.raw("GET", "", Accept="*/*")[0] == 400
    status, text = server.raw("GET", '{"type":"protocol"}', Accept="text/html")
    assert (status, text[:2]) == (200, '["')


def test_times_and_sizes_that_make_no_sense_do_no_harm(server):
    """Another program may have put anything into the file."""
    _store(server, "a", function="f", seconds=1e300, nbytes=2**62, created=1e18)
    _store(server, "b", created=-1e18)
    assert server.raw("GET", "", Accept="text/html")[0] == 200
