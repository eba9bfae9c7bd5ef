"""Backs this process's own memory with huge pages (2 MB in place of 4 KB), so that the processor finds it sooner.

A request goes through the encoder's weights and a good part of the heap, far more than the processor keeps addresses
of (its TLB); on a virtual machine, a miss walks two tables. Linux does it only for memory that it is asked to (where
"transparent huge pages" are set to "madvise", as most distributions have them), and NumPy alone asks, for its own.
Nothing but the time of an access changes.
"""

from __future__ import annotations

import ctypes
import mmap
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np

_KERNEL = Path("/sys/kernel/mm/transparent_hugepage")
_MAPPINGS, _PAGES = Path("/proc/self/maps"), Path("/proc/self/pagemap")
_COLLAPSE = 25
"""MADV_COLLAPSE, of Linux 6.1: at once, by whoever asks."""
_LEAST_FILLED = 0.8
"""Where less of a huge page is in memory, it is left as it is: it would fill what nobody uses, such as the rest of a
thread's stack."""
_LEAST_REST_S = 0.001
_OWN = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw-p \S+ \S+ 0 *(?:\[heap\])?")
_IN_MEMORY = np.uint64(63)
"""Bit of a page's entry that says so (the kernel's Documentation/admin-guide/mm/pagemap.rst)."""


def back_with_huge_pages(rest: Callable[[float], bool]) -> int:
    """Asks for this process's anonymous memory where it is well filled, a huge page at a time. `rest`: called between
    them with seconds, of as much time as the last one took; ends it where it returns True. Returns the bytes that are
    backed so, 0 where the system does not offer it (before Linux 6.1, or switched off)."""
    size = _page_size()
    if not size:
        return 0
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    backed = 0
    with suppress(OSError), _PAGES.open("rb") as pages:  # some sandboxes have no such file, or let nobody read it
        for start in _whole(size):
            began = time.perf_counter()
            if not _is_filled(pages, start, size):
                continue
            backed += size if madvise(start, size, _COLLAPSE) == 0 else 0
            if rest(max(_LEAST_REST_S, time.perf_counter() - began)):
                break
    return backed


def _page_size() -> int:
    """Bytes of a huge page; 0 where there are none, or an operator wants none."""
    try:
        wanted = "[never]" not in (_KERNEL / "enabled").read_text()
        return int((_KERNEL / "hpage_pmd_size").read_text()) if wanted else 0
    except (OSError, ValueError):
        return 0


def _whole(size: int) -> list[int]:
    """Where this process's own memory has place for a huge page."""
    found: list[int] = []
    for line in _MAPPINGS.read_text().splitlines():
        if own := _OWN.fullmatch(line):
            low, high = (int(address, 16) for address in own.groups())
            found += range(-(-low // size) * size, high // size * size, size)
    return found


def _is_filled(pages: BinaryIO, start: int, size: int) -> bool:
    """Whether most of the memory there is in use; False as well where it is gone meanwhile."""
    count = size // mmap.PAGESIZE
    pages.seek(start // mmap.PAGESIZE * 8)
    entries = np.frombuffer(pages.read(count * 8), np.uint64)
    return int((entries >> _IN_MEMORY).sum()) >= _LEAST_FILLED * count
