"""The sample log's people: their habits, their household, their patience, their voice.

Three of them have a story that the documentation tells and the tests ask about: see `ada`, `ben` and `cleo`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from rewrite_service.sample import wishes
from rewrite_service.sample.assistant import Household
from rewrite_service.sample.facts import (
    APPLIANCES,
    ARTISTS,
    CONTACTS,
    FILMS,
    GENERAL,
    PLACES,
    ROOMS,
    SHARED_NAMES,
    SONGS,
    STATES_OF,
    Place,
    Song,
    popularity,
)
from rewrite_service.sample.mishearing import Voice
from rewrite_service.sample.wishes import Wish

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Habit:
    """A wish that comes back. `weight`: how often among the person's habits, > 0. `hour`: of the day at which it
    mostly comes, 0 to 23. `leaves_out`: chance that it is first said in short, 0 to 1. `style`: preferred wording.
    `steady`: chance that it is said so and not otherwise, 0 to 1."""

    wish: Wish
    weight: int
    hour: int
    leaves_out: float
    style: int = 0
    steady: float = 0.7


@dataclass(frozen=True, slots=True)
class Device:
    """What a person speaks to, or types on. `kind`: speaker, display or app."""

    id: str
    kind: str
    room: str

    @property
    def has_screen(self) -> bool:
        return self.kind != "speaker"


@dataclass(frozen=True, slots=True)
class Temper:
    """Chances, 0 to 1, of what a person does when it goes wrong, and of other things they do.

    `notices` a wrong answer; then `repeats` the same words, or `types` it in the app (given the app), or `gives_up`,
    else says it in full. `barges_in` on a wrong answer. `goes_on` from a right answer. `moves_on` to something quite
    different within a minute.
    """

    notices: float = 0.85
    repeats: float = 0.3
    types: float = 0.3
    gives_up: float = 0.12
    barges_in: float = 0.35
    goes_on: float = 0.07
    moves_on: float = 0.1


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an account. `a_day`: mean number of first attempts a day, > 0. `app`: None where they have none."""

    id: str
    home: Place
    habits: tuple[Habit, ...]
    household: Household
    devices: tuple[Device, ...]
    app: Device | None
    voice: Voice
    a_day: float
    temper: Temper = field(default_factory=Temper)


_WILKERSON = wishes.weather(Place("wilkerson", "washington"))
"""What nearly everybody means by the name, and `ada` does not."""
_BRUNO = wishes.song(SONGS[0])
"""What many ask for, and is nearly what `ben` asks for."""
_HEARD_AS_BREW_NO = {"play we don't talk about bruno": "play we don't talk about brew no"}


def popular(items: Sequence[T], rng: random.Random) -> T:
    """One of a list that is in order of popularity, the popular ones more often."""
    return rng.choices(items, [popularity(rank) for rank in range(len(items))])[0]


def _several(items: Sequence[T], count: int, rng: random.Random) -> list[T]:
    """Up to `count` different ones of a list in order of popularity."""
    return list(dict.fromkeys(popular(items, rng) for _ in range(count)))


def any_place(rng: random.Random) -> Place:
    """A town people ask about; of those that share a name, every other time not the biggest."""
    name = popular(tuple(STATES_OF), rng) if rng.random() < 0.6 else rng.choice(SHARED_NAMES)
    states = STATES_OF[name]
    if name == _WILKERSON.slots["place"]:  # the other one is for `ada` alone
        return Place(name, states[0])
    return Place(name, states[0] if rng.random() < 0.5 else rng.choice(states))


def passing_wish(person: Person, rng: random.Random) -> Wish:
    """Something that many ask for and that is no habit of this person."""
    options: list[Wish] = [
        wishes.weather(any_place(rng)),
        wishes.song(popular(SONGS, rng)),
        wishes.general(rng.choice(GENERAL)),
    ]
    if any(d.has_screen for d in person.devices):
        options.append(wishes.film(popular(FILMS, rng)))
    return rng.choice(options)


def _habits(household: Household, home: Place, screen: bool, number: int, rng: random.Random) -> tuple[Habit, ...]:
    wanted: list[Wish] = []
    wanted += [_WILKERSON] if number % 6 == 3 else []
    wanted += [_BRUNO] if number % 6 == 4 else []
    places = [any_place(rng) for _ in range(rng.randint(1, 3))] + [home] * rng.randint(0, 1)
    songs = _several(SONGS, rng.randint(2, 6), rng)
    wanted += [wishes.weather(p) for p in places]
    wanted += [wishes.song(s) for s in songs]
    wanted += [wishes.artist(a) for a in _several(ARTISTS, rng.randint(0, 2), rng)]
    wanted += [wishes.film(f) for f in _several(FILMS, rng.randint(1, 3), rng)] if screen else []
    for room, appliance in rng.sample(household.appliances, min(3, len(household.appliances))):
        wanted += [wishes.switch(appliance, room, action) for action in ("on", "off")]
    wanted += [wishes.call(c) for c in rng.sample(household.contacts, rng.randint(1, 3))]
    wanted += [wishes.general(g) for g in rng.sample(GENERAL, rng.randint(3, 6))]
    return tuple(_habit(w, rng) for w in dict.fromkeys(wanted))


