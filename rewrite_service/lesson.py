"""Teaching: from what a user says to a preference, and an example of what it will do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from retriever.fragments import Fragment
from retriever.frames import Frame
from retriever.preference import Preference
from retriever.preferences import PreferenceKind, Preferences, preference
from retriever.teaching import Lexicon, understand
from rewrite_service.assemble import Knowledge
from rewrite_service.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a user wants taken down: `said` in their own words, or `given` as kind, subject and value; one of them is
    None. `at_ms`: when, milliseconds since 1970 UTC."""

    user_id: str
    said: str | None
    given: tuple[PreferenceKind, str, str] | None
    at_ms: int


@dataclass(frozen=True, slots=True)
class Taught:
    """What was taken down. `example`: a request it applies to, or a part of one, and what becomes of it."""

    preference: Preference
    example: tuple[str, str]


def learn_lesson(lesson: Lesson, knowledge: Knowledge, own: Sequence[Fragment]) -> Taught:
    """The preference of a lesson. `own`: names in the user's own requests. Raises InvalidRequest, which quotes nothing
    of what was said."""
    lexicon = Lexicon(knowledge.shared, knowledge.fragments, knowledge.sound, own)
    if lesson.given is not None:
        taught = _given(*lesson.given, lesson.at_ms)
    else:
        understood = understand(lesson.said or "", lexicon)
        if understood is None:
            raise InvalidRequest(
                "text",
                "not understood as a preference",
                'say it like "my sister is called anna", or send a preference with kind, subject and value',
            )
        taught = preference(
            PreferenceKind(understood.kind), understood.subject, understood.value, understood.text, lesson.at_ms
        )
    return Taught(taught, _example(taught, knowledge, lexicon))


def _given(kind: PreferenceKind, subject: str, value: str, at_ms: int) -> Preference:
    taught = preference(kind, subject, value, "", at_ms)
    for field in ("subject", "value"):
        if not getattr(taught, field):
            raise InvalidRequest(f"preference.{field}", "nothing is spelled in it", "send letters or digits")
    if taught.subject == taught.value:
        raise InvalidRequest("preference.value", "the same as the subject", "send what the subject stands for")
    if kind is PreferenceKind.LIKE and " " in taught.subject:
        raise InvalidRequest("preference.subject", "more than one word", "send the noun alone, such as restaurant")
    return taught


def _example(taught: Preference, knowledge: Knowledge, lexicon: Lexicon) -> tuple[str, str]:
    query = taught.subject
    if taught.kind == PreferenceKind.LIKE:
        query = f"a {taught.subject}"
    elif taught.kind == PreferenceKind.NAME and (frame := _usual_frame(taught.value, knowledge, lexicon)):
        query = frame.around(taught.subject)
    made = Preferences([taught]).apply(query)
    return query, made[0].text if made else taught.value


def _usual_frame(name: str, knowledge: Knowledge, lexicon: Lexicon) -> Frame | None:
    """What most people say around such a name; None where the log does not know what kind of name it is."""
    gaps = lexicon.gaps_of(name)
    fitting = [f for f in knowledge.fragments.table.frames if f.gaps == gaps]
    return max(fitting, key=lambda f: f.people, default=None)
