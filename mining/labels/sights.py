"""What is seen of a user's turns before it is judged where they failed: each in its session, beside the turn that
repaired it, and beside what others say.

All that rules and features share is looked up here once: the rules of follow-ups, and the sounds, which are compared in
one pass for all turns of a user.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from rapidfuzz import fuzz

from mining.completions import answered_before
from mining.defects import TurnEvidence
from mining.labels.usual import MAX_FOLLOW_UPS, SURE_PRECISION, SURE_SUPPORT, Record, Usual, own_records
from mining.rephrases import AFFINITY_AFTER_FAILURE, REPHRASE_WINDOW_MS, affinity, carries_on, fills_in
from mining.sessions import sessions
from retriever.completion import Completion
from retriever.hearing import Hearing
from retriever.interaction import Channel, Interaction
from retriever.normalise import normalise
from retriever.pronunciation import pronounce
from retriever.sound import sound_key

HEARD = 4
"""How many of the recogniser's further hypotheses are looked at."""
_BACK = 16
"""Turns before that a follow-up may go on from."""
_MOST_PHONEMES, _FOLLOW_UP_PHONEMES = 100, 40
"""What is compared of a text's sound, and of one that may be a follow-up: short ones leave out what came before."""
_PAIRS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Repaired:
    """A failed turn beside the turn that repaired it. Shares and likenesses are 0 to 1.

    `lost`, `new`: share of the failed turn's words that the repair does not say, and of the repair's that the failed
    turn did not. `rarest_lost`: nats (`Usual.rarity`); 0 where none is lost. `alike`: likeness of sound of lost and new
    words; 0 where there are none of either. `affinity`: of the whole texts (`mining.rephrases`). `cost`: nats a phoneme
    of hearing the failed turn's text for the repair's (`retriever.hearing`). `alternative`: likeness of the repair's
    text to the closest of the recogniser's further hypotheses. `values_kept`: share of the failed turn's slot values,
    of those that it says, that the repair says too; NaN where it says none. `same_intent`; `slots_kept`: share of the
    failed turn's slots that the repair has too. `fills_in`, `carries_on`: see `mining.rephrases`. `typed`: the repair.
    """

    lost: float
    new: float
    rarest_lost: float
    alike: float
    affinity: float
    cost: float
    alternative: float
    values_kept: float
    same_intent: bool
    slots_kept: float
    fills_in: bool
    carries_on: bool
    typed: bool


@dataclass(frozen=True, slots=True)
class Sight:
    """`text`, `heard`: the query and the recogniser's further hypotheses in normal form. `others`: what came of the
    same text for other users. `context`: the last answered turn before, in the session. `follow_up`: what a sure rule
    makes of it where it leaves out what came before; `follow_up_heard`: the same of a further hypothesis;
    `follow_up_cost`: nats a phoneme of hearing it for the closest whole follow-up, NaN where it got an answer.
    `tried_again`: the user went on to ask much the same at once. `repaired`: None where nobody did."""

    turn: Interaction
    text: str
    evidence: TurnEvidence
    session: range
    context: Interaction | None
    heard: tuple[str, ...]
    others: Record
    follow_up: Completion | None
    follow_up_heard: bool
    follow_up_cost: float
    tried_again: bool
    repaired: Repaired | None

    @property
    def spoken(self) -> bool:
        return self.turn.request.channel is Channel.VOICE


def sights(turns: Sequence[Interaction], evidence: Sequence[TurnEvidence], usual: Usual) -> list[Sight]:
    """Of each of one user's turns, in time order with their evidence."""
    own = own_records(turns, evidence)
    texts = [normalise(turn.request.query) for turn in turns]
    repairs = [
        (i, e.goal) for span in sessions(turns) for i in span if (e := evidence[i]).goal is not None and e.goal in span
    ]
    silent = [i for i, turn in enumerate(turns) if turn.interpretation is None and _spoken(turn)]
    costs = _costs(usual.hearing, [(texts[i], texts[k]) for i, k in repairs])
    cost_of = {i: cost for (i, _), cost in zip(repairs, costs, strict=True)}
    follow_up_cost = dict(zip(silent, _follow_up_costs(usual, [texts[i] for i in silent]), strict=True))
    out = []
    for span in sessions(turns):
        context: Interaction | None = None
        for i in span:
            turn, e = turns[i], evidence[i]
            heard = tuple(t for t in map(normalise, turn.request.alternatives[:HEARD]) if t)
            made = _follow_up(turns, i, usual, texts[i])
            seen = _repaired(turn, turns[e.goal], context, cost_of[i], usual) if i in cost_of else None  # type: ignore[index]
            out.append(
                Sight(
                    turn=turn,
                    text=texts[i],
                    evidence=e,
                    session=span,
                    context=context,
                    heard=heard,
                    others=usual.of_others(texts[i], own),
                    follow_up=made,
                    follow_up_heard=made is None
                    and i in follow_up_cost
                    and any(_follow_up(turns, i, usual, text) is not None for text in heard),
                    follow_up_cost=follow_up_cost.get(i, float("nan")),
                    tried_again=_tried_again(turns, texts, i, span.stop),
                    repaired=seen,
                )
            )
            if turn.interpretation is not None:
                context = turn
    return out


