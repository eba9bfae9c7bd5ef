"""What the ablations leave out of an example, they leave out of all of it."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np

from benchmarks.quality.ablations import SEEDS, _example_without_rows, _grown_with, _record, _table, summed
from benchmarks.quality.truth import Figures
from ranker import model as ranker_model
from retriever.candidates import Candidate
from rewrite_service.examples import Example
from rewrite_service.goals import Goal


def example(known: int | None) -> Example:
    return Example(
        user="ann", block=0, timestamp_ms=0, x=np.arange(8.0).reshape(4, 2),
        candidates=[Candidate(text) for text in ("heard", "a", "b", "c")], goal=Goal(False, False),
        outcome=np.array([0, -1, 2, 1], np.int8), first=True, masked=False, weight=1.0, known=known,
    )  # fmt: skip


def test_what_was_known_ahead_is_still_the_same_candidate() -> None:
    for known, rows, expected in ((3, [0, 1, 3], 2), (2, [0, 1, 3], None), (None, [0, 3], None), (1, [0, 1], 1)):
        left = _example_without_rows(example(known), np.array(rows))
        assert left.known == expected
        assert [c.text for c in left.candidates] == [example(known).candidates[i].text for i in rows]
        assert left.x[:, 0].tolist() == [2.0 * i for i in rows]
        assert left.outcome.tolist() == [example(known).outcome[i] for i in rows]


def test_seeds_change_the_trees_alone_and_for_as_long_as_asked() -> None:
    usual = dict(ranker_model._PARAMETERS)
    assert len(set(SEEDS)) == len(SEEDS) > 1
    with _grown_with(12345):
        assert usual | {"seed": 12345} == ranker_model._PARAMETERS
    assert usual == ranker_model._PARAMETERS


def test_counts_of_seeds_are_summed() -> None:
    one, other = Figures(10, 4, 3, 1, 1, 2), Figures(10, 4, 2, 0, 1, 0)
    assert astuple(summed([one, other])) == (20, 8, 5, 1, 2, 2)
    assert summed([one, other]).reduction == 0.5


def test_a_part_is_worth_what_all_have_above_it_over_all_seeds() -> None:
    results = {
        "everything": [Figures(10, 4, 3, 0, 1, 2), Figures(10, 4, 3, 0, 0, 0)],
        "less": [Figures(10, 4, 1, 0, 1, 0)] * 2,
    }
    _, columns, rows = _table(results)
    everything, less = [dict(zip(columns, row, strict=True)) for row in rows]
    assert (everything["reduction"], everything["points"], everything["wins : harms"]) == ("75.0 %", "+0.0", "6.0")
    assert (less["reduction"], less["points"], less["by seed"]) == ("25.0 %", "-50.0", "25.0 % to 25.0 %")
    assert _record(results["everything"])["reduction"] == 0.75
