"""A chain as a drawing in text: where users went from a text when it had failed them, and where they were served.

For engineers who ask why a rewrite was computed, or why not. It shows what users said, in the clear.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mining.chain_counts import State, reading_of
from mining.chains import MARGIN, ChainRewrite, Chains, Walks, chain_rewrites
from mining.defects import assess
from mining.known_rewrites import count_chains
from retriever.normalise import normalise
from rewrite_service.bundle import encoder_of, open_bundle
from rewrite_service.errors import BundleError

MOST_STATES = 12
"""Of a chain, those that are passed most often are drawn."""
LEAST_SHARE = 0.02
"""Moves that fewer of the turns make are left out."""
_CACHE_BYTES = 1 << 24


def draw_chain_of(bundle: Path, text: str) -> str:
    """The chain of `text` in the turns that the bundle was made of. Raises BundleError, also where nobody said it."""
    opened = open_bundle(bundle, encoder_of(bundle), _CACHE_BYTES)
    reactions = opened.knowledge.reactions
    chains = count_chains((turns, assess(turns, reactions)) for turns in opened.people.everyone())
    wanted = normalise(text)
    if not any(state.text == wanted for state in chains.states):
        raise BundleError(f"{bundle}: nobody said {text!r}; name a request as it was heard")
    people = int(opened.manifest["settings"].get("min_people", 2))
    return "\n".join(draw_chain(chains, wanted, people))


def draw_chain(chains: Chains, text: str, min_people: int = 2) -> Iterator[str]:
    """Lines. `text`: in normal form, of a state at least."""
    walks = Walks(chains)
    starts = [i for i, state in enumerate(chains.states) if state.text == text]
    passes: dict[int, float] = {}
    for i in starts:
        weight = float(chains.said[i].sum())
        for j, n in walks.from_state(i).passes.items():
            passes[j] = passes.get(j, 0.0) + weight * n
    drawn = sorted(passes, key=lambda j: (j not in starts, -passes[j], j))[: max(MOST_STATES, len(starts))]
    number = {j: n for n, j in enumerate(drawn, 1)}
    for j in drawn:
        yield from _state(chains, j, number)
    if len(passes) > len(drawn):
        yield f"    (and {len(passes) - len(drawn)} more, passed less often)"
    yield ""
    found = {r.source: r for r in chain_rewrites(chains, min_people=min_people)}
    for i in starts:
        yield from _proposal(chains, walks, i, found.get(chains.states[i]), min_people)


def _state(chains: Chains, j: int, number: dict[int, int]) -> Iterator[str]:
    """The state, and an arrow to wherever its turns went."""
    on = chains.on[[j]].tocoo()
    moves = dict(zip(on.coords[1].tolist(), on.data.tolist(), strict=True))
    total = float(chains.served[j] + chains.failed[j] + sum(moves.values())) or 1.0
    yield f"[{number[j]}] {_named(chains.states[j])}  ({chains.said[j].sum():.3g} turns)"
    elsewhere = 0.0
    ways = [("served", float(chains.served[j])), ("given up", float(chains.failed[j]))]
    for k, turns in sorted(moves.items(), key=lambda move: (-move[1], move[0])):
        if k in number and turns >= LEAST_SHARE * total:
            ways.append((f"[{number[k]}] {_named(chains.states[k])}", turns))
        else:
            elsewhere += turns
    for where, turns in [*ways, ("elsewhere", elsewhere)]:
        if turns >= LEAST_SHARE * total:
            yield f"     ├─ {turns / total:4.0%} ─▶ {where}"


def _proposal(chains: Chains, walks: Walks, i: int, found: ChainRewrite | None, min_people: int) -> Iterator[str]:
    """Where walks from the state end well, best first, and what is made of it."""
    walk = walks.from_state(i)
    yield f"from {_named(chains.states[i])}:"
    yield f"    {walk.stays:4.0%} served in these words"
    for j, p in sorted(walk.at.items(), key=lambda end: -end[1])[:5]:
        people = chains.people.get((i, j), 0)
        own = chains.own.get((chains.states[i].text, chains.states[j].text))
        ours = f"; served by us in {own.served:.3g} of {own.served + own.failed:.3g} turns" if own else ""
        yield f"    {p:4.0%} served by {_named(chains.states[j])}, {people} people{ours}"
    if found is None:
        yield f"    no rewrite: none beats staying by {MARGIN:.0%} with {min_people} people behind it"
    else:
        yield f"    rewrite: {found.target.text!r}, {found.goes:.0%} to {found.stays:.0%}"


def _named(state: State) -> str:
    reading = reading_of(state.reading)
    meant = "not understood" if reading is None else ": ".join([reading.intent, ", ".join(v for _, v in reading.slots)])
    return f"{state.text!r} ({meant.removesuffix(': ')})"
