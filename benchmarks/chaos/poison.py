"""How long a harmful rewrite lives, and whether a good one survives users who react at random.

Real pairs of a bundle are served, through the real pipeline and store, to users who then react as the sample log's
people do. Poisoned: whatever the rewrite is understood as is wrong, while the words left alone serve (`loss`) or are
not understood (`missed`). Good: the rewrite serves, and the words left alone are not understood. In a share of the
turns (`noise`) users react as if the opposite had happened. A pair is dead for others when somebody who was never
served it does not get it any more.

usage: python -m benchmarks.chaos.poison BUNDLE LOG      (of the sample log; some minutes)
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import faiss

from benchmarks.quality.tables import keep, percent, show
from mining.reader import read_log
from retriever.interaction import Explicit, Feedback, Interaction, Interpretation, Outcome, Request
from rewrite_service.bundle import Bundle, encoder_of, open_bundle
from rewrite_service.decision import Decision, Layer
from rewrite_service.pipeline import Pipeline
from rewrite_service.store.base import TurnFeedback
from rewrite_service.store.embedded import EmbeddedStore

HOUR_MS = 3_600_000
NOISE = 0.2
NOTICES, REPEATS, GIVES_UP = 0.85, 0.3, 0.12
"""As of the sample log's people (`rewrite_service.sample.people.Temper`)."""
OTHER = Interpretation("other", (("what", "was wanted"),))
LONGEST = 200
"""Turns after which a pair that still lives is taken to live for ever."""


@dataclass(frozen=True, slots=True)
class Served:
    """A request that is rewritten for everybody, the rewrite, and what the assistant makes of it."""

    request: Request
    text: str
    reading: Interpretation


def served_pairs(bundle: Bundle, log: Path, most: int) -> list[Served]:
    """Requests of the log that nobody's own past is needed to rewrite, of different words each."""
    turns = read_log([log]).turns
    last_ms = turns[-1].request.timestamp_ms
    found: dict[str, Served] = {}
    with tempfile.TemporaryDirectory() as state:
        pipeline = Pipeline(bundle, EmbeddedStore(Path(state)))
        for turn in turns[::7]:
            if turn.interpretation is not None or turn.request.query in found:
                continue
            request = replace(turn.request, user_id="newcomer", timestamp_ms=last_ms + HOUR_MS)
            decision, best = pipeline.decide(request)
            if decision.is_rewrite and decision.layer is Layer.GLOBAL and best is not None and best.reading is not None:
                found[request.query] = Served(request, decision.text or "", best.reading)
                if len(found) == most:
                    break
        pipeline.close()
    return list(found.values())


class World:
    """Users, an assistant and the service, around one pair. `served`, `alone`: whether what was wanted comes of the
    rewrite, and of the words as they are."""

    def __init__(
        self, bundle: Bundle, pair: Served, *, served: bool, alone: bool, noise: float, seed: int, state: Path
    ) -> None:
        self._pair, self._served, self._alone, self._noise = pair, served, alone, noise
        self._rng = random.Random(seed)
        self._now_ms, self._turns = pair.request.timestamp_ms, 0
        self.pipeline = Pipeline(bundle, EmbeddedStore(state))
        self.exposures = 0

    def ask(self, user: str, *, explain: bool = False) -> Decision:
        """What the service answers now, with nothing recorded."""
        self._turns += 1
        asked = replace(
            self._pair.request, user_id=user, interaction_id=f"t{self._turns}", timestamp_ms=self._now_ms
        )
        return self.pipeline.rewrite(asked, explain=explain)

    def lives_for(self, user: str) -> bool:
        """Whether `user` would be given the rewrite, and not as a trial."""
        decision = self.ask(user)
        return decision.text == self._pair.text and not decision.trial

    def retired_for(self, user: str) -> bool:
        """Whether the pair is retired for `user`, who may by now be given another text."""
        if self.lives_for(user):
            return False
        return any(c.retired for c in self.ask(user, explain=True).candidates if c.text == self._pair.text)

    def day_of(self, user: str) -> None:
        """The user says it. Where it seems to have failed, most users notice; then some say the same again, some give
        up, and most say it in full, which serves."""
        self._now_ms += 6 * HOUR_MS
        for _ in range(3):
            content, rng = self._turn(user), self._rng
            if content or rng.random() >= NOTICES or rng.random() < GIVES_UP:
                break
            self._now_ms += rng.randint(5_000, 30_000)
            if rng.random() >= REPEATS:
                self._say_in_full(user)
                break
        self.pipeline.experience.refresh()

    def _say_in_full(self, user: str) -> None:
        self._turns += 1
        request = replace(
            self._pair.request,
            user_id=user,
            interaction_id=f"t{self._turns}",
            timestamp_ms=self._now_ms,
            query=f"{self._pair.request.query} the other one",
            alternatives=(),
        )
        reading = self._pair.reading if self._served else OTHER
        self.pipeline.record([Interaction(request, reading, Outcome.OK, Feedback(dwell_s=self._rng.uniform(2, 240)))])

    def _turn(self, user: str) -> bool:
        decision, rng = self.ask(user), self._rng
        asked = decision.text == self._pair.text
        right = self._served if asked else self._alone
        self.exposures += asked
        answered = asked or self._alone
        shown = right if rng.random() >= self._noise else not right
        feedback = _reaction(shown, answered, rng)
        request = replace(
            self._pair.request, user_id=user, interaction_id=f"t{self._turns}", timestamp_ms=self._now_ms
        )
        reading = self._pair.reading if asked else OTHER
        turn = Interaction(request, reading if answered else None, Outcome.OK if answered else Outcome.NO_MATCH)
        late = TurnFeedback(user, request.interaction_id, feedback, decision.text)
        self.pipeline.record([turn], [late])
        return shown


