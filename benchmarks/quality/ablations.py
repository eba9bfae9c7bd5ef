"""What each part is worth: the ranker and its threshold learned anew without it, judged on the dev days with the truth.

Without features: their columns are unknown everywhere. Without candidates of one way: those that no other way finds are
left out. Without a layer: as `replay --layers`, with the model that has both. Without a part of the log: everything is
built anew. Thresholds are chosen on the log alone, each time for the same wins to a harm. All is done once a seed of
the trees, since another seed alone moves the reduction by a point or two; counts are summed over the seeds.

Each row is kept as soon as it is measured, with commit and date of its own, in place of the one of that name before.

usage: python -m benchmarks.quality.ablations [--only "how long" "typed turns"]
    (HABITBENCH: its folder; an hour and a half on 2 cores)
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from benchmarks.quality.tables import RESULTS, commit, keep, now, percent, show
from benchmarks.quality.tables import Figures as Table
from benchmarks.quality.truth import Asked, Figures, Truth, decide, figures, folder
from mining.labels.labelling import learn_labeller
from mining.mined import mine_people
from mining.reader import read_log
from mining.sessions import by_user
from ranker import model as ranker_model
from ranker.feature_names import NAMES
from retriever.candidates import Candidate
from retriever.encoder import Encoder
from retriever.interaction import Channel, Interaction
from retriever.vector_cache import CachedEncoder
from rewrite_service.build import BuildSettings
from rewrite_service.bundle import Bundle, open_bundle, write_bundle
from rewrite_service.examples import Example, Replay, learn_knowledge
from rewrite_service.learning import Learned, learn
from rewrite_service.side_by_side import replayed

SEEDS = (7, 8)
FEATURES: dict[str, Callable[[str], bool]] = {
    "what became of the heard text": lambda n: n.startswith(
        ("query_attempts", "query_success", "query_people", "query_pair", "query_words_unseen", "query_own_")
    ),
    "the turns before": lambda n: n.startswith(("previous_", "answered_", "streak")),
    "device, room, hour": lambda n: "situation" in n or "hour" in n or n == "query_has_screen",
    "sound": lambda n: "sound" in n or n.startswith(("heard_", "composition_cost", "composition_posterior")),
    "sentence vectors": lambda n: "meaning" in n and n.startswith(("cosine_", "meaning_lead")),
    "distance to the runner-up": lambda n: n.endswith("_lead") or n == "heard_share",
    "the user's habits": lambda n: n.startswith("own_") and not n.startswith("own_repair"),
    "confidence and alternatives": lambda n: "alternative" in n or n in ("query_confidence", "made_from"),
    "what is understood": lambda n: "reading" in n or "agreement" in n or n.startswith(("values", "shared_meaning")),
}
CANDIDATES: dict[str, Callable[[Candidate], bool]] = {
    "follow-ups said in full": lambda c: c.completion is not None,
    "names put into frames": lambda c: c.composition is not None,
    "the recogniser's alternatives": lambda c: c.hypothesis,
    "texts of the user": lambda c: c.personal is not None and c.personal.people > 0,
    "texts of everybody": lambda c: c.shared is not None,
}
LOG: dict[str, Callable[[Interaction], Interaction | None]] = {
    "typed turns": lambda t: None if t.request.channel is not Channel.VOICE else t,
    "how long people stayed": lambda t: replace(t, feedback=replace(t.feedback, dwell_s=None)),
}


class Bench:
    """The benchmark's log and truth, and what is learned of them."""

    def __init__(self) -> None:
        faiss.omp_set_num_threads(1)
        self.truth, self.settings = Truth(), BuildSettings()
        self.turns = read_log([folder() / "log.jsonl.gz"]).turns
        self.encoder = Encoder()
        self.meaning = CachedEncoder(self.encoder, Encoder.DIMENSION, 1 << 30)

    def examples(self, turns: Iterable[Interaction]) -> list[Example]:
        """As a build makes them."""
        people, s = by_user(turns), self.settings
        labeller = learn_labeller(people, mine_people(people, s.min_people))
        labels = {user: labeller.labels(theirs) for user, theirs in people.items()}
        replay = Replay.of(people, self.meaning, blocks=s.blocks, min_people=s.min_people, labels=labels)
        return replayed(replay, s.threads)

    def learn(self, made: Sequence[Example]) -> list[Learned]:
        """Once a seed."""
        s, out = self.settings, []
        for seed in SEEDS:
            with _grown_with(seed):
                out.append(learn(made, wins_per_harm=s.wins_per_harm, max_needless=s.max_needless, threads=s.threads))
        return out

    def bundle(self, turns: Iterable[Interaction], learned: Learned, place: Path) -> Bundle:
        people = by_user(turns)
        knowledge = learn_knowledge(people, self.meaning, self.settings.min_people)
        write_bundle(
            place,
            knowledge=knowledge,
            people=people,
            model=learned.model,
            policy=learned.policy,
            triage=learned.triage,
            encoder=self.encoder,
            built_from={},
            settings={},
            report={},
        )
        return open_bundle(place, self.encoder, 1 << 30)

    def judge(self, asked: Sequence[Asked], learned: Sequence[Learned]) -> list[Figures]:
        """Of each seed."""
        return [figures(decide(asked, one.model, one.policy)) for one in learned]


