"""The feature vector: what it may depend on and what not, its ranges, and its documentation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ranker.feature_input import FeatureInput, NameInFrame
from ranker.feature_names import CANDIDATE_FEATURES, NAMES, QUERY_FEATURES
from ranker.features import features
from retriever.encoder import Encoder
from retriever.interaction import Channel, Context, Interaction, Request
from retriever.vector_cache import CachedEncoder
from rewrite_service.assemble import Knowledge, assemble
from rewrite_service.examples import learn_knowledge
from tests.ranker.slow_features import features as slow_features
from tests.turns import DAY_S, request, turn

NOW_S = 20 * DAY_S
SPOKEN = {
    "play go": ("Song", {"song": "go"}),
    "watch the movie go": ("Video", {"film": "go"}),
    "play we don't talk anymore": ("Song", {"song": "we don't talk anymore"}),
    "play we don't talk about bruno": ("Song", {"song": "we don't talk about bruno"}),
    "what's the weather in wilkerson": ("Weather", {"place": "wilkerson", "state": "washington"}),
    "what's the weather in wilkerson california": ("Weather", {"place": "wilkerson", "state": "california"}),
    "turn on the kitchen light": ("Switch", {"action": "on", "device": "light", "room": "kitchen"}),
    "turn off the kitchen light": ("Switch", {"action": "off", "device": "light", "room": "kitchen"}),
    "call mom": ("Call", {"contact": "mom"}),
}
IN_THE_KITCHEN = Context(room="kitchen", city="Wilkerson", state="California", has_screen=True)
MISHEARD = ("play ago", "play brew no", "whats the weather in wilkinson", "turn it off", "call tom")
LEADS = {
    "likeness_lead": "likeness",
    "sound_lead": "likeness_sound",
    "meaning_lead": "cosine_meaning",
    "success_lead": "own_successes_of",
}
COST_LEADS = {"heard_lead": "heard_cost", "heard_values_lead": "heard_values_cost"}
AMONG_OTHERS = {*LEADS, *COST_LEADS, "candidates", "shared_repair_share", "heard_share"}
"""Columns that compare a candidate with the others; all the rest look at one candidate alone."""

few = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
queries = st.sampled_from([*SPOKEN, *MISHEARD, "play", "ärger mit ümlauten", "7 7 7"])
day = st.integers(0, 18)
said = st.tuples(st.sampled_from([*SPOKEN, *MISHEARD]), day, st.booleans())


def turns_of(user: str, told: Sequence[tuple[str, int, bool]]) -> list[Interaction]:
    """A user's turns, in time order, each hours away from the next; what is misheard is not understood."""
    made = []
    for i, (text, at_day, screen) in enumerate(sorted(told, key=lambda t: t[1])):
        intent, slots = SPOKEN.get(text, (None, None))
        at = at_day * DAY_S + i * 3600
        made.append(turn(text, at, intent, user, slots=slots, id=f"{user}-{i}", screen=screen))
    return sorted(made, key=lambda t: t.request.timestamp_ms)


def repair(user: str, at_s: float, heard: str, meant: str) -> list[Interaction]:
    intent, slots = SPOKEN[meant]
    return [turn(heard, at_s, user=user), turn(meant, at_s + 15, intent, user, slots=slots)]


def switch_on(user: str, at_s: float) -> list[Interaction]:
    intent, slots = SPOKEN["turn on the kitchen light"]
    return [turn("turn on the kitchen light", at_s, intent, user, slots=slots)]


def others() -> dict[str, list[Interaction]]:
    """Three people whose words are everybody's."""
    everything = [(text, i, i % 2 == 0) for i, text in enumerate(SPOKEN)]
    people = {user: turns_of(user, everything) for user in ("bob", "cat", "dan")}
    for user in ("bob", "cat"):
        people[user] += repair(user, 19 * DAY_S, "play ago", "play go")
        people[user] += repair(user, 19 * DAY_S + 7200, "play brew no", "play we don't talk about bruno")
        people[user] += switch_on(user, 19 * DAY_S + 14_400)
        people[user] += repair(user, 19 * DAY_S + 14_420, "turn it off", "turn off the kitchen light")
    return people


@pytest.fixture(scope="module")
def meaning() -> CachedEncoder:
    return CachedEncoder(Encoder(), Encoder.DIMENSION, 64 << 20)


@pytest.fixture(scope="module")
def knowledge(meaning: CachedEncoder) -> Knowledge:
    return learn_knowledge(others(), meaning, 2)


def own_past() -> list[Interaction]:
    past = turns_of("ann", [("play we don't talk anymore", d, True) for d in range(6)] + [("call mom", 3, False)])
    return past + repair("ann", 19 * DAY_S + 100, "play ago", "play go")


