"""The sample log: the same bytes everywhere, the documented schema, believable shares, and the stories it must tell."""

from __future__ import annotations

import gzip
import hashlib
import random
from collections import Counter
from itertools import pairwise

import orjson
import pytest

from mining.schema import parse_interaction
from retriever.interaction import Channel, Outcome
from retriever.normalise import normalise
from rewrite_service.sample import facts
from rewrite_service.sample.conversation import Turn
from rewrite_service.sample.generate import START_MS, generate, turns, write
from rewrite_service.sample.mishearing import Voice, confusions, limit_tenths, plain
from rewrite_service.sample.phonemes import distance_tenths, pronounce

SMALL = {"people": 20, "days": 10, "seed": 7}
SMALL_SHA256 = "7c9016afd99f2dc67813a36fb60f8c0c6933e6444776e27f4efe54299010fb83"
"""Of the small log's lines. A change is meant to be seen here: what is learned from the sample log changes with it."""


@pytest.fixture(scope="module")
def whole() -> list[Turn]:
    return turns()


def _of(told: list[Turn], user: str) -> list[Turn]:
    return [t for t in told if t.interaction.request.user_id == user]


def _query(turn: Turn) -> str:
    return turn.interaction.request.query


def _slots(turn: Turn) -> dict[str, str]:
    return dict(turn.interaction.interpretation.slots) if turn.interaction.interpretation else {}


def _lines(**arguments: int) -> bytes:
    return b"".join(orjson.dumps(r) + b"\n" for r in generate(**arguments))


class TestFile:
    def test_same_bytes_again_and_everywhere(self):
        first = _lines(**SMALL)
        assert first == _lines(**SMALL)
        assert hashlib.sha256(first).hexdigest() == SMALL_SHA256

    def test_another_seed_is_another_log(self):
        assert _lines(people=6, days=3, seed=7) != _lines(people=6, days=3, seed=8)

    def test_written_plain_or_gzipped(self, tmp_path):
        count = write(tmp_path / "new" / "log.jsonl.gz", **SMALL)
        assert write(str(tmp_path / "log.jsonl"), **SMALL) == count
        plain_bytes = (tmp_path / "log.jsonl").read_bytes()
        assert gzip.decompress((tmp_path / "new" / "log.jsonl.gz").read_bytes()) == plain_bytes == _lines(**SMALL)
        assert plain_bytes.count(b"\n") == count
        assert sorted(p.name for p in tmp_path.iterdir()) == ["log.jsonl", "new"]

    def test_more_people_leave_the_others_as_they_are(self):
        def told(people: int) -> list[str]:
            return [t.said for t in _of(turns(people, 5), "p0004")]

        assert told(4) == told(9) != []


class TestSchema:
    def test_every_record_is_whole_and_valid(self):
        last, ids = (0, ""), set()
        for record in generate(**SMALL):
            assert set(record) == {
                "interaction_id", "user_id", "timestamp_ms", "channel", "query", "alternatives", "asr_confidence",
                "context", "interpretation", "outcome", "feedback",
            }  # fmt: skip
            assert set(record["context"]) == {
                "device_id", "device_type", "has_screen", "room", "device_state", "locale", "location",
            }  # fmt: skip
            assert set(record["context"]["location"]) == {"city", "state"}
            assert set(record["feedback"]) == {"barge_in", "explicit", "dwell_s"}
            parse_interaction(record)
            here = (record["timestamp_ms"], record["user_id"])
            assert last <= here
            last = here
            ids.add(record["interaction_id"])
        assert len(ids) == len(list(generate(**SMALL)))

    def test_turns_make_sense(self, whole):
        for turn in whole:
            i, r = turn.interaction, turn.interaction.request
            assert r.query and r.query == normalise(r.query)
            assert all(a and a == normalise(a) for a in r.alternatives)
            assert 0 <= r.timestamp_ms - START_MS < 31 * 86_400_000
            assert (i.interpretation is None) == (i.outcome is not Outcome.OK)
            assert r.query not in r.alternatives and len(r.alternatives) <= 4
            if r.channel is Channel.VOICE:
                assert r.asr_confidence is not None and r.context.device_type in ("speaker", "display")
            else:
                assert (r.asr_confidence, r.alternatives, r.context.device_type) == (None, (), "app")
                assert r.query == turn.said
            assert turn.right == (i.interpretation == turn.wish.meaning)

    def test_nobody_speaks_twice_at_once(self, whole):
        for user in {t.interaction.request.user_id for t in whole}:
            stamps = [t.interaction.request.timestamp_ms for t in _of(whole, user)]
            assert all(a < b for a, b in pairwise(stamps))


class TestShares:
    def test_size(self, whole):
        assert 10_000 <= len(whole) <= 15_000
        assert len({t.interaction.request.user_id for t in whole}) == 200

    def test_first_attempts_that_fail(self, whole):
        first = [t for t in whole if t.attempt == 0]
        assert 0.20 <= sum(not t.right for t in first) / len(first) <= 0.25
        assert sum(not t.right and t.interaction.outcome is Outcome.OK for t in first) > 0.02 * len(first)

    def test_confidence_tells_something_but_not_all(self, whole):
        heard = [t for t in whole if t.interaction.request.channel is Channel.VOICE]
        right = [t.interaction.request.asr_confidence for t in heard if _query(t) == t.said]
        wrong = [t.interaction.request.asr_confidence for t in heard if _query(t) != t.said]
        assert sum(right) / len(right) > sum(wrong) / len(wrong) + 0.1
        assert max(wrong) > min(right)

    def test_reactions_are_noisy(self, whole):
        answered = [t for t in whole if t.interaction.outcome is Outcome.OK]
        right = [t.interaction.feedback.barge_in for t in answered if t.right]
        wrong = [t.interaction.feedback.barge_in for t in answered if not t.right]
        assert 0.01 < sum(right) / len(right) < 0.1
        assert 0.2 < sum(wrong) / len(wrong) < 0.6

    def test_some_type_and_some_turn_to_something_else_at_once(self, whole):
        typed = Counter(t.interaction.request.channel for t in whole)[Channel.APP]
        assert 0.01 < typed / len(whole) < 0.1
        quick = [
            (a, b)
            for user in {t.interaction.request.user_id for t in whole}
            for a, b in pairwise(_of(whole, user))
            if b.interaction.request.timestamp_ms - a.interaction.request.timestamp_ms < 60_000
        ]
        other = [1 for a, b in quick if a.right and b.attempt == 0]
        assert len(other) > 0.1 * len(quick)


