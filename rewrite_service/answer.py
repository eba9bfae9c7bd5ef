"""The decision on a request whose candidates were ranked: what was chosen, with its figures and the reason."""

from __future__ import annotations

from ranker.feature_input import FeatureInput
from ranker.policy import Policy
from ranker.retirement import Choice
from rewrite_service.decision import Decision, Reason, ScoredCandidate
from rewrite_service.explanation import layer_of
from rewrite_service.stages import StageClock


def answer(
    x: FeatureInput,
    choice: Choice,
    policy: Policy,
    clock: StageClock,
    explained: tuple[ScoredCandidate, ...],
    bundle_version: str,
) -> Decision:
    """`policy`: by which `choice` was made among the candidates of `x`. `explained`: for `Explain` alone."""
    verdict = choice.verdict
    assert verdict.best is not None
    return Decision(
        text=x.candidates[verdict.best].text if choice.accepted else None,
        reason=_reason(choice, policy),
        probability=verdict.probability,
        margin=verdict.margin,
        win=verdict.win,
        layer=layer_of(x, x.candidates[verdict.best]),
        bundle_version=bundle_version,
        stage_us=clock.stage_us,
        skipped=tuple(clock.skipped),
        candidates=explained,
        trial=choice.trial,
    )


def _reason(choice: Choice, policy: Policy) -> Reason:
    verdict = choice.verdict
    if choice.accepted:
        return Reason.CONFIDENT
    if choice.retired:
        return Reason.RETIRED
    if verdict.win < policy.least_win and verdict.leave >= verdict.win:
        return Reason.LEAVE_IS_BETTER
    if verdict.probability < policy.threshold or verdict.win < policy.least_win:
        return Reason.BELOW_THRESHOLD
    return Reason.BELOW_MARGIN
