"""How right the labels are that everything is learned from: on the dev days, where the truth is known.

Turns that got an answer: how well the probability of having failed fits. Failed turns with a repair: how often the
repair asked for what had been wanted. Everything is mined from the log and the dev days' turns, without the truth.

usage: python -m benchmarks.quality.training_labels      (HABITBENCH: its folder)
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from benchmarks.quality.tables import keep, percent, show
from benchmarks.quality.truth import Truth, folder
from mining.defects import assess, learn_reactions
from mining.reader import read_log
from mining.sessions import by_user

BANDS = (0.0, 0.1, 0.5, 0.9, 1.0)


def main() -> None:
    truth = Truth()
    asked = {r.interaction_id: r for r in truth.requests}
    people = by_user([*read_log([folder() / "log.jsonl.gz"]).turns, *truth.history])
    reactions = learn_reactions(list(people.values()))
    judged: list[tuple[float, bool]] = []
    repaired: list[tuple[bool, bool]] = []
    for turns in people.values():
        for turn, evidence in zip(turns, assess(turns, reactions), strict=True):
            request = asked.get(turn.request.interaction_id)
            if request is None:
                continue
            if turn.interpretation is not None:
                judged.append((evidence.defect, not truth.right(request, request.query)))
            if evidence.goal is not None:
                repaired.append((turn.interpretation is None, truth.right(request, turns[evidence.goal].request.query)))
    p, failed = (np.array(column, dtype=float) for column in zip(*judged, strict=True))
    clipped = np.clip(p, 1e-3, 1 - 1e-3)
    loss = -float(np.mean(failed * np.log(clipped) + (1 - failed) * np.log(1 - clipped)))
    rows = []
    for low, high in pairwise(BANDS):
        inside = (p >= low) & ((p < high) | (high == 1.0))
        share = float(failed[inside].mean()) if inside.any() else float("nan")
        rows.append((f"{low} to {high}", int(inside.sum()), percent(share)))
    show(f"answered turns, log loss {loss:.4f}", ("judged to have failed", "turns", "did fail"), rows)
    by_kind = {
        name: [right for no_answer, right in repaired if no_answer is kind]
        for name, kind in (("after no answer", True), ("after an answer", False))
    }
    show(
        "repairs",
        ("", "mined", "right"),
        [(name, len(right), percent(sum(right) / max(1, len(right)))) for name, right in by_kind.items()],
    )
    keep(
        "training-labels",
        {
            "log_loss": round(loss, 4),
            "bands": [{"judged": band, "turns": n, "failed": share} for band, n, share in rows],
            "repairs": {name: {"mined": len(right), "right": sum(right)} for name, right in by_kind.items()},
        },
    )


if __name__ == "__main__":
    main()
