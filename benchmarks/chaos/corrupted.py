"""Bundles with a file cut, altered, gone, or exchanged for another: is each refused, and does any crash who opens it?

Twice over: as an accident leaves them, where the manifest's sha256 tells; and as somebody would who can write the
manifest, where it fits the altered file ("forged"). Each forged one has a process of its own, which opens the bundle,
tries it out as a server does before a swap, and then asks it more; a crash is the process's end by a signal. That a
forged one is served is no failure: a number altered in a table of numbers is a number.

usage: python -m benchmarks.chaos.corrupted BUNDLE
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from retriever.encoder import Encoder
from retriever.interaction import Request
from rewrite_service.bundle import MANIFEST, open_bundle, read_manifest
from rewrite_service.errors import BundleError
from rewrite_service.pipeline import Pipeline
from rewrite_service.store.embedded import EmbeddedStore
from rewrite_service.swap.trial import check_answers

FLIPS = 4
CASE_S = 60
_CACHE_BYTES = 16 << 20

Damage = Callable[[bytes, random.Random], bytes | None]


def _flipped(whole: bytes, rng: random.Random, times: int = 1, before: float = 1.0) -> bytes:
    out = bytearray(whole)
    for _ in range(times if whole else 0):
        at = rng.randrange(max(1, int(len(out) * before)))
        out[at] ^= 1 << rng.randrange(8)
    return bytes(out)


def _numbers(whole: bytes, rng: random.Random) -> bytes:
    """Some places overwritten with numbers that are hard to bear as a size or an index."""
    out = bytearray(whole)
    for _ in range(8 if len(whole) > 16 else 0):
        at = rng.randrange(len(out) - 8)
        out[at : at + 8] = rng.choice([b"\xff" * 8, b"\0" * 8, (1 << 40).to_bytes(8, "little"), b"99999999"])
    return bytes(out)


DAMAGES: dict[str, Damage] = {
    "emptied": lambda whole, rng: b"",
    "cut in half": lambda whole, rng: whole[: len(whole) // 2],
    "cut by a byte": lambda whole, rng: whole[:-1],
    "longer by a byte": lambda whole, rng: whole + b"\0",
    "missing": lambda whole, rng: None,
    "noise": lambda whole, rng: rng.randbytes(len(whole)),
    "numbers": _numbers,
    **{f"bit flipped {i}": lambda whole, rng: _flipped(whole, rng) for i in range(FLIPS)},
    **{f"bits flipped at the head {i}": lambda whole, rng: _flipped(whole, rng, 3, 0.02) for i in range(FLIPS)},
}


def damaged(bundle: Path, seed: int = 1) -> Iterator[tuple[str, str, bytes | None]]:
    """(file, what was done to it, its bytes then: None where it is gone), for every file of the bundle."""
    rng = random.Random(seed)
    names = sorted(read_manifest(bundle)["files"])
    for name in names:
        whole = (bundle / name).read_bytes()
        for kind, damage in DAMAGES.items():
            made = damage(whole, rng)
            if made != whole:
                yield name, kind, made
        alike = [other for other in names if other != name and other.rsplit(".", 1)[1] == name.rsplit(".", 1)[1]]
        if alike:
            other = rng.choice(alike)
            if (made := (bundle / other).read_bytes()) != whole:
                yield name, f"exchanged for {other}", made


class Bench:
    """A copy of a bundle that is damaged and mended again, one file at a time."""

    def __init__(self, bundle: Path, place: Path) -> None:
        self._whole, self._copy = bundle, place / "bundle"
        shutil.copytree(bundle, self._copy)
        self._manifest = (bundle / MANIFEST).read_bytes()
        self._encoder = Encoder()
        self._state = place / "state"

    def outcome(self, name: str, content: bytes | None, forged: bool) -> str:
        """`refused`, `served`, `refused in trial`, `errors`, or the signal that ended whoever opened it, with when."""
        path = self._copy / name
        try:
            if content is None:
                path.unlink()
            else:
                path.write_bytes(content)
            if forged:
                self._forge(name, content)
                return self._in_a_process()
            try:
                open_bundle(self._copy, self._encoder, _CACHE_BYTES)
            except BundleError:
                return "refused"
            return "served"
        finally:
            shutil.copyfile(self._whole / name, path)
            (self._copy / MANIFEST).write_bytes(self._manifest)

    def _forge(self, name: str, content: bytes | None) -> None:
        manifest = orjson.loads(self._manifest)
        if content is None:
            del manifest["files"][name]
        else:
            manifest["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        (self._copy / MANIFEST).write_bytes(orjson.dumps(manifest))

    def _in_a_process(self) -> str:
        read, write = os.pipe()
        pid = os.fork()
        if not pid:
            signal.alarm(CASE_S)
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 1), os.dup2(null, 2)
            try:
                self._case(lambda said: os.write(write, said.encode() + b"\n"))
            except BaseException:
                os.write(write, b"an error of another kind\n")
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as pipe:
            said = pipe.read().splitlines()
        status = os.waitpid(pid, 0)[1]
        if os.WIFSIGNALED(status):
            return f"{signal.Signals(os.WTERMSIG(status)).name} {said[-1] if said else 'opening'}"
        return said[-1]

    def _case(self, say: Callable[[str], object]) -> None:
        try:
            opened = open_bundle(self._copy, self._encoder, _CACHE_BYTES)
        except BundleError:
            say("refused")
            return
        say("trying")
        try:
            check_answers(self._copy, opened)
        except BundleError:
            say("refused in trial")
            return
        say("serving")
        with tempfile.TemporaryDirectory() as state:
            pipeline = Pipeline(opened, EmbeddedStore(Path(state)))
            texts = [opened.knowledge.shared.text_at(row).text for row in range(3, len(opened.knowledge.shared), 23)]
            for text in texts:
                pipeline.rewrite(Request("i", "u", 1, text.replace("e", "a", 1)))
        say("served")


def measure(bundle: Path, every: int = 6) -> dict[str, Any]:
    """`every`: only each so manieth case of the forged ones."""
    with tempfile.TemporaryDirectory(prefix="query-rewrite-bench-") as place:
        bench = Bench(bundle.absolute(), Path(place))
        accidents: Counter[str] = Counter()
        forged: Counter[str] = Counter()
        crashes = []
        for number, (name, kind, content) in enumerate(damaged(bundle)):
            accidents[bench.outcome(name, content, forged=False)] += 1
            if number % every == 0:
                found = bench.outcome(name, content, forged=True)
                forged[found] += 1
                if found.startswith("SIG"):
                    crashes.append(f"{name}: {kind}: {found}")
    return {
        "bundles_corrupted": accidents.total(),
        "bundles_corrupted_accepted": accidents.total() - accidents["refused"],
        "bundles_forged": forged.total(),
        "bundles_forged_outcomes": dict(sorted(forged.items())),
        "bundles_forged_crashing_a_server": sum(n for kind, n in forged.items() if kind.endswith("serving")),
        "bundles_forged_crashes": crashes,
    }


if __name__ == "__main__":
    print(orjson.dumps(measure(Path(sys.argv[1])), option=orjson.OPT_INDENT_2).decode())
