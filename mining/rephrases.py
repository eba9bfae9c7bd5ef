"""Which later turn of a session pursues the goal of a turn that failed, and reached it.

People repair a failure by saying it again, saying it in full, or typing it. What they say right after a failure is
usually a repair, but a quick next request after a right answer usually is not: the two are judged by different rules.
How usual repairs are, and what they look like, is learned from the log (`mining.pursuit`). A model that reads the whole
dialogue can take the place of these rules (`mining.contextual_rephrases`).
All likeness is on texts in normal form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rapidfuzz import fuzz

from mining.pursuit import UNSEEN, Pursuit, Step
from retriever.interaction import Channel, Explicit, Interaction
from retriever.normalise import normalise
from retriever.remember import characters, remember
from retriever.sound import sound_key

REPHRASE_WINDOW_MS = 120_000
"""A rephrase follows within this time of the turn before it."""

AFFINITY_AFTER_FAILURE = 0.5
AFFINITY_AFTER_ANSWER = 0.55
AFFINITY_TYPED_LATER = 0.35
SOUNDS_ALIKE = 0.6


class Mark(NamedTuple):
    """What a model says of a turn: the later turn (index in the user's turns) likeliest to be its rephrase, and how
    probable that is, 0 to 1."""

    goal: int
    probability: float


Marks = Sequence[Mark | None]
"""Of each of a user's turns in time order; None where no later turn of the dialogue comes into question."""


@remember(size=characters)
def affinity(a: str, b: str) -> float:
    """0 to 1: how far two texts in normal form share letters, words or sound, whichever says most."""
    return max(fuzz.ratio(a, b), fuzz.token_set_ratio(a, b), fuzz.ratio(sound_key(a), sound_key(b))) / 100


@remember(size=characters)
def says_it_again(a: str, b: str) -> bool:
    """Whether `b` holds all that `a` says, or what differs sounds alike: a mishearing, not a change of mind."""
    first, second = a.split(), b.split()
    lost = [w for w in first if w not in second]
    new = [w for w in second if w not in first]
    if not lost:
        return bool(new)
    alike = fuzz.ratio(sound_key(" ".join(lost)), sound_key(" ".join(new))) / 100
    return alike >= SOUNDS_ALIKE


def still_pursued(failed: Interaction, later: Interaction) -> bool:
    """Whether `later` is plainly about the same thing as `failed`, though other turns came between that were not: what
    differs in the words sounds alike, or one was typed and the texts are not unlike. Whoever gives up and goes on asks
    in the same frames ("play music by ..."), so that likeness of whole texts says too little here."""
    a, b = normalise(failed.request.query), normalise(later.request.query)
    if later.request.channel is not Channel.VOICE and failed.request.channel is Channel.VOICE:
        return affinity(a, b) >= AFFINITY_TYPED_LATER
    return says_it_again(a, b)


def fills_in(before: Interaction, after: Interaction) -> bool:
    """Whether `after` states a slot that the assistant had guessed for `before`: same intent, one value kept, one
    value that `before` never mentioned replaced by one that `after` does mention."""
    a, b = before.interpretation, after.interpretation
    if a is None or b is None or a.intent != b.intent:
        return False
    said_before, said_after = f" {normalise(before.request.query)} ", f" {normalise(after.request.query)} "
    old, new = dict(a.slots), dict(b.slots)
    kept = any(old.get(k) == v and f" {normalise(v)} " in said_before for k, v in new.items())
    stated = any(
        old.get(k) != v and f" {normalise(v)} " in said_after and f" {normalise(old.get(k, ''))} " not in said_before
        for k, v in new.items()
    )
    return kept and stated


def carries_on(context: Interaction | None, after: Interaction) -> bool:
    """Whether `after` names something that the last answered turn was about: a follow-up said in full."""
    if context is None or context.interpretation is None or after.interpretation is None:
        return False
    known = {v for _, v in context.interpretation.slots if len(v) > 2}
    return any(v in known for _, v in after.interpretation.slots)


def step(failed: Interaction, later: Interaction, pause_s: float) -> Step:
    """From a failed turn to a later one that came `pause_s` seconds after the turn before it."""
    likeness = affinity(normalise(failed.request.query), normalise(later.request.query))
    return Step(likeness, pause_s, later.request.channel is not Channel.VOICE)


SAME = 0.5
"""From this probability on a turn pursues the wish of the failed one before it."""
SAME_CARRYING_ON = 0.08
"""The same where it names what the last answered turn was about."""


def same_goal(
    failed: Interaction, later: Interaction, context: Interaction | None, pause_s: float, pursuit: Pursuit = UNSEEN
) -> bool:
    """Whether `later` pursues the goal of `failed`.

    `failed`: a turn that got no answer, or an answer that may be wrong. `context`: the last answered turn before it in
    the session, where there is one. `pause_s`: seconds from the turn before `later` to it. Both turns are of one user;
    `later` lies within the window.
    """
    if failed.interpretation is None:
        same = pursuit.same(step(failed, later, pause_s))
        return same >= SAME or (same >= SAME_CARRYING_ON and carries_on(context, later))
    if failed.interpretation == later.interpretation:
        return False  # the same answer again repairs nothing
    if fills_in(failed, later):
        return True
    a, b = normalise(failed.request.query), normalise(later.request.query)
    rejected = failed.feedback.barge_in or failed.feedback.explicit is Explicit.NO
    return affinity(a, b) >= AFFINITY_AFTER_ANSWER and (says_it_again(a, b) or rejected)