@contextmanager
def _grown_with(seed: int) -> Iterator[None]:
    usual = ranker_model._PARAMETERS
    ranker_model._PARAMETERS = usual | {"seed": seed}
    try:
        yield
    finally:
        ranker_model._PARAMETERS = usual


def summed(several: Sequence[Figures]) -> Figures:
    """The counts of all of them."""
    return Figures(*(sum(counts) for counts in zip(*map(astuple, several), strict=True)))


def _blank(x: np.ndarray, columns: np.ndarray) -> np.ndarray:
    out = x.copy()
    out[:, columns] = np.nan
    return out


def _rows_kept(candidates: Sequence[Candidate], left_out: Callable[[Candidate], bool]) -> np.ndarray:
    """Rows of the query and of all that another way finds too."""
    others = [way for way in CANDIDATES.values() if way is not left_out]
    return np.array(
        [i for i, c in enumerate(candidates) if c.is_query or not left_out(c) or any(way(c) for way in others)]
    )


def _without_rows(a: Asked, rows: np.ndarray) -> Asked:
    found = replace(a.input, candidates=[a.input.candidates[i] for i in rows])
    return replace(a, input=found, x=a.x[rows], right=a.right[rows])


def _example_without_rows(e: Example, rows: np.ndarray) -> Example:
    at = np.flatnonzero(rows == e.known)  # none where no rewrite was known, or it is left out
    known = int(at[0]) if len(at) else None
    return replace(e, x=e.x[rows], candidates=[e.candidates[i] for i in rows], outcome=e.outcome[rows], known=known)


def _record(seeds: Sequence[Figures]) -> dict[str, Any]:
    """For JSON."""
    f = summed(seeds)
    return {
        "seeds": [one.record() for one in seeds],
        "reduction": round(f.reduction, 4),
        "wins_per_harm": round(f.ratio, 2),
        "commit": commit(),
        "date": now(),
    }


def _kept() -> dict[str, Any]:
    """Rows of earlier runs with these seeds."""
    path = RESULTS / "ablations.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    return before["results"] if before.get("seeds") == list(SEEDS) else {}


def _table(results: Mapping[str, Sequence[Figures]]) -> Table:
    full = summed(results["everything"]).reduction
    rows = []
    for name, seeds in results.items():
        f, least, most = summed(seeds), min(s.reduction for s in seeds), max(s.reduction for s in seeds)
        span, points = f"{percent(least)} to {percent(most)}", f"{100 * (f.reduction - full):+.1f}"
        rows.append((name, percent(f.reduction), span, points, f"{f.ratio:.1f}", percent(f.needless / f.requests)))
    columns = ("left out", "reduction", "by seed", "points", "wins : harms", "needless")
    return f"ablations, dev days, {len(SEEDS)} seeds", columns, rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[""], help="rows with any of these words, besides 'everything'")
    only = parser.parse_args().only
    rows = [
        "without the personal layer",
        "without the global layer",
        *(f"without features: {name}" for name in FEATURES),
        *(f"without candidates: {name}" for name in CANDIDATES),
        *(f"without in the log: {name}" for name in LOG),
    ]
    wanted = {row for row in rows if any(word in row for word in only)}
    if not wanted:
        indented = "\n  ".join(rows)
        parser.error(f"--only: no row has any of these words; rows are\n  {indented}")
    bench = Bench()
    made = bench.examples(bench.turns)
    learned = bench.learn(made)
    results: dict[str, list[Figures]] = {}

    def note(name: str, result: list[Figures]) -> None:
        results[name] = result
        print(f"{name:50} {summed(result)}", flush=True)
        # At each row: all of them take longer than a machine may last.
        keep("ablations", {"seeds": SEEDS, "results": _kept() | {name: _record(result)}})

    with tempfile.TemporaryDirectory(prefix="query-rewrite-ablations-") as place:
        bundle = bench.bundle(bench.turns, learned[0], Path(place) / "full")
        asked = bench.truth.ask(bundle)
        note("everything", bench.judge(asked, learned))
        for row, layers in (
            ("without the personal layer", {"personal": False}),
            ("without the global layer", {"shared": False}),
        ):
            if row in wanted:
                note(row, bench.judge(bench.truth.ask(bundle, **layers), learned))
        for name, chosen in FEATURES.items():
            if (row := f"without features: {name}") not in wanted:
                continue
            columns = np.array([i for i, n in enumerate(NAMES) if chosen(n)])
            part = bench.learn([replace(e, x=_blank(e.x, columns)) for e in made])
            blind = [replace(a, x=_blank(a.x, columns)) for a in asked]
            note(row, bench.judge(blind, part))
        for name, way in CANDIDATES.items():
            if (row := f"without candidates: {name}") not in wanted:
                continue
            part = bench.learn([_example_without_rows(e, _rows_kept(e.candidates, way)) for e in made])
            fewer = [_without_rows(a, _rows_kept(a.input.candidates, way)) for a in asked]
            note(row, bench.judge(fewer, part))
        del made
        history = bench.truth.history
        for name, change in LOG.items():
            if (row := f"without in the log: {name}") not in wanted:
                continue
            changed = [t for t in map(change, bench.turns) if t is not None]
            part = bench.learn(bench.examples(changed))
            other = bench.bundle(changed, part[0], Path(place) / f"log-{len(results)}")
            bench.truth.history = [t for t in map(change, history) if t is not None]
            note(row, bench.judge(bench.truth.ask(other), part))
    show(*_table(results))


if __name__ == "__main__":
    main()