def _habit(wish: Wish, rng: random.Random) -> Habit:
    shared = wish in (_BRUNO, _WILKERSON)  # what a story needs many others to ask for
    weight = 8 if shared else rng.randint(1, 8)
    leaves_out = rng.choice((0.1, 0.3, 0.5) if wish.room else (0.15, 0.4, 0.7, 0.9))
    return Habit(wish, weight, rng.randint(6, 22), leaves_out, 0 if shared else rng.randint(0, 2))


def _household(rng: random.Random) -> Household:
    rooms = rng.sample(ROOMS, rng.randint(2, 4))
    pairs = [(room, a) for room in rooms for a in ("light", *rng.sample(APPLIANCES[1:], rng.randint(0, 2)))]
    return Household(tuple(pairs), tuple(rng.sample(CONTACTS, rng.randint(4, 9))))


def _devices(user: str, household: Household, screen: bool, rng: random.Random) -> tuple[Device, ...]:
    rooms = list(dict.fromkeys(room for room, _ in household.appliances))
    count = rng.randint(1, min(3, len(rooms)))
    kinds = ["display" if screen else "speaker", *("speaker" for _ in range(count - 1))]
    return tuple(Device(f"{user}-{i}", k, room) for i, (k, room) in enumerate(zip(kinds, rooms, strict=False)))


def _anybody(number: int, seed: int) -> Person:
    user = f"p{number:04d}"
    rng = random.Random(f"{seed}/{user}")  # each person by themselves, so that more people change nobody
    screen = rng.random() < 0.6
    household, home = _household(rng), rng.choice(PLACES)
    return Person(
        id=user,
        home=home,
        habits=_habits(household, home, screen, number, rng),
        household=household,
        devices=_devices(user, household, screen, rng),
        app=Device(f"{user}-app", "app", "") if number % 3 == 0 else None,
        voice=Voice(
            f"{seed}/{user}",
            name_error=rng.choice((0.1, 0.16, 0.22, 0.3)),
            frame_error=rng.choice((0.01, 0.02, 0.04)),
            quirks=_HEARD_AS_BREW_NO,
            quirk_share=0.15,
        ),
        a_day=rng.choice((0.7, 1.2, 1.7, 2.4)),
        temper=Temper(rng.choice((0.7, 0.9)), rng.choice((0.2, 0.35)), barges_in=rng.choice((0.2, 0.5))),
    )


_PATIENT = Temper(notices=1.0, repeats=0.0, types=0.0, gives_up=0.0, barges_in=0.8, goes_on=0.0, moves_on=0.05)
_HOUSE = Household((("kitchen", "light"), ("living room", "light"), ("living room", "lamp")), ("mom", "julia", "nick"))


def _story(user: str, home: Place, own: Sequence[Habit], voice: Voice) -> Person:
    """Somebody with a home like any other's, a few ordinary habits, and `own` ones."""
    ordinary = (
        Habit(wishes.switch("light", "kitchen", "on"), 3, 18, 0.2),
        Habit(wishes.call("mom"), 2, 19, 0.0),
        *(Habit(wishes.general(g), 2, 8, 0.0) for g in GENERAL[:3]),
    )
    devices = (Device(f"{user}-0", "display", "living room"), Device(f"{user}-1", "speaker", "kitchen"))
    return Person(user, home, (*own, *ordinary), _HOUSE, devices, None, voice, a_day=3.6, temper=_PATIENT)


def ada() -> Person:
    """Means Wilkerson in California, asks for Wilkerson, gets Washington like everybody, and puts it right."""
    own = Habit(wishes.weather(Place("wilkerson", "california")), 11, 8, 0.9, steady=1.0)
    return _story("ada", Place("fresno", "california"), [own], Voice("ada", 0.04, 0.0))


def ben() -> Person:
    """A fan of one song whose title begins like that of another one, which everybody else asks for."""
    fan = Habit(wishes.song(Song("we don't talk anymore", "charlie puth")), 10, 19, 0.8)
    other = Habit(wishes.song(Song("attention", "charlie puth")), 3, 20, 0.6)
    return _story("ben", Place("columbus", "ohio"), [fan, other], Voice("ben", 0.06, 0.0))


def cleo() -> Person:
    """Whose film is heard as something else whenever it is asked for in short."""
    own = Habit(wishes.film("go"), 11, 21, 0.85, steady=1.0)
    voice = Voice("cleo", 0.02, 0.0, {"play go": "play ago"}, quirk_share=1.0)
    return _story("cleo", Place("denver", "colorado"), [own], voice)


def inhabitants(count: int, seed: int) -> list[Person]:
    """The three with a story, then anybody, `count` in all; the same people for the same seed, however many."""
    return [ada(), ben(), cleo(), *(_anybody(number, seed) for number in range(4, count + 1))][:count]
