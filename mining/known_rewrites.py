"""The rewrites that are served by a lookup: those of the chains, each for the devices on which its text is understood
as in the chain."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from mining.chain_counts import State, chain_rows, reading_of, sum_rows
from mining.chains import ChainRewrite, Chains, chain_rewrites
from mining.defects import TurnEvidence
from retriever.global_layer import GlobalLayer
from retriever.interaction import Interaction
from retriever.known_rewrites import KnownRewrite, KnownRewrites


def count_chains(people: Iterable[tuple[Sequence[Interaction], Sequence[TurnEvidence]]]) -> Chains:
    """The chains of some people: each one's turns in time order with their evidence."""
    return Chains.of_sums(sum_rows(row for turns, evidence in people for row in chain_rows(turns, evidence)))


def mine_known_rewrites(chains: Chains, shared: GlobalLayer, min_people: int) -> KnownRewrites:
    """What the chains propose. Left out where the target is no text of the global layer, or means something else on
    that kind of device than where it served: the same words may be a song here and a film there."""
    out: dict[tuple[str, bool], KnownRewrite] = {}
    for (text, screen), (found, share) in by_device(chains, min_people).items():
        (target,) = shared.find([found.target.text])
        if target is not None and target.reading(screen) == reading_of(found.target.reading):
            out[text, screen] = KnownRewrite(found.target.text, found.stays, found.goes, found.people, share)
    return KnownRewrites.build(out, shared)


def by_device(chains: Chains, min_people: int) -> dict[tuple[str, bool], tuple[ChainRewrite, float]]:
    """The rewrite of each text on a device without and with a screen, where there is one for what the assistant makes
    of the text there most often; and in which share of the turns it does so, above 0 to 1."""
    usual = _usual_states(chains)
    out = {}
    for found in chain_rewrites(chains, min_people=min_people):
        for screen in (False, True):
            state, share = usual.get((found.source.text, screen), (None, 0.0))
            if state == found.source:
                out[found.source.text, screen] = found, share
    return out


def _usual_states(chains: Chains) -> dict[tuple[str, bool], tuple[State, float]]:
    """Of each text on each kind of device, what the assistant makes of it most often, and in which share of the turns;
    by the other kind where it was never said on this one. A text of which nothing is left to
    go by has none."""
    by_text: dict[str, list[int]] = defaultdict(list)
    for i, state in enumerate(chains.states):
        by_text[state.text].append(i)
    out: dict[tuple[str, bool], tuple[State, float]] = {}
    for text, states in by_text.items():
        turns = chains.said[states]
        for screen in (False, True):
            column = turns[:, int(screen)] if turns[:, int(screen)].any() else turns[:, int(not screen)]
            if column.any():
                best = int(np.argmax(column))
                out[text, screen] = chains.states[states[best]], float(column[best] / column.sum())
    return out
