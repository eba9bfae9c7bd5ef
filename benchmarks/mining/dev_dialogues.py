"""HabitBench's dev days as dialogues, with the truth about which later turn gave what a first attempt wanted; as they
are, and with unrelated turns put in between."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.quality.truth import Truth
from mining.dialogue_examples import MOST_BETWEEN, Strangers, put_between
from mining.sessions import sessions
from retriever.interaction import Interaction, Request

People = Mapping[str, Sequence[Interaction]]
Found = Mapping[str, Sequence[int | None]]
"""By user, of each turn, the later turn that is said to be its rephrase."""
_TRIES = 10


@dataclass
class DevDialogues:
    """`people`: turns of those who have dev requests, log and dev days, in time order. `rephrase`: interaction id of a
    first attempt that failed, to that of the first later turn of its session that gave what was wanted."""

    truth: Truth
    people: People
    rephrase: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self._asked = {r.interaction_id: r for r in self.truth.requests}
        self._known: dict[tuple[str, str], bool] = {}
        self.rephrase = {}
        for turns in self.people.values():
            for span in sessions(turns):
                for i in span:
                    if not self.asked(turns[i]) or self.gives(turns[i], turns[i]):
                        continue
                    later = (turns[k] for k in range(i + 1, span.stop) if turns[k].interpretation is not None)
                    reached = next((turn for turn in later if self.gives(turns[i], turn)), None)
                    if reached is not None:
                        self.rephrase[turns[i].request.interaction_id] = reached.request.interaction_id

    def asked(self, turn: Interaction) -> bool:
        """Whether the truth about it is known: a first attempt of the dev days."""
        return turn.request.interaction_id in self._asked

    def request(self, interaction_id: str) -> Request:
        """That of a first attempt."""
        return self._asked[interaction_id]

    def gives(self, attempt: Interaction, turn: Interaction) -> bool:
        """Whether asking what `turn` asks gives what the user of `attempt` wanted."""
        key = attempt.request.interaction_id, turn.request.query
        if key not in self._known:
            self._known[key] = self.truth.right(self._asked[key[0]], key[1])
        return self._known[key]

    def interrupted(self, seed: int = 3) -> People:
        """The same people, with one to three turns that have nothing to do with it in every dev session: behind a
        failed attempt and before its rephrase where there is one, else behind a first attempt."""
        rng, strangers = random.Random(seed), Strangers.of(self.people)
        return {user: self._interrupt(user, turns, strangers, rng) for user, turns in self.people.items()}

    def _interrupt(
        self, user: str, turns: Sequence[Interaction], strangers: Strangers, rng: random.Random
    ) -> list[Interaction]:
        out: list[Interaction] = []
        for span in sessions(turns):
            session = list(turns[span.start : span.stop])
            attempts = [i for i, turn in enumerate(session) if self.asked(turn)]
            if attempts:
                ids = [turn.request.interaction_id for turn in session]
                repaired = [i for i in attempts if ids[i] in self.rephrase]
                at = rng.choice(repaired or attempts)
                after = rng.randrange(at, ids.index(self.rephrase[ids[at]])) if repaired else at
                for _ in range(_TRIES):
                    longer, n = put_between(session, after, user, strangers, rng, MOST_BETWEEN)
                    put = longer[after + 1 : after + 1 + n]
                    if not any(self.gives(session[i], turn) for i in attempts for turn in put):
                        session = longer
                        break
            out += session
        return sorted(out, key=lambda turn: turn.request.timestamp_ms)

    def score(self, people: People, found: Found) -> dict[str, float | int]:
        """Precision, recall and F1 of what was found for the first attempts among `people`. Any turn that gives what
        was wanted is right; of an attempt that failed and never got it, or that did not fail, any is wrong."""
        right = marked = 0
        for user, turns in people.items():
            for turn, goal in zip(turns, found[user], strict=True):
                if goal is None or not self.asked(turn):
                    continue
                marked += 1
                reached = turns[goal]
                if turn.request.interaction_id in self.rephrase and reached.interpretation is not None:
                    right += self.gives(turn, reached)
        rephrases = len(self.rephrase)
        return {
            "precision": round(right / max(1, marked), 4),
            "recall": round(right / max(1, rephrases), 4),
            "f1": round(2 * right / max(1, marked + rephrases), 4),
            "marked": marked,
            "right": right,
            "rephrases": rephrases,
        }
