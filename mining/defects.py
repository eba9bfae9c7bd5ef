"""An implicit defect signal for every turn, and for the turns that failed the turn that repaired them.

The signals follow what large assistants use where nobody annotates (no match, barge-in, explicit no, rephrase, moving
to the app; e.g. Ponnusamy et al. 2019, "Feedback-based self-learning in large-scale conversational AI agents").
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import pairwise
from operator import is_

from mining.pursuit import Bin, Pursuit, bin_of
from mining.reactions import PUBLISHED, After, Reactions, Signals, sureness
from mining.rephrases import REPHRASE_WINDOW_MS, Marks, same_goal, step, still_pursued
from mining.sessions import sessions
from retriever.interaction import Channel, Explicit, Interaction, Interpretation, Outcome
from retriever.normalise import normalise


class Signal(StrEnum):
    """What speaks for or against a turn's having served its user."""

    NO_MATCH = "no_match"
    ERROR = "error"
    EXPLICIT_NO = "explicit_no"
    EXPLICIT_YES = "explicit_yes"
    REPHRASED = "rephrased"  # a later turn repaired it
    APP_FOLLOW_UP = "app_follow_up"  # repaired, or tried again, by typing
    REPEATED = "repeated"  # the same words again at once
    BARGE_IN = "barge_in"


FAILED = 0.5
"""From this probability on a turn counts as failed."""


HABITUAL = 2
"""Times that one user must follow a failure by the same words for them to be its repair, however unlike they are."""


@dataclass(frozen=True, slots=True)
class TurnEvidence:
    """What the turns around a turn say of it. `defect`: probability 0 to 1 that it failed its user.

    `goal`: index (in the user's turns) of the later turn that reached its goal; None where it did not fail, or nobody
    knows what was wanted.
    """

    signals: frozenset[Signal]
    defect: float
    goal: int | None = None

    @property
    def failed(self) -> bool:
        return self.defect >= FAILED


def _own_signals(turn: Interaction) -> frozenset[Signal]:
    out: set[Signal] = set()
    if turn.outcome is Outcome.NO_MATCH or (turn.outcome is Outcome.OK and turn.interpretation is None):
        out.add(Signal.NO_MATCH)
    elif turn.outcome is Outcome.ERROR:
        out.add(Signal.ERROR)
    if turn.feedback.explicit is Explicit.NO:
        out.add(Signal.EXPLICIT_NO)
    elif turn.feedback.explicit is Explicit.YES:
        out.add(Signal.EXPLICIT_YES)
    if turn.feedback.barge_in:
        out.add(Signal.BARGE_IN)
    return frozenset(out)


def _gap_ms(a: Interaction, b: Interaction) -> int:
    return b.request.timestamp_ms - a.request.timestamp_ms


def assess(
    turns: Sequence[Interaction], reactions: Reactions = PUBLISHED, marks: Marks | None = None
) -> list[TurnEvidence]:
    """Evidence for each of one user's turns, in time order; from these turns alone, so online it grows as they come.

    `reactions`: what the users of this assistant do after right and wrong answers. `marks`: which later turns a model
    takes for rephrases (`mining.contextual_rephrases`), of these turns and perhaps later ones; None: the rules say.
    Judged twice: what the user's other turns with the same answer came to tells what to expect of this one, since
    whoever is misheard is misheard again.
    """
    course = _Course(turns, reactions, marks)
    first = _assess_all(course, {})
    expected = _own_record(turns, first, reactions)
    return _assess_all(course, expected) if expected else first


@dataclass(frozen=True, slots=True)
class _Session:
    """A session as it was judged. `turns`: from the user's turn `start` on. `first`: what each showed before the user's
    own record was known; `expected`: what that then told of each; `evidence`: what they came to with it."""

    start: int
    turns: Sequence[Interaction]
    first: Sequence[TurnEvidence]
    expected: Sequence[float | None]
    evidence: Sequence[TurnEvidence]

    def is_of(self, turns: Sequence[Interaction]) -> bool:
        """Whether it is of just these turns, the very same objects: to compare all that is in them would take as long
        as to judge them."""
        return len(turns) == len(self.turns) and all(map(is_, turns, self.turns))

    def starting(self, start: int) -> _Session:
        """The same session after more turns, or fewer."""
        by = start - self.start
        if not by:
            return self
        return _Session(start, self.turns, _moved(self.first, by), self.expected, _moved(self.evidence, by))