def _spoken(turn: Interaction) -> bool:
    return turn.request.channel is Channel.VOICE


def _costs(hearing: Hearing, pairs: Sequence[tuple[str, str]]) -> list[float]:
    """Nats a phoneme of hearing the first text for the second, of each pair."""
    out: list[float] = []
    for first in range(0, len(pairs), _PAIRS_AT_ONCE):
        some = pairs[first : first + _PAIRS_AT_ONCE]
        heard, said = ([pronounce(pair[k])[:_MOST_PHONEMES] for pair in some] for k in (0, 1))
        lengths = [max(1, len(a), len(b)) for a, b in zip(heard, said, strict=True)]
        out += (hearing.each(heard, said) / np.array(lengths, np.float32)).tolist()
    return out


def _follow_up_costs(usual: Usual, texts: Sequence[str]) -> list[float]:
    """Of each text the least cost of hearing it for a whole follow-up; infinite for long ones, and where the log knows
    no follow-ups."""
    each = len(usual.follow_ups)
    short = [text for text in dict.fromkeys(texts) if len(pronounce(text)) <= _FOLLOW_UP_PHONEMES] if each else []
    least = dict.fromkeys(texts, float("inf"))
    for first in range(0, len(short), _PAIRS_AT_ONCE // MAX_FOLLOW_UPS):
        some = short[first : first + _PAIRS_AT_ONCE // MAX_FOLLOW_UPS]
        costs = _costs(usual.hearing, [(text, known) for text in some for known in usual.follow_ups])
        least |= {text: min(costs[n * each : (n + 1) * each]) for n, text in enumerate(some)}
    return [least[text] for text in texts]


def _follow_up(turns: Sequence[Interaction], i: int, usual: Usual, text: str) -> Completion | None:
    request, before = turns[i].request, turns[max(0, i - _BACK) : i]
    made = usual.completer.complete(text, request, answered_before(before, len(before), request.timestamp_ms))
    return next((c for c in made if c.support >= SURE_SUPPORT and c.precision >= SURE_PRECISION), None)


def _tried_again(turns: Sequence[Interaction], texts: Sequence[str], i: int, stop: int) -> bool:
    if i + 1 >= stop or turns[i + 1].request.timestamp_ms - turns[i].request.timestamp_ms > REPHRASE_WINDOW_MS:
        return False
    return affinity(texts[i], texts[i + 1]) >= AFFINITY_AFTER_FAILURE


def _repaired(
    failed: Interaction, repair: Interaction, context: Interaction | None, cost: float, usual: Usual
) -> Repaired:
    heard, said = normalise(failed.request.query), normalise(repair.request.query)
    first, second = heard.split(), said.split()
    lost, new = [w for w in first if w not in second], [w for w in second if w not in first]
    before, after = failed.interpretation, repair.interpretation
    same_intent = before is not None and after is not None and before.intent == after.intent
    slots = before.slots if before is not None else ()
    values = [f" {value} " for _, raw in slots if (value := normalise(raw)) and f" {value} " in f" {heard} "]
    others = [normalise(text) for text in failed.request.alternatives[:HEARD]]
    return Repaired(
        lost=len(lost) / max(1, len(first)),
        new=len(new) / max(1, len(second)),
        rarest_lost=max(map(usual.rarity, lost), default=0.0),
        alike=fuzz.ratio(sound_key(" ".join(lost)), sound_key(" ".join(new))) / 100 if lost and new else 0.0,
        affinity=affinity(heard, said),
        cost=cost,
        alternative=max((fuzz.ratio(text, said) for text in others), default=0.0) / 100,
        values_kept=fmean(value in f" {said} " for value in values) if values else float("nan"),
        same_intent=same_intent,
        slots_kept=fmean(slot in after.slots for slot in slots) if slots and after is not None else float(same_intent),
        fills_in=fills_in(failed, repair),
        carries_on=carries_on(context, repair),
        typed=not _spoken(repair),
    )
