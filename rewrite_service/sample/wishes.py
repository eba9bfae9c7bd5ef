"""What a person may want of the assistant, and the ways to say it: in short, leaving out the obvious, or in full.

In texts, braces stand around what is easily misheard (see `mishearing`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from retriever.interaction import Interpretation
from rewrite_service.sample.facts import General, Place, Song
from rewrite_service.sample.mishearing import NAME


class Intent(StrEnum):
    """What the assistant can do, besides the general requests of `facts.GENERAL`, which carry their own intents."""

    WEATHER = "weather.get"
    SONG = "music.song"
    ARTIST = "music.artist"
    FILM = "video.film"
    SWITCH = "home.switch"
    CALL = "phone.call"


@dataclass(frozen=True, slots=True)
class Wish:
    """Something wanted: the interpretation that fulfils it, and the ways to say it, each with names in braces.

    `short`: as people say it who leave out what they think is obvious; `full`: beyond doubt. Both in the same order of
    wordings, at least one each. `ease`: how much less often than a name it is misheard, above 0 to 1.
    """

    meaning: Interpretation
    short: tuple[str, ...]
    full: tuple[str, ...]
    ease: float = 1.0
    needs_screen: bool = False
    room: str = ""

    @property
    def slots(self) -> dict[str, str]:
        return dict(self.meaning.slots)


def meaning(intent: str, **slots: str) -> Interpretation:
    """An interpretation with its slots in the order that makes equal meanings equal."""
    return Interpretation(intent, tuple(sorted(slots.items())))


def weather(place: Place) -> Wish:
    """The weather in a town; the short form leaves out its state."""
    frames = ("what's the weather in", "weather in", "what's the weather like in", "how's the weather in")
    return Wish(
        meaning(Intent.WEATHER, place=place.name, state=place.state),
        tuple(f"{frame} {{{place.name}}}" for frame in frames),
        tuple(f"{frame} {{{place.name}}} {{{place.state}}}" for frame in frames),
        ease=0.9,
    )


def song(wanted: Song) -> Wish:
    """A song; the short form leaves out who sings it."""
    frames = ("play", "put on", "play the song", "listen to")
    return Wish(
        meaning(Intent.SONG, song=wanted.title, artist=wanted.artist),
        tuple(f"{frame} {{{wanted.title}}}" for frame in frames),
        tuple(f"{frame} {{{wanted.title}}} by {{{wanted.artist}}}" for frame in frames),
    )


def artist(name: str) -> Wish:
    """Anything by an artist; the short form is the bare name."""
    return Wish(
        meaning(Intent.ARTIST, artist=name),
        (f"play {{{name}}}", f"put on {{{name}}}", f"play some {{{name}}}"),
        (f"play songs by {{{name}}}", f"put on music by {{{name}}}", f"play music by {{{name}}}"),
    )


def film(title: str) -> Wish:
    """A film, on something with a screen; the short form does not say that it is one."""
    return Wish(
        meaning(Intent.FILM, film=title),
        (f"play {{{title}}}", f"watch {{{title}}}", f"put on {{{title}}}"),
        (f"watch the movie {{{title}}}", f"play the movie {{{title}}}", f"put on the movie {{{title}}}"),
        needs_screen=True,
    )


def switch(appliance: str, room: str, action: str) -> Wish:
    """An appliance on or off; the short form leaves out the room."""
    return Wish(
        meaning(Intent.SWITCH, device=appliance, room=room, action=action),
        (f"turn {action} the {{{appliance}}}", f"switch {action} the {{{appliance}}}"),
        (f"turn {action} the {{{room}}} {{{appliance}}}", f"switch {action} the {{{room}}} {{{appliance}}}"),
        ease=0.35,
        room=room,
    )


def call(contact: str) -> Wish:
    """A call to a contact of one's own."""
    texts = (f"call {{{contact}}}", f"phone {{{contact}}}", f"give {{{contact}}} a call")
    return Wish(meaning(Intent.CALL, contact=contact), texts, texts, ease=0.8)


def general_meaning(asked: General) -> Interpretation:
    """What a general request is understood as."""
    slots = {"about": " ".join(NAME.findall(asked.text))} if asked.detailed else {}
    return meaning(asked.intent, **slots)


def general(asked: General) -> Wish:
    """One of the general requests: there is one way to say it."""
    return Wish(general_meaning(asked), (asked.text,), (asked.text,), ease=0.55)


# What people say to go on from an answer, without saying what they go on from. This assistant does not understand it.
FOLLOW_UPS = {
    Intent.SWITCH: ("turn it {}", "turn that {}", "and turn it {} again"),
    Intent.SONG: ("play more by them", "another one by them", "more songs by them"),
    Intent.WEATHER: ("what about {{{}}}", "and in {{{}}}", "how about {{{}}}"),
}