def _moved(evidence: Sequence[TurnEvidence], by: int) -> Sequence[TurnEvidence]:
    if all([e.goal is None for e in evidence]):
        return evidence
    return [e if e.goal is None else TurnEvidence(e.signals, e.defect, e.goal + by) for e in evidence]


@dataclass(frozen=True, slots=True)
class Judged:
    """One user's turns as judged: the normal form of each, its evidence, and what a later judgement may take over."""

    texts: Sequence[str]
    evidence: list[TurnEvidence]
    sessions: Mapping[str, _Session]
    habits: Set[tuple[str, str]]


def judge(turns: Sequence[Interaction], reactions: Reactions = PUBLISHED, before: Judged | None = None) -> Judged:
    """As `assess`, and as quick as what is new where the same user's turns were judged `before` by the same reactions:
    a session is judged anew only where its turns, the user's habits or the user's record make a difference to it."""
    course = _Course(turns, reactions)
    known = {} if before is None else _known_sessions(course, before)
    first = _assess_all(course, {}, {start: session.first for start, session in known.items()})
    expected = _own_record(turns, first, reactions)
    told = {span.start: [expected.get(i) for i in span] for span in course.spans}
    same = {start: session for start, session in known.items() if session.expected == told[start]}
    again = {start: session.evidence for start, session in same.items()}
    evidence = _assess_all(course, expected, again) if expected else first
    sessions = {}
    for span in course.spans:
        i, of = span.start, slice(span.start, span.stop)
        session = same.get(i) or _Session(i, turns[of], first[of], told[i], evidence[of])
        sessions[turns[i].request.interaction_id] = session
    return Judged(course.texts, evidence, sessions, course.habits)


def _known_sessions(course: _Course, before: Judged) -> dict[int, _Session]:
    """The sessions, by their first turn, for which the turns and habits are those of `before`."""
    changed = {text for text, _ in course.habits ^ before.habits}
    out = {}
    for span in course.spans:
        session = before.sessions.get(course.turns[span.start].request.interaction_id)
        if session is None or not session.is_of(course.turns[span.start : span.stop]):
            continue
        if not changed or changed.isdisjoint(course.texts[span.start : span.stop]):
            out[span.start] = session.starting(span.start)
    return out


class _Course:
    """One user's turns, with what does not hang on how they are judged: found once, though they are judged twice.

    `texts`: of each turn, in normal form. `spans`: the sessions. `habits`: see `_habitual_repairs`.
    """

    def __init__(self, turns: Sequence[Interaction], reactions: Reactions, marks: Marks | None = None) -> None:
        self.turns, self.reactions, self.marks = turns, reactions, marks
        self.texts = [normalise(turn.request.query) for turn in turns]
        self._signals: list[frozenset[Signal] | None] = [None] * len(turns)
        self.spans = list(sessions(turns))
        self.habits = _habitual_repairs(turns, self.texts) if marks is None else set()
        self._pursued: dict[tuple[int, int], tuple[bool, bool]] = {}
        self._shown: dict[tuple[int, After], Signals] = {}

    def signals(self, i: int) -> frozenset[Signal]:
        """What turn `i` itself shows."""
        known = self._signals[i]
        if known is None:
            known = self._signals[i] = _own_signals(self.turns[i])
        return known

    def shown(self, i: int, after: After) -> Signals:
        """What was seen of turn `i`, which was answered, if the user did `after` next."""
        known = self._shown.get((i, after))
        if known is None:
            known = self._shown[i, after] = Signals.of_turn(self.turns[i], after)
        return known

    def repeated(self, i: int) -> bool:
        """Whether the same words come again at once, with the same answer."""
        here, after = self.turns[i], self.turns[i + 1]
        if self.texts[i] != self.texts[i + 1] or here.interpretation != after.interpretation:
            return False
        return _gap_ms(here, after) <= REPHRASE_WINDOW_MS

    def pursued(self, i: int, k: int, start: int) -> tuple[bool, bool]:
        """Whether turn `k` pursues the goal of turn `i` of the session from `start` on, and whether it plainly does:
        also where other turns came between that do not."""
        known = self._pursued.get((i, k))
        if known is None:
            turns = self.turns
            context = next((turns[j] for j in range(i - 1, start - 1, -1) if turns[j].interpretation is not None), None)
            pause_s = _gap_ms(turns[k - 1], turns[k]) / 1000
            same = same_goal(turns[i], turns[k], context, pause_s, self.reactions.pursuit)
            known = self._pursued[i, k] = same, same and still_pursued(turns[i], turns[k])
        return known


