"""What a decision was made of, for `Explain` and reports: candidates, their sources, what each feature added."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ranker.feature_input import FeatureInput
from ranker.feature_names import NAMES
from ranker.model import NEEDLESS, WIN, WRONG, RankerModel
from ranker.policy import Policy, helps
from ranker.posterior import HARMFUL, Foretold
from ranker.retirement import Harm, harm_of
from retriever.candidates import Candidate
from retriever.composition import Composition
from retriever.personal_layer import PersonalLayer
from rewrite_service.decision import Contribution, Layer, ScoredCandidate


def explain(
    x: FeatureInput,
    vectors: np.ndarray,
    outcome: np.ndarray,
    model: RankerModel,
    policy: Policy,
    harm: Harm,
    left_out: Sequence[Candidate] = (),
) -> tuple[ScoredCandidate, ...]:
    """The query itself, then the candidates, likeliest to win first, then those that were found and not ranked.
    `vectors`: float32 (candidates, features);
    `outcome`: float64 (candidates, 3), as `model` predicts them; `policy` and `harm`: as they decide. Costs several
    times as much as the decision."""
    added = model.contributions(vectors)
    harms = [0.0, *(_harm(x, i, outcome, policy, harm) for i in range(1, len(x.candidates)))]
    made = [
        ScoredCandidate(
            text=c.text,
            layer=layer_of(x, c),
            sources=_sources(c),
            probability=float(outcome[i, WIN] if i else outcome[0, NEEDLESS]),
            contributions=tuple(
                Contribution(name, float(value), float(share))
                for name, value, share in zip(NAMES, vectors[i], added[i], strict=True)
            ),
            harm=harms[i],
            retired=harms[i] > HARMFUL,
        )
        for i, c in enumerate(x.candidates)
    ]
    unranked = (ScoredCandidate(c.text, layer_of(x, c), _sources(c), 0.0, left_out=True) for c in left_out)
    return (made[0], *sorted(made[1:], key=lambda c: -c.probability), *unranked)


def _harm(x: FeatureInput, i: int, outcome: np.ndarray, policy: Policy, harm: Harm) -> float:
    """As of a candidate without rivals."""
    score = helps(float(outcome[i, WIN]), float(outcome[i, WRONG]), 0.0)
    foretold = Foretold(float(policy.calibration.apply(score)), float(outcome[0, NEEDLESS]))
    return harm_of(x.candidates[i], x.candidates, harm, foretold)


def layer_of(x: FeatureInput, c: Candidate) -> Layer | None:
    """Personal where this user's own past holds the text, or the name put into it, or the user has taught it; the query
    itself has none. The place of a request is no past of the user's."""
    if c.is_query:
        return None
    if c.taught is not None:
        return Layer.PERSONAL
    if x.personal is None:
        return Layer.GLOBAL
    said = c.personal is not None and c.personal.people > 0
    return Layer.PERSONAL if said or _has_named(x.personal, c.composition) else Layer.GLOBAL


def _has_named(own: PersonalLayer, made: Composition | None) -> bool:
    return made is not None and made.own and any(made.fragment.text in names for names in own.names.values())


def _sources(c: Candidate) -> tuple[str, ...]:
    named = (
        ("query", c.is_query),
        ("personal", c.personal is not None and c.personal.people > 0),
        ("personal_repair", c.personal_repair > 0),
        ("global", c.shared is not None),
        ("global_repair", c.global_repair > 0),
        ("completion", c.completion is not None),
        ("composition", c.composition is not None),
        ("hypothesis", c.hypothesis),
        ("taught", c.taught is not None),
        ("chain", c.known is not None),
    )
    return tuple(name for name, present in named if present)