class TestMishearing:
    def test_every_word_in_use_has_a_sound_and_nearly_every_one_some_confusion(self):
        texts = [*facts.STATES_OF, *facts.STATES, *facts.FILMS, *facts.CONTACTS, *facts.ROOMS, *facts.APPLIANCES]
        texts += [f"{s.title} {s.artist}" for s in facts.SONGS] + [plain(g.text) for g in facts.GENERAL]
        for text in texts:
            assert text == normalise(text)
            assert pronounce(text)
        words = {word for name in facts.STATES_OF for word in name.split()}
        assert sum(1 for word in words if confusions(word)) > 0.95 * len(words)

    @pytest.mark.parametrize(("said", "heard"), [("go", "ago"), ("bruno", "brew no"), ("wilkerson", "will person")])
    def test_known_confusions(self, said, heard):
        assert heard in [c.text for c in confusions(said)]

    def test_distance(self):
        def apart(a: str, b: str) -> int:
            return distance_tenths(pronounce(a), pronounce(b))

        assert (apart("ate", "eight"), apart("know", "no")) == (0, 0)
        assert apart("pat", "bat") == apart("bat", "pat")
        assert apart("pat", "bat") < apart("pat", "mat")
        assert apart("go", "ago") < apart("go", "wilkerson")

    def test_what_is_heard_sounds_like_what_was_said(self, whole):
        for turn in whole:
            if _query(turn) == turn.said:
                continue
            said, heard = pronounce(turn.said), pronounce(_query(turn))
            # Each name and the frame may slip once.
            assert distance_tenths(said, heard) <= 4 * limit_tenths("x" * 20), (turn.said, _query(turn))
            assert distance_tenths(said, heard) <= 8 * len(said)

    def test_a_voice_has_its_typical_mishearings_and_others_too(self):
        rng, typical = random.Random(1), set()
        for name in ("anna", "bert", "cora", "dora"):
            voice = Voice(name, name_error=0.5, frame_error=0.0)
            heard = [voice.hear("weather in {wilkerson}", rng).query for _ in range(400)]
            wrong = Counter(h for h in heard if h != "weather in wilkerson")
            (most, count), total = wrong.most_common(1)[0], sum(wrong.values())
            assert 150 < total < 250 and count > 0.4 * total and len(wrong) >= 5
            typical.add(most)
        assert len(typical) > 1


class TestStories:
    def test_ada_means_california(self, whole):
        repaired = [
            (a, b)
            for a, b in pairwise(_of(whole, "ada"))
            if _slots(a) == {"place": "wilkerson", "state": "washington"}
            and _slots(b) == {"place": "wilkerson", "state": "california"}
            and b.interaction.request.timestamp_ms - a.interaction.request.timestamp_ms < 60_000
        ]
        assert len(repaired) >= 8
        said = Counter((_query(a), _query(b)) for a, b in repaired)
        assert said["what's the weather in wilkerson", "what's the weather in wilkerson california"] >= 8
        assert sum(a.interaction.feedback.barge_in for a, _ in repaired) >= len(repaired) / 2

    def test_others_mean_washington_and_are_content(self, whole):
        content = [t for t in whole if t.interaction.request.user_id != "ada" and t.right]
        asked = [t for t in content if t.wish.slots.get("place") == "wilkerson" and "washington" not in t.said]
        assert len(asked) >= 40
        assert len({t.interaction.request.user_id for t in asked}) >= 15
        elsewhere = {t.interaction.request.user_id for t in whole if "wilkerson california" in t.said}
        assert elsewhere == {"ada"}

    def test_ben_has_one_song_and_others_the_other(self, whole):
        ben = _of(whole, "ben")
        assert sum(t.right and t.wish.slots.get("song") == "we don't talk anymore" for t in ben) >= 15
        assert not any("bruno" in t.said for t in ben)
        bruno = [t for t in whole if t.wish.slots.get("song") == "we don't talk about bruno"]
        assert sum(t.right for t in bruno) >= 100
        assert len({t.interaction.request.user_id for t in bruno if t.right}) >= 30

    def test_brew_no_is_repaired(self, whole):
        misheard = "play we don't talk about brew no"
        repaired = [
            a
            for user in {t.interaction.request.user_id for t in whole if _query(t) == misheard}
            for a, b in pairwise(_of(whole, user))
            if _query(a) == misheard and not a.right and b.right and "bruno" in _query(b)
        ]
        assert len(repaired) >= 5

    def test_cleo_and_her_film(self, whole):
        repaired = [
            (a, b)
            for a, b in pairwise(_of(whole, "cleo"))
            if (_query(a), _query(b)) == ("play ago", "watch the movie go")
        ]
        assert len(repaired) >= 8
        assert all(a.interaction.outcome is Outcome.NO_MATCH and b.right for a, b in repaired)
        assert not any(_query(t) == "play go" for t in _of(whole, "cleo"))
