"""Who says what: counts against a slow, obvious twin, and mined completion rules."""

from __future__ import annotations

import math
from collections import Counter

from mining.completions import MAX_TRIED_A_PATTERN, Key, drafted, mine_completions
from mining.defects import assess
from mining.tables import MOST_PER_PERSON, collect_shared, personal_record, without_cycles
from retriever.completion import Completer, Rule
from retriever.evidence import Repair
from retriever.interaction import Context, Interpretation
from tests.turns import DAY_S, request, turn


def test_counts_successes_recency_and_readings() -> None:
    turns = [
        turn("Play Go", 0, "Video", slots={"title": "go"}, screen=True),
        turn("play go", DAY_S, "Song", slots={"title": "go"}),
        turn("play ago", 2 * DAY_S),
        turn("play go", 2 * DAY_S + 20, "Song", slots={"title": "go"}),
    ]
    tables = personal_record(turns).tables
    go = tables.texts["play go"]
    assert (go.attempts, go.people, go.last_success_ms) == (3, 1, turns[3].request.timestamp_ms)
    assert 2.5 < go.successes < 3
    assert go.reading(True) == Interpretation("Video", (("title", "go"),))
    assert go.reading(False) == Interpretation("Song", (("title", "go"),))
    assert tables.texts["play ago"].people == 0
    assert tables.repairs["play ago", "play go"].times == 1
    assert tables.slot_values == Counter({"go": 3})
    assert tables.word_pairs()["play", "go"] == 3 and tables.word_pairs()["play", "ago"] == 0
    assert tables.words() == Counter({"play": 3, "go": 3})


def test_people_are_counted_once_each_whatever_their_order() -> None:
    ann = [turn("play go", i * DAY_S, "Song") for i in range(4)]
    bob = [turn("play go", 0, "Song", user="bob"), turn("play ago", 60, user="bob")]
    people = [(ann, assess(ann)), (bob, assess(bob))]
    one, other = collect_shared(people), collect_shared(reversed(people))
    assert one.texts["play go"].people == 2 == other.texts["play go"].people
    assert one.texts["play go"].attempts == 5 == other.texts["play go"].attempts


def follow_up(user: str, device: str, at: float = 0) -> list:
    return [
        turn(f"turn on the {device}", at, "Device", user, slots={"action": "on", "device": device}),
        turn("switch it off", at + 20, user=user),
        turn(f"turn off the {device}", at + 40, "Device", user, slots={"action": "off", "device": device}),
    ]


def people_of(*dialogues: list) -> list:
    return [(turns, assess(turns)) for turns in dialogues]


def test_a_follow_up_rule_is_mined_and_fills_in_what_it_has_never_seen() -> None:
    completer = mine_completions(people_of(follow_up("ann", "den lamp"), follow_up("bob", "porch fan")))
    answered = Interpretation("Device", (("action", "on"), ("device", "garage heater")))
    made = completer.complete("switch it off", request("switch it off"), [answered])
    assert made[0].text == "turn off the garage heater"
    assert made[0].reading == Interpretation("Device", (("action", "off"), ("device", "garage heater")))


def test_one_person_makes_no_rule() -> None:
    assert (
        mine_completions(people_of(follow_up("ann", "den lamp"), follow_up("ann", "porch fan", 9000)[:0])).rules == []
    )


def test_no_rule_fires_without_its_situation() -> None:
    completer = mine_completions(people_of(follow_up("ann", "den lamp"), follow_up("bob", "porch fan")))
    assert completer.complete("switch it off", request("switch it off"), []) == []
    assert completer.complete("switch it off", request("switch it off"), [Interpretation("News")]) == []


def light(user: str, room: str) -> list:
    here = Context(room=room)
    off = {"action": "off", "device": f"{room} light"}
    return [
        turn("turn off the light", 0, "Device", user, slots=off | {"device": "x light"}, context=here),
        turn(f"turn off the {room} light", 20, "Device", user, slots=off, context=here),
    ]


def test_of_one_pattern_only_the_rules_of_most_people_are_tried() -> None:
    of_others: dict[Key, int] = {("dim it", False, "", f"dim the lamp {n}"): 2 for n in range(3)}
    crowd: dict[Key, int] = {("turn it", True, "", f"turn the lamp {n} {{rest}}"): 2 + n % 50 for n in range(400)}
    rules = drafted(of_others | crowd, {key: {None: 1} for key in of_others | crowd})
    kept = [rule for rule in rules if rule.pattern == "turn it"]
    assert len(rules) - len(kept) == 3 and len(kept) == MAX_TRIED_A_PATTERN
    assert min(rule.support for rule in kept) >= sorted(crowd.values())[-MAX_TRIED_A_PATTERN]
    turned = dict(reversed((of_others | crowd).items()))
    assert drafted(turned, {key: {None: 1} for key in turned}) == rules, "the order of the people does not show"


