"""The table of capacity in the operator's document, from the benches' results.

usage: python -m benchmarks.serving.capacity_table docs/operations.md
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from benchmarks.quality.tables import RESULTS

BEGIN = "<!-- made by: python -m benchmarks.serving.capacity_table docs/operations.md -->"
END = "<!-- end of the capacity -->"


def table(results: Path = RESULTS) -> str:
    """Rows of question, figure, and the file it is from."""
    read = {name: _read(results, name) for name in ("capacity", "workers", "growth", "stores")}
    rows = [
        (f"requests a second and core within 20 ms, {mix}", f"{found['capacity']:,.0f}" if found["capacity"] else
         f"fewer than {found['sweep'][0]['rate']:g}", "capacity")
        for mix, found in read["capacity"]["mixes"].items()
    ]  # fmt: skip
    rows.append(("a second worker on a second core", f"{read['workers']['median_ratio']:.2f} times", "workers"))
    for size in read["growth"]["results"]:
        what = f"{size['texts']:,} texts, {size['users']:,} users"
        rows.append((f"{what}: disk", f"{size['disk_mb']:,} MB", "growth"))
        rows.append((f"{what}: memory of a process at the start, and after the bench", _memory(size), "growth"))
        rows.append((f"{what}: from start to SERVING", f"{size['start_s']:g} s", "growth"))
    for store, key in (("Redis", "redis, appendfsync everysec"), ("state folder", "embedded")):
        found = read["stores"]["median_us"][key]
        if "bytes a turn" in found:
            rows.append((f"{store}: bytes of a turn", f"{found['bytes a turn']:,}", "stores"))
        rows.append((f"{store}: a `Record`", f"{found['recorded, few turns'] / 1000:.1f} ms", "stores"))
    lines = ["| what | figure | from |", "|---|---|---|"]
    lines += [f"| {what} | {said} | [{name}.json](../benchmarks/results/{name}.json) |" for what, said, name in rows]
    return "\n".join(lines)


def put_into(document: Path) -> bool:
    """Puts the table between its marks; whether that changed anything."""
    text = document.read_text(encoding="utf-8")
    made, found = re.subn(
        re.escape(BEGIN) + r"\n.*?" + re.escape(END), lambda _: f"{BEGIN}\n{table()}\n{END}", text, flags=re.DOTALL
    )
    if not found:
        raise SystemExit(f"{document}: has no lines '{BEGIN}' and '{END}'")
    document.write_text(made, encoding="utf-8")
    return made != text


def _read(results: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((results / f"{name}.json").read_text(encoding="utf-8"))
    return found


def _memory(size: dict[str, Any]) -> str:
    return f"{size['start_mb']:,} MB, {size['after_mb']:,} MB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("document", type=Path)
    document = parser.parse_args().document
    print(f"{document}: {'made anew' if put_into(document) else 'was up to date'}")


if __name__ == "__main__":
    main()
