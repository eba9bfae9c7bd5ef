"""Chains worked by hand, and against a dense inverse and walks drawn at random."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mining.chain_counts import (
    NO_STATE,
    TURN,
    ChainRow,
    Kind,
    RowKey,
    State,
    chain_rows,
    next_attempt,
    reading_key,
    reading_of,
    sum_rows,
)
from mining.chains import Chains, OwnTurns, Walks, chain_rewrites
from mining.defects import TurnEvidence, assess
from retriever.interaction import Interaction, Interpretation
from tests.turns import turn

AGO, A_GO, FILM = State("play ago"), State("play a go"), State("watch the movie go", '["Film",[]]')


def rows_of(source: State, served: float = 0, failed: float = 0, **on: float) -> list[ChainRow]:
    """The rows of one state, in turns. `on`: by name of a state above."""
    states = {"ago": AGO, "a_go": A_GO, "film": FILM}
    ends = [(Kind.SERVED, NO_STATE, served), (Kind.FAILED, NO_STATE, failed)]
    moves = [(Kind.MOVED, states[name], turns) for name, turns in on.items()]
    return [ChainRow(kind, *source, *target, round(turns * TURN)) for kind, target, turns in ends + moves]


def people(source: State, target: State, count: int) -> ChainRow:
    return ChainRow(Kind.PEOPLE, *source, *target, count * TURN)


BY_HAND = [
    *rows_of(AGO, served=1, failed=1, a_go=4, film=2),
    *rows_of(A_GO, failed=1, ago=1, film=2),
    *rows_of(FILM, served=4, failed=1),
    people(AGO, FILM, 3),
    people(A_GO, FILM, 2),
]
"""The example of docs/mining.md."""


def chains_of(rows: list[ChainRow]) -> Chains:
    return Chains.of_sums(sum_rows(rows))


def test_the_example_worked_by_hand() -> None:
    chains = chains_of(BY_HAND)
    walk = Walks(chains).from_state(chains.states.index(AGO))
    assert walk.stays == pytest.approx(1 / 7) and walk.unknown == 0.0
    assert walk.ends_well(chains.states.index(FILM)) == pytest.approx(16 / 35)
    assert walk.ends_well(chains.states.index(A_GO)) == 0.0
    of_a_go, of_ago = chain_rewrites(chains)
    assert (of_ago.source, of_ago.target, of_ago.people) == (AGO, FILM, 3)
    assert (of_ago.stays, of_ago.goes) == (pytest.approx(1 / 7), pytest.approx(16 / 35))
    assert (of_a_go.source, of_a_go.target, of_a_go.people) == (A_GO, FILM, 2)
    assert (of_a_go.stays, of_a_go.goes) == (pytest.approx(0.0), pytest.approx(18 / 35))


def test_few_people_or_a_small_margin_propose_nothing() -> None:
    chains = chains_of(BY_HAND)
    assert [r.source for r in chain_rewrites(chains, min_people=3)] == [AGO]
    assert not list(chain_rewrites(chains, min_people=4))
    assert [r.source for r in chain_rewrites(chains, margin=0.32)] == [A_GO]
    assert not list(chain_rewrites(chains, margin=0.6))


def test_the_same_words_understood_otherwise_are_no_rewrite() -> None:
    """Being served by saying it again counts as staying."""
    again = State(AGO.text, '["Song",[]]')
    rows = [
        *rows_of(AGO, failed=1),
        ChainRow(Kind.MOVED, *AGO, *again, 9 * TURN),
        ChainRow(Kind.SERVED, *again, *NO_STATE, 9 * TURN),
        ChainRow(Kind.PEOPLE, *AGO, *again, 9 * TURN),
    ]
    chains = chains_of(rows)
    assert Walks(chains).from_state(chains.states.index(AGO)).stays == pytest.approx(0.9)
    assert not list(chain_rewrites(chains))


def ours(served: float, failed: float, users: int) -> list[ChainRow]:
    pair = State(AGO.text), State(FILM.text)
    return [
        ChainRow(kind, *pair[0], *pair[1], round(turns * TURN))
        for kind, turns in ((Kind.OWN_SERVED, served), (Kind.OWN_FAILED, failed), (Kind.OWN_PEOPLE, users))
    ]


def goes(rows: list[ChainRow]) -> float | None:
    return next((r.goes for r in chain_rewrites(chains_of(rows)) if r.source == AGO), None)


def test_turns_with_our_own_rewrite_confirm_nothing() -> None:
    alone = [row for row in BY_HAND if row.kind != Kind.PEOPLE]
    assert goes(alone + ours(1000, 0, 100)) is None
    assert goes([*alone, people(AGO, FILM, 1), *ours(1000, 0, 100)]) is None
    assert goes(BY_HAND + ours(1000, 0, 100)) == pytest.approx(16 / 35)


def test_a_rewrite_that_fails_oftener_when_served_than_without_loses_its_place() -> None:
    """Of those who come to the film by themselves 4 of 5 are served, of those whom we send there 1 of 8."""
    assert goes(BY_HAND + ours(8, 2, 5)) == pytest.approx(16 / 35)
    # (2 turns x 4/5 + 3) / (2 + 10) = 23/60 served, of 4/5 foretold
    assert goes(BY_HAND + ours(3, 7, 5)) is None
    assert goes(BY_HAND + ours(5, 5, 5)) == pytest.approx(16 / 35 * (6.6 / 12) / 0.8)
    assert goes(BY_HAND + ours(1, 7, 5)) is None
    assert goes(BY_HAND + ours(1, 7, 1)) == pytest.approx(16 / 35), "one user alone has no say for others"


STATES = [State(f"text {i}") for i in range(7)]
WEIGHTS = st.integers(0, 6).map(lambda n: n * TURN // 2)


@st.composite
def random_rows(draw: st.DrawFn) -> list[ChainRow]:
    """Chains of up to seven states, some of which nobody leaves or ends in."""
    rows = []
    for source in STATES:
        for kind in (Kind.SERVED, Kind.FAILED):
            rows.append(ChainRow(kind, *source, *NO_STATE, draw(WEIGHTS)))
        for target in draw(st.lists(st.sampled_from(STATES), max_size=4, unique=True)):
            rows.append(ChainRow(Kind.MOVED, *source, *target, draw(WEIGHTS)))
    return rows


def dense(chains: Chains) -> np.ndarray:
    """The slow twin: where walks from each state (row) end well, by an inverse. What never ends is cut off first."""
    total = chains.on.toarray().sum(axis=1) + chains.served + chains.failed
    q = chains.on.toarray() / np.where(total > 0, total, 1)[:, None]
    ends = total - chains.on.toarray().sum(axis=1) > 0
    ends |= total == 0
    for _ in range(len(ends)):
        ends = ends | (q[:, ends].sum(axis=1) > 0)
    q[~ends] = 0.0
    n = np.linalg.inv(np.eye(len(q)) - q)
    return n * (chains.served / np.where(total > 0, total, 1))


def ends_of(walks: Walks, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The same from the sparse solver, and what it does not know. Each text is one state here."""
    out, unknown = np.zeros((size, size)), np.zeros(size)
    for i in range(size):
        walk = walks.from_state(i)
        out[i, i], unknown[i] = walk.stays, walk.unknown
        for j, p in walk.at.items():
            out[i, j] = p
    return out, unknown


