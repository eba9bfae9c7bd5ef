"""Serving a rewrite that was computed ahead: by a lookup alone, where nothing of the request speaks against it."""

from __future__ import annotations

from dataclasses import dataclass

from ranker.feature_input import FeatureInput
from ranker.lookup import LookupPolicy
from ranker.posterior import HARMFUL, Foretold
from ranker.retirement import Harm, draw, is_tried
from retriever.candidates import Candidate
from rewrite_service.decision import Decision, Layer, Reason, ScoredCandidate
from rewrite_service.stages import StageClock


def may_be_served(x: FeatureInput) -> bool:
    """Whether there is a rewrite computed ahead, and neither the user's own past nor the turns just before have
    anything to say on it. Where they have, the ranker weighs it with all else. Nothing is searched."""
    known, own = x.known, x.candidates[0].personal
    if known is None:
        return False
    if own is not None and (own.people or x.personal is None or not x.personal.repaired(x.query, known.text)):
        return False  # it has served this user as it was said, or nobody knows what this user means by it
    s = x.situation
    return not {x.query, known.text} & {s.previous, s.answered_text, *s.failed_texts}


@dataclass(frozen=True, slots=True)
class LookedUp:
    """A rewrite that the lookup serves. `probability`: that it helps rather than harms, 0 to 1. `trial`: it is retired,
    and tried again."""

    candidate: Candidate
    probability: float
    trial: bool

    def decision(
        self, bundle_version: str, clock: StageClock, explained: tuple[ScoredCandidate, ...] = ()
    ) -> Decision:
        return Decision(
            text=self.candidate.text,
            reason=Reason.KNOWN_REWRITE,
            probability=self.probability,
            margin=self.probability,  # there is no rival
            win=self.probability,
            layer=Layer.GLOBAL,
            bundle_version=bundle_version,
            stage_us=clock.stage_us,
            skipped=tuple(clock.skipped),
            candidates=explained,
            trial=self.trial,
        )


def look_up(x: FeatureInput, policy: LookupPolicy, harm: Harm, interaction_id: str) -> LookedUp | None:
    """The rewrite that is served without a search; None where there is none, where `policy` is not sure of it, or where
    it probably does harm by what came of it, but for a trial now and then."""
    known = x.known
    if known is None or x.shared is None or not policy.accepts(known) or not may_be_served(x):
        return None
    (text,) = x.shared.find([known.text])
    reading = text.reading(x.request.context.has_screen) if text else None
    candidate = Candidate(known.text, reading, shared=text, known=known)
    harmful = harm(candidate, Foretold(policy.probability, min(1.0, known.stays)))
    retired = harmful > HARMFUL
    if retired and not is_tried(draw(interaction_id, x.query, known.text), harmful):
        return None
    return LookedUp(candidate, policy.probability, retired)
