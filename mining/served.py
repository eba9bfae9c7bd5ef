"""What came of rewrites that were served, and of the same words left alone: the evidence for and against each pair.

A pair is what was heard and what was asked instead, in normal form; left alone, the same text twice. Whether a turn
failed is told as for any other (`mining.defects`), by what its user did next, in the words that the user said; but not
by what is to be expected of answers in general, since that is just what differs from pair to pair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mining.defects import assess, sign_of
from mining.reactions import PUBLISHED, Reactions
from mining.sessions import sessions
from retriever.interaction import Interaction
from retriever.normalise import normalise

Pair = tuple[str, str]
Turns = list[tuple[int, float]]
"""Of each turn, when it was (milliseconds since 1970), and the log odds that its user's reaction adds to its having
failed: above 0 it speaks for a failure, below against one, and infinite is certain."""


def came_of(
    turns: Sequence[Interaction],
    rewrites: Mapping[str, str],
    watched: Callable[[str], bool] = lambda heard: False,
    reactions: Reactions = PUBLISHED,
) -> dict[Pair, Turns]:
    """The turns of each pair, from one user's turns, as heard, in time order.

    `rewrites`: interaction id to the text asked instead, where one was. `watched`: further heard texts (normal form) of
    which it matters what comes of them left alone; those that this user was served a rewrite of always do. Only
    sessions in which such a text occurs are looked at.
    """
    pairs = [_pair(turn, rewrites) for turn in turns]
    served = {heard for heard, asked in pairs if heard != asked}
    matters = {heard for heard, _ in pairs if heard and (heard in served or watched(heard))}
    out: dict[Pair, Turns] = {}
    if not matters:
        return out
    spans = [span for span in sessions(turns) if any(pairs[i][0] in matters for i in span)]
    chosen = [i for span in spans for i in span]
    for i, evidence in zip(chosen, assess([turns[i] for i in chosen], reactions), strict=True):
        if pairs[i][0] in matters:
            row = turns[i].request.timestamp_ms, sign_of(turns[i], evidence, reactions)
            out.setdefault(pairs[i], []).append(row)
    return out


def _pair(turn: Interaction, rewrites: Mapping[str, str]) -> Pair:
    heard = normalise(turn.request.query)
    rewrite = rewrites.get(turn.request.interaction_id)
    return heard, heard if rewrite is None else normalise(rewrite) or heard