@settings(max_examples=80)
@given(random_rows())
def test_the_sparse_solver_equals_a_dense_inverse(rows: list[ChainRow]) -> None:
    chains = chains_of(rows)
    found, unknown = ends_of(Walks(chains), len(chains.states))
    assert np.abs(found - dense(chains)).max() < 1e-6 and not unknown.any()


@settings(max_examples=80)
@given(random_rows())
def test_a_giant_component_is_short_by_no_more_than_is_said(rows: list[ChainRow]) -> None:
    chains = chains_of(rows)
    found, unknown = ends_of(Walks(chains, max_solved=0), len(chains.states))
    missing = dense(chains) - found
    assert missing.min() > -1e-6
    assert (missing.sum(axis=1) <= unknown + 1e-6).all()


WALKERS = 4000


@settings(max_examples=25)
@given(random_rows(), st.integers(0, 2**32 - 1))
def test_the_solver_equals_walks_drawn_at_random(rows: list[ChainRow], seed: int) -> None:
    chains = chains_of(rows)
    size, rng = len(chains.states), np.random.default_rng(seed)
    total = chains.on.toarray().sum(axis=1) + chains.served + chains.failed
    ways = np.column_stack([chains.on.toarray(), chains.served, chains.failed])
    ways[total == 0, -1] = total[total == 0] = 1
    cumulated = np.cumsum(ways / total[:, None], axis=1)
    start = int(rng.integers(size))
    at, ended = np.full(WALKERS, start), np.zeros(size)
    for _ in range(400):
        drawn = np.minimum((cumulated[at] < rng.random(len(at))[:, None]).sum(axis=1), size + 1)
        ended += np.bincount(at[drawn == size], minlength=size)
        at = drawn[drawn < size]
    found, _ = ends_of(Walks(chains), size)
    spread = 5 * np.sqrt(np.maximum(found[start] * (1 - found[start]), 1 / WALKERS) / WALKERS)
    assert (np.abs(ended / WALKERS - found[start]) <= spread + len(at) / WALKERS).all()