def test_a_room_fills_a_gap() -> None:
    completer = mine_completions(people_of(light("ann", "attic"), light("bob", "cellar")))
    here = request("turn off the light", context=Context(room="guest room"))
    assert "turn off the guest room light" in [c.text for c in completer.complete("turn off the light", here, [])]


def at_home(user: str, city: str, state: str) -> list:
    here = Context(city=city, state=state)
    greater = {"city": city, "state": "elsewhere"}
    return [
        turn(f"weather in {city}", 0, "Weather", user, slots=greater, context=here, barge_in=True),
        turn(f"what's the weather in {city} {state}", 15, "Weather", user, slots={"city": city, "state": state},
             context=here),
    ]  # fmt: skip


def test_whoever_names_the_own_town_means_that_one() -> None:
    completer = mine_completions(people_of(at_home("ann", "denver", "iowa"), at_home("bob", "park city", "ohio")))
    assert [rule.pattern for rule in completer.rules] == ["weather in {city}"], "no town of anybody's"
    here = Context(city="Huntington", state="Indiana")
    made = completer.complete("weather in huntington", request("weather in huntington", context=here), [])
    assert [c.text for c in made] == ["what's the weather in huntington indiana"]
    assert made[0].reading == Interpretation("Weather", (("city", "huntington"), ("state", "indiana")))
    for query, where in (("weather in denver", here), ("weather in huntington", Context(city="huntington"))):
        assert completer.complete(query, request(query, context=where), []) == [], "another town, or no state known"


def test_a_town_whose_state_was_said_is_no_repair_by_it() -> None:
    said = [
        [
            turn("whether in denver", 0, user=user, context=Context(city="denver", state="iowa")),
            turn("weather in denver", 15, "Weather", user, slots={"city": "denver"}, context=Context(city="denver")),
        ]
        for user in ("ann", "bob")
    ]
    rules = mine_completions(people_of(*said)).rules
    assert all("{city}" not in rule.pattern for rule in rules), "nothing was filled in"


def test_a_follow_up_reaches_past_something_else() -> None:
    completer = mine_completions(people_of(follow_up("ann", "den lamp"), follow_up("bob", "porch fan")))
    before = [Interpretation("News"), Interpretation("Device", (("action", "on"), ("device", "desk fan")))]
    made = completer.complete("switch it off", request("switch it off"), before)
    assert (made[0].text, made[0].steps_back) == ("turn off the desk fan", 1)


def test_an_open_ended_rule_takes_the_rest() -> None:
    rule = Rule("what about", True, "Weather", "weather in {rest}", ("Weather", (("city", "{rest}"),)), 3, 0.9, 0.1)
    made = Completer([rule]).complete("what about new york", request("x"), [Interpretation("Weather")])
    assert [(c.text, c.rest) for c in made] == [("weather in new york", "new york")]
    assert Rule.from_record(rule.to_record()) == rule


HERE = ("Weather", (("city", "{rest}"), ("state", "{state}")))
IN_STATE = Rule("weather in", True, "", "weather in {rest} {state}", HERE, 3, 0.9, 0.9)


def test_what_is_said_already_is_not_filled_in_again() -> None:
    here = request("x", context=Context(state="idaho"))
    made = Completer([IN_STATE]).complete("weather in iona", here, [])
    assert [c.text for c in made] == ["weather in iona idaho"]
    assert Completer([IN_STATE]).complete("weather in iona idaho", here, []) == []
    assert Completer([IN_STATE]).complete("weather in idaho falls", here, []) == []


def in_full(user: str, city: str, at: float = 0) -> list:
    """The city's weather, and after a while once more, misunderstood and then said with the state of both."""
    slots = {"city": city, "state": "texas"}
    return [
        turn(f"weather in {city} texas", at, "Weather", user, slots=slots),
        turn(f"weather in {city}", at + 60, user=user),
        turn(f"what's the weather in {city} texas", at + 80, "Weather", user, slots=slots),
    ]


def test_a_reading_is_foretold_from_the_words_alone() -> None:
    """Where the city of the turn before happens to be that of this one, it must not stand for any other city."""
    rules = mine_completions(people_of(in_full("ann", "wylie"), in_full("bob", "new hope")))
    before = [Interpretation("Weather", (("city", "wylie"), ("state", "texas")))]
    made = rules.complete("weather in floral gables", request("x"), before)
    full = next(c for c in made if c.text == "what's the weather in floral gables texas")
    assert full.reading in (None, Interpretation("Weather", (("city", "floral gables"), ("state", "texas"))))
    assert full.rest == "floral gables", "the name, not the words around it"


