"""Rewrites served by the lookup: for whom, in which situation, and what goes before it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ranker.lookup import NEVER, LookupPolicy
from retriever.interaction import Context, Explicit, Feedback, Interaction, Interpretation, Outcome, Request
from retriever.preferences import PreferenceKind
from rewrite_service.admin.rule_book import RuleBook
from rewrite_service.admin.rules import Rule, RuleKind
from rewrite_service.arms import Arm, HoldOut
from rewrite_service.bundle import Bundle, encoder_of, open_bundle
from rewrite_service.cli import app
from rewrite_service.decision import Layer, Reason
from rewrite_service.errors import BundleError, StoreError
from rewrite_service.lesson import Lesson
from rewrite_service.pipeline import Pipeline
from rewrite_service.store.base import TurnFeedback
from rewrite_service.store.embedded import EmbeddedStore

HEARD = "put on we don't talk about bruno by encanto cost"
MEANT = "put on we don't talk about bruno by encanto cast"
"""Three of the sample log's people went from the one to the other; nobody was ever served by the first."""
BRUNO = Interpretation("music.song", (("artist", "encanto cast"), ("song", "we don't talk about bruno")))
SURE = LookupPolicy(0.3, 20.0, 0.95)
SEARCHED = {"encode", "retrieve", "features", "predict"}
NOW = 1_775_000_000_000
MINUTE_MS = 60_000


@pytest.fixture(scope="module")
def bundle(bundle_dir: Path) -> Bundle:
    return replace(open_bundle(bundle_dir, encoder_of(bundle_dir), 1 << 24), lookup=SURE)


class Asking:
    """A service, and users who ask it."""

    def __init__(self, bundle: Bundle, place: Path, **given) -> None:
        self.store = EmbeddedStore(place)
        self.pipeline = Pipeline(bundle, self.store, decision_cache_bytes=1 << 20, **given)
        self.now_ms, self.turns = NOW, 0

    def request(self, user: str = "zoe", query: str = HEARD) -> Request:
        self.turns += 1
        return Request(f"t{self.turns}", user, self.now_ms, query, asr_confidence=0.8, context=Context(has_screen=True))

    def ask(self, user: str = "zoe", query: str = HEARD, **more):
        return self.pipeline.rewrite(self.request(user, query), **more)

    def by_lookup(self, user: str = "zoe") -> bool:
        return self.ask(user).reason is Reason.KNOWN_REWRITE

    def record(self, query: str, user: str = "zoe", reading: Interpretation | None = None, well: bool = True) -> None:
        turn = Interaction(self.request(user, query), reading, Outcome.OK if reading else Outcome.NO_MATCH)
        feedback = Feedback(dwell_s=200.0) if well else Feedback(True, Explicit.NO, 1.0)
        self.pipeline.record([replace(turn, feedback=feedback)])

    def later(self, minutes: float = 60) -> None:
        self.now_ms += int(minutes * MINUTE_MS)


@pytest.fixture
def asking(bundle: Bundle, tmp_path: Path) -> Iterator[Asking]:
    made = Asking(bundle, tmp_path)
    yield made
    made.pipeline.close()


def test_it_is_served_before_anything_is_searched(asking: Asking) -> None:
    decision = asking.ask()
    assert (decision.text, decision.reason, decision.layer) == (MEANT, Reason.KNOWN_REWRITE, Layer.GLOBAL)
    assert decision.probability == 0.95 and not SEARCHED & set(decision.stage_us)
    assert asking.ask(query=f"  {HEARD.upper()}!").text == MEANT, "found by the normal form"
    explained = asking.ask(explain=True)
    assert (explained.text, explained.reason) == (MEANT, Reason.KNOWN_REWRITE)
    found = {c.text: c for c in explained.candidates}
    assert "chain" in found[MEANT].sources
    features = {c.name: c.value for c in found[MEANT].contributions}
    assert features["chain_goes"] > 0.9 and features["chain_lead"] > 0.9 and features["chain_people"] > 1


def test_where_it_may_never_serve_it_is_a_candidate_like_others(bundle: Bundle, tmp_path: Path) -> None:
    asking = Asking(replace(bundle, lookup=NEVER), tmp_path)
    explained = asking.ask(explain=True)
    assert explained.reason is not Reason.KNOWN_REWRITE
    assert "chain" in {c.text: c for c in explained.candidates}[MEANT].sources
    assert "predict" in asking.ask().stage_us
    asking.pipeline.close()


def test_a_layer_that_may_not_speak_is_silent(asking: Asking) -> None:
    assert asking.ask(layers=frozenset({Layer.GLOBAL})).reason is Reason.KNOWN_REWRITE
    own = asking.ask(layers=frozenset({Layer.PERSONAL}), explain=True)
    assert own.reason is not Reason.KNOWN_REWRITE and MEANT not in {c.text for c in own.candidates}


def test_whom_it_serves_as_said_is_left_to_the_ranker(asking: Asking) -> None:
    asking.record(HEARD, reading=Interpretation("music.song", (("song", "a song of that name"),)))
    asking.later()
    assert not asking.by_lookup() and asking.by_lookup("another")


