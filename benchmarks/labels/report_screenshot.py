"""Takes the picture of a report: made by the command from the sample log, looked at in a real browser.

`python -m benchmarks.labels.report_screenshot BUNDLE LOG`, to docs/images/report.png.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

OUT = Path(__file__).resolve().parents[2] / "docs" / "images" / "report.png"
_SIZE = {"width": 1080, "height": 1000}
_COLOURS = 64  # a third of the bytes, and nobody sees it


def main(bundle: str, log: str) -> None:
    with tempfile.TemporaryDirectory(prefix="query-rewrite-report-") as folder, sync_playwright() as playwright:
        out = Path(folder) / "report"
        command = [sys.executable, "-m", "rewrite_service.cli", "report", "--log", log, "--bundle", bundle]
        subprocess.run([*command, "--out", str(out)], check=True)
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = chromium.new_page(viewport=_SIZE)
        page.goto((out / "index.html").as_uri())
        page.screenshot(path=OUT)
        Image.open(OUT).quantize(_COLOURS).save(OUT, optimize=True)
        chromium.close()
    print(OUT, OUT.stat().st_size, "bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
