"""Rewrites computed ahead: absorbing Markov chains over what people say next when a request has failed them.

A state is a text with what the assistant made of it. From there a user either is served (absorbed in *success*), gives
up (absorbed in *failure*), or says something else after the same goal (moves on). With the transition matrix in blocks,
P = [[Q, R], [0, I]], the fundamental matrix N = (I - Q)^-1 holds how often a walk from i passes j, and N_ij R_j,success
is the probability that it ends in success at j. The rewrite of i is the other text at which it ends well most often,
proposed where that beats ending well at i itself.

After Ponnusamy et al. 2019, "Feedback-based self-learning in large-scale conversational AI agents". Beside it, turns
count by their probability of having failed (`mining.defects`), not as right or wrong, and what a user asked between
that was another wish is no part of the chain. And after Ponnusamy et al. 2022, "Self-aware feedback-based self-learning
in large-scale conversational AI": see `ChainRewrite.goes`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import SuperLU, splu

from mining.chain_counts import TURN, Kind, RowKey, State

MARGIN = 0.1
"""How much likelier a walk must end well at the rewrite than at the text itself."""
MAX_SOLVED = 4000
"""States of a connected component that is solved exactly; in a larger one each source is walked from, so many steps:"""
MAX_STEPS = 32
LEAST_MASS = 1e-4
"""A walk is not followed where less than this of it goes: at most 1 / LEAST_MASS states are under way."""
OWN_PRIOR_TURNS = 2.0
"""What the chain's own forecast weighs beside what came of a rewrite when it was served, in turns."""
_LEAK = 1e-9
"""So much of each move is lost, so that walks that never end have a solution too: they end well nowhere."""


@dataclass(frozen=True, slots=True)
class OwnTurns:
    """What came of a rewrite of ours when it was served: turns, weighed, and how many different users."""

    served: float = 0.0
    failed: float = 0.0
    people: int = 0


@dataclass(frozen=True, slots=True)
class Chains:
    """Everybody's chains. `on`: float64 sparse (states, states), moves from row to column, in turns. `served`,
    `failed`: float64 (states,), what ended there. `said`: float64 (states, 2), turns without and with a screen.
    `people`: by (source, target), how many different users came from the one to the other and were served there.
    `own`: by (heard text, asked text), the turns that were asked with a rewrite of ours, which are in none of the
    above."""

    states: Sequence[State]
    on: sparse.csr_array
    served: np.ndarray
    failed: np.ndarray
    said: np.ndarray
    people: Mapping[tuple[int, int], int]
    own: Mapping[tuple[str, str], OwnTurns]

    @classmethod
    def of_sums(cls, sums: Mapping[RowKey, int]) -> Chains:
        """From the summed rows of all users (`mining.chain_counts.sum_rows`). The order of `sums` does not matter."""
        ours = {Kind.OWN_SERVED, Kind.OWN_FAILED, Kind.OWN_PEOPLE}
        natural = {key: weight for key, weight in sums.items() if key.kind not in ours}
        states = sorted({s for key in natural for s in (key.source, key.target) if s.text})
        number = {state: i for i, state in enumerate(states)}
        size = len(states)
        columns = {kind: np.zeros(size) for kind in (Kind.SERVED, Kind.FAILED, Kind.SAID, Kind.SAID_ON_SCREEN)}
        moves: list[tuple[int, int, float]] = []
        people: dict[tuple[int, int], int] = {}
        for key, weight in natural.items():
            source = number[key.source]
            if key.kind is Kind.MOVED:
                moves.append((source, number[key.target], weight / TURN))
            elif key.kind is Kind.PEOPLE:
                people[source, number[key.target]] = weight // TURN
            else:
                columns[key.kind][source] = weight / TURN
        rows, to, weights = (np.array(part) for part in (zip(*moves, strict=True) if moves else ([], [], [])))
        on = sparse.csr_array((weights, (rows.astype(np.int64), to.astype(np.int64))), shape=(size, size))
        said = np.stack([columns[Kind.SAID], columns[Kind.SAID_ON_SCREEN]], axis=1)
        return cls(states, on, columns[Kind.SERVED], columns[Kind.FAILED], said, people, _own(sums))


def _own(sums: Mapping[RowKey, int]) -> dict[tuple[str, str], OwnTurns]:
    pairs = {(key.source, key.target) for key in sums if key.kind is Kind.OWN_PEOPLE}

    def weight(kind: Kind, pair: tuple[State, State]) -> float:
        return sums.get(RowKey(kind, *pair), 0) / TURN

    return {
        (pair[0].text, pair[1].text): OwnTurns(
            weight(Kind.OWN_SERVED, pair), weight(Kind.OWN_FAILED, pair), round(weight(Kind.OWN_PEOPLE, pair))
        )
        for pair in sorted(pairs)
    }


@dataclass(frozen=True, slots=True)
class ChainRewrite:
    """That `source` is better asked as `target`. `stays`: the probability, 0 to 1, that a walk from the source ends
    well in its own words. `goes`: that it ends well at the target; less, by as much as the rewrite fails oftener than
    the chain foretells, where it was served to enough people. Turns that were served so never add to it, nor to
    `people`: who came from the one to the other without us, and were served."""

    source: State
    target: State
    stays: float
    goes: float
    people: int


