"""What a chain's next turn should be: the next attempt at the same goal, or plainly the next turn of the session, as
published. Both are mined from the days before each block of a log, and judged on the first attempts of that block by
what the log tells of them (`rewrite_service.examples`); on HabitBench's dev days by the truth.

usage: python -m benchmarks.mining.chain_moves [SAMPLE_LOG]      (HABITBENCH: its folder; a minute or two)
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse.csgraph import connected_components

from benchmarks.mining.results import write_figures
from benchmarks.quality.tables import show
from benchmarks.quality.truth import Truth, folder
from mining.chain_counts import Next, chain_rows, next_attempt, reading_of, sum_rows
from mining.chains import ChainRewrite, Chains
from mining.defects import TurnEvidence, assess, learn_reactions
from mining.known_rewrites import by_device
from mining.reader import read_log
from mining.sessions import SESSION_GAP_MS, by_user
from ranker.lookup import LookupPolicy, LookupTrial, choose_lookup, tally_lookup
from retriever.completion import Completer
from retriever.global_layer import MIN_PEOPLE
from retriever.interaction import Interaction
from retriever.known_rewrites import KnownRewrite
from retriever.normalise import normalise
from rewrite_service.build import BuildSettings
from rewrite_service.examples import block_starts, is_first_attempt
from rewrite_service.goals import goal_of, told

People = Mapping[str, Sequence[Interaction]]
Found = Mapping[tuple[str, bool], tuple[ChainRewrite, float]]


def next_turn(turns: Sequence[Interaction], evidence: Sequence[TurnEvidence], i: int) -> int | None:
    """The turn after `i`, whatever it is about; None at a session's end."""
    if i + 1 == len(turns) or turns[i + 1].request.timestamp_ms - turns[i].request.timestamp_ms > SESSION_GAP_MS:
        return None
    return i + 1


WAYS: dict[str, Next] = {"next_attempt": next_attempt, "next_turn": next_turn}


def mined(people: People, following: Next) -> Chains:
    reactions = learn_reactions(list(people.values()))
    rows = (row for turns in people.values() for row in chain_rows(turns, assess(turns, reactions), following))
    return Chains.of_sums(sum_rows(rows))


def trials(people: People, following: Next) -> tuple[list[LookupTrial], int]:
    """Of the first attempts for which a rewrite was known from the days before and which did not serve their user as
    they were said before; and how many first attempts there were."""
    reactions = learn_reactions(list(people.values()))
    evidence = {user: assess(turns, reactions) for user, turns in people.items()}
    starts = block_starts(people, BuildSettings().blocks)
    out, requests = [], 0
    for start, stop in zip(starts, [*starts[1:], 1 << 62], strict=True):
        before = {u: [t for t in turns if t.request.timestamp_ms < start] for u, turns in people.items()}
        found = by_device(mined({u: turns for u, turns in before.items() if turns}, following), MIN_PEOPLE)
        for user, turns in people.items():
            seen, meant = evidence[user], told(turns, evidence[user])
            for i, turn in enumerate(turns):
                if not start <= turn.request.timestamp_ms < stop or not is_first_attempt(turns, seen, i):
                    continue
                requests += 1
                rewrite = found.get((normalise(turn.request.query), turn.request.context.has_screen))
                if rewrite is None or _served_before(turns, seen, i):
                    continue
                goal = goal_of(turns, seen, i, Completer([]), meant)
                if goal is None:
                    continue
                target = rewrite[0].target
                met = target.text == goal.text or (goal.reading and reading_of(target.reading) == goal.reading)
                out.append(LookupTrial(_known(*rewrite), not goal.served, bool(met) if goal.known else None))
    return out, requests


def _known(found: ChainRewrite, share: float) -> KnownRewrite:
    return KnownRewrite(found.target.text, found.stays, found.goes, found.people, share)


def _served_before(turns: Sequence[Interaction], evidence: Sequence[TurnEvidence], i: int) -> bool:
    text = normalise(turns[i].request.query)
    return any(
        not e.failed and normalise(t.request.query) == text for t, e in zip(turns[:i], evidence[:i], strict=True)
    )


def on_dev(truth: Truth, found: Found) -> dict[str, int]:
    """What asking every rewrite that is known would do on HabitBench's dev days, however unsure it is."""
    out = dict.fromkeys(("wins", "losses", "missed", "needless"), 0)
    for request in truth.requests:
        rewrite = found.get((normalise(request.query), request.context.has_screen))
        if rewrite is not None:
            was, now = truth.right(request, request.query), truth.right(request, rewrite[0].target.text)
            out[("needless" if was else "wins") if now else "losses" if was else "missed"] += 1
    return out


def judged(people: People, following: Next, truth: Truth | None) -> dict[str, Any]:
    chains = mined(people, following)
    found = by_device(chains, MIN_PEOPLE)
    _, component = connected_components(chains.on, directed=True, connection="weak")
    cases, requests = trials(people, following)
    bounds = BuildSettings()
    policy = choose_lookup(cases, requests, bounds.wins_per_harm, bounds.max_needless)
    all_of = tally_lookup(cases, 1.0, LookupPolicy(-1.0))
    served = tally_lookup(cases, 1.0, policy)
    figures = lambda t: {k: round(getattr(t, k), 1) for k in ("rewrites", "wins", "losses", "missed", "needless")}  # noqa: E731
    return {
        "states": len(chains.states),
        "moves": int(chains.on.nnz),
        "largest_component": int(np.bincount(component).max()),
        "pairs": len({f.source for f, _ in found.values()}),
        "first_attempts": requests,
        "if_all_were_served": figures(all_of),
        "served": figures(served) if served.rewrites else None,
    } | ({} if truth is None else {"on_dev_if_all_were_served": on_dev(truth, found)})


def main() -> None:
    sample = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("var/sample.jsonl.gz")
    logs = {"sample": (sample, None), "habitbench": (folder() / "log.jsonl.gz", Truth())}
    results: dict[str, Any] = {}
    for log, (path, truth) in logs.items():
        people = by_user(read_log([path]).turns)
        for way, following in WAYS.items():
            results.setdefault(log, {})[way] = found = judged(people, following, truth)
            show(f"{log}, {way}", ("", ""), list(found.items()))
    write_figures("chain moves", "make bench-mining", {"chain_moves": results})


if __name__ == "__main__":
    main()