def test_who_means_something_else_by_it_is_left_to_the_ranker(asking: Asking) -> None:
    for _ in range(2):
        asking.later()
        asking.record(HEARD)
        asking.now_ms += 10_000
        asking.record("put on encanto coast", reading=Interpretation("music.song", (("song", "encanto coast"),)))
    asking.later()
    assert not asking.by_lookup() and asking.by_lookup("another")


def test_who_went_the_same_way_before_is_served(asking: Asking) -> None:
    asking.record(HEARD)
    asking.now_ms += 10_000
    asking.record(MEANT, reading=BRUNO)
    asking.later()
    assert asking.by_lookup()


@pytest.mark.parametrize("just_said", [HEARD, MEANT])
def test_what_was_tried_just_now_is_not_tried_again_unasked(asking: Asking, just_said: str) -> None:
    asking.record(just_said, reading=BRUNO if just_said == MEANT else None, well=False)
    asking.now_ms += 10_000
    assert not asking.by_lookup()


def test_what_the_user_has_taught_goes_first(asking: Asking) -> None:
    asking.pipeline.people.teach(Lesson("zoe", None, (PreferenceKind.ALIAS, HEARD, "play jazz"), NOW))
    decision = asking.ask()
    assert (decision.text, decision.reason) == ("play jazz", Reason.TAUGHT)


def test_operators_have_the_last_word(bundle: Bundle, tmp_path: Path) -> None:
    book = RuleBook(tmp_path / "state")
    asking = Asking(bundle, tmp_path / "store", rules=book)
    assert asking.by_lookup()
    book.add(Rule(RuleKind.BLOCK, "", MEANT, "op", "test", NOW, 0))
    assert (asking.ask().text, asking.ask().reason) == (None, Reason.BLOCKED)
    asking.pipeline.close()


def test_who_is_held_out_is_told_apart(bundle: Bundle, tmp_path: Path) -> None:
    asking = Asking(bundle, tmp_path, hold_out=HoldOut(1.0, "salt"))
    decision = asking.ask()
    assert (decision.text, decision.reason, decision.arm) == (None, Reason.HOLD_OUT, Arm.HOLD_OUT)
    assert decision.withheld == MEANT
    asking.pipeline.close()


def test_one_that_does_harm_retires(asking: Asking) -> None:
    """Whoever is served it says no: after a few people it is served no longer, to those who never had it either."""
    assert asking.by_lookup()
    for n in range(6):
        asking.later()
        request = asking.request(f"user-{n}")
        decision = asking.pipeline.rewrite(request)
        if decision.reason is not Reason.KNOWN_REWRITE:
            break
        turn = Interaction(request, BRUNO, Outcome.OK)
        late = TurnFeedback(request.user_id, request.interaction_id, Feedback(True, Explicit.NO, 1.0), decision.text)
        asking.pipeline.record([turn], [late])
        asking.pipeline.experience.refresh()
    assert 3 <= n < 6, "after three people, and not much later"
    later = [asking.ask(f"newcomer-{n}") for n in range(20)]
    assert not any(d.reason is Reason.KNOWN_REWRITE and not d.trial for d in later)


def test_who_cannot_be_looked_at_is_not_served_blindly(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> None:
        raise StoreError("broken")

    for name in ("fetch", "user", "revision"):
        monkeypatch.setattr(asking.store, name, broken)
    decision = asking.ask()
    assert decision.reason is not Reason.KNOWN_REWRITE and "personal" in decision.skipped


def test_it_is_remembered_as_any_decision(asking: Asking) -> None:
    first, again = asking.ask(), asking.ask()
    assert "remembered" in again.stage_us and (again.text, again.reason) == (first.text, first.reason)


def test_two_users_never_meet_in_it(asking: Asking) -> None:
    """What one user alone went through stays theirs: it is no chain of anybody's."""
    for _ in range(4):
        asking.later()
        asking.record("play the sea cret of zoe")
        asking.now_ms += 10_000
        asking.record("play the secret of zoe", reading=Interpretation("music.song", (("song", "the secret"),)))
    asking.later()
    for user in ("ada", "another"):
        explained = asking.ask(user, "play the sea cret of zoe", explain=True)
        assert "play the secret of zoe" not in {explained.text, *(c.text for c in explained.candidates)}


def test_a_chain_can_be_drawn(bundle_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BundleError, match="nobody said 'play the sea cret'"):
        app(["inspect", str(bundle_dir), "--chain", "play the sea cret"], standalone_mode=False)
    app(["inspect", str(bundle_dir), "--chain", f"{HEARD.upper()}!"], standalone_mode=False)
    drawn = capsys.readouterr().out
    assert f"[1] {HEARD!r} (not understood)" in drawn and f"rewrite: {MEANT!r}" in drawn
    assert f"served by {MEANT!r} (music.song: encanto cast, we don't talk about bruno), 3 people" in drawn
