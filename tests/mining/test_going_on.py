"""What is taken over of an earlier record of the same user, against finding all of it anew, whatever came between."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mining import defects
from mining.defects import assess, judge
from mining.reactions import PUBLISHED, Reactions
from mining.tables import PersonalRecord, collect, personal_record
from retriever.interaction import Explicit, Feedback, Interaction
from tests.turns import turn

TEXTS = ["play go", "play ago", "play brew no", "weather in springfield", "stop", "..."]
saying = st.tuples(
    st.sampled_from(TEXTS), st.sampled_from([None, "Play", "Weather"]), st.integers(0, 900), st.booleans()
)
changes = st.one_of(
    st.tuples(st.just("say"), saying),
    st.tuples(st.just("unsay"), st.integers(0, 30)),
    st.tuples(st.just("react"), st.integers(0, 30), st.sampled_from([None, *Explicit]), st.booleans()),
)


def said(what: tuple[str, str | None, int, bool], n: int) -> Interaction:
    text, intent, at, screen = what
    return turn(text, at, intent, slots={"title": text} if intent else None, screen=screen, id=f"turn {n}")


def changed(turns: list[Interaction], change: tuple, n: int) -> list[Interaction]:
    """One more turn (also earlier than others), one dropped, or reacted to late; all others stay the same objects."""
    kind, *what = change
    if kind == "say":
        turns = [*turns, said(what[0], n)]
    elif turns:
        i = what[0] % len(turns)
        if kind == "unsay":
            return turns[:i] + turns[i + 1 :]
        late = replace(turns[i], feedback=Feedback(what[2], what[1], 3.0))
        turns = [*turns[:i], late, *turns[i + 1 :]]
    return sorted(turns, key=lambda t: (t.request.timestamp_ms, t.request.interaction_id))


def check(record: PersonalRecord, turns: list[Interaction], reactions: Reactions) -> None:
    evidence = assess(turns, reactions)
    assert record.judged.evidence == evidence
    anew = collect(turns, evidence)
    assert record.tables == anew
    assert list(record.tables.texts) == list(anew.texts) and list(record.tables.repairs) == list(anew.repairs)


@settings(max_examples=300)
@given(st.lists(saying, max_size=20), st.lists(changes, max_size=12))
# A habit that comes, and goes again, changes what was judged long before.
@example(
    [("play ago", None, 0, False), ("stop", "Play", 20, False)],
    [("say", ("play ago", None, 500, False)), ("say", ("stop", "Play", 520, False)), ("unsay", 3), ("unsay", 0)],
)
def test_a_record_that_goes_on_is_the_one_made_anew(before: list, steps: list) -> None:
    turns = sorted((said(what, n) for n, what in enumerate(before)), key=lambda t: t.request.timestamp_ms)
    record = personal_record(turns)
    check(record, turns, PUBLISHED)
    for n, step in enumerate(steps, len(before)):
        turns = changed(turns, step, n)
        record = personal_record(turns, before=record)
        check(record, turns, PUBLISHED)


def test_only_what_a_turn_touches_is_judged_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hundred evenings, then one more turn: a new answer hangs on nothing else, one given before on its likes."""
    turns = [
        turn(f"play song {day % 50}", day * 86_400, "Play", slots={"track": f"song {day % 50}"}) for day in range(200)
    ]
    record = personal_record(turns)
    judged: list[int] = []
    real = defects._assess_one
    monkeypatch.setattr(defects, "_assess_one", lambda *told: judged.append(told[2]) or real(*told))
    new = turn("play something else", 200 * 86_400, "Play", slots={"track": "something else"})
    personal_record([*turns, new], before=record)
    assert set(judged) == {200}
    judged.clear()
    again = turn("play song 7", 200 * 86_400, "Play", slots={"track": "song 7"})
    personal_record([*turns, again], before=record)
    assert set(judged) == {7, 57, 107, 157, 200}
    judged.clear()
    judge(turns, before=record.judged)
    assert not judged