def test_many_components_and_a_long_chain_are_solved_each_for_itself() -> None:
    rows = []
    for chain in range(300):
        states = [State(f"{chain} {k}") for k in range(5)]
        for before, after in pairwise(states):
            rows.append(ChainRow(Kind.MOVED, *before, *after, 9 * TURN))
            rows.append(ChainRow(Kind.FAILED, *before, *NO_STATE, TURN))
        rows.append(ChainRow(Kind.SERVED, *states[-1], *NO_STATE, 9 * TURN))
        rows.append(ChainRow(Kind.PEOPLE, *states[0], *states[-1], 2 * TURN))
    found = list(chain_rewrites(chains_of(rows)))
    assert len(found) == 300 and all(r.goes == pytest.approx(0.9**4) for r in found)


# What one user adds.


def failed(goal: int | None = None, defect: float = 1.0) -> TurnEvidence:
    return TurnEvidence(frozenset(), defect, goal)


SERVED = failed(defect=0.0)


def sums_of(turns: list[Interaction], evidence: list[TurnEvidence]) -> dict[RowKey, int]:
    return sum_rows(chain_rows(turns, evidence))


def test_a_turn_is_shared_out_by_how_probably_it_failed() -> None:
    turns = [turn("play ago"), turn("what time is it", 5, "Time"), turn("watch the movie go", 20, "Film")]
    found = sums_of(turns, [failed(2), SERVED, failed(defect=0.2)])
    film, time = State("watch the movie go", '["Film",[]]'), State("what time is it", '["Time",[]]')
    assert found == {
        RowKey(Kind.MOVED, AGO, film): TURN,
        RowKey(Kind.SERVED, time): TURN,
        RowKey(Kind.SERVED, film): 800_000,
        RowKey(Kind.FAILED, film): 200_000,
        RowKey(Kind.PEOPLE, AGO, film): TURN,
        **{RowKey(Kind.SAID, state): TURN for state in (AGO, time, film)},
    }


def test_several_attempts_are_one_chain_and_lead_to_the_last() -> None:
    turns = [turn("play ago"), turn("play a go", 5), turn("go the movie", 9, "Film")]
    found = sums_of(turns, [failed(2), failed(2), SERVED])
    end = State("go the movie", '["Film",[]]')
    assert [key for key in found if key.kind is Kind.MOVED] == [
        RowKey(Kind.MOVED, State("play a go"), end),
        RowKey(Kind.MOVED, AGO, State("play a go")),
    ]
    assert {key for key in found if key.kind is Kind.PEOPLE} == {
        RowKey(Kind.PEOPLE, State("play a go"), end),
        RowKey(Kind.PEOPLE, AGO, end),
    }


def test_no_one_person_weighs_too_much() -> None:
    """Whoever repeats a thing a thousand times counts as ten turns and as one person."""
    turns, evidence = [], []
    for n in range(0, 1000, 2):
        turns += [turn("play ago", n * 600), turn("watch the movie go", n * 600 + 5, "Film")]
        evidence += [failed(n + 1), SERVED]
    found = sums_of(turns, evidence)
    film = State("watch the movie go", '["Film",[]]')
    assert found[RowKey(Kind.MOVED, AGO, film)] == found[RowKey(Kind.SERVED, film)] == 10 * TURN
    assert found[RowKey(Kind.PEOPLE, AGO, film)] == TURN


def rewritten(heard: str, *said, **more) -> Interaction:
    return replace(turn(*said, **more), heard=heard)


