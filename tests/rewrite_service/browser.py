"""A real Chromium, without a window, and the console as somebody at it uses it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, expect, sync_playwright

PATIENCE_MS = 120_000
"""For what takes a moment on a machine that has the time."""
INSTALL = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]


def chromium() -> str:
    """Where Debian's Chromium is; installs it where it may. Raises AssertionError with the remedy."""
    if (found := shutil.which("chromium")) is None and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        subprocess.run(INSTALL, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"}, check=False)
        found = shutil.which("chromium")
    assert found, f"these tests need Chromium: sudo {' '.join(INSTALL)}"
    return found


@contextmanager
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        # Without its sandbox, which root may not use; it loads nothing but the console.
        launched = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield launched
        launched.close()


def log_in(page: Page, address: str, token: str) -> None:
    page.goto(address)
    page.fill("#token", token)
    page.keyboard.press("Enter")


def ask(page: Page, user: str, query: str) -> None:
    """Types a request and waits for its answer."""
    page.fill("#user", user)
    page.fill("#query", query)
    page.press("#query", "Enter")
    page.wait_for_selector(".verdict, #result .problem")


def logged_in(browser: Browser, address: str, token: str, **options: object) -> Page:
    """A page of its own, with cookies of its own; what scripts complain of ends up in `page.errors`."""
    page = browser.new_context(**options).new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("console", lambda said: page.errors.append(said.text) if "Content Security Policy" in said.text else None)
    log_in(page, address, token)
    ready(page)
    return page


def ready(page: Page) -> None:
    """Waits until the page's own script has begun."""
    page.wait_for_selector("#result .empty")
