"""Takes the README's pictures of the console: a real server on the sample bundle, a real browser.

`python -m benchmarks.console.screenshots BUNDLE LOG`, to docs/images/.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from benchmarks.console.running import STRICTER, Server, requests_of, running, traffic

OUT = Path(__file__).resolve().parents[2] / "docs" / "images"
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
_RATE, _SECONDS = 30.0, 75.0


def _log_in(page: Page, server: Server) -> None:
    page.goto(server.console)
    page.fill("#token", server.token)
    page.keyboard.press("Enter")
    page.wait_for_selector("#result .empty")


def _ask(page: Page, user: str, query: str) -> None:
    page.fill("#user", user)
    page.fill("#query", query)
    page.fill("#confidence", "0.8")
    page.fill("#device_type", "display")
    page.fill("#room", "living room")
    page.check("#has_screen")
    page.click("#ask-button")
    page.wait_for_selector(".verdict")
    page.wait_for_selector(".bars")


def main(bundle: Path, log: Path) -> None:
    OUT.mkdir(exist_ok=True)
    requests = requests_of(log)
    with running(bundle) as server, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])

        def shot(page: Page, name: str) -> None:
            page.evaluate("document.activeElement.blur()")
            page.wait_for_timeout(200)
            page.screenshot(path=OUT / f"{name}.png")
            print(f"{OUT / name}.png", (OUT / f"{name}.png").stat().st_size, "bytes")

        with traffic(server, requests, _RATE):
            begun = time.monotonic()
            page = chromium.new_page(viewport=DESKTOP)
            _log_in(page, server)
            _ask(page, "cleo", "play ago")
            _ask(page, "cleo", "play ago")  # the second time the user is at hand
            shot(page, "console-ask")
            page.select_option("#other", STRICTER)
            page.click("#compare-button")
            page.wait_for_selector(".two .verdict", timeout=120_000)
            shot(page, "console-compare")
            phone = chromium.new_page(viewport=PHONE, color_scheme="dark")
            _log_in(phone, server)
            _ask(phone, "ada", "what's the weather in wilkerson")
            phone.evaluate("document.querySelector('.verdict').scrollIntoView()")
            shot(phone, "console-phone")
            time.sleep(max(0.0, begun + _SECONDS - time.monotonic()))
            page.keyboard.press("3")
            page.wait_for_selector("#live .shares")
            page.wait_for_timeout(1500)
            shot(page, "console-live")
        chromium.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
