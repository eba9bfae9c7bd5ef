"""How right labels are on a log's last days, which nothing was learned from: real failures beside decoys."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import numpy as np

from mining.dialogue_examples import Person
from mining.labels.confidence import Confidence, Labelled, Threshold, fit_confidence, given_up, thresholds
from mining.labels.decoys import Continuations, decoy_of
from mining.labels.goal_model import LinkModel
from mining.labels.goals import goals_of, judged, support
from mining.reactions import Reactions
from mining.sessions import sessions
from retriever.interaction import Interaction

DECOYS = 4
"""Times that the held-out days are made into decoys."""


def tried(
    people: Mapping[str, Person], reactions: Reactions, goals: LinkModel, from_ms: int, seed: int
) -> tuple[Confidence, tuple[Threshold, ...]]:
    """How probable labels of each score are, and what each threshold leaves, by the sessions from `from_ms` on. The
    same seed gives the same."""
    real = [_scored(turns, reactions, goals, from_ms, None) for turns, _ in people.values()]
    rng = random.Random(seed)
    continuations = Continuations(people, from_ms)
    decoys = []
    for _ in range(DECOYS):
        for person in people.values():
            decoy = decoy_of(person, continuations, from_ms, rng)
            decoys.append(_scored(decoy.turns, reactions, goals, from_ms, decoy.cut))
    (scores, wrong), (decoy_scores, decoy_wrong) = _together(real), _together(decoys)
    gave_up = given_up(scores, decoy_scores)
    confidence = fit_confidence(scores, decoy_scores, gave_up)
    real_labels, decoy_labels = _labelled(confidence, scores, wrong), _labelled(confidence, decoy_scores, decoy_wrong)
    return confidence, tuple(thresholds(real_labels, decoy_labels, gave_up))


Scored = list[tuple[float, float]]
"""Of each failure how surely it is linked to where its label would be taken from (0: no label), and the probability
that that turn failed as well."""


def _scored(
    turns: Sequence[Interaction], reactions: Reactions, goals: LinkModel, from_ms: int, cut: Mapping[int, int] | None
) -> Scored:
    """Of the failures of sessions from `from_ms` on that something follows. `cut`: of the changed sessions of a decoy;
    only those are looked at, up to where they were left, and labels that are taken from before that are left out."""
    links = goals.links(turns, from_ms)
    told = judged(turns, reactions, links)
    by_turn = {i: goal for goal in goals_of(turns, told, links) for i in goal.turns}
    out: Scored = []
    for span in sessions(turns):
        if turns[span.start].request.timestamp_ms < from_ms or (cut is not None and span.start not in cut):
            continue
        last = span.stop - 2 if cut is None else cut[span.start]
        for i in range(span.start, last + 1):
            goal = by_turn[i]
            if not told[i].failed or (cut is not None and goal.reached is not None and goal.reached <= last):
                continue
            if goal.reached is None:
                out.append((0.0, 0.0))
            else:
                out.append((support(goal, i, links), told[goal.reached].defect))
    return out


def _together(scored: Sequence[Scored]) -> tuple[np.ndarray, np.ndarray]:
    rows = np.array([row for of_one in scored for row in of_one], float).reshape(-1, 2)
    return rows[:, 0], rows[:, 1]


def _labelled(confidence: Confidence, scores: np.ndarray, wrong: np.ndarray) -> Labelled:
    right = np.array([confidence.of(score) if score else 0.0 for score in scores.tolist()])
    return Labelled(right * (1 - wrong), np.where(scores > 0, wrong, 0.0))
