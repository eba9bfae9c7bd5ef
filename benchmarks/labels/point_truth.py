"""Where HabitBench's dev requests truly failed, from what its truth and its assistant tell.

Of a first attempt the truth holds what was wanted (`want`, and `want_text` that says it in full), and what was said;
the query is what was heard. Each text is put to the benchmark's assistant, for that user's account and device:

- CORRECT: the query gives what was wanted, so that an error, if there was one, was recovered from; or not even
  `want_text` gives it: it cannot be done at all.
- ASR: what was heard gives something else than what was said.
- NLU: both give the same, and that is nothing, or another intent than was wanted.
- ENTITY_RESOLUTION: the intent is right, a slot is not.

Words that were misheard, and that would not have been understood either, failed at understanding: the first component
that failed *beyond recovery* is sought, and hearing it right would have changed nothing. There are no false wakes and
no failures of the result in HabitBench (`benchmarks.labels.made_failures` makes some).
"""

from __future__ import annotations

from benchmarks.quality.truth import Truth
from mining.labels.turn_label import FailurePoint


def true_points(truth: Truth) -> dict[str, FailurePoint]:
    """By interaction id, of every dev request."""
    out = {}
    for request in truth.requests:
        wanted = truth.wanted(request)
        heard, said = truth.resolve(request, request.query), truth.resolve(request, truth.said(request))
        if heard == wanted or truth.resolve(request, truth.wanted_text(request)) != wanted:
            point = FailurePoint.CORRECT
        elif heard != said:
            point = FailurePoint.ASR
        elif said is None or said[0] != wanted[0]:
            point = FailurePoint.NLU
        else:
            point = FailurePoint.ENTITY_RESOLUTION
        out[request.interaction_id] = point
    return out
