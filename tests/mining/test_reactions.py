"""How users react tells whether an answer was right: learned where the log shows it, published strengths elsewhere."""

from __future__ import annotations

import random
import statistics
from dataclasses import asdict

import orjson
import pytest

from mining.defects import learn_reactions
from mining.reactions import PUBLISHED, After, Reactions, Signals, sureness
from retriever.interaction import Channel, Explicit, Feedback
from tests.turns import DAY_S, request, turn


def world(turns: int, seed: int = 0) -> list[tuple[bool, Signals]]:
    """(failed, what is seen): wrong answers are left within seconds, right ones after a minute."""
    rng, out = random.Random(seed), []
    for _ in range(turns):
        failed = rng.random() < 0.1
        barge_in = rng.random() < (0.5 if failed else 0.04)
        dwell = rng.expovariate(1 / (4 if failed else 60))
        after = After.REPAIRED if rng.random() < (0.4 if failed else 0.003) else After.OTHER
        out.append((failed, Signals.of(Feedback(barge_in, None, dwell), after)))
    return out


def _error(reactions: Reactions, seen: list[tuple[bool, Signals]]) -> float:
    """Mean squared error of the probabilities."""
    return sum((reactions.failed(s) - failed) ** 2 for failed, s in seen) / len(seen)


def test_what_a_log_shows_is_learned_without_being_told() -> None:
    fitted = Reactions.fit(s for _, s in world(6000))
    later = world(4000, seed=1)
    assert _error(fitted, later) < 0.9 * _error(PUBLISHED, later)
    silent = [(failed, s) for failed, s in later if s.after is After.OTHER and not s.barge_in]
    mean = lambda of: statistics.mean(fitted.failed(s) for failed, s in silent if failed is of)  # noqa: E731
    assert mean(True) > 2.5 * mean(False), "where nobody complained, leaving soon tells"


def test_probabilities_are_right_on_the_whole() -> None:
    fitted = Reactions.fit(s for _, s in world(6000))
    later = world(6000, seed=2)
    sure = [failed for failed, s in later if fitted.failed(s) > 0.8]
    fine = [failed for failed, s in later if fitted.failed(s) < 0.1]
    assert sum(sure) / len(sure) > 0.8 and sum(fine) / len(fine) < 0.1