def put_together(
    knowledge: Knowledge,
    query: str,
    past: Sequence[Interaction] = (),
    *,
    personal: bool = True,
    shared: bool = True,
    **fields: object,
) -> FeatureInput:
    """What the ranker gets for `query`, as the service puts it together."""
    fields = {"at_s": NOW_S, "id": "now"} | fields
    asked: Request = request(query, **fields)  # type: ignore[arg-type]
    made = assemble(
        asked,
        list(past)[-8:],
        knowledge.personal_layer(past) if personal else None,
        knowledge,
        use_shared=shared,
    )
    assert made is not None
    return made


def same(a: np.ndarray, b: np.ndarray) -> bool:
    """Bit for bit, unknown values included."""
    return a.shape == b.shape and np.array_equal(a, b, equal_nan=True)


def column(x: np.ndarray, name: str) -> np.ndarray:
    return x[:, NAMES.index(name)]


def test_names_are_unique_and_documented() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert tuple(name for name, _ in QUERY_FEATURES + CANDIDATE_FEATURES) == NAMES
    for name, meant in QUERY_FEATURES + CANDIDATE_FEATURES:
        assert name.isidentifier() and name == name.lower()
        assert meant.strip(), f"{name} is not documented"


def test_one_row_a_candidate_one_column_a_name(knowledge: Knowledge) -> None:
    x = put_together(knowledge, "play ago", own_past())
    assert len(x.candidates) > 3
    assert features(x).shape == (len(x.candidates), len(NAMES))
    assert features(x).dtype == np.float32


@few
@given(
    query=queries,
    told=st.lists(said, max_size=8),
    heard=st.lists(queries, max_size=2),
    personal=st.booleans(),
    shared=st.booleans(),
)
def test_the_features_are_those_of_the_slow_twin(
    knowledge: Knowledge,
    query: str,
    told: list[tuple[str, int, bool]],
    heard: list[str],
    personal: bool,
    shared: bool,
) -> None:
    past = [*own_past(), *turns_of("ann", told)]
    x = put_together(
        knowledge, query, past, personal=personal, shared=shared, alternatives=tuple(heard), context=IN_THE_KITCHEN
    )
    ours, slow = features(x), slow_features(x)
    differ = {
        (c.text, name): (a[i], b[i])
        for c, a, b in zip(x.candidates, ours, slow, strict=True)
        for i, name in enumerate(NAMES)
        if not same(a[i : i + 1], b[i : i + 1])
    }
    assert not differ


@few
@given(query=queries, told=st.lists(said, max_size=8), heard=st.lists(queries, max_size=2))
def test_a_batch_is_its_rows_one_by_one(
    knowledge: Knowledge, query: str, told: list[tuple[str, int, bool]], heard: list[str]
) -> None:
    x = put_together(knowledge, query, turns_of("ann", told), alternatives=tuple(heard))
    batch = features(x)
    alone = [i for i, name in enumerate(NAMES) if name not in AMONG_OTHERS]
    leave = x.candidates[0]
    for row, candidate in zip(batch, x.candidates, strict=True):
        candidates = [leave] if candidate is leave else [leave, candidate]
        single = features(replace(x, candidates=candidates))[-1]
        differ = [NAMES[i] for i in alone if not same(row[i : i + 1], single[i : i + 1])]
        assert not differ, f"{candidate.text!r} is seen otherwise among others: {differ}"


@few
@given(query=queries, data=st.data())
def test_the_order_of_the_candidates_means_nothing(knowledge: Knowledge, query: str, data: st.DataObject) -> None:
    x = put_together(knowledge, query, own_past())
    order = [0, *data.draw(st.permutations(range(1, len(x.candidates))))]
    shuffled = features(replace(x, candidates=[x.candidates[i] for i in order]))
    np.testing.assert_allclose(shuffled, features(x)[order], rtol=1e-6)


@few
@given(query=queries, told=st.lists(said, max_size=8))
def test_a_lead_is_the_distance_to_the_best_other(
    knowledge: Knowledge, query: str, told: list[tuple[str, int, bool]]
) -> None:
    x = features(put_together(knowledge, query, turns_of("ann", told)))
    for lead, of in LEADS.items():
        leads, values = column(x, lead), np.nan_to_num(column(x, of))
        assert np.isnan(leads[0]), "leaving the query alone stands outside the contest"
        for i in range(1, len(x)):
            rivals = [float(values[j]) for j in range(1, len(x)) if j != i]
            assert leads[i] == pytest.approx(values[i] - max(rivals, default=0.0), abs=1e-6)
    for lead, of in COST_LEADS.items():
        leads, costs = column(x, lead), np.nan_to_num(column(x, of), nan=5.0)
        for i in range(1, len(x)):
            rivals = [float(costs[j]) for j in range(1, len(x)) if j != i]
            assert leads[i] == pytest.approx(min(rivals, default=0.0) - costs[i], abs=1e-5)


