"""Bundles of any size: a real bundle with further texts that everybody shares, and further users, all made up.

The texts are frames of assistant requests with made-up names, the users have two turns each. All that is learned
(ranker, frames, rules), the log's own texts and its people with all their turns stay as they are.

What takes long, the global layer and the people, is kept in var/growth and used again with any bundle of the same
encoder and log; its folder may be removed at any time.

usage: python -m benchmarks.serving.crowd BUNDLE LOG --texts 100000 --users 10000      (makes one in advance)
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import faiss

from mining.defects import assess
from mining.known_rewrites import count_chains, mine_known_rewrites
from mining.reader import read_log
from mining.sessions import by_user
from mining.tables import Tables, collect_shared
from retriever.encoder import Encoder
from retriever.evidence import Counts, TextEvidence
from retriever.global_layer import MIN_PEOPLE, GlobalLayer
from retriever.interaction import Context, Feedback, Interaction, Interpretation, Outcome, Request
from retriever.vector_cache import CachedEncoder
from rewrite_service.bundle import MANIFEST, encoder_of, open_bundle, read_manifest
from rewrite_service.loadtest import misspelt
from rewrite_service.people_archive import PeopleArchive

KEPT = Path("var/growth")
LARGE = ("global", "people")
TURNS_A_USER = 2
NOON_MS = 1_767_614_400_000
MISHEARD = 0.35
"""Share of the made-up users' requests that are misspelt: about as many of the sample log's do not look fine."""
MOST_ASKING = 10_000
FRAMES = (
    ("PlayMusic", "play {} by the river"), ("PlayMusic", "play {}"), ("PlayMusic", "put on {} please"),
    ("PlayVideo", "watch the movie {}"), ("PlayVideo", "show me {} on the tv"), ("Weather", "what's the weather in {}"),
    ("Weather", "will it rain in {} tomorrow"), ("Call", "call {}"), ("Navigate", "how far is it to {}"),
    ("Shopping", "add {} to my shopping list"), ("Alarm", "remind me of {} at seven"), ("Search", "who is {}"),
)  # fmt: skip
_ONSETS = ("b", "c", "d", "dr", "f", "fl", "g", "gr", "h", "j", "k", "l", "m", "n", "p", "r", "s", "sh", "st", "t")
_RHYMES = ("a", "an", "ar", "e", "el", "en", "er", "i", "in", "io", "o", "on", "or", "u", "um", "ay", "ee", "oa")
_NOTHING = Counts()


def names(count: int) -> list[str]:
    """Different made-up names of two words, the same ones first however many there are."""
    rng, made = random.Random(7), dict[str, None]()
    while len(made) < count:
        words = ("".join(rng.choice(_ONSETS) + rng.choice(_RHYMES) for _ in range(rng.randint(1, 3))) for _ in "ab")
        made[" ".join(words)] = None
    return list(made)


class MadeUpUsers(Mapping[str, Sequence[Interaction]]):
    """Turns by user: the log's people, and further ones that are made when asked for, not kept: a million of them."""

    def __init__(self, people: Mapping[str, Sequence[Interaction]], count: int, known: Sequence[str]) -> None:
        self._people, self._count, self._known = people, count, known

    def __getitem__(self, user: str) -> Sequence[Interaction]:
        if user in self._people:
            return self._people[user]
        number = int(user.removeprefix("made-up-"))
        return [self._turn(user, number, n) for n in range(TURNS_A_USER)]

    def __iter__(self) -> Iterator[str]:
        yield from self._people
        yield from (f"made-up-{number}" for number in range(self._count))

    def __len__(self) -> int:
        return len(self._people) + self._count

    def _turn(self, user: str, number: int, n: int) -> Interaction:
        chosen = (number * 7919 + n * 104_729) % (len(self._known) * len(FRAMES))
        intent, pattern = FRAMES[chosen % len(FRAMES)]
        name = self._known[chosen // len(FRAMES)]
        request = Request(f"{user}-{n}", user, NOON_MS + n * 60_000, pattern.format(name), context=Context())
        return Interaction(request, Interpretation(intent, (("name", name),)), Outcome.OK, Feedback(dwell_s=60.0))


def asked_by(log: Path, texts: int, users: int) -> list[Request]:
    """What the users of such a bundle ask: the log's last requests, and one of each of so many made-up users, spread
    over them all, of which some are misheard."""
    turns = read_log([log]).turns
    people = by_user(turns)
    made_up = max(0, users - len(people))
    crowd = MadeUpUsers({}, made_up, names(_names_for(texts)))
    rng = random.Random(11)
    asked = [turn.request for turn in turns[-20_000:]]
    for number in range(0, made_up, max(1, made_up // MOST_ASKING)):
        request = crowd[f"made-up-{number}"][0].request
        heard = misspelt(request.query, rng) if rng.random() < MISHEARD else request.query
        asked.append(replace(request, query=heard))
    return asked


def _names_for(texts: int) -> int:
    return -(-texts // len(FRAMES))


def _add(tables: Tables, count: int, known: Sequence[str]) -> None:
    """`count` made-up texts, each said by three people with success."""
    for name in known:
        tables.slot_values[name] += 4
    for intent, text, name in islice(((i, p.format(n), n) for n in known for i, p in FRAMES), count):
        served = Counts({Interpretation(intent, (("name", name),)): 3})
        tables.texts[text] = TextEvidence(
            text, 5.0, 4.0, 3, NOON_MS, readings=(served, _NOTHING), understood=(served, _NOTHING), understood_by=served
        )


def _make(bundle: Path, log: Path, texts: int, users: int, place: Path) -> None:
    """Writes the large parts, and what they cost to make, to `place`. One a process: its memory is measured."""
    faiss.omp_set_num_threads(os.cpu_count() or 1)
    began, cpu = time.monotonic(), time.process_time()
    encoder = encoder_of(bundle)
    reactions = open_bundle(bundle, encoder, 1 << 24).knowledge.reactions
    people = by_user(read_log([log]).turns)
    assessed = [(turns, assess(turns, reactions)) for turns in people.values()]
    tables = collect_shared(assessed)
    known = names(_names_for(texts))
    own = sum(e.people >= MIN_PEOPLE for e in tables.texts.values())
    _add(tables, texts - own, known)
    seconds = {"texts": time.monotonic() - began}
    began = time.monotonic()
    shared = GlobalLayer.build(
        tables.texts, tables.repairs.values(), tables.words(), tables.word_pairs(), tables.slot_values, encoder
    )
    assert len(shared) == texts, (len(shared), texts)
    del tables
    shared.save(place / "global")
    mine_known_rewrites(count_chains(assessed), shared, MIN_PEOPLE).save(place / "global")
    del shared
    seconds["global layer"] = time.monotonic() - began
    began = time.monotonic()
    crowd = MadeUpUsers(people, users - len(people), known)
    PeopleArchive.write(place / "people", crowd, CachedEncoder(encoder, Encoder.DIMENSION, 1 << 24))
    seconds["people"] = time.monotonic() - began
    files = [f for part in LARGE for f in sorted((place / part).iterdir())]
    cost = {
        "build_s": {name: round(value, 1) for name, value in seconds.items()},
        "build_cpu_s": round(time.process_time() - cpu, 1),
        "build_peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000),
        "niceness": os.nice(0),
    }
    made = {
        "texts": texts, "users": users, "cost": cost, **_made_of(bundle, log),
        "files": {f"{f.parent.name}/{f.name}": {"bytes": f.stat().st_size, "sha256": _sha256(f)} for f in files},
    }  # fmt: skip
    (place / "made.json").write_text(json.dumps(made, indent=1))


def _made_of(bundle: Path, log: Path) -> dict[str, str]:
    return {"encoder": read_manifest(bundle)["encoder"], "log": _sha256(log)}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _large_parts(bundle: Path, log: Path, texts: int, users: int) -> Path:
    """The folder of the large parts, made where they are not there, or were made of something else."""
    place = KEPT / f"{texts}x{users}"
    try:
        made = json.loads((place / "made.json").read_text())
        large = {name for name in read_manifest(bundle)["files"] if name.startswith(LARGE)}
        if {name: made[name] for name in ("encoder", "log")} == _made_of(bundle, log) and set(made["files"]) == large:
            return place
    except FileNotFoundError:
        pass
    print(f"making {texts:,} texts and {users:,} users in {place}", flush=True)
    KEPT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".draft-", dir=KEPT) as draft:
        command = [sys.executable, "-m", "benchmarks.serving.crowd", str(bundle), str(log)]
        command += ["--texts", str(texts), "--users", str(users), "--into", draft]
        subprocess.run(command, check=True)
        if place.exists():
            shutil.rmtree(place)
        shutil.move(draft, place)
        Path(draft).mkdir()  # for its manager to remove
    return place


def with_crowd(bundle: Path, log: Path, texts: int, users: int, place: Path) -> dict[str, float]:
    """Puts the bundle with so many texts and users in all into `place`, and says what its large parts cost to make."""
    large = _large_parts(bundle, log, texts, users)
    made = json.loads((large / "made.json").read_text())
    manifest = read_manifest(bundle)
    own = {name: listed for name, listed in manifest["files"].items() if not name.startswith(LARGE)}
    for name in [*own, *made["files"]]:
        target = place / name
        target.parent.mkdir(parents=True, exist_ok=True)
        _link((bundle if name in own else large) / name, target)
    manifest["files"] = own | made["files"]
    (place / MANIFEST).write_text(json.dumps(manifest))
    return made["cost"] | {"disk_mb": round(sum(f["bytes"] for f in manifest["files"].values()) / 1e6)}


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # on another disk
        shutil.copyfile(source, target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="a real bundle, of which all but texts and people is used")
    parser.add_argument("log", type=Path, help="that it was built from")
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.into:
        _make(asked.bundle, asked.log, asked.texts, asked.users, asked.into)
    else:
        place = _large_parts(asked.bundle, asked.log, asked.texts, asked.users)
        print(json.dumps(json.loads((place / "made.json").read_text())["cost"], indent=1))


if __name__ == "__main__":
    main()