def test_it_goes_on_until_nothing_moves_however_slowly_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where three answers in ten fail and few of them leave a plain sign, forty rounds are far from the end."""
    rng, seen = random.Random(0), []
    for _ in range(20_000):
        failed = rng.random() < 0.3
        barge_in, repaired = rng.random() < (0.5 if failed else 0.04), rng.random() < (0.15 if failed else 0.02)
        dwell = rng.expovariate(1 / (10 if failed else 40))
        seen.append(Signals.of(Feedback(barge_in, None, dwell), After.REPAIRED if repaired else After.OTHER))
    found = Reactions.fit(seen).after
    monkeypatch.setattr("mining.reactions._CONVERGED", 1e-9)
    assert found == pytest.approx(Reactions.fit(seen).after, abs=0.02)
    monkeypatch.setattr("mining.reactions._ROUNDS", 40)
    assert found != pytest.approx(Reactions.fit(seen).after, abs=0.1)


def test_a_short_log_stays_with_the_published_strengths() -> None:
    few = Reactions.fit(s for _, s in world(5))
    for _, s in world(50, seed=3):
        assert few.failed(s) == pytest.approx(PUBLISHED.failed(s), abs=0.12)


def test_an_unknown_dwell_says_nothing() -> None:
    assert PUBLISHED.failed(Signals.of(Feedback())) == pytest.approx(PUBLISHED.failed(Signals.of(Feedback(dwell_s=3))))
    fitted = Reactions.fit(s for _, s in world(6000))
    short, unknown, long = (fitted.failed(Signals.of(Feedback(dwell_s=d))) for d in (1.0, None, 60.0))
    assert long < unknown < short


def test_the_order_of_the_published_strengths() -> None:
    by = lambda after=After.OTHER, **seen: PUBLISHED.failed(Signals.of(Feedback(**seen), after))  # noqa: E731
    assert by(After.REPAIRED) > 0.5 and by(explicit=Explicit.NO) > 0.5
    assert by(explicit=Explicit.YES) < by() < by(barge_in=True) < 0.5 < by(After.REPEATED, barge_in=True)


def weather_world(turns: int, seed: int = 0) -> list[tuple[bool, Signals]]:
    """Answers on the weather fail often, most of all where the recogniser was unsure; other answers hardly ever."""
    rng, out = random.Random(seed), []
    for _ in range(turns):
        intent, sure = rng.choice([("Weather", 3), ("Weather", 8), ("Light", 3), ("Light", 8)])
        failed = rng.random() < {("Weather", 3): 0.5, ("Weather", 8): 0.2}.get((intent, sure), 0.02)
        feedback = Feedback(rng.random() < (0.4 if failed else 0.04), None, rng.expovariate(1 / (4 if failed else 60)))
        out.append((failed, Signals.of(feedback, After.OTHER, intent, sure)))
    return out


def test_what_fails_often_is_expected_to() -> None:
    fitted = Reactions.fit(s for _, s in weather_world(6000))
    assert fitted.expects("Weather", 3) > 1.5 * fitted.expects("Weather", 8) > 2 * fitted.expects("Light", 8)
    later = weather_world(4000, seed=1)
    blind = [(failed, Signals(s.barge_in, s.dwell, s.explicit, s.after)) for failed, s in later]
    assert _error(fitted, later) < 0.9 * _error(fitted, blind), "the same reactions, not knowing to what"


def test_an_intent_seen_seldom_has_no_share_of_its_own() -> None:
    seen = [s for _, s in weather_world(2000)] + [Signals.of(Feedback(True), After.REPAIRED, "Rare", 3)] * 5
    fitted = Reactions.fit(seen)
    assert "Rare" not in fitted.expected and fitted.expects("Rare", 3) == fitted.expects("", 3)
    assert set(fitted.expected) == {"", "Weather", "Light"}


def test_more_that_is_known_beforehand_goes_before() -> None:
    seen = Signals.of(Feedback())
    assert PUBLISHED.failed(seen, 0.9) > 0.6 > 0.1 > PUBLISHED.failed(seen, 0.05)
    assert 0 < PUBLISHED.failed(seen, 0.0) < PUBLISHED.failed(seen, 1.0) < 1


@pytest.mark.parametrize(
    ("fields", "bin_"),
    [
        ({"asr_confidence": 0.0}, 0),
        ({"asr_confidence": 0.34}, 3),
        ({"asr_confidence": 1.0}, 10),
        ({"asr_confidence": None}, 12),
        ({"asr_confidence": 0.34, "channel": Channel.APP}, 11),
    ],
)
def test_how_sure_the_recogniser_was(fields: dict, bin_: int) -> None:
    assert sureness(request("play go", **fields)) == bin_


def test_kept_as_a_record() -> None:
    fitted = Reactions.fit(s for _, s in world(500))
    assert Reactions.of_record(orjson.loads(orjson.dumps(asdict(fitted)))) == fitted
    with pytest.raises(ValueError, match="reactions"):
        Reactions.of_record(asdict(fitted) | {"reaction": [[0.0], [0.0]]})
    with pytest.raises(ValueError, match="expected"):
        Reactions.of_record(asdict(fitted) | {"expected": {"": [0.0]}})
    with pytest.raises(ValueError, match="expected"):
        Reactions.of_record(asdict(fitted) | {"expected": {}})


def test_learned_from_turns_that_got_an_answer() -> None:
    turns = [
        turn("play go", i * DAY_S, "Play" if i % 2 else None, dwell_s=1.0 if i % 2 else 99.0) for i in range(400)
    ]
    assert learn_reactions([turns]) == learn_reactions([turns[1::2]]) != PUBLISHED