def chain_rewrites(chains: Chains, *, min_people: int = 2, margin: float = MARGIN) -> Iterator[ChainRewrite]:
    """For each state the target at which a walk ends best, of those to which at least `min_people` users came, where
    that beats staying by `margin` (a probability). In order of states; one for each at most."""
    wanted: dict[int, list[int]] = defaultdict(list)
    for (i, j), people in chains.people.items():
        if people >= min_people:
            wanted[i].append(j)
    walks = Walks(chains)
    for i in sorted(wanted):
        found = walks.from_state(i)
        goes = {j: found.ends_well(j) * _kept(chains, walks, i, j, min_people) for j in wanted[i]}
        best = max(sorted(wanted[i]), key=goes.__getitem__)
        stays = found.stays
        if goes[best] > stays + found.unknown + margin:
            yield ChainRewrite(chains.states[i], chains.states[best], stays, goes[best], chains.people[i, best])


def _kept(chains: Chains, walks: Walks, i: int, j: int, min_people: int) -> float:
    """0 to 1: how well a rewrite of ours does, as a share of what the chain without it foretells; 1 where it does
    better, or was served to fewer than `min_people`."""
    own = chains.own.get((chains.states[i].text, chains.states[j].text))
    if own is None or own.people < min_people:
        return 1.0
    foretold = walks.from_state(j).stays
    if foretold <= 0.0:
        return 0.0
    turns = own.served + own.failed
    seen = (OWN_PRIOR_TURNS * foretold + own.served) / (OWN_PRIOR_TURNS + turns)
    return min(1.0, seen / foretold)


@dataclass(frozen=True, slots=True)
class Walk:
    """Walks from one state. `passes`: how often each state is passed, a row of N, by state; those that are. `at`: by
    other states, the probability to end well there; `stays`: at a state of the same text. These may be short by
    `unknown` at most, all of them together: 0 where solved exactly."""

    passes: Mapping[int, float]
    at: Mapping[int, float]
    stays: float
    unknown: float

    def ends_well(self, j: int) -> float:
        return self.at.get(j, 0.0)


class Walks:
    """Where walks end, component by component. A component of at most `max_solved` states is solved exactly, and its
    factors are kept for its other states; in a larger one the first terms of N = I + Q + Q^2 + ... are summed, at the
    cost of what is reached."""

    def __init__(self, chains: Chains, max_solved: int = MAX_SOLVED) -> None:
        total = np.asarray(chains.on.sum(axis=1)).ravel() + chains.served + chains.failed
        scale = np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)
        self.q = sparse.csr_array(sparse.diags_array((1 - _LEAK) * scale) @ chains.on)
        self.success = chains.served * scale
        self._texts = [state.text for state in chains.states]
        count, self._component = connected_components(self.q, directed=True, connection="weak")
        self._order = np.argsort(self._component, kind="stable")
        self._ends = np.cumsum(np.bincount(self._component, minlength=count))
        self._max_solved = max_solved
        self._solved: tuple[int, SuperLU] | None = None

    def members(self, i: int) -> np.ndarray:
        """int64: the states of the connected component of state `i`, itself among them, ascending."""
        c = int(self._component[i])
        return self._order[(self._ends[c - 1] if c else 0) : self._ends[c]]

    def from_state(self, i: int) -> Walk:
        members = self.members(i)
        if len(members) <= self._max_solved:
            states, passes, unknown = members, self._exact_passes(i, members), 0.0
        else:
            states, passes, unknown = self._first_passes(i)
        ends = passes * self.success[states]
        at = {j: p for j, p in zip(states.tolist(), ends.tolist(), strict=True) if p > 0}
        stays = sum([at.pop(j) for j in list(at) if self._texts[j] == self._texts[i]])
        passed = {j: n for j, n in zip(states.tolist(), passes.tolist(), strict=True) if n > 0}
        return Walk(passed, at, float(stays), unknown)

    def _exact_passes(self, i: int, members: np.ndarray) -> np.ndarray:
        """Row i of N, over the members of its component."""
        component = int(self._component[i])
        if self._solved is None or self._solved[0] != component:
            block = self.q[members][:, members]
            self._solved = component, splu(sparse.csc_array(sparse.eye_array(len(members)) - block))
        start = np.zeros(len(members))
        start[np.searchsorted(members, i)] = 1.0
        return np.asarray(self._solved[1].solve(start, trans="T"))  # (I - Q)^T x = e_i

    def _first_passes(self, i: int) -> tuple[np.ndarray, np.ndarray, float]:
        """States reached, how often they are passed (a lower bound), and what of the walk was not followed to its end:
        what is lost of all probabilities of ending well is no more than that."""
        here = {i: 1.0}
        passes: dict[int, float] = defaultdict(float)
        dropped = 0.0
        q = self.q
        for _ in range(MAX_STEPS):
            ahead: dict[int, float] = defaultdict(float)
            for state, mass in here.items():
                if mass < LEAST_MASS:
                    dropped += mass
                    continue
                passes[state] += mass
                row = slice(q.indptr[state], q.indptr[state + 1])
                for to, share in zip(q.indices[row].tolist(), q.data[row].tolist(), strict=True):
                    ahead[to] += mass * share
            here = ahead
            if not here:
                break
        unknown = min(1.0, dropped + sum(here.values()))
        return np.array(list(passes), dtype=np.int64), np.array(list(passes.values())), unknown
