"""Thresholds, margins and calibration: the fast choice against a slow twin, and what a probability promises."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranker.calibration import Calibration
from ranker.model import NEEDLESS, WIN
from ranker.policy import LEAST_WINS, MARGINS, Policy, Trial, Verdict, choose, expected_harms, helps, judge, tally
from retriever.candidates import Candidate
from retriever.evidence import TextEvidence
from retriever.interaction import Interpretation

sixteenths = st.integers(0, 16).map(lambda n: n / 16)  # sums of these are exact
verdicts = st.builds(Verdict, st.sampled_from([None, 1, 1, 1]), sixteenths, sixteenths, sixteenths, sixteenths)


@st.composite
def trials(draw: st.DrawFn) -> Trial:
    """A trial whose outcome is known, or, where the wish is not, shared between win and missed."""
    verdict = draw(verdicts)
    if verdict.best is None:
        return Trial(verdict, 0, 0, 0, 0)
    if draw(st.booleans()):
        share = draw(sixteenths)
        return Trial(verdict, share, 0, 1 - share, 0)
    known = draw(st.permutations([1.0, 0.0, 0.0, 0.0]))
    return Trial(verdict, *known)


def allowed(taken: Sequence[Trial], requests: int, wins_per_harm: float, max_needless: float) -> bool:
    seen = sum(t.loss + t.missed for t in taken)
    foretold = sum((1 - t.verdict.probability) * (1 - t.needless) for t in taken)
    harms, deviation = expected_harms(np.array(seen), np.array(foretold))
    wins = sum(t.win for t in taken)
    expected = wins + seen - harms >= wins_per_harm * (harms + deviation)
    needless = sum(t.needless for t in taken)
    return bool(expected and wins >= wins_per_harm * seen and needless <= max_needless * requests)


def every_policy(cases: Sequence[Trial]) -> Iterator[Policy]:
    """All that differ on these trials: a threshold at each probability met, with each of the other bounds."""
    for threshold in {t.verdict.probability for t in cases}:
        for least_win, margin in product(LEAST_WINS, MARGINS):
            yield Policy(threshold, least_win, margin)


@settings(max_examples=300)
@given(
    cases=st.lists(trials(), max_size=30),
    wins_per_harm=st.sampled_from([0.5, 1.0, 2.0, 5.0]),
    max_needless=st.sampled_from([0.0, 0.03, 0.25, 1.0]),
)
def test_the_choice_is_the_best_of_all_allowed_policies(
    cases: list[Trial], wins_per_harm: float, max_needless: float
) -> None:
    chosen = choose(cases, 10.0, Calibration(), wins_per_harm, max_needless)

    def taken(policy: Policy) -> list[Trial]:
        return [t for t in cases if policy.accepts(t.verdict)]

    def gain(policy: Policy) -> float:
        return sum(t.win - t.loss for t in taken(policy))

    if taken(chosen):
        assert allowed(taken(chosen), len(cases), wins_per_harm, max_needless)
        assert gain(chosen) > 0
    tried = (p for p in every_policy(cases) if allowed(taken(p), len(cases), wins_per_harm, max_needless))
    assert gain(chosen) >= max(map(gain, tried), default=0.0)


def certain(probability: float, outcome: str, runner_up: float = 0.0, win: float | None = None) -> Trial:
    shares = dict.fromkeys(("win", "loss", "missed", "needless"), 0.0) | {outcome: 1.0}
    return Trial(Verdict(1, probability, probability if win is None else win, runner_up, 0.0), **shares)


@pytest.mark.parametrize("outcome", ["loss", "missed", "needless"])
def test_where_nothing_is_good_enough_nothing_is_rewritten(outcome: str) -> None:
    bad = [certain(p / 20, outcome) for p in range(21)] + [certain(0.5, "win")]
    chosen = choose(bad, 5.0, Calibration(), wins_per_harm=10, max_needless=0.01)
    assert tally(bad, 5.0, chosen).rewrites == 0
    assert not chosen.accepts(Verdict(1, 1.0, 1.0, 0.0, 0.0)), "not even what is certain"
    assert not choose([], 0.0, Calibration(), 10, 0.03).accepts(Verdict(1, 1.0, 1.0, 0.0, 0.0))


def test_too_many_needless_rewrites_raise_the_threshold() -> None:
    cases = [certain(0.9, "win") for _ in range(50)] + [certain(0.6, "needless") for _ in range(5)]
    cases += [certain(0.6, "win") for _ in range(5)]
    assert choose(cases, 60, Calibration(), 5, max_needless=0.5).threshold < 0.6
    assert 0.6 < choose(cases, 60, Calibration(), 5, max_needless=0.05).threshold <= 0.9


def test_what_is_mostly_needless_is_left_out_where_there_is_too_much_of_it() -> None:
    cases = [certain(0.9, "win", win=0.6) for _ in range(50)] + [certain(0.95, "needless", win=0.08) for _ in range(9)]
    cases += [certain(0.95, "win", win=0.08)]
    assert tally(cases, 60, choose(cases, 60, Calibration(), 5, max_needless=0.5)).wins == 51
    strict = tally(cases, 60, choose(cases, 60, Calibration(), 5, max_needless=0.03))
    assert (strict.wins, strict.needless) == (50, 0)


def test_a_margin_is_chosen_where_it_tells_wins_from_losses() -> None:
    """Where there is enough to see that they differ: the probability says of all alike that half of them win."""
    cases = [certain(0.5, "win", win=0.8, runner_up=0.1) for _ in range(4000)]
    cases += [certain(0.5, "loss", win=0.8, runner_up=0.7) for _ in range(4000)]
    chosen = choose(cases, 4000, Calibration(), wins_per_harm=10, max_needless=0.03)
    done = tally(cases, 4000, chosen)
    assert (done.wins, done.losses, done.rewrites) == (4000, 0, 4000)
    assert done.reduction == 1.0 and done.ratio == 4000


def test_where_few_harms_are_seen_the_calibration_speaks_and_where_many_are_the_log() -> None:
    def taken(probability: float, wins: int, harms: int) -> int:
        cases = [certain(probability, "win") for _ in range(wins)]
        cases += [certain(probability, "missed") for _ in range(harms)]
        return tally(cases, 1.5 * len(cases), choose(cases, 1.5 * len(cases), Calibration(), 20, 0.03)).rewrites

    assert taken(0.8, 19, 0) == 0, "none was seen, and four are to be expected"
    assert taken(0.99, 9, 0) == 9, "a small log of sure rewrites is no reason to leave them all"
    assert taken(0.99, 9, 4) == 0 and taken(0.99, 900, 90) == 0, "what was foretold is not all"
    assert taken(0.9, 4000, 20) == 4020, "nor what was foretold wrongly of many"


@given(seen=st.floats(0, 1e4), foretold=st.floats(0, 1e4))
def test_expected_harms_lie_between_what_was_seen_and_what_was_foretold(seen: float, foretold: float) -> None:
    harms, deviation = map(float, expected_harms(np.array(seen), np.array(foretold)))
    assert min(seen, foretold) - 1e-6 <= harms <= max(seen, foretold) + 1e-6
    assert 0 <= deviation <= (seen + foretold) ** 0.5 + 1e-6


def test_the_more_harms_there_are_the_nearer_to_what_was_seen() -> None:
    times = np.array([0.1, 1.0, 10.0, 100.0, 1000.0])
    harms, deviation = expected_harms(times, 2 * times)
    assert (np.diff(harms / times) < 0).all() and (np.diff(deviation / times) < 0).all()
    assert harms[0] / times[0] > 1.75 and harms[-1] / times[-1] < 1.1


def test_too_few_wins_to_show_anything_are_left() -> None:
    cases = [certain(0.99, "win") for _ in range(9)]
    assert tally(cases, 9, choose(cases, 9, Calibration(), 5, 0.03, fewest_wins=9)).rewrites == 9
    assert tally(cases, 9, choose(cases, 9, Calibration(), 5, 0.03, fewest_wins=10)).rewrites == 0


def test_a_policy_keeps_its_calibration() -> None:
    calibration = Calibration((0.0, 0.5, 1.0), (0.0, 0.2, 0.9))
    assert choose([certain(0.9, "win") for _ in range(20)], 20, calibration, 10, 0.03).calibration == calibration
    assert choose([], 20, calibration, 10, 0.03).calibration == calibration


def test_bounds_may_be_reached() -> None:
    policy = Policy(threshold=0.5, least_win=0.25, margin=0.125)
    assert policy.accepts(Verdict(1, 0.5, 0.25, 0.125, 0.9))
    assert not policy.accepts(Verdict(1, 0.4, 0.25, 0.125, 0.0))
    assert not policy.accepts(Verdict(1, 0.5, 0.24, 0.0, 0.0))
    assert not policy.accepts(Verdict(1, 0.5, 0.25, 0.2, 0.0))
    assert not policy.accepts(Verdict(None, 1.0, 1.0, 0.0, 0.0))


SONG, FILM = Interpretation("Song", (("song", "go"),)), Interpretation("Film", (("film", "go"),))


def judged(*rivals: tuple[str, Interpretation | None, float], leave: float = 0.0) -> Verdict:
    """The verdict on rewrites with these texts, readings and win scores."""
    candidates = [Candidate("play ago", is_query=True), *(Candidate(t, reading=r) for t, r, _ in rivals)]
    outcome = np.zeros((len(candidates), 3))
    outcome[0, NEEDLESS] = leave
    outcome[1:, WIN] = [score for _, _, score in rivals]
    return judge(candidates, outcome, Calibration())


def test_only_rivals_of_another_meaning_narrow_the_margin() -> None:
    alike = judged(("watch go", FILM, 0.8), ("watch the movie go", FILM, 0.75), ("play go", SONG, 0.3))
    assert (alike.best, alike.win, alike.runner_up) == (1, 0.8, 0.3)
    assert alike.margin == pytest.approx(0.5)
    other = judged(("watch go", FILM, 0.8), ("play go", SONG, 0.75))
    assert other.margin == pytest.approx(0.05)


def test_what_nobody_can_read_is_a_rival_of_everything() -> None:
    assert judged(("play go", None, 0.8), ("play gold", None, 0.7)).runner_up == 0.7
    assert judged(("play go", SONG, 0.8), ("play gold", None, 0.7)).runner_up == 0.7


HERS = TextEvidence("watch the movie go", attempts=3, successes=2, success_ms=[1, 2])
HERS_IN_VAIN = TextEvidence("watch the movie go", attempts=3, successes=0.1)


@pytest.mark.parametrize(
    ("hers", "reading", "win", "best"),
    [
        (HERS, FILM, 0.78, "watch the movie go"),
        (HERS, FILM, 0.6, "play go"),  # not nearly as good
        (HERS, SONG, 0.78, "play go"),  # not the same
        (HERS, None, 0.78, "play go"),
        (HERS_IN_VAIN, FILM, 0.78, "play go"),
        (None, FILM, 0.78, "play go"),
    ],
)
def test_of_texts_as_good_the_one_that_has_worked_is_asked(
    hers: TextEvidence | None, reading: Interpretation | None, win: float, best: str
) -> None:
    candidates = [
        Candidate("play ago", is_query=True),
        Candidate("play go", reading=FILM),
        Candidate("watch the movie go", reading=reading, personal=hers),
    ]
    outcome = np.array([[1.0, 0.0, 0.0], [0.2, 0.0, 0.8], [1 - win, 0.0, win]])
    verdict = judge(candidates, outcome, Calibration())
    assert verdict.best is not None
    assert candidates[verdict.best].text == best
    assert verdict.win == outcome[verdict.best, WIN]


@pytest.mark.parametrize(
    ("win", "wrong", "runner_up", "score"),
    [(0.9, 0.1, 0.0, 0.9), (0.1, 0.1, 0.0, 0.5), (0.0, 0.0, 0.9, 0.0), (0.5, 0.5, 0.0, 0.5), (0.8, 0.0, 0.4, 0.8)],
)
def test_what_changes_nothing_neither_helps_nor_harms(win: float, wrong: float, runner_up: float, score: float) -> None:
    assert helps(win, wrong, runner_up) == pytest.approx(score)


def test_what_another_meaning_may_win_counts_against_the_best() -> None:
    alone = judged(("watch go", FILM, 0.8))
    alike = judged(("watch go", FILM, 0.8), ("watch the movie go", FILM, 0.7))
    torn = judged(("watch go", FILM, 0.8), ("play go", SONG, 0.7))
    assert torn.probability < alike.probability == alone.probability


def test_without_a_rewrite_there_is_no_best() -> None:
    verdict = judged(leave=0.4)
    assert (verdict.best, verdict.probability, verdict.leave) == (None, 0.0, 0.4)
    assert not Policy(threshold=0.0, least_win=0.0).accepts(verdict)


def test_the_win_score_of_the_query_itself_never_counts() -> None:
    outcome = np.array([[0.0, 0.1, 0.9], [0.6, 0.2, 0.2]])
    verdict = judge([Candidate("a", is_query=True), Candidate("b")], outcome, Calibration())
    assert (verdict.best, verdict.probability, verdict.win, verdict.runner_up) == (1, pytest.approx(0.25), 0.2, 0.0)


def test_a_probability_is_calibrated() -> None:
    halved = Calibration((0.0, 1.0), (0.0, 0.5))
    outcome = np.array([[0.0, 0.0, 0.0], [0.2, 0.0, 0.8]])
    verdict = judge([Candidate("q", is_query=True), Candidate("c")], outcome, halved)
    assert verdict.probability == pytest.approx(0.4)


scores = st.floats(0, 1, allow_subnormal=False)
cases_to_fit = st.lists(st.tuples(scores, st.booleans(), st.floats(0.25, 4)), min_size=50, max_size=120)


@settings(max_examples=80)
@given(cases=cases_to_fit, asked=st.lists(scores, min_size=2, max_size=40))
def test_calibrated_values_are_probabilities_and_keep_the_order(
    cases: list[tuple[float, bool, float]], asked: list[float]
) -> None:
    fitted = Calibration.fit(*(np.array(column, dtype=float) for column in zip(*cases, strict=True)))
    p = fitted.apply(np.sort(np.array(asked)))
    assert ((p >= 0) & (p <= 1)).all()
    assert (np.diff(p) >= 0).all()
    assert fitted.apply(asked[0]) == pytest.approx(float(fitted.apply(np.array(asked[:1]))[0]))


def test_known_frequencies_are_recovered() -> None:
    rng = np.random.default_rng(11)
    score = rng.random(20_000)
    won = rng.random(20_000) < score**2
    fitted = Calibration.fit(score, won.astype(float), np.ones(20_000))
    for at in np.linspace(0.05, 0.95, 19):
        assert float(fitted.apply(at)) == pytest.approx(at**2, abs=0.06)


def test_a_weight_is_as_many_cases() -> None:
    score = np.full(100, 0.5)
    won = np.array([1.0] * 50 + [0.0] * 50)
    weight = np.array([9.0] * 50 + [1.0] * 50)
    assert float(Calibration.fit(score, won, weight).apply(0.5)) == pytest.approx(0.9, abs=0.02)


def test_few_or_one_sided_cases_change_nothing() -> None:
    few = np.linspace(0, 1, 49)
    assert Calibration.fit(few, (few > 0.5).astype(float), np.ones(49)) == Calibration()
    many = np.linspace(0, 1, 500)
    for all_alike in (np.zeros(500), np.ones(500)):
        assert Calibration.fit(many, all_alike, np.ones(500)) == Calibration()
    assert np.array_equal(Calibration().apply(many), many)


def test_a_calibration_survives_json_to_the_last_bit() -> None:
    rng = np.random.default_rng(12)
    score = rng.random(300)
    fitted = Calibration.fit(score, (rng.random(300) < score).astype(float), np.ones(300))
    assert len(fitted.scores) > 4
    read = orjson.loads(orjson.dumps({"s": fitted.scores, "p": fitted.probabilities}))
    assert Calibration(tuple(read["s"]), tuple(read["p"])) == fitted
