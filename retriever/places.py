"""The names of the place where a request is made, as its words may hold them: "what's the weather in {city} {state}".

Whoever names a place often means their own, also when it is misheard: "weather in marlton", asked in Laurelton, New
York. No request need ever have named it. Where a place may stand is read off the mined rules (`retriever.completion`):
where several people name their own place in a query and repair it, that is what its words are for ("how about {city}"),
and the slot that the assistant then puts it in is one that the situation fills, in every frame.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from retriever.completion import SAID_GAPS, Rule, gap_values
from retriever.fragments import Fragment, OwnNames, by_gaps, named_slots, spoken
from retriever.frames import Frame, FrameTable
from retriever.interaction import Context, Interpretation

MIN_PRECISION = 0.5
"""Of a rule that is to say where a place may stand."""
MAX_PLACE_COST = 2.5
"""Nats a phoneme; what is dearer is another place that nobody knows, far more often than the own one misheard."""
_GAP_OF = {f"{{{gap}}}": gap for gap in SAID_GAPS}


class Places:
    """Where a query may name the place that it is asked in, and what that is called."""

    def __init__(self, rules: Iterable[Rule], patterns: Iterable[str]) -> None:
        """`patterns`: the gaps of all mined frames."""
        rules = [rule for rule in rules if not rule.open_ended and rule.precision >= MIN_PRECISION]
        votes: Counter[tuple[str, str]] = Counter()
        for rule in rules:
            slots = rule.reading[1] if rule.reading is not None else ()
            votes.update({(slot, _GAP_OF[value]): rule.support for slot, value in slots if value in _GAP_OF})
        # Where people disagree on a slot, most of them are right.
        self._gap_of = {slot: gap for (slot, gap), _ in reversed(votes.most_common())}
        self._patterns = [gaps for gaps in patterns if named_slots(gaps) <= self._gap_of.keys()]
        self._frames = FrameTable([frame for rule in rules for frame in _frame_of(rule)])
        self._here = [gap for gap in SAID_GAPS if any(frame.gaps == _here(gap) for frame in self._frames.frames)]

    def fitting(self, query: str) -> list[tuple[Frame, str]]:
        """The words around a place that `query` (normal form) fits, and the words in between. Only a place fills these:
        such a query need be no request that the assistant understands."""
        return self._frames.fitting(query)

    def names(self, context: Context) -> OwnNames:
        """What the place of a request is called: for mined frames, and without slots for those of `fitting`; empty
        where it has no name, or nobody speaks of places."""
        if not (self._patterns or self._here):
            return {}
        values = gap_values(context, None)
        known = {slot: values[gap] for slot, gap in self._gap_of.items() if gap in values}
        here = [Fragment(values[gap], _here(gap), (), (), 1, 1.0) for gap in self._here if gap in values]
        return by_gaps([*here, *filter(None, (_fragment(gaps, known) for gaps in self._patterns))])


def with_places(own: OwnNames, places: OwnNames) -> OwnNames:
    """A user's own names, and those of the place where the user has not said them yet."""
    return own if not places else {**own, **{gaps: {**names, **own.get(gaps, {})} for gaps, names in places.items()}}


def _here(gap: str) -> str:
    """Gaps that no mined frame has: nothing but the own place fills them."""
    return f"{{here:{gap}}}"


def _frame_of(rule: Rule) -> Sequence[Frame]:
    """The words around the place in a rule's pattern; none where it names no place, or several."""
    words = rule.pattern.split()
    at = [i for i, word in enumerate(words) if word in _GAP_OF]
    if len(at) != 1 or len(words) == 1:
        return ()
    before, after = " ".join(words[: at[0]]), " ".join(words[at[0] + 1 :])
    return (Frame(before, after, "", _here(_GAP_OF[words[at[0]]]), None, rule.support),)


def _fragment(gaps: str, known: dict[str, str]) -> Fragment | None:
    slots = tuple(sorted((slot, known[slot]) for slot in named_slots(gaps) if slot in known))
    text = spoken(gaps, Interpretation("", slots))
    return Fragment(text, gaps, slots, (), 1, 1.0) if text else None