_NOTHING_KNOWN: Mapping[int, Sequence[TurnEvidence]] = {}
_SOME = 1.0
"""What intent and sureness weigh beside the user's own record, in turns."""


def _own_record(
    turns: Sequence[Interaction], evidence: Sequence[TurnEvidence], reactions: Reactions
) -> dict[int, float]:
    """The probability that a turn's answer fails by what became of this user's other turns with the same answer, by
    index of the turn; none for answers given once."""
    same: dict[Interpretation, list[int]] = {}
    for i, turn in enumerate(turns):
        if _answered(turn):
            same.setdefault(turn.interpretation, []).append(i)  # type: ignore[arg-type]
    out = {}
    kinds: dict[tuple[str, int], float] = {}
    for reading, at in same.items():
        if len(at) > 1:
            failed = sum([evidence[i].defect for i in at])
            for i in at:
                kind = reading.intent, sureness(turns[i].request)
                if kind not in kinds:
                    kinds[kind] = reactions.expects(*kind)
                out[i] = (failed - evidence[i].defect + _SOME * kinds[kind]) / (len(at) - 1 + _SOME)
    return out


def _answered(turn: Interaction) -> bool:
    return turn.interpretation is not None and turn.outcome is Outcome.OK


def _assess_all(
    course: _Course, expected: Mapping[int, float], known: Mapping[int, Sequence[TurnEvidence]] = _NOTHING_KNOWN
) -> list[TurnEvidence]:
    """`expected`: by index of a turn, where its user's record tells what to expect of it. `known`: what the turns of a
    session come to, by its first turn, where that has been found before."""
    out: list[TurnEvidence | None] = [None] * len(course.turns)
    for span in course.spans:
        if (evidence := known.get(span.start)) is not None:
            out[span.start : span.stop] = evidence
            continue
        for i in reversed(span):  # backwards, so that a repair is judged before what it repairs
            out[i] = _assess_one(course, out, i, span, expected.get(i))
    return [e for e in out if e is not None]


def learn_reactions(people: Sequence[Sequence[Interaction]], marks: Sequence[Marks] | None = None) -> Reactions:
    """What users do after right and wrong answers, from everybody's turns (each user's in time order). `marks`: see
    `assess`, one for each user."""
    signals: Counter[Signals] = Counter()
    for turns, own in zip(people, [None] * len(people) if marks is None else marks, strict=True):
        signals.update(signals_of(turns, own))
    reactions = Reactions.fit_counts(signals)
    steps = Steps()
    for turns in people:
        own_steps = steps_of(turns, reactions)
        steps.unrelated.update(own_steps.unrelated)
        steps.after_failure.update(own_steps.after_failure)
    return replace(reactions, pursuit=Pursuit.fit_counts(steps.unrelated, steps.after_failure))


def signals_of(turns: Sequence[Interaction], marks: Marks | None = None) -> Counter[Signals]:
    """What one user's answered turns show by the published strengths: with everybody's, enough to fit `Reactions`."""
    evidence = assess(turns, marks=marks)
    return Counter(
        Signals.of_turn(turn, _after(e.signals)) for turn, e in zip(turns, evidence, strict=True) if _answered(turn)
    )


_SERVED = 0.05
"""Below this probability of having failed, what comes next is taken for another wish."""


@dataclass(frozen=True, slots=True)
class Steps:
    """How many steps fell into each bin: away from turns that served, and from turns that got no answer."""

    unrelated: Counter[Bin] = field(default_factory=Counter)
    after_failure: Counter[Bin] = field(default_factory=Counter)