def test_turns_that_we_rewrote_are_kept_apart() -> None:
    film = turn("watch the movie go", 900, "Film")
    by_us = rewritten("Play ago!", "watch the movie go", 0, "Film")
    found = sums_of([by_us, film], [failed(1, 0.75), SERVED])
    pair = State("play ago"), State("watch the movie go")
    reached = State("watch the movie go", '["Film",[]]')
    assert found == {
        RowKey(Kind.OWN_SERVED, *pair): 250_000,
        RowKey(Kind.OWN_FAILED, *pair): 750_000,
        RowKey(Kind.OWN_PEOPLE, *pair): TURN,
        RowKey(Kind.SERVED, reached): TURN,
        RowKey(Kind.SAID, reached): TURN,
    }


def test_what_led_to_a_turn_that_we_rewrote_tells_nothing() -> None:
    turns = [turn("play ago"), rewritten("play a go", "watch the movie go", 5, "Film")]
    found = sums_of(turns, [failed(1), SERVED])
    assert {key.kind for key in found} == {Kind.OWN_SERVED, Kind.OWN_PEOPLE}
    # A rewrite to what was heard, but for its case, is none.
    same = sums_of([rewritten("Play jazz", "play jazz", 0, "Music")], [SERVED])
    assert {key.kind for key in same} == {Kind.SERVED, Kind.SAID}


def test_texts_without_a_letter_are_no_states() -> None:
    turns = [turn("..."), turn("play ago", 5), turn("!", 9, "Film")]
    found = sums_of(turns, [failed(2), failed(2), SERVED])
    assert {(key.kind, key.source, key.target) for key in found} == {
        (Kind.FAILED, AGO, NO_STATE),
        (Kind.SAID, AGO, NO_STATE),
    }


QUERIES = ["play ago", "play a go", "watch the movie go", "stop", "play jazz", ""]


def random_people(seed: int) -> list[tuple[list[Interaction], list[TurnEvidence]]]:
    draw = random.Random(seed)
    out = []
    for user in ("ann", "bob", "cleo"):
        turns = []
        for n in range(draw.randrange(12)):
            intent = draw.choice([None, "Film", "Music"])
            made = turn(draw.choice(QUERIES), n * draw.choice([5, 400]), intent, user, screen=draw.random() < 0.5)
            turns.append(replace(made, heard="play ago") if draw.random() < 0.2 else made)
        turns.sort(key=lambda t: t.request.timestamp_ms)
        out.append((turns, assess(turns)))
    return out


@settings(max_examples=40)
@given(st.integers(0, 10**6))
def test_sums_do_not_depend_on_their_order_and_add_up(seed: int) -> None:
    each = [chain_rows(turns, evidence) for turns, evidence in random_people(seed)]
    whole = sum_rows(row for rows in each for row in rows)
    flat = [row for rows in each for row in rows]
    random.Random(seed).shuffle(flat)
    assert sum_rows(flat) == whole
    parts = [ChainRow(k.kind, *k.source, *k.target, n) for rows in each for k, n in sum_rows(rows).items()]
    assert sum_rows(parts) == whole
    for rows in each:
        assert len({row[:5] for row in rows}) == len(rows), "each key once"
    # Every natural turn goes somewhere: what leaves a state is what was said there, but for what was rounded down.
    leaving: Counter[State] = Counter()
    said: Counter[State] = Counter()
    for key, weight in whole.items():
        if key.kind in (Kind.MOVED, Kind.SERVED, Kind.FAILED):
            leaving[key.source] += weight
        elif key.kind in (Kind.SAID, Kind.SAID_ON_SCREEN):
            said[key.source] += weight
    assert all(abs(leaving[state] - said[state]) <= 10 for state in said)


@settings(max_examples=40)
@given(st.integers(0, 10**6))
def test_next_attempts_lead_to_the_goal(seed: int) -> None:
    for turns, evidence in random_people(seed):
        for i, e in enumerate(evidence):
            at, steps = next_attempt(turns, evidence, i), 0
            while at is not None and at != e.goal:
                assert i < at < (e.goal or 0) and evidence[at].goal == e.goal
                at, steps = next_attempt(turns, evidence, at), steps + 1
                assert steps < len(turns)
            assert at == e.goal


def test_readings_come_back_from_their_keys() -> None:
    for reading in (None, Interpretation("Play", (("title", 'a "go"\n'), ("by", "ü"))), Interpretation("", ())):
        assert reading_of(reading_key(reading)) == reading


def test_own_turns_are_found_by_pair() -> None:
    assert chains_of(ours(1.5, 0.5, 2)).own == {("play ago", "watch the movie go"): OwnTurns(1.5, 0.5, 2)}
