"""One person and the assistant over a month: what is said, heard, answered, and done about it when it goes wrong."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from retriever.interaction import Channel, Context, Explicit, Feedback, Interaction, Outcome, Request
from rewrite_service.sample import wishes
from rewrite_service.sample.assistant import interpret
from rewrite_service.sample.facts import SONGS, Song
from rewrite_service.sample.mishearing import plain
from rewrite_service.sample.people import Device, Habit, Person, any_place, passing_wish
from rewrite_service.sample.wishes import FOLLOW_UPS, Intent, Wish

DAY_MS = 86_400_000
_SPEAKING_MS = 3_000
_BROKEN = 0.004  # share of turns in which the assistant itself fails
_MOST_ATTEMPTS = 4
_NOT_A_HABIT = 0.15


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn with its truth, which the log does not tell.

    `said`: what was meant to be heard. `attempt`: 0 for the first try at a wish. `right`: whether the assistant did
    what was wanted.
    """

    interaction: Interaction
    wish: Wish
    said: str
    attempt: int
    right: bool


class Conversation:
    """All turns of one person, in time order. Interaction ids stay empty: they follow the whole log's order."""

    def __init__(self, person: Person, start_ms: int, days: int, rng: random.Random) -> None:
        self._person, self._rng = person, rng
        self._start_ms, self._days = start_ms, days
        self._now_ms = start_ms
        self._device_state = {f"{room} {appliance}": "off" for room, appliance in person.household.appliances}

    def turns(self) -> Iterator[Turn]:
        """Every turn of every day."""
        for day in range(self._days):
            for start_ms, habit in self._plan(self._start_ms + day * DAY_MS):
                if start_ms > self._now_ms:
                    yield from self._occasion(start_ms, habit)

    def _plan(self, midnight_ms: int) -> list[tuple[int, Habit | None]]:
        """When today something is wanted, and what: a habit, or (None) something in passing."""
        rng, habits = self._rng, self._person.habits
        mean = self._person.a_day
        count = int(mean) + (rng.random() < mean - int(mean))
        count += (rng.random() < 0.25) - (count > 0 and rng.random() < 0.25)  # not every day is alike
        plan: list[tuple[int, Habit | None]] = []
        for _ in range(count):
            habit = rng.choices(habits, [h.weight for h in habits])[0]
            if rng.random() < _NOT_A_HABIT:
                plan.append((midnight_ms + rng.randrange(7 * 3600, 22 * 3600) * 1000, None))
            else:
                minute = (habit.hour * 60 + rng.randint(-50, 50) + rng.randint(-50, 50)) % (24 * 60)
                plan.append((midnight_ms + (minute * 60 + rng.randrange(60)) * 1000, habit))
        return sorted(plan, key=lambda entry: entry[0])

    def _occasion(self, start_ms: int, habit: Habit | None) -> Iterator[Turn]:
        """One wish, what follows from it, and sometimes something quite different right after."""
        rng = self._rng
        self._now_ms = start_ms
        if habit is None:
            passing = passing_wish(self._person, rng)
            habit = Habit(passing, 1, 0, 0.4, rng.randint(0, 2))
        device = self._device_for(habit.wish)
        yield from (turns := list(self._pursue(habit, device)))
        if turns[-1].right and rng.random() < self._person.temper.goes_on:
            yield from self._go_on(habit, device)
        elif rng.random() < self._person.temper.moves_on:
            self._wait(10, 60)
            other = rng.choices(self._person.habits, [h.weight for h in self._person.habits])[0]
            if other.wish != habit.wish:
                yield from self._pursue(other, device if device.has_screen else self._device_for(other.wish))

    def _device_for(self, wish: Wish) -> Device:
        devices = [d for d in self._person.devices if d.has_screen or not wish.needs_screen]
        near = [d for d in devices if d.room == wish.room]
        return near[0] if near and self._rng.random() < 0.7 else self._rng.choice(devices)

    def _pursue(self, habit: Habit, device: Device, *, in_full: bool = False) -> Iterator[Turn]:
        """Tries at a wish until it is fulfilled, believed fulfilled, or given up."""
        rng, temper, wish = self._rng, self._person.temper, habit.wish
        texts = wish.short if rng.random() < habit.leaves_out and not in_full else wish.full
        style = habit.style if rng.random() < habit.steady else rng.randrange(len(wish.full))
        for attempt in range(_MOST_ATTEMPTS):
            turn = self._ask(wish, texts[style % len(texts)], device, attempt)
            yield turn
            answered = turn.interaction.outcome is Outcome.OK
            if turn.right or (answered and rng.random() >= temper.notices) or rng.random() < temper.gives_up:
                return
            self._wait(5, 30)
            if self._person.app and rng.random() < temper.types:
                device, texts = self._person.app, wish.full
            elif answered or rng.random() >= temper.repeats:
                texts = wish.full

    def _go_on(self, habit: Habit, device: Device) -> Iterator[Turn]:
        """Follows on from a right answer: in words that lean on it, which fails, then mostly in full; or so at once."""
        rng, wish = self._rng, habit.wish
        if wish.meaning.intent not in FOLLOW_UPS:
            return
        following = self._following(wish)
        self._wait(5, 40)
        if rng.random() < 0.7:
            words = {Intent.SWITCH: following.slots.get("action"), Intent.WEATHER: following.slots.get("place")}
            leaning = rng.choice(FOLLOW_UPS[Intent(wish.meaning.intent)]).format(words.get(Intent(wish.meaning.intent)))
            yield self._ask(following, leaning, device, 0)
            if rng.random() < 0.25:
                return
            self._wait(5, 30)
        yield from self._pursue(Habit(following, 1, 0, 0.0, habit.style), device, in_full=True)

    def _following(self, wish: Wish) -> Wish:
        slots, rng = wish.slots, self._rng
        if wish.meaning.intent == Intent.SWITCH:
            return wishes.switch(slots["device"], slots["room"], "off" if slots["action"] == "on" else "on")
        if wish.meaning.intent == Intent.WEATHER:
            return wishes.weather(any_place(rng))
        if Song(slots["song"], slots["artist"]) == SONGS[0]:  # a cast has no other songs here
            return wishes.song(rng.choice(SONGS))
        return wishes.artist(slots["artist"])

    def _ask(self, wish: Wish, marked: str, device: Device, attempt: int) -> Turn:
        """Says (or types) a text, and lets the assistant answer and the person react."""
        rng, person = self._rng, self._person
        said = plain(marked)
        alternatives: tuple[str, ...] = ()
        confidence: float | None = None
        query, channel = said, Channel.APP
        if device.kind != "app":
            heard = person.voice.hear(marked, rng, wish.ease)
            query, alternatives, confidence = heard.query, heard.alternatives, heard.confidence
            channel = Channel.VOICE
        found = interpret(query, person.household, device.room, device.has_screen)
        outcome = Outcome.OK if found else Outcome.NO_MATCH
        if rng.random() < _BROKEN:
            found, outcome = None, Outcome.ERROR
        request = Request(
            "", person.id, self._now_ms, query, channel, alternatives, confidence, self._situation(device)
        )
        right = found == wish.meaning
        feedback = self._react(right, outcome, wish)
        self._now_ms += _SPEAKING_MS + int(min(feedback.dwell_s or 0.0, 10.0) * 1000)
        if found and found.intent == Intent.SWITCH:
            slots = dict(found.slots)
            self._device_state[f"{slots['room']} {slots['device']}"] = slots["action"]
        return Turn(Interaction(request, found, outcome, feedback), wish, said, attempt, right)

    def _situation(self, device: Device) -> Context:
        home = self._person.home
        state = dict(self._device_state)
        return Context(device.id, device.kind, device.has_screen, device.room, state, "en-US", home.name, home.state)

    def _react(self, right: bool, outcome: Outcome, wish: Wish) -> Feedback:
        """Noisy: some interrupt a right answer, many bear a wrong one in silence."""
        rng, temper = self._rng, self._person.temper
        plays = wish.meaning.intent in (Intent.SONG, Intent.ARTIST, Intent.FILM)
        if outcome is not Outcome.OK:
            return Feedback(rng.random() < 0.03, Explicit.NO if rng.random() < 0.02 else None, self._seconds(1, 8))
        if right:
            barge_in = rng.random() < 0.04
            explicit = Explicit.YES if rng.random() < 0.06 else Explicit.NO if rng.random() < 0.004 else None
            longest = 12 if barge_in else 240 if plays else 30
            return Feedback(barge_in, explicit, self._seconds(2, longest))
        barge_in = rng.random() < temper.barges_in
        explicit = Explicit.NO if rng.random() < 0.15 else Explicit.YES if rng.random() < 0.01 else None
        return Feedback(barge_in, explicit, self._seconds(1, 6 if barge_in else 20))

    def _seconds(self, low: int, high: int) -> float:
        return self._rng.randint(low * 10, high * 10) / 10

    def _wait(self, low_s: int, high_s: int) -> None:
        self._now_ms += self._rng.randint(low_s * 1000, high_s * 1000)
