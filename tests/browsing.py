"""A real browser for tests of pages.

Where there is none, these tests are skipped, unless the environment says that there must be one.
"""

from __future__ import annotations

import contextlib
import os
import shutil

import pytest
from selenium import webdriver

# Set by .ci/run, so that these tests are not left out where it counts.
REQUIRED = "SEAMLESS_DASK_CACHE_BROWSER_REQUIRED"
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    # Whatever a page asks for, it can reach this machine only.
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


@contextlib.contextmanager
def opened(profile):
    """A browser, with its profile in this folder."""
    driver = webdriver.Chrome(
        options=options(program("chromium"), profile),
        service=webdriver.ChromeService(program("chromedriver")),
    )
    driver.set_page_load_timeout(60)
    try:
        yield driver
    finally:
        driver.quit()


def program(name):
    """Return the path of a program that is looked up; never one that is downloaded."""
    found = shutil.which(name)
    if found is None:
        reason = f"{name} is not installed"
        (pytest.fail if os.environ.get(REQUIRED) else pytest.skip)(reason)
    return found


def options(binary, profile):
    chosen = webdriver.ChromeOptions()
    chosen.binary_location = binary
    for argument in (*ARGUMENTS, f"--user-data-dir={profile}"):
        chosen.add_argument(argument)
    chosen.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return chosen