def steps_of(turns: Sequence[Interaction], reactions: Reactions) -> Steps:
    """What one user's next answered turn looks like after one that served, and after one that got no answer: with
    everybody's, enough to fit `Pursuit`. `reactions`: fitted, but for the pursuit."""
    out = Steps()
    for (before, after), e in zip(pairwise(turns), assess(turns, reactions), strict=False):
        if _gap_ms(before, after) > REPHRASE_WINDOW_MS or after.interpretation is None:
            continue
        if normalise(before.request.query) == normalise(after.request.query):
            continue
        seen = step(before, after, _gap_ms(before, after) / 1000)
        if before.interpretation is None:
            out.after_failure[bin_of(seen)] += 1
        elif e.defect < _SERVED and not seen.typed:
            out.unrelated[bin_of(seen)] += 1
    return out


def _habitual_repairs(turns: Sequence[Interaction], texts: Sequence[str]) -> set[tuple[str, str]]:
    """(unanswered text, answered text) where this user follows the one by the other again and again: at least twice,
    and most of the times that anything follows the first. Such a pair is one wish, however little the texts share."""
    followed: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    for i, (before, after) in enumerate(pairwise(turns)):
        if before.interpretation is None and _gap_ms(before, after) <= REPHRASE_WINDOW_MS:
            followed[texts[i]] += 1
            if after.interpretation is not None:
                pairs[texts[i], texts[i + 1]] += 1
    return {pair for pair, times in pairs.items() if times >= HABITUAL and 2 * times > followed[pair[0]]}


def _assess_one(
    course: _Course, done: Sequence[TurnEvidence | None], i: int, span: range, expected: float | None
) -> TurnEvidence:
    turns, signals = course.turns, course.signals(i)
    turn = turns[i]
    if i + 1 < span.stop and course.repeated(i):
        signals = signals | {Signal.REPEATED}
    goal = _by_rules(course, done, i, span) if course.marks is None else _by_marks(course, done, i)
    if goal is not None and Signal.EXPLICIT_YES not in signals:
        signals = signals | {Signal.REPHRASED}
        if turns[goal].request.channel is not Channel.VOICE and turn.request.channel is Channel.VOICE:
            signals = signals | {Signal.APP_FOLLOW_UP}
    defect = 1.0
    if _answered(turn):
        defect = course.reactions.failed(course.shown(i, _after(signals)), expected)
    return TurnEvidence(signals, defect, goal if defect >= FAILED else None)


def _by_rules(course: _Course, done: Sequence[TurnEvidence | None], i: int, span: range) -> int | None:
    """The later turn that reached the goal of turn `i`, if it failed, as `mining.rephrases` says."""
    turns, texts = course.turns, course.texts
    for k in range(i + 1, min(span.stop, i + 6)):
        if _gap_ms(turns[k - 1], turns[k]) > REPHRASE_WINDOW_MS:
            break
        later = done[k]
        assert later is not None
        if not later.failed:
            # The turns between, if any, must be attempts at the same.
            direct = all(done[j].goal == k for j in range(i + 1, k))  # type: ignore[union-attr]
            if (texts[i], texts[k]) in course.habits or course.pursued(i, k, span.start)[0 if direct else 1]:
                return k
        if texts[i] == texts[k] and later.goal is not None:  # the same words, repaired further on
            return later.goal
    return None


MARKED = 0.5
"""From this probability on a marked turn is a rephrase."""


def _by_marks(course: _Course, done: Sequence[TurnEvidence | None], i: int) -> int | None:
    """The same as a model says; where what it marks failed as well, what repaired that."""
    assert course.marks is not None
    mark = course.marks[i]
    if mark is None or mark.probability < MARKED or mark.goal >= len(course.turns):
        return None
    later = done[mark.goal]
    assert later is not None
    goal = later.goal if later.failed else mark.goal
    here = course.turns[i]
    if goal is not None and _answered(here) and course.turns[goal].interpretation == here.interpretation:
        return None  # the same answer again repairs nothing
    return goal


def sign_of(turn: Interaction, evidence: TurnEvidence, reactions: Reactions) -> float:
    """The log odds that what came of `turn` adds to its having failed, whatever was to be expected; infinite where it
    got no answer."""
    return reactions.adds(Signals.of_turn(turn, _after(evidence.signals))) if _answered(turn) else math.inf


def _after(signals: Set[Signal]) -> After:
    if Signal.REPHRASED in signals:
        return After.REPAIRED
    return After.REPEATED if Signal.REPEATED in signals else After.OTHER
