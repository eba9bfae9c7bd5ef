"""Which candidates stay when there are too many: reciprocal rank fusion against its definition."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retriever.candidates import MAX_CANDIDATES, Candidate, _fused
from retriever.composition import Composition
from retriever.fragments import Fragment

COSINES = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
ROWS = st.lists(st.tuples(COSINES, COSINES, COSINES, COSINES, st.booleans()), max_size=3 * MAX_CANDIDATES)
WAYS = (
    lambda c: c.personal_repair,
    lambda c: c.global_repair,
    lambda c: c.meaning,
    lambda c: c.sound,
    lambda c: float(c.hypothesis),
)


def composed(cost: float, repaired: int = 0) -> Composition:
    name = Fragment("sean", "{name}", (("name", "sean"),), (), 2, 2.0)
    return Composition("call sean", name, None, "shawn", cost, False, 0.5, repaired)


def scores(found: list[Candidate]) -> dict[str, Fraction]:
    """The definition: 1 / (1 + rank) of every way that found it, summed; ties of a way rank as they were found."""
    total = dict.fromkeys((c.text for c in found), Fraction(0))
    for way in WAYS:
        theirs = sorted((c for c in found if way(c) > 0), key=way, reverse=True)
        for rank, c in enumerate(theirs):
            total[c.text] += Fraction(1, 1 + rank)
    return total


@given(ROWS)
def test_the_best_of_all_ways_stay_best_first(rows: list[tuple[float, float, float, float, bool]]) -> None:
    found = [
        Candidate(f"text {i}", meaning=m, sound=s, personal_repair=p, global_repair=g, hypothesis=h)
        for i, (m, s, p, g, h) in enumerate(rows)
    ]
    kept = [c.text for c in _fused(found, [[c.text for c in found if c.hypothesis]])]
    total = scores(found)
    assert len(set(kept)) == len(kept)
    assert [total[text] for text in kept] == sorted(total.values(), reverse=True)[:MAX_CANDIDATES]


def test_the_first_of_each_way_stays_among_many_of_another() -> None:
    many = [Candidate(f"like {i}", meaning=0.9 - i / 100, sound=0.9 - i / 100) for i in range(50)]
    repair, heard = Candidate("repair", personal_repair=0.4), Candidate("heard", hypothesis=True)
    kept = [c.text for c in _fused([*many, repair, heard], [["heard"]])]
    assert {"repair", "heard", "like 0"} <= set(kept) and len(kept) == MAX_CANDIDATES
    named = [Candidate(f"named {i}", composition=composed(cost=i / 10)) for i in range(40)]
    named.append(Candidate("repaired", composition=composed(cost=9.0, repaired=2)))
    assert {"repaired", "named 0", "like 0"} <= {c.text for c in _fused([*many, *named])}, "however it sounds"
    assert _fused([]) == []


@pytest.mark.parametrize("way", range(3))
def test_what_stands_first_in_the_order_of_a_way_does_so_where_another_has_found_the_rest(way: int) -> None:
    """Of rules, hypotheses, and what a user has taught: each comes best first."""
    own = ["turn off the lamp", "turn off the fan", "turn off the tv", "turn off the fan"]
    many = [Candidate(f"like {i}", meaning=0.9 - i / 100, sound=0.9 - i / 100) for i in range(50)]
    found = [*(Candidate(text, meaning=0.1) for text in own[1:3]), *many, Candidate(own[0])]
    in_order: list[list[str]] = [[], [], []]
    in_order[way] = [*own, "not found at all"]
    kept = [c.text for c in _fused(found, in_order)]
    assert kept.index("turn off the lamp") < 3 and len(set(kept)) == len(kept) == MAX_CANDIDATES
