"""What the sample log's people talk about: places, songs, films, names, and what a household holds. Public facts.

All texts are in normal form (see `retriever.normalise`). Lists are in order of popularity, best known first; what is
named twice means its most popular bearer to the assistant, and something else to some people.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """A town in a state of the USA."""

    name: str
    state: str


@dataclass(frozen=True, slots=True)
class Song:
    """A song as one artist sings it."""

    title: str
    artist: str


@dataclass(frozen=True, slots=True)
class General:
    """A general request. `text`: in braces what is easily misheard; `detailed`: that tells it from others like it."""

    intent: str
    text: str
    detailed: bool


def popularity(rank: int) -> int:
    """Weight of the entry at `rank` (0: best known) of a list here: falls like 1/rank, in whole numbers, > 0."""
    return 100_000 // (rank + 8)


# town: states, the one with most people first
_SHARED_NAMES = """
springfield: missouri, massachusetts, illinois, oregon, ohio
portland: oregon, maine
columbus: ohio, georgia, indiana
columbia: south carolina, missouri, maryland
aurora: colorado, illinois
arlington: texas, virginia
glendale: arizona, california
pasadena: texas, california
peoria: arizona, illinois
rochester: new york, minnesota
kansas city: missouri, kansas
richmond: virginia, california, indiana
salem: oregon, massachusetts
lancaster: california, pennsylvania, ohio
lafayette: louisiana, indiana, colorado
athens: georgia, ohio, alabama
concord: california, north carolina, new hampshire
burlington: north carolina, vermont
manchester: new hampshire, connecticut
newark: new jersey, delaware, ohio
wilmington: north carolina, delaware
charleston: south carolina, west virginia
fayetteville: north carolina, arkansas
jackson: mississippi, tennessee, michigan
jacksonville: florida, north carolina
bloomington: minnesota, indiana, illinois
greenville: north carolina, south carolina
georgetown: texas, kentucky
dover: delaware, new hampshire
franklin: tennessee, massachusetts, wisconsin
auburn: washington, alabama, maine
albany: new york, georgia, oregon
alexandria: virginia, louisiana, minnesota
ashland: kentucky, oregon
augusta: georgia, maine
austin: texas, minnesota
canton: ohio, michigan, georgia
cleveland: ohio, tennessee
dallas: texas, georgia, oregon
decatur: illinois, alabama, georgia
everett: washington, massachusetts
fairfield: california, connecticut, ohio
gainesville: florida, georgia
houston: texas, mississippi
independence: missouri, ohio, kansas
lawrence: kansas, massachusetts
lexington: kentucky, massachusetts
madison: wisconsin, alabama, mississippi
marion: iowa, ohio, indiana
medford: oregon, massachusetts
miami: florida, oklahoma
monroe: louisiana, michigan, north carolina
nashville: tennessee, indiana
norfolk: virginia, nebraska
ontario: california, oregon
paris: texas, tennessee, kentucky
princeton: new jersey, texas, west virginia
quincy: massachusetts, illinois
roswell: georgia, new mexico
troy: michigan, new york, alabama
vancouver: washington
warren: michigan, ohio
westminster: colorado, california
woodstock: georgia, illinois, new york
rome: georgia, new york
wilkerson: washington, california
"""

_CITIES = """
chicago: illinois; seattle: washington; denver: colorado; boston: massachusetts; atlanta: georgia; phoenix: arizona
philadelphia: pennsylvania; san diego: california; san antonio: texas; las vegas: nevada; detroit: michigan
minneapolis: minnesota; tampa: florida; orlando: florida; baltimore: maryland; pittsburgh: pennsylvania
cincinnati: ohio; sacramento: california; tucson: arizona; omaha: nebraska; tulsa: oklahoma; buffalo: new york
honolulu: hawaii; anchorage: alaska; boise: idaho; spokane: washington; memphis: tennessee; milwaukee: wisconsin
albuquerque: new mexico; new orleans: louisiana; reno: nevada; fresno: california; savannah: georgia; duluth: minnesota
"""

_SONGS = """
we don't talk about bruno - encanto cast; blinding lights - the weeknd; shape of you - ed sheeran; hello - adele
we don't talk anymore - charlie puth; bohemian rhapsody - queen; levitating - dua lipa; bad guy - billie eilish
someone like you - adele; let it go - idina menzel; perfect - ed sheeran; uptown funk - bruno mars; stay - rihanna
dreams - fleetwood mac; happy - pharrell williams; shake it off - taylor swift; rolling in the deep - adele
thunder - imagine dragons; closer - the chainsmokers; sorry - justin bieber; dancing queen - abba; halo - beyonce
as it was - harry styles; hotel california - eagles; yesterday - the beatles; here comes the sun - the beatles
believer - imagine dragons; attention - charlie puth; one call away - charlie puth; anti hero - taylor swift
billie jean - michael jackson; thriller - michael jackson; purple rain - prince; imagine - john lennon
sweet caroline - neil diamond; don't stop believing - journey; africa - toto; take on me - a ha; jolene - dolly parton
piano man - billy joel; stairway to heaven - led zeppelin; smells like teen spirit - nirvana; creep - radiohead
zombie - the cranberries; wonderwall - oasis; viva la vida - coldplay; yellow - coldplay; fix you - coldplay
skyfall - adele; frozen - madonna; like a prayer - madonna; fame - david bowie; heroes - david bowie
footloose - kenny loggins; ghostbusters - ray parker; my girl - the temptations; stand by me - ben e king
american pie - don mclean; mamma mia - abba; waterloo - abba; walk the line - johnny cash; hurt - johnny cash
ring of fire - johnny cash; crazy - gnarls barkley; crazy - patsy cline; jump - van halen; jump - kris kross
hurt - nine inch nails; closer - nine inch nails; hello - lionel richie; all night long - lionel richie
dreams - the cranberries; stay - the kid laroi; sorry - beyonce; perfect - one direction; creep - tlc
one - metallica; one - u2; with or without you - u2; enter sandman - metallica; hallelujah - leonard cohen
hallelujah - jeff buckley; the power of love - celine dion; the power of love - huey lewis; faith - george michael
careless whisper - george michael; valerie - amy winehouse; back to black - amy winehouse; stronger - kelly clarkson
stronger - britney spears; toxic - britney spears; home - michael buble; sunflower - post malone; circles - post malone
royals - lorde; roar - katy perry; firework - katy perry; chandelier - sia; titanium - david guetta; say so - doja cat
riptide - vance joy; ho hey - the lumineers; pompeii - bastille; counting stars - one republic
radioactive - imagine dragons
mister brightside - the killers; seven nation army - the white stripes; lose yourself - eminem; stan - eminem
no scrubs - tlc; waterfalls - tlc; vogue - madonna; landslide - fleetwood mac; go your own way - fleetwood mac
heart of gold - neil young; harvest moon - neil young; redemption song - bob marley; three little birds - bob marley
superstition - stevie wonder; respect - aretha franklin; hound dog - elvis presley; suspicious minds - elvis presley
space oddity - david bowie; rocket man - elton john; your song - elton john; tiny dancer - elton john
"""

_FILMS = """
frozen; encanto; the lion king; star wars; toy story; titanic; home alone; moana; jurassic park; the matrix; inception
finding nemo; shrek; the wizard of oz; back to the future; harry potter and the chamber of secrets; black panther
the princess bride; spirited away; mary poppins; the godfather; forrest gump; gladiator; ghostbusters; grease; footloose
mamma mia; bohemian rhapsody; skyfall; stand by me; purple rain; walk the line; my girl; yesterday; fame; elf; up; coco
cars; brave; big; jaws; rocky; alien; psycho; fargo; go; heat; speed; seven; signs; the birds; vertigo; casablanca
the truman show; the shining; the sixth sense; groundhog day; pulp fiction; fight club; american beauty; little women
pride and prejudice; the sound of music; beauty and the beast; the little mermaid; ratatouille; inside out; monsters inc
the incredibles; despicable me; paddington; chicken run; top gun; die hard; men in black; independence day
apollo thirteen
the fugitive; goldfinger; casino royale; knives out; get out; us; her; gravity; arrival; the martian; dune; avatar
"""

_CONTACTS = """
mom dad grandma anna ben carol chris dan david dawn don emma eric erin frank grace hannah henry jack jake james jane
jason jean jen joan john josh julia karen kate kelly kevin kim larry laura linda lisa lucy maria mark marie mary matt
megan mike molly nancy nick nora olivia paul peter rachel ray rob rose ryan sam sarah sean steve sue susan terry tim tom
"""

ROOMS = ("kitchen", "living room", "bedroom", "bathroom", "office", "hallway", "garage", "nursery", "basement")

APPLIANCES = ("light", "lamp", "fan", "heater", "radio", "blinds", "television", "humidifier", "coffee maker")

# intent: texts that mean it; in braces what carries the meaning (and is easily misheard), a slot where a * says so
_GENERAL = """
timer.set*: set a timer for {ten minutes}; set a timer for {five minutes}; set a timer for {half an hour}
timer.set*: set a timer for {twenty minutes}; start a {three minute} timer; set a {pasta} timer
timer.cancel: {cancel} the timer; {stop} the timer
timer.check: how much {time} is {left}
alarm.set*: wake me up at {seven}; set an alarm for {six thirty}
alarm.set*: wake me up at {eight tomorrow}; set an alarm for {five}
alarm.cancel: {cancel} my alarm
list.add*: add {milk} to my shopping list; add {eggs} to my shopping list; add {bread} to my shopping list
list.add*: add {coffee} to my shopping list; add {dog food} to my shopping list; add {bananas} to my shopping list
list.read: what's on my {shopping list}; read my {shopping list}
reminder.set*: remind me to {water the plants}; remind me to {take out the trash}; remind me to {feed the cat}
news.play: what's in the {news}; tell me the {news}; give me the {headlines}; what's the {sports} news
weather.local: what's the {weather}; what's the {weather} today; do i need an {umbrella}; is it going to {rain} today
joke.tell: tell me a {joke}; make me {laugh}; tell me another {joke}
clock.time: what {time} is it; what's the {date}; what {day} is it
maths.solve*: what's {twelve} times {twelve}; what's {fifteen percent} of {eighty}; how many {cups} are in a {gallon}
facts.ask*: how {tall} is the eiffel tower; how {old} is the queen; who wrote {hamlet}; how {far} away is the {moon}
facts.ask*: what's the capital of {france}; how do you spell {necessary}; how long do you boil an {egg}
volume.change*: turn it {up}; turn the volume {down}; {louder} please; set the volume to {five}
music.stop: {stop} the music; {pause} the music; {skip} this song
calendar.read: what's on my {calendar} today; when is my next {meeting}
greeting.say: good {morning}; good {night}; {thank you}
traffic.check: how's the {traffic} to work; how long is my {commute}
"""


def _pairs(text: str, separator: str) -> list[tuple[str, str]]:
    entries = [e.strip() for e in text.replace("\n", ";").split(";") if e.strip()]
    return [tuple(part.strip() for part in e.split(separator, 1)) for e in entries]  # type: ignore[misc]


STATES_OF: dict[str, tuple[str, ...]] = {
    name: tuple(s.strip() for s in states.split(","))
    for name, states in _pairs(_CITIES, ":") + _pairs(_SHARED_NAMES, ":")
}
"""Town to its states, the one with most people first."""

STATES = tuple(sorted({s for states in STATES_OF.values() for s in states}))
PLACES = tuple(Place(name, state) for name, states in STATES_OF.items() for state in states)
SHARED_NAMES = tuple(name for name, states in STATES_OF.items() if len(states) > 1)
CONTACTS = tuple(_CONTACTS.split())
SONGS = tuple(Song(title, artist) for title, artist in _pairs(_SONGS, " - "))
ARTISTS = tuple(dict.fromkeys(s.artist for s in SONGS if s.artist != "encanto cast"))
FILMS = tuple(f.strip() for f in _FILMS.replace("\n", ";").split(";") if f.strip())


def _general() -> tuple[General, ...]:
    rows = [line.split(": ", 1) for line in _GENERAL.strip().splitlines()]
    split = [(intent, text.strip()) for intent, texts in rows for text in texts.split(";")]
    return tuple(General(intent.rstrip("*"), text, intent.endswith("*")) for intent, text in split)


GENERAL = _general()