def _reaction(content: bool, answered: bool, rng: random.Random) -> Feedback:
    """As in the sample log: some interrupt a right answer, many bear a wrong one in silence."""
    if not answered:
        return Feedback(rng.random() < 0.03, None, rng.uniform(1, 8))
    if content:
        return Feedback(rng.random() < 0.04, Explicit.YES if rng.random() < 0.06 else None, rng.uniform(2, 240))
    barge_in = rng.random() < 0.35
    return Feedback(barge_in, Explicit.NO if rng.random() < 0.15 else None, rng.uniform(1, 6 if barge_in else 20))


def until_dead(world: World, users: Sequence[str], judge: str, rng: random.Random) -> int:
    """Times that the rewrite was served to `users` until `judge` would not get it; `LONGEST` where that never came."""
    for _ in range(LONGEST):
        if not world.lives_for(judge):
            return world.exposures
        world.day_of(rng.choice(users))
    return LONGEST


def measure(
    bundle: Path, log: Path, *, pairs: int = 10, seeds: int = 1, days: int = 40, people: int = 30, noise: float = NOISE
) -> dict[str, Any]:
    """`poison_exposures_until_retired`: times that a harmful rewrite was served (to `people` at random) before others
    did not get it any more, the median over all kinds of harm, and the worst; `poison_never_retired`: how many were
    served to the end. `poison_by_kind`: of each kind, and before its own user did not get it.
    `good_*`: shares of good pairs, of `days` requests each, that were ever retired for others, were so at the end, and
    were ever retired for the one who is served most."""
    faiss.omp_set_num_threads(1)
    opened = open_bundle(bundle, encoder_of(bundle), 256 << 20)
    chosen = served_pairs(opened, log, pairs)
    users = [f"user-{n}" for n in range(people)]
    poison: dict[str, list[int]] = {}
    good: list[tuple[bool, bool, bool]] = []
    for number, pair in enumerate(chosen * seeds):
        seed = 1000 + number
        for kind, alone in (("loss", True), ("missed", False)):
            for whose, ask, judge in (("others", users, "newcomer"), ("own", users[:1], users[0])):
                with tempfile.TemporaryDirectory() as state:
                    world = World(
                        opened, pair, served=False, alone=alone, noise=noise, seed=seed, state=Path(state)
                    )
                    died = until_dead(world, ask, judge, random.Random(seed))
                    poison.setdefault(f"{kind}, {whose}", []).append(died)
                    world.pipeline.close()
        with tempfile.TemporaryDirectory() as state:
            world = World(opened, pair, served=True, alone=False, noise=noise, seed=seed, state=Path(state))
            rng, lost, lost_own, lives = random.Random(seed), False, False, True
            for _ in range(days):
                world.day_of(rng.choice([users[0], *users]))
                lives = not world.retired_for("newcomer")
                lost, lost_own = lost or not lives, lost_own or world.retired_for(users[0])
            good.append((lost, not lives, lost_own))
            world.pipeline.close()
    share = lambda column: sum(row[column] for row in good) / len(good)  # noqa: E731
    others = _spread([exposures for name, runs in poison.items() if "others" in name for exposures in runs])
    return {
        "pairs": len(chosen),
        "seeds": seeds,
        "noise": noise,
        "poison_exposures_until_retired": others["median"],
        "poison_exposures_until_retired_worst": others["worst"],
        "poison_never_retired": others["never"],
        "poison_by_kind": {name: _spread(runs) for name, runs in poison.items()},
        "good_runs": len(good),
        "good_requests_each": days,
        "good_ever_lost": share(0),
        "good_lost_at_the_end": share(1),
        "good_ever_lost_to_oneself": share(2),
    }


def _spread(runs: Sequence[int]) -> dict[str, float]:
    return {"median": statistics.median(runs), "worst": max(runs), "never": sum(n >= LONGEST for n in runs)}


def main() -> None:
    if len(sys.argv) != 3:
        raise SystemExit((__doc__ or "").strip().splitlines()[-1])
    bundle, log = map(Path, sys.argv[1:])
    results = {f"noise {noise:g}": measure(bundle, log, noise=noise) for noise in (0.0, NOISE)}
    rows = [
        (name, kind, died["median"], died["worst"])
        for name, r in results.items()
        for kind, died in r["poison_by_kind"].items()
    ]
    show("times served until retired", ("", "harm, dead for", "median", "worst"), rows)
    columns = ("good_ever_lost", "good_lost_at_the_end", "good_ever_lost_to_oneself")
    show("good pairs lost", ("", *columns), [(name, *(percent(r[c]) for c in columns)) for name, r in results.items()])
    keep("poison", {"results": results})


if __name__ == "__main__":
    main()
