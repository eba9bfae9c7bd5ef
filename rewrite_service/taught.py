"""What a user's preferences make of a request, and what the user might teach when it keeps failing."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ranker.feature_input import FeatureInput
from retriever.candidates import leave_alone
from retriever.fragments import Fragments
from retriever.preferences import PreferenceKind, Preferences, TaughtRewrite
from rewrite_service.decision import Decision, Layer, Reason, ScoredCandidate, Suggestion
from rewrite_service.stages import StageClock

_OWN = re.compile(r"\bmy (?:favou?rite )?[\w']+")


def taught_rewrites(preferences: Preferences, x: FeatureInput, fragments: Fragments) -> list[TaughtRewrite]:
    """What the user's preferences make of the query, best first. Nothing of what has worked for this user as it was
    said since then, with another meaning: the user has come to mean something else."""
    if not len(preferences):
        return []
    unfilled = fragments.table.unfilled(x.query) if x.shared is not None else ()
    return [made for made in preferences.apply(x.query, unfilled) if not _works_as_said(x, made)]


def _works_as_said(x: FeatureInput, made: TaughtRewrite) -> bool:
    """A success of the query alone does not tell: a client that does not say which turns it served with a rewrite has
    recorded those of the rewrite under the query. So both meanings must be known, and differ."""
    said, has_screen = x.candidates[0].personal, x.request.context.has_screen
    if said is None or said.last_success_ms <= made.taught_ms:
        return False
    as_said = said.reading(has_screen)
    as_made = leave_alone(made.text, has_screen, x.personal, x.shared).reading
    return as_said is not None and as_made is not None and as_said != as_made


def as_decision(
    meant: TaughtRewrite, bundle_version: str, clock: StageClock, explained: tuple[ScoredCandidate, ...] = ()
) -> Decision:
    """What the user has said a request means is no matter of probability: see docs/decisions/0019-teaching.md."""
    return Decision(
        text=meant.text,
        reason=Reason.TAUGHT,
        probability=1.0,
        margin=1.0,
        win=1.0,
        layer=Layer.PERSONAL,
        bundle_version=bundle_version,
        stage_us=clock.stage_us,
        skipped=tuple(clock.skipped),
        candidates=explained,
        preference_id=meant.preferences[0].preference_id,
    )


def suggestion(preferences: Preferences, x: FeatureInput) -> Suggestion | None:
    """What to teach, where the same words have failed just before: what the user's own phrase in them stands for ("my
    sister"), or else what the whole request means. None where nothing failed, or both have been said."""
    situation = x.situation
    again = x.query in situation.failed_texts or (situation.previous_rejected and situation.previous == x.query)
    if not again:
        return None
    wanted: Sequence[tuple[PreferenceKind, str]] = [
        *((PreferenceKind.NAME, phrase) for phrase in _OWN.findall(x.query) if phrase != x.query),
        (PreferenceKind.ALIAS, x.query),
    ]
    return next((Suggestion(kind, phrase) for kind, phrase in wanted if not preferences.knows(phrase)), None)
