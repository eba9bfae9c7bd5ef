"""The sample log's assistant: a few rules, exact names, then names that differ by hardly a letter.

What is ambiguous it reads in the most popular way, which is wrong for some people; that is what the log teaches.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache

from rapidfuzz import fuzz, process

from retriever.interaction import Interpretation
from rewrite_service.sample.facts import ARTISTS, FILMS, GENERAL, ROOMS, SONGS, STATES, STATES_OF, popularity
from rewrite_service.sample.mishearing import plain
from rewrite_service.sample.wishes import Intent, general_meaning, meaning

_HARDLY_A_LETTER = 95  # percent; lets "any more" pass for "anymore" in a title, and "brew no" not for "bruno"

_WEATHER = re.compile(r"(?:what's the weather|weather|what's the weather like|how's the weather) in (.+)")
_BY = re.compile(r"(?:play songs|put on music|play music|play some songs|play some music) by (.+)")
_FILM = re.compile(r"(?:watch|play|put on) the movie (.+)|watch (.+)")
_SONG = re.compile(r"play the song (.+)|listen to (.+)")
_PLAY = re.compile(r"(?:play some|play|put on) (.+)")
_SWITCH = re.compile(r"(?:turn|switch) (on|off) the (.+)")
_CALL = re.compile(r"(?:call|phone) (.+)|give (.+) a call")


@dataclass(frozen=True, slots=True)
class Household:
    """What one person's assistant knows of them: (room, appliance) pairs, and contacts."""

    appliances: tuple[tuple[str, str], ...]
    contacts: tuple[str, ...]


@cache
def _titles() -> dict[str, int]:
    """Song titles with the popularity of their best known singer."""
    ranks: dict[str, int] = {}
    for rank, song in enumerate(SONGS):
        ranks.setdefault(song.title, popularity(rank))
    return ranks


@cache
def _films() -> dict[str, int]:
    return {film: popularity(rank) for rank, film in enumerate(FILMS)}


@cache
def _artists() -> dict[str, int]:
    return {artist: popularity(rank) for rank, artist in enumerate(ARTISTS)}


@cache
def _general() -> dict[str, Interpretation]:
    return {plain(asked.text): general_meaning(asked) for asked in GENERAL}


def _named(said: str, names: Collection[str]) -> str | None:
    """The name that was said, exactly or but for a letter; None where there is none."""
    if said in names:
        return said
    best = process.extractOne(said, list(names), scorer=fuzz.ratio, score_cutoff=_HARDLY_A_LETTER)
    return best[0] if best else None


def _weather(said: str) -> Interpretation | None:
    state = next((s for s in sorted(STATES, key=len, reverse=True) if said.endswith(f" {s}")), None)
    if state and (name := _named(said.removesuffix(f" {state}"), STATES_OF)):
        return meaning(Intent.WEATHER, place=name, state=state) if state in STATES_OF[name] else None
    name = _named(said, STATES_OF)
    return meaning(Intent.WEATHER, place=name, state=STATES_OF[name][0]) if name else None


def _song(said: str) -> Interpretation | None:
    title_said, _, artist_said = said.rpartition(" by ")
    if title_said and (title := _named(title_said, _titles())):
        artist = _named(artist_said, [s.artist for s in SONGS if s.title == title])
        return meaning(Intent.SONG, song=title, artist=artist) if artist else None
    title = _named(said, _titles())
    return meaning(Intent.SONG, song=title, artist=next(s.artist for s in SONGS if s.title == title)) if title else None


def _play(said: str, has_screen: bool) -> Interpretation | None:
    """The most popular of what may be meant: a song, a film (where there is a screen), an artist."""
    options: list[tuple[int, Interpretation]] = []
    if (song := _song(said)) is not None:
        options.append((_titles()[dict(song.slots)["song"]], song))
    if has_screen and (film := _named(said, _films())):
        options.append((_films()[film], meaning(Intent.FILM, film=film)))
    if artist := _named(said, _artists()):
        options.append((_artists()[artist], meaning(Intent.ARTIST, artist=artist)))
    return max(options, key=lambda o: o[0])[1] if options else None


def _switch(action: str, said: str, room_here: str, appliances: Sequence[tuple[str, str]]) -> Interpretation | None:
    room = next((r for r in ROOMS if said.startswith(f"{r} ")), None)
    name = said.removeprefix(f"{room} ") if room else said
    rooms = [r for r, a in appliances if a == name]
    if room is None:  # that of this room, else the only one there is
        room = room_here if room_here in rooms or len(rooms) != 1 else rooms[0]
    return meaning(Intent.SWITCH, device=name, room=room, action=action) if room in rooms else None


def _first(match: re.Match[str]) -> str:
    return next(group for group in match.groups() if group)


def interpret(query: str, household: Household, room: str, has_screen: bool) -> Interpretation | None:
    """What the assistant makes of a text in normal form, asked in `room`; None: no match."""
    if (general := _named(query, _general())) is not None:
        return _general()[general]
    if m := _WEATHER.fullmatch(query):
        return _weather(m[1])
    if m := _SWITCH.fullmatch(query):
        return _switch(m[1], m[2], room, household.appliances)
    if m := _CALL.fullmatch(query):
        contact = _named(_first(m), household.contacts)
        return meaning(Intent.CALL, contact=contact) if contact else None
    if m := _BY.fullmatch(query):
        artist = _named(m[1], _artists())
        return meaning(Intent.ARTIST, artist=artist) if artist else None
    if m := _FILM.fullmatch(query):
        film = _named(_first(m), _films()) if has_screen else None
        return meaning(Intent.FILM, film=film) if film else None
    if m := _SONG.fullmatch(query):
        return _song(_first(m))
    if m := _PLAY.fullmatch(query):
        return _play(m[1], has_screen)
    return None