@few
@given(query=queries, one=st.lists(said, max_size=8), other=st.lists(said, max_size=8))
def test_without_the_personal_layer_the_past_leaves_no_trace(
    knowledge: Knowledge, query: str, one: list[tuple[str, int, bool]], other: list[tuple[str, int, bool]]
) -> None:
    a, b = (put_together(knowledge, query, turns_of("ann", told), personal=False) for told in (one, other))
    assert [c.text for c in a.candidates] == [c.text for c in b.candidates]
    assert same(features(a), features(b))


def test_without_the_personal_layer_the_situation_still_counts(knowledge: Knowledge) -> None:
    just_before = [turn("turn on the kitchen light", NOW_S - 20, *("Switch", "ann"), slots={"device": "light"})]
    quiet = features(put_together(knowledge, "turn it off", personal=False))
    after = features(put_together(knowledge, "turn it off", just_before, personal=False))
    assert np.isnan(column(quiet, "previous_gap")).all()
    assert (column(after, "previous_gap") == 20).all()


def test_a_personal_layer_turned_off_is_not_the_same_as_nothing_known(knowledge: Knowledge) -> None:
    on = features(put_together(knowledge, "play ago", own_past()))
    empty = features(put_together(knowledge, "play ago", []))
    off = features(put_together(knowledge, "play ago", own_past(), personal=False))
    assert (column(on, "own_successes") > 0).all() and (column(on, "own_repair_of") > 0).any()
    assert (column(empty, "own_successes") == 0).all()
    for name in NAMES:
        if name.startswith(("own_", "query_own_")):
            assert np.isnan(column(off, name)).all(), name
    assert (column(off, "is_personal") == 0).all() and (column(on, "is_personal") == 1).any()


@few
@given(query=queries, told=st.lists(said, min_size=1, max_size=8), elsewhere=st.lists(said, max_size=8))
def test_without_the_shared_layer_nobody_elses_log_leaves_a_trace(
    knowledge: Knowledge,
    meaning: CachedEncoder,
    query: str,
    told: list[tuple[str, int, bool]],
    elsewhere: list[tuple[str, int, bool]],
) -> None:
    """How texts are compared by sound, and what reactions mean, is learned from the log as a whole (it is part of the
    trained model), so that much is kept equal here."""
    strangers = {user: turns_of(user, elsewhere) for user in ("eve", "fay")}
    otherwise = replace(
        learn_knowledge(strangers, meaning, 2),
        sound=knowledge.sound,
        hearing=knowledge.hearing,
        reactions=knowledge.reactions,
    )
    past = turns_of("ann", told)
    a, b = (put_together(k, query, past, shared=False) for k in (knowledge, otherwise))
    assert [c.text for c in a.candidates] == [c.text for c in b.candidates]
    assert {c.text for c in a.candidates[1:]} <= {t.request.query for t in past}
    assert same(features(a), features(b))


def test_the_shared_layer_is_seen_where_it_is_on(knowledge: Knowledge) -> None:
    on = features(put_together(knowledge, "play ago", own_past()))
    off = features(put_together(knowledge, "play ago", own_past(), shared=False))
    assert (column(on, "is_global") == 1).any() and (column(on, "shared_repair_of") > 0).any()
    assert (column(off, "is_global") == 0).all() and (column(off, "shared_repair_of") == 0).all()
    assert np.isnan(column(off, "query_attempts")).all() and (column(on, "query_attempts") > 0).all()


def test_without_the_shared_layer_nothing_is_made_by_rules_of_others(knowledge: Knowledge) -> None:
    just_before = switch_on("ann", NOW_S - 20)
    on, off = (put_together(knowledge, "turn it off", just_before, shared=shared) for shared in (True, False))
    assert [c.text for c in on.candidates if c.completion] == ["turn off the kitchen light"]
    assert [c.text for c in off.candidates] == ["turn it off", "turn on the kitchen light"]


