"""What a client of the service gives and gets: plain values, no messages.

Requests, turns and feedback are those of `retriever.interaction`, which the log and the service speak as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from retriever.interaction import Feedback, Interaction, Interpretation, Outcome, Request, TurnFeedback
from retriever.preference import Preference

Item = Interaction | TurnFeedback
"""What can be recorded: a turn, or feedback on one that came late."""


class ClientError(Exception):
    """A call that brought nothing. `code`: the gRPC status in small letters (`unavailable`, `invalid_argument`),
    `circuit_open` where the call was not made, `message_too_large`, or `client_error`. `retry_after_s`: seconds after
    which the server wants to be asked again, where it said so. The message names the field at fault, if any, and quotes
    no text of a user."""

    def __init__(self, code: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What the user might be asked to teach, as the same request failed again. `kind`: `alias`, `name` or `like`.
    `subject`: words of the query."""

    kind: str
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What to ask the assistant, and why.

    `text`: the rewrite, or the query as it was heard; never empty-handed, whatever became of the call. `request`: what
    was asked, with the ids that were made up for it. `rewritten`: whether `text` is a rewrite. `reason`: the service's
    (`confident`, `query_looks_fine`, ...), or where the call failed, the code of `error`. `probability`: that the best
    candidate helps, 0 to 1. `margin`: -1 to 1. `layer`: `personal`, `global`, or "". `preference_id`: of what the user
    taught and was applied, or "". `stage_us`: microseconds by stage; keep it from users. `error`: why there was no
    decision, None where there was one.
    """

    text: str
    request: Request
    rewritten: bool
    reason: str
    probability: float = 0.0
    margin: float = 0.0
    layer: str = ""
    bundle_version: str = ""
    preference_id: str = ""
    suggestion: Suggestion | None = None
    stage_us: Mapping[str, int] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    error: ClientError | None = None

    def turn(
        self,
        outcome: Outcome,
        interpretation: Interpretation | None = None,
        feedback: Feedback | None = None,
    ) -> list[Item]:
        """What to record once the assistant has answered: the turn as it was heard, and where a rewrite was asked in
        its place, that it was."""
        feedback = Feedback() if feedback is None else feedback
        turn = Interaction(self.request, interpretation, outcome, feedback)
        return [turn, *self.late(feedback)] if self.rewritten else [turn]

    def late(self, feedback: Feedback) -> list[Item]:
        """What to record when the user's reaction is known only after the turn has been recorded."""
        served = self.text if self.rewritten else None
        return [TurnFeedback(self.request.user_id, self.request.interaction_id, feedback, served)]


@dataclass(frozen=True, slots=True)
class Taught:
    """What was taken down, and a request that it applies to, with what becomes of it."""

    preference: Preference
    example_query: str
    example_rewrite: str


@dataclass(frozen=True, slots=True)
class ForgottenUser:
    """What was removed. `in_bundle`: the bundle `bundle_version` was built from turns of this user; they are served no
    longer, and the next build leaves them out."""

    turns: int
    preferences: int
    in_bundle: bool
    bundle_version: str
