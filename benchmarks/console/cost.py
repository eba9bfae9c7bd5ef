"""What the console costs those who are served: latency of requests while nobody looks, while somebody watches the
charts, and while somebody asks twice a second; each round beside a server without it, in turns. And what it takes.

`python -m benchmarks.console.cost BUNDLE LOG`, to benchmarks/results/console.json.
"""

from __future__ import annotations

import http.cookiejar
import json
import statistics
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.console.running import Server, requests_of, running, traffic
from benchmarks.quality.tables import keep

_RATE, _SECONDS, _ROUNDS = 50.0, 5.0, 7


class _Operator:
    """At the console, without a browser."""

    def __init__(self, server: Server) -> None:
        self._server = server
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._open = urllib.request.build_opener(cookies).open
        form = self._get("/login").split('name="form" value="')[1].split('"')[0]
        data = urllib.parse.urlencode({"token": server.token, "form": form}).encode()
        page = self._open(f"{server.console}/login", data, timeout=10).read().decode()
        self._csrf = page.split('name="csrf" content="')[1].split('"')[0]

    def _get(self, path: str) -> str:
        return self._open(self._server.console + path, timeout=10).read().decode()

    def watch(self) -> None:
        self._get("/api/live?since=0")

    def ask(self) -> None:
        message = {"request": {"user_id": "cleo", "query": "play ago", "context": {"has_screen": True}}}
        headers = {"x-csrf-token": self._csrf, "content-type": "application/json"}
        data = json.dumps(message).encode()
        self._open(urllib.request.Request(f"{self._server.console}/api/Explain", data, headers), timeout=10).read()


@contextmanager
def _every(seconds: float, action: Callable[[], None] | None) -> Iterator[None]:
    stop = threading.Event()

    def repeat() -> None:
        while action is not None and not stop.wait(seconds):
            action()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _resident_mib(parent: int) -> float:
    """Of the child that steps back behind the others: the console."""
    for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[16] == "5":
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            return pages * 4096 / 2**20
    raise SystemExit("no console process")


def main(bundle: Path, log: Path) -> None:
    requests = requests_of(log)
    found: dict[str, list[np.ndarray]] = {name: [] for name in ("without", "nobody looks", "watching", "asking")}
    with running(bundle) as server, running(bundle, console=False) as plain:
        operator = _Operator(server)
        operator.ask()
        ways = [
            ("without", plain, 1.0, None),
            ("nobody looks", server, 1.0, None),
            ("watching", server, 1.0, operator.watch),
            ("asking", server, 0.5, operator.ask),
        ]
        for round_number in range(-1, _ROUNDS):  # the first is for warming up
            for name, target, pause, action in ways[round_number % 4 :] + ways[: round_number % 4]:
                with traffic(target, requests, _RATE) as took, _every(pause, action):
                    time.sleep(_SECONDS)
                if round_number >= 0:
                    found[name].append(np.array(took) * 1000)
        resident = _resident_mib(server.pid)
    rows = {}
    for name, rounds in found.items():
        medians = [float(np.median(took)) for took in rounds]
        base = [float(np.median(took)) for took in found["without"]]
        rows[name] = {
            "median_ms": statistics.median(medians),
            "p95_ms": statistics.median(float(np.quantile(took, 0.95)) for took in rounds),
            "median_ratio_to_without": statistics.median(m / b for m, b in zip(medians, base, strict=True)),
            "ratios": sorted(round(m / b, 3) for m, b in zip(medians, base, strict=True)),
        }
        print(name, rows[name])
    print(f"resident {resident:.0f} MiB")
    keep("console", {"rate": _RATE, "seconds": _SECONDS, "rounds": _ROUNDS, "rows": rows, "rss_mib": round(resident)})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