@few
@given(
    query=st.one_of(queries, st.text("abc d'é7", min_size=1, max_size=40)),
    told=st.lists(said, max_size=6),
    heard=st.lists(st.text("abc d'", max_size=20), max_size=3),
    confidence=st.one_of(st.none(), st.floats(0, 1)),
    channel=st.sampled_from(Channel),
)
def test_values_stay_in_their_ranges(
    knowledge: Knowledge,
    query: str,
    told: list[tuple[str, int, bool]],
    heard: list[str],
    confidence: float | None,
    channel: Channel,
) -> None:
    asked = request(
        query, NOW_S, alternatives=tuple(heard), asr_confidence=confidence, channel=channel, context=Context(room="den")
    )
    past = turns_of("ann", told)
    made = assemble(asked, past[-8:], knowledge.personal_layer(past), knowledge)
    if made is None:
        return
    x = features(made)
    assert not np.isinf(x).any()
    for name in NAMES:
        values = column(x, name)
        known = values[~np.isnan(values)]
        if name in LEADS:
            continue
        if name.startswith("is_") or name.endswith("_same") or name in ("same_reading", "reading_known"):
            assert set(known.tolist()) <= {0.0, 1.0} and len(known) == len(values), name
        elif "likeness" in name or name.endswith(("_rate", "_rate_of", "_share_of", "_confidence")):
            assert ((known >= 0) & (known <= 1)).all(), name
        elif "cosine" in name:
            assert (np.abs(known) <= 1 + 1e-5).all(), name
        elif name.endswith(("_successes", "_successes_of", "_people", "_people_of", "_age", "_age_of", "_gap")):
            assert (known >= 0).all(), name
    assert column(x, "likeness")[0] == 1, "the query is like itself"


def test_what_is_typed_has_no_confidence(knowledge: Knowledge) -> None:
    typed = features(put_together(knowledge, "play go", channel=Channel.TEXT, asr_confidence=None))
    spoken = features(put_together(knowledge, "play go", channel=Channel.VOICE, asr_confidence=0.25))
    assert np.isnan(column(typed, "query_confidence")).all() and (column(typed, "query_typed") == 1).all()
    assert (column(spoken, "query_confidence") == 0.25).all() and (column(spoken, "query_typed") == 0).all()


@few
@given(query=queries, told=st.lists(said, max_size=8))
def test_the_query_comes_first_and_every_text_once(
    knowledge: Knowledge, query: str, told: list[tuple[str, int, bool]]
) -> None:
    made = put_together(knowledge, query, turns_of("ann", told))
    texts = [c.text for c in made.candidates]
    assert texts[0] == made.query and len(set(texts)) == len(texts)
    x = features(made)
    assert column(x, "is_query").tolist() == [1.0] + [0.0] * (len(texts) - 1)
    assert (column(x, "candidates") == len(texts)).all()


def test_what_a_user_names_in_vain_is_told_from_what_serves(knowledge: Knowledge) -> None:
    """In whatever words: "play go" having failed tells of "watch the movie go" too."""
    intent, slots = SPOKEN["watch the movie go"]
    failed = [turn("play go", 0), turn("play go", 9000), turn("play going", 20_000), turn("call mom", 30_000)]
    served = [turn("watch the movie go", 40_000, intent, slots=slots)]
    record = lambda past: knowledge.personal_layer(past).record_of({"go"})  # noqa: E731
    assert record([]) == (0, 0)
    assert record(failed) == (0, 2), "whole words"
    times, vain = record(failed + served)
    assert times == 1 and 2 <= vain < 2.2


def test_the_name_in_the_frame_counts_where_its_layer_is_on(knowledge: Knowledge) -> None:
    made = replace(put_together(knowledge, "play go"), name=NameInFrame(2, 3.0, 5.0, 14.0, 1.0, 4.0))
    columns = [NAMES.index(f"query_name_{what}") for what in ("own", "vain", "tries")]
    assert features(made)[0, columns] == pytest.approx(np.log1p([1, 4, 14]))
    assert features(made)[0, NAMES.index("query_name_rate")] == pytest.approx((5 + 1) / (14 + 2))
    assert np.isnan(features(replace(made, personal=None))[0, columns[:2]]).all()


@few
@given(
    past=st.lists(said, max_size=25),
    names=st.sets(st.sampled_from(["go", "play", "the kitchen light", "mom", "we don't talk", "nothing"]), min_size=1),
)
def test_the_record_of_names_is_that_of_reading_through_all_texts(
    knowledge: Knowledge, past: list[tuple[str, int, bool]], names: set[str]
) -> None:
    layer = knowledge.personal_layer(turns_of("ann", past))
    vain = 0.0
    for text, known in layer.texts.items():
        if any(f" {name} " in f" {text} " for name in names):
            vain += max(0.0, known.attempts - known.successes)
    times, found = layer.record_of(names)
    assert found == pytest.approx(vain)
    assert times == max(layer.slot_values.get(name, 0) for name in names)
