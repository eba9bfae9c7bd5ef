"""What a bundle's global layer makes of turns that failed: what it answers, and how much of their failing that repairs.

Failed turns of some people are asked again as they were, in their situation, but as somebody whom nobody knows: the
personal layer has no say, and what it adds is seen in the log, where turns were served rewritten. A rewrite repairs a
turn if it asks what was meant, or is expected to be understood as what was meant; turns of which nobody knows what was
meant are left out.
"""

from __future__ import annotations

import secrets
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import faiss

from mining.defects import FAILED
from mining.labels.report_rows import FAILURES, MEANT_FROM, Labeller, heard
from mining.labels.turn_label import Correction, FailurePoint, TurnLabel
from retriever.candidates import Candidate
from retriever.interaction import Interaction
from retriever.normalise import normalise
from retriever.packed import key_hash
from rewrite_service.bundle import encoder_of, open_bundle
from rewrite_service.decision import Decision, Layer
from rewrite_service.pipeline import Pipeline
from rewrite_service.store.embedded import EmbeddedStore

K = TypeVar("K")

MOST_TURNS = 1500
"""Failed turns that are asked for the shares by failure point; and as many more at most for single requests."""
MOST_OF_REQUEST = 8
"""Turns of one request that are asked, or as many as there must be people to show the answer."""
_SITUATION = 10
"""Turns before a turn that are its situation at most."""
_LEAST_TURNS = 20
"""From so many on a share says something."""
_ENOUGH = 5 * _LEAST_TURNS
"""Turns that a bundle has not learned from that are enough to ask no others."""
_CACHE_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Repair:
    """What the bundle answers to turns of one request. `asked`: how many. `rewritten`: how many it rewrites. `text`:
    the rewrite that most of them get, None where too few people get it, or too few have said it, for it to be shown.
    `share`: of those of which it is known what was meant, how many it repairs, 0 to 1; None where it is of none."""

    asked: int
    rewritten: int
    text: str | None
    share: float | None


@dataclass(frozen=True, slots=True)
class Repairs:
    """`bundle`: its version. `of`: by the request's text, of those that were asked. `by_point`: of the failed turns of
    which it is known what was meant, the share that is repaired, by `FAILURES`; None where they are too few. `asked`:
    how many turns that is made from. `of_wanted`: the same share by the text that was meant. `later`: whether these
    came after all that the bundle has learned from; they do where there are enough such turns."""

    bundle: str
    of: Mapping[str, Repair]
    by_point: tuple[float | None, ...]
    asked: int
    of_wanted: Mapping[str, float]
    later: bool


@dataclass(frozen=True, slots=True)
class FailedTurn:
    """A turn that failed. `turn`: with what was heard as its query. `earlier`: the turns before it. `correction`: None
    where nobody is sure enough what was meant."""

    turn: Interaction
    earlier: tuple[Interaction, ...]
    point: FailurePoint
    correction: Correction | None

    @property
    def text(self) -> str:
        return normalise(self.turn.request.query)


def failed_turns(
    people: Iterable[Sequence[Interaction]], labeller: Labeller, progress: Callable[[int], None] = lambda n: None
) -> Iterator[FailedTurn]:
    """Those of some people's turns, each one's in time order."""
    for turns in people:
        asked = [replace(turn, request=replace(turn.request, query=heard(turn)), heard=None) for turn in turns]
        for i, label in enumerate(labeller.labels(turns)):
            if 1.0 - label.points[0] >= FAILED:
                yield _failed(asked[i], tuple(asked[max(0, i - _SITUATION) : i]), label)
        progress(len(turns))


def _failed(turn: Interaction, earlier: tuple[Interaction, ...], label: TurnLabel) -> FailedTurn:
    of_failures = label.points[1:]
    point = FAILURES[max(range(len(FAILURES)), key=of_failures.__getitem__)]
    sure = label.correction is not None and label.correction.probability >= MEANT_FROM
    return FailedTurn(turn, earlier, point, label.correction if sure else None)


