"""The loop through the real pipeline and store: a rewrite that does harm dies, a good one lives, nobody is counted
twice, and a user who is forgotten takes their experience along."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import until

from ranker.retirement import is_tried
from retriever.interaction import Context, Explicit, Feedback, Interaction, Interpretation, Outcome, Request
from retriever.normalise import normalise
from rewrite_service.arms import Arm, HoldOut
from rewrite_service.bundle import Bundle, encoder_of, open_bundle
from rewrite_service.decision import Decision, Reason
from rewrite_service.experience_feed import SPACE
from rewrite_service.pipeline import Pipeline
from rewrite_service.store.base import TurnFeedback, user_key
from rewrite_service.store.embedded import EmbeddedStore

HEARD, ASKED = "play we don't talk about brew no", "play we don't talk about bruno"
BRUNO = Interpretation("music.song", (("artist", "encanto cast"), ("song", "we don't talk about bruno")))
OTHER = Interpretation("music.song", (("artist", "brew no"), ("song", "we don't talk")))
NOW = 1_775_000_000_000
MINUTE_MS = 60_000
MOST_EXPOSURES = 5
"""Within so many a harmful pair dies, where users say no to it."""


@pytest.fixture(scope="module")
def bundle(bundle_dir: Path) -> Bundle:
    return open_bundle(bundle_dir, encoder_of(bundle_dir), 1 << 24)


class Loop:
    """A service and its users around one request."""

    def __init__(self, bundle: Bundle, place: Path, **given) -> None:
        self.store = EmbeddedStore(place)
        self.pipeline = Pipeline(bundle, self.store, decision_cache_bytes=1 << 20, **given)
        self.now_ms, self.turns = NOW, 0

    def request(self, user: str, query: str = HEARD) -> Request:
        self.turns += 1
        context = Context(has_screen=True, device_type="display")
        return Request(f"t{self.turns}", user, self.now_ms, query, asr_confidence=0.8, context=context)

    def ask(self, user: str, **more) -> Decision:
        return self.pipeline.rewrite(self.request(user), **more)

    def gets_it(self, user: str) -> bool:
        decision = self.ask(user)
        return decision.text == ASKED and not decision.trial

    def serve(self, user: str, *, well: bool) -> bool:
        """The user says it, is answered, and reacts; where it went wrong, says no and says it in full. Returns whether
        the rewrite was served."""
        self.now_ms += 60 * MINUTE_MS
        request = self.request(user)
        decision = self.pipeline.rewrite(request)
        answered = decision.text is not None
        self.record(request, decision.text, BRUNO if answered else None, well)
        if not well:
            self.now_ms += MINUTE_MS // 6
            self.record(self.request(user, f"{HEARD} by brew no"), None, OTHER, True)
        self.pipeline.experience.refresh()
        return decision.text == ASKED

    def record(self, request: Request, asked: str | None, reading: Interpretation | None, well: bool) -> None:
        turn = Interaction(request, reading, Outcome.OK if reading else Outcome.NO_MATCH)
        feedback = Feedback(dwell_s=200.0) if well else Feedback(True, Explicit.NO, 1.0)
        late = TurnFeedback(request.user_id, request.interaction_id, feedback, asked)
        for _ in range(2):  # as a client does that heard no answer
            self.pipeline.record([turn], [late])


@pytest.fixture
def loop(bundle: Bundle, tmp_path: Path) -> Iterator[Loop]:
    made = Loop(bundle, tmp_path)
    yield made
    made.pipeline.close()


def users() -> Callable[[], str]:
    names = (f"user-{n}" for n in range(10_000))
    return lambda: next(names)


def test_a_harmful_pair_dies_for_others_and_comes_back(loop: Loop) -> None:
    assert loop.gets_it("newcomer")
    user = users()
    exposures = 0
    while loop.gets_it("newcomer"):
        exposures += loop.serve(user(), well=False)
        assert exposures <= MOST_EXPOSURES
    decision = loop.ask("another", explain=True)
    assert (decision.text, decision.reason) == (None, Reason.RETIRED)
    found = {c.text: c for c in decision.candidates}
    assert found[ASKED].retired and found[ASKED].harm > 0.9
    assert 0 < decision.probability <= 1, "what the bundle thinks of it is told all the same"
    # Some requests try it all the same.
    heard = normalise(HEARD)
    tried = next(n for n in range(1000, 9999) if is_tried(f"t{n}\0{heard}\0{ASKED}", found[ASKED].harm))
    loop.turns = tried - 1
    decision = loop.ask("visitor")
    assert (decision.text, decision.trial) == (ASKED, True)
    # After half a year, what was fades beside what is.
    loop.now_ms += 180 * 24 * 60 * MINUTE_MS
    for n in range(3):
        request = loop.request(f"later-{n}")
        loop.record(request, ASKED, BRUNO, True)
    loop.pipeline.experience.refresh()
    assert loop.gets_it("newcomer")


def test_a_harmful_pair_dies_for_oneself_and_not_for_others(loop: Loop) -> None:
    exposures = 0
    while loop.gets_it("ann"):
        exposures += loop.serve("ann", well=False)
        assert exposures <= MOST_EXPOSURES
    for _ in range(20):
        loop.serve("ann", well=False)
        loop.now_ms += 60 * MINUTE_MS
        asked = loop.ask("ann")
        assert asked.trial or "bruno" not in (asked.text or ""), "nor does it come back in other words"
    assert not loop.gets_it("ann")
    alike = [c for c in loop.ask("ann", explain=True).candidates if c.text.endswith("we don't talk about bruno")]
    assert len(alike) > 1 and all(c.retired for c in alike), "it is told of all that means the same"
    assert loop.gets_it("bob"), "one user's turns count for others only together with other users'"


def test_a_good_pair_survives_users_who_react_at_random(loop: Loop) -> None:
    rng, user = random.Random(5), users()
    for _ in range(30):
        loop.serve(user(), well=rng.random() >= 0.2)
        assert loop.gets_it("newcomer")


def test_what_is_told_twice_counts_once(loop: Loop, bundle: Bundle, tmp_path: Path) -> None:
    for n in range(4):
        loop.serve(f"user-{n}", well=False)
    before = loop.pipeline.experience.now
    other = Pipeline(bundle, loop.store)  # another worker, who is told the same
    for user in (f"user-{n}" for n in range(4)):
        stored = loop.store.user(user)
        late = [TurnFeedback(user, i, Feedback(), text) for i, text in stored.rewrites.items()]
        for pipeline in (loop.pipeline, other):
            pipeline.record(stored.turns, late)
            pipeline.experience.refresh()
    after = loop.pipeline.experience.now
    assert before.pairs and set(before.pairs) == set(after.pairs)
    for key, shared in before.pairs.items():
        assert after.pairs[key].people == shared.people
        assert after.pairs[key].evidence.turns == pytest.approx(shared.evidence.turns)
        assert other.experience.now.pairs[key].evidence.turns == pytest.approx(shared.evidence.turns)


def test_a_user_who_is_forgotten_takes_their_experience_along(loop: Loop) -> None:
    while loop.gets_it("newcomer"):
        for n in range(3):
            loop.serve(f"user-{n}", well=False)
    loop.pipeline.people.forget("user-1")
    assert "user-1" not in loop.pipeline.experience.users()
    loop.now_ms += MINUTE_MS  # past the decisions that are remembered
    loop.pipeline.experience.refresh()
    assert set(loop.store.notes(SPACE)) == {user_key("user-0"), user_key("user-2")}
    assert loop.pipeline.experience.now.pairs == {}
    assert loop.gets_it("newcomer"), "two people are too few"


def test_what_hears_nothing_of_rewrites_keeps_no_notes(loop: Loop) -> None:
    for _ in range(5):
        loop.record(loop.request("ann", "play jazz"), None, OTHER, True)
    loop.pipeline.experience.refresh()
    assert loop.store.notes(SPACE) == {}


def test_who_is_held_out_gets_no_rewrite_and_speaks_for_leaving_alone(bundle: Bundle, tmp_path: Path) -> None:
    loop = Loop(bundle, tmp_path, hold_out=HoldOut(0.5, "salt"))
    arms = {f"user-{n}": HoldOut(0.5, "salt").arm(f"user-{n}") for n in range(12)}
    for user, arm in arms.items():
        for decision in (loop.ask(user), loop.ask(user), loop.ask(user, explain=True)):  # made, remembered, explained
            assert decision.arm is arm
            if arm is Arm.HOLD_OUT:
                assert (decision.text, decision.reason, decision.withheld) == (None, Reason.HOLD_OUT, ASKED)
                assert decision.probability > 0.5 and decision.win > 0.3
            else:
                assert (decision.text, decision.reason, decision.withheld) == (ASKED, Reason.CONFIDENT, None)
    served = [user for user, arm in arms.items() if arm is Arm.SERVED]
    held = [user for user, arm in arms.items() if arm is Arm.HOLD_OUT]
    loop.serve(served[0], well=True)
    loop.serve(held[0], well=False)
    assert set(loop.store.notes(SPACE)) == {user_key(served[0]), user_key(held[0])}
    loop.pipeline.close()


def test_the_thread_keeps_up_by_itself(bundle: Bundle, tmp_path: Path) -> None:
    loop = Loop(bundle, tmp_path, experience_every_s=0.02)
    refresh, loop.pipeline.experience.refresh = loop.pipeline.experience.refresh, lambda: None
    for n in range(8):
        loop.serve(f"user-{n}", well=False)

    def has_died() -> bool:
        loop.now_ms += MINUTE_MS
        return not loop.gets_it("newcomer")

    until(has_died)
    asked = loop.ask("another")
    assert asked.trial or asked.reason is Reason.RETIRED, "noted and read back, though nobody called for it"
    assert len(loop.store.notes(SPACE)) > 2
    loop.pipeline.experience.refresh = refresh
    loop.pipeline.close()
