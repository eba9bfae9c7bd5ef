"""A user's state that goes on from the one before, against one made of nothing, over a real store and a real bundle."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from retriever.interaction import Explicit, Feedback, Interaction, TurnFeedback
from retriever.personal_layer import PersonalLayer
from retriever.vector_cache import CachedEncoder
from rewrite_service import people_archive
from rewrite_service.bundle import Bundle, encoder_of, open_bundle
from rewrite_service.store import codec
from rewrite_service.store.embedded import EmbeddedStore
from rewrite_service.user_state import UserState, UserStates
from tests.turns import turn

DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def bundle(bundle_dir: Path) -> Bundle:
    return open_bundle(bundle_dir, encoder_of(bundle_dir), 1 << 24)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EmbeddedStore]:
    store = EmbeddedStore(tmp_path)
    yield store
    store.close()


def users_of(bundle: Bundle, store: EmbeddedStore) -> UserStates:
    return UserStates(bundle.people, store, bundle.knowledge, 1 << 30)


def plain(layer: PersonalLayer) -> tuple:
    """All that a layer answers with."""
    rows = layer.index.views
    found = [layer.record_of({word}) for word in sorted({w for text in layer.texts for w in text.split()})]
    return (
        dict(layer.texts), list(layer.texts), layer.keys, layer.slot_values, list(layer.fragments), layer.names,
        layer.successes, layer.readings, layer._repairs, found, rows.meaning.tobytes(), rows.sound.tobytes(),
    )  # fmt: skip


def same(going_on: UserState, anew: UserState) -> None:
    assert going_on.recent == anew.recent and going_on.revision == anew.revision
    assert going_on.preferences.held == anew.preferences.held
    weighed = [
        {pair: (e.turns, e.likelihood.tolist()) for pair, e in state.experience.items()} for state in (going_on, anew)
    ]
    assert weighed[0] == weighed[1]
    for one, other in zip(plain(going_on.layer), plain(anew.layer), strict=True):
        assert one == other
    assert going_on.nbytes == anew.nbytes


def evening(user: str, after: Interaction, n: int) -> list[Interaction]:
    """Something that fails, and what it was meant to be, a day after another."""
    at_s = (after.request.timestamp_ms + n * DAY_MS) / 1000 - 1_767_614_400 - 12 * 3600
    said = after.request.query
    reading = after.interpretation
    slots = dict(reading.slots) if reading else {"title": said}
    intent = reading.intent if reading else "Song"
    return [
        turn(f"{said} o", at_s, user=user, id=f"{user}-new-{n}-a"),
        turn(said, at_s + 20, intent, user, slots=slots, id=f"{user}-new-{n}-b"),
    ]


def test_a_state_that_goes_on_is_the_one_made_of_nothing(bundle: Bundle, store: EmbeddedStore) -> None:
    users = users_of(bundle, store)
    archived = [t for t in bundle.people.user("cleo").turns if t.interpretation is not None]
    users.load("cleo")
    late = archived[3].request.timestamp_ms
    steps = [lambda n=n: store.append(evening("cleo", archived[n % 4], n)) for n in range(1, 5)]
    steps += [
        lambda: store.amend([TurnFeedback("cleo", "cleo-new-1-b", Feedback(True, Explicit.NO, 0.5))]),
        # What was heard "... o" was asked as the text itself, and served.
        lambda: store.amend([TurnFeedback("cleo", "cleo-new-2-a", Feedback(), archived[2].request.query)]),
        lambda: store.amend([TurnFeedback("cleo", "cleo-new-2-a", Feedback(True), "play something else")]),
        lambda: store.forget("cleo", late),
        lambda: store.append(evening("cleo", archived[-1], 9)),
    ]
    for step in steps:
        step()
        assert users.cached("cleo") is None
        same(users.load("cleo"), users_of(bundle, store).load("cleo"))
    assert not [t for t in users.load("cleo").layer.texts.values() if 0 < t.last_success_ms <= late]


def test_one_more_turn_reads_judges_and_encodes_that_turn_alone(
    bundle: Bundle, store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = users_of(bundle, store)
    archived = bundle.people.user("cleo").turns
    store.append(evening("cleo", archived[0], 1))
    before = users.load("cleo")
    read, decoded, encoded = [], [], []
    real_read, real_decode, real_encode = people_archive.from_record, codec.decode, CachedEncoder.encode
    monkeypatch.setattr(people_archive, "from_record", lambda record: read.append(record) or real_read(record))
    monkeypatch.setattr(codec, "decode", lambda row: decoded.append(row) or real_decode(row))
    monkeypatch.setattr(CachedEncoder, "encode", lambda self, texts: encoded.extend(texts) or real_encode(self, texts))
    new = evening("cleo", archived[0], 2)[1]
    store.append([replace(new, request=replace(new.request, query="play nothing like it"))])
    after = users.load("cleo")
    assert not read and len(decoded) == 1 and encoded == ["play nothing like it"] * 2  # by meaning and by sound
    assert set(after.layer.texts) - set(before.layer.texts) == {"play nothing like it"}


def test_nothing_is_taken_over_from_one_user_to_another(bundle: Bundle, store: EmbeddedStore) -> None:
    """The same turns under another name, ids and all: found anew, as if nobody had them."""
    users = users_of(bundle, store)
    archived = bundle.people.user("cleo").turns
    for user in ("one", "two"):
        store.append([replace(t, request=replace(t.request, user_id=user)) for t in archived[:6]])
    one, two = users.load("one"), users.load("two")
    theirs = {id(t) for t in one.sources.stored.values()}
    assert theirs.isdisjoint(id(t) for t in two.sources.stored.values())
    assert {t.interaction.request.user_id for t in two.sources.stored.values()} == {"two"}


def test_turns_kept_at_hand_count_for_what_they_take(bundle: Bundle, store: EmbeddedStore) -> None:
    archived = bundle.people.user("cleo").turns
    store.append([t for n in range(1, 200) for t in evening("talker", archived[n % len(archived)], n)])
    users_of(bundle, store).load("talker")  # what is remembered by text is there already
    users = users_of(bundle, store)
    tracemalloc.start()
    users.load("talker")
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0.7 * taken < users.nbytes < 2 * taken
