"""What the pipeline answers: rewrite or pass, with the figures and the reason."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

from retriever.preferences import PreferenceKind
from rewrite_service.arms import Arm


class Layer(StrEnum):
    """Whose experience a candidate comes from."""

    PERSONAL = "personal"
    GLOBAL = "global"


class Reason(StrEnum):
    """Why the decision is what it is; stable words for machines. TAUGHT, KNOWN_REWRITE, CONFIDENT and PINNED go
    with a rewrite, the rest are reasons to pass."""

    TAUGHT = "taught"  # rewritten: the user has said that this is what the query means
    KNOWN_REWRITE = "known_rewrite"  # rewritten: computed ahead, from what others said next and were served
    CONFIDENT = "confident"  # rewritten: probability and margin above their bounds
    NO_CANDIDATES = "no_candidates"  # neither layer knows anything near
    QUERY_LOOKS_FINE = "query_looks_fine"  # next to no rewrite ever came of such a query: nothing was searched
    LEAVE_IS_BETTER = "leave_is_better"  # the query itself is likelier right than any rewrite
    BELOW_THRESHOLD = "below_threshold"  # the best rewrite is not sure enough
    BELOW_MARGIN = "below_margin"  # two different rewrites are about equally likely
    OUT_OF_TIME = "out_of_time"  # the deadline left no room
    EMPTY_QUERY = "empty_query"  # nothing left after normalisation
    INTERNAL_ERROR = "internal_error"  # something broke inside; fail open
    HOLD_OUT = "hold_out"  # sure enough, and withheld: the user is one of those who get no rewrites
    RETIRED = "retired"  # the best rewrite is sure enough, and did harm when it was served
    BLOCKED = "blocked"  # it would have been rewritten, but an operator blocked that rewrite
    PINNED = "pinned"  # rewritten because an operator said so


@dataclass(frozen=True, slots=True)
class Contribution:
    """One feature of one candidate: its value and what it added to the win score (log-odds, SHAP of LightGBM)."""

    name: str
    value: float
    contribution: float


@dataclass(frozen=True, slots=True)
class ScoredCandidate:
    """A candidate as ranked, for `Explain`. `probability`: that it helps, 0 to 1; of the query itself, that it serves
    as it is. `harm`: that asking it does harm, by what came of it when it was served, 0 to 1; 0 where it was not, or
    not to enough people. `retired`: passed over for it. `left_out`: found, and not ranked, as others
    stood before it."""

    text: str
    layer: Layer | None  # None: the query itself, left alone
    sources: tuple[str, ...]
    probability: float
    contributions: tuple[Contribution, ...] = ()
    harm: float = 0.0
    retired: bool = False
    left_out: bool = False


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What the user might teach, as the same request fails again. `kind`: of the preference. `subject`: the user's own
    words, in normal form, that it would say the meaning of."""

    kind: PreferenceKind
    subject: str


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to one request.

    `text`: the rewrite, None on pass. `probability`: that the best candidate helps rather than harms, 0 to 1,
    calibrated (also on pass). `margin`: how much likelier it helps than the next best of another meaning, -1 to 1.
    `win`: that it helps at all, 0 to 1; what is left of it and `probability` is a rewrite that changes nothing.
    `layer`: of the best candidate. `preference_id`: of the user's preference that was applied, "" where none was.
    `suggestion`: what the user might teach, only on pass.
    `stage_us`: microseconds by stage. `skipped`: stages left out for lack of time or because they failed.
    `arm`: the user's, where some users are held out. `withheld`: the rewrite that one who is held out did not get.
    `trial`: the rewrite is retired, and tried again.
    """

    text: str | None
    reason: Reason
    probability: float = 0.0
    margin: float = 0.0
    layer: Layer | None = None
    bundle_version: str = ""
    stage_us: dict[str, int] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    candidates: tuple[ScoredCandidate, ...] = ()
    win: float = 0.0
    preference_id: str = ""
    suggestion: Suggestion | None = None
    arm: Arm | None = None
    withheld: str | None = None
    trial: bool = False

    def for_arm(self, arm: Arm | None) -> Decision:
        """The decision as a user of that arm gets it. What users have taught is their own word, and never withheld."""
        if arm is Arm.HOLD_OUT and self.text is not None and self.reason is not Reason.TAUGHT:
            return replace(self, text=None, reason=Reason.HOLD_OUT, arm=arm, withheld=self.text)
        return self if arm is self.arm else replace(self, arm=arm)

    @property
    def is_rewrite(self) -> bool:
        return self.text is not None