def test_no_reading_is_foretold_from_what_the_words_do_not_hold() -> None:
    def today(user: str, city: str) -> list:
        slots = {"city": city, "state": "texas"}
        return [
            turn(f"weather in {city} texas", 0, "Weather", user, slots=slots),
            turn(f"forecast {city} today", 60, user=user),
            turn(f"what's the forecast {city} today texas", 80, "Weather", user, slots=slots),
        ]

    rules = mine_completions(people_of(today("ann", "wylie"), today("bob", "new hope")))
    before = [Interpretation("Weather", (("city", "wylie"), ("state", "texas")))]
    made = rules.complete("forecast floral gables today", request("x"), before)
    assert [c.reading for c in made if "floral gables" in c.text] == [None], "its city is not wylie"


def switched(user: str, action: str, device: str, wanted: str, at: float = 0) -> list:
    """ "switch it on", heard after the device was switched, and what was wanted by it."""
    return [
        turn(f"turn {action} the {device}", at, "Device", user, slots={"action": action, "device": device}),
        turn("switch it on", at + 20, user=user),
        turn(f"turn {wanted} the {device}", at + 40, "Device", user, slots={"action": wanted, "device": device}),
    ]


def test_a_rule_knows_that_few_want_again_what_they_just_got() -> None:
    people = [switched(user, "off", f"{user} lamp", "on") for user in ("ann", "bob", "cat", "dan")]
    people += [switched(user, "on", f"{user} lamp", "off") for user in ("eve", "fay", "gus")]
    rules = mine_completions(people_of(*people))
    told = {
        action: rules.complete(
            "switch it on", request("x"), [Interpretation("Device", (("action", action), ("device", "fan")))]
        )
        for action in ("on", "off")
    }
    on = {action: next(c for c in made if c.text == "turn on the fan") for action, made in told.items()}
    assert on["on"].precision < 0.2 < 0.5 < on["off"].precision


def test_a_reading_counts_by_people_not_by_turns() -> None:
    def calls(user: str, who: str, times: int) -> list:
        return [turn("call mom", i * DAY_S, "Call", user, slots={"contact": who}) for i in range(times)]

    people = [calls("ann", "susan", 9), calls("bob", "mary", 2), calls("cleo", "mary", 2)]
    e = collect_shared((turns, assess(turns)) for turns in people).texts["call mom"]
    assert e.reading(False) == Interpretation("Call", (("contact", "susan"),))
    assert e.reading(False, min_people=2) is None, "nobody else may learn whom one person's account knows as mom"
    assert e.agreement(False) == 9 / 13


def test_no_one_person_weighs_more_than_so_many_turns() -> None:
    ann = [turn("play go", i * DAY_S, "Song" if i % 2 else None, slots={"title": "go"}) for i in range(400)]
    bob = [turn("play go", 0, "Song", "bob", slots={"title": "go"})]
    people = [(turns, assess(turns)) for turns in (ann, bob)]
    free, bound = collect_shared(people, math.inf), collect_shared(people, 10)
    assert free.texts["play go"].attempts == 401
    assert bound.texts["play go"].attempts == 11
    assert bound.texts["play go"].people == 2
    share = lambda tables: tables.texts["play go"].successes / tables.texts["play go"].attempts  # noqa: E731
    assert 0.45 < share(free) < 0.55 and 0.45 < share(bound) < 0.6, "shares stay what they are"
    assert bound.slot_values["go"] == 11 and bound.words()["play"] == bound.word_pairs()["play", "go"] == 6
    assert sum(bound.texts["play go"].understood[False].values()) == 6
    assert collect_shared(people[1:], 10) == collect_shared(people[1:], math.inf)


def test_a_repair_said_a_thousand_times_by_one_person_counts_as_a_few() -> None:
    ann = [t for i in range(30) for t in (turn("play ago", i * DAY_S), turn("play go", i * DAY_S + 20, "Song"))]
    assert collect_shared([(ann, assess(ann))]).repairs["play ago", "play go"].times == MOST_PER_PERSON


def test_repairs_that_lead_back_are_left_out() -> None:
    there, back = Repair("a", "b", 9, 2), Repair("b", "a", 1, 3)
    other = Repair("a", "c", 1, 1)
    table = lambda *repairs: {(r.source, r.target): r for r in repairs}  # noqa: E731
    assert without_cycles(table(there, back, other)) == table(back, other), "people count before turns"
    even = Repair("b", "a", 9, 2)
    assert without_cycles(table(there, even)) == {}


def test_a_text_never_repairs_itself() -> None:
    ann = [turn("Play go!", 0), turn("play go", 20, "Song")]
    assert collect_shared([(ann, assess(ann))]).repairs == {}
