"""Fails unless a pytest report (JUnit XML) holds tests that ran: a run that skips everything proves nothing.

usage: tests_ran.py REPORT
"""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree


def executed(report: Path) -> int:
    """How many tests of the report ran, passed or not; skipped ones do not count."""
    suites = ElementTree.parse(report).getroot().iter("testsuite")
    return sum(int(suite.get("tests", 0)) - int(suite.get("skipped", 0)) for suite in suites)


if __name__ == "__main__":
    count = executed(Path(sys.argv[1]))
    print(f"{count} tests ran")
    sys.exit(0 if count > 0 else 1)