def repairs_of(
    bundle: Path,
    failed: Sequence[FailedTurn],
    requests: Sequence[str],
    said: Collection[str],
    min_people: int,
    progress: Callable[[int], None] = lambda n: None,
) -> Repairs:
    """What the bundle in `bundle` answers to `MOST_TURNS` of the failed turns, always the same ones of the same log,
    and to some turns of each of the `requests` (texts, the costliest first). `said`: texts that may be shown. Raises
    BundleError, StoreError."""
    faiss.omp_set_num_threads(1)
    opened = open_bundle(bundle, encoder_of(bundle), _CACHE_BYTES)
    with tempfile.TemporaryDirectory(prefix="query-rewrite-report-") as state:
        pipeline = Pipeline(opened, EmbeddedStore(Path(state)), _CACHE_BYTES)
        try:
            answers = _Answers(pipeline, progress)
            known = [one for one in failed if one.correction is not None]
            last_ms = opened.manifest["built_from"]["to_ms"]
            new = [one for one in known if one.turn.request.timestamp_ms > last_ms]
            at_random = sorted(new if len(new) >= _ENOUGH else known, key=_in_order)[:MOST_TURNS]
            by_point = _shares(at_random, answers, lambda one: one.point, _LEAST_TURNS)
            of_wanted = _shares(at_random, answers, _meant, 1)
            chosen = _some(failed, requests, max(MOST_OF_REQUEST, min_people))
            of = {text: _repair(turns, answers, said, min_people) for text, turns in chosen.items()}
        finally:
            pipeline.close()
    at_points = tuple(by_point.get(point) for point in FAILURES)
    return Repairs(opened.version, of, at_points, len(at_random), of_wanted, len(new) >= _ENOUGH)


class _Answers:
    """Asks each turn once."""

    def __init__(self, pipeline: Pipeline, progress: Callable[[int], None]) -> None:
        self._pipeline, self._progress = pipeline, progress
        self._known: dict[int, tuple[Decision, Candidate | None]] = {}

    def rewrite(self, failed: FailedTurn) -> str | None:
        """In normal form; None where it leaves the turn alone."""
        decision, _ = self._of(failed)
        return None if decision.text is None else normalise(decision.text)

    def repairs(self, failed: FailedTurn) -> bool:
        """`failed`: with a correction."""
        decision, best = self._of(failed)
        assert failed.correction is not None
        if decision.text is None:
            return False
        if normalise(decision.text) == failed.correction.text:
            return True
        reading = best.reading if best is not None and best.text == decision.text else None
        return reading is not None and reading == failed.correction.interpretation

    def _of(self, failed: FailedTurn) -> tuple[Decision, Candidate | None]:
        found = self._known.get(id(failed))
        if found is None:
            # Somebody who was never met before: no two of them are the same.
            request = replace(failed.turn.request, user_id=f"nobody-{secrets.token_hex(16)}")
            found = self._pipeline.decide(request, layers=frozenset({Layer.GLOBAL}), earlier=failed.earlier)
            self._known[id(failed)] = found
            self._progress(1)
        return found


def _in_order(failed: FailedTurn) -> tuple[int, str]:
    """As if shuffled, always alike."""
    request = failed.turn.request
    return key_hash(request.user_id, request.interaction_id), request.interaction_id


def _meant(failed: FailedTurn) -> str:
    assert failed.correction is not None
    return failed.correction.text


def _shares(
    failed: Sequence[FailedTurn], answers: _Answers, of: Callable[[FailedTurn], K], least: int
) -> dict[K, float]:
    """The share that is repaired of the turns of each kind of which there are at least so many."""
    asked, repaired = Counter[K](), Counter[K]()
    for one in failed:
        asked[of(one)] += 1
        repaired[of(one)] += answers.repairs(one)
    return {kind: repaired[kind] / number for kind, number in asked.items() if number >= least}


def _some(failed: Sequence[FailedTurn], requests: Sequence[str], most: int) -> dict[str, list[FailedTurn]]:
    """Up to `most` turns of each of the requests, of as many people as there are; no more than `MOST_TURNS` in all."""
    of: dict[str, dict[str, list[FailedTurn]]] = {text: defaultdict(list) for text in requests}
    for one in sorted(failed, key=_in_order):
        if (text := one.text) in of:
            of[text][one.turn.request.user_id].append(one)
    out: dict[str, list[FailedTurn]] = {}
    room = MOST_TURNS
    for text, by_user in of.items():
        theirs = list(by_user.values())
        rounds = [turns[n] for n in range(max(map(len, theirs), default=0)) for turns in theirs if n < len(turns)]
        if rounds and room > 0:
            out[text] = rounds[: min(most, room)]
            room -= len(out[text])
    return out


def _repair(failed: Sequence[FailedTurn], answers: _Answers, said: Collection[str], min_people: int) -> Repair:
    getting: dict[str, set[str]] = defaultdict(set)
    rewritten = 0
    for one in failed:
        if (text := answers.rewrite(one)) is not None:
            rewritten += 1
            getting[text].add(one.turn.request.user_id)
    most = min(getting, key=lambda text: (-len(getting[text]), text), default=None)
    may_show = most is not None and most in said and len(getting[most]) >= min_people
    known = [answers.repairs(one) for one in failed if one.correction is not None]
    share = sum(known) / len(known) if known else None
    return Repair(len(failed), rewritten, most if may_show else None, share)
