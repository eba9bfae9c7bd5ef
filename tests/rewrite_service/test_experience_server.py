"""Hold-out and retirement as a client of a running server meets them."""

from __future__ import annotations

from conftest import NOON, Launch, a_request, a_turn

from rewrite_service.arms import Arm, arm_of
from rewrite_service.pb import rewrite_pb2 as pb

HEARD, ASKED = "play we don't talk about brew no", "play we don't talk about bruno"
BRUNO = pb.Interpretation(
    intent="music.song", slots={"artist": "encanto cast", "song": "we don't talk about bruno"}
)
HOUR_MS = 3_600_000
SHARE, SALT = 0.5, "of this test"


def in_arm(arm: Arm) -> str:
    return next(user for n in range(99) if arm_of(user := f"user-{n}", SHARE, SALT) is arm)


def test_a_client_meets_arms_and_retired_rewrites(launch: Launch) -> None:
    server = launch(holdout_share=SHARE, holdout_salt=SALT)
    held, served = in_arm(Arm.HOLD_OUT), in_arm(Arm.SERVED)

    def heard(at: int, user: str) -> pb.RewriteRequest:
        context = pb.Context(has_screen=True, device_type="display")
        at_ms = NOON + 120 * 24 * HOUR_MS + at * HOUR_MS
        return a_request(
            interaction_id=f"{user}-{at}", user_id=user, query=HEARD, timestamp_ms=at_ms, asr_confidence=0.8,
            context=context,
        )  # fmt: skip

    reply = server.stub.Rewrite(heard(0, held), timeout=60)
    assert (reply.decision, reply.text, reply.reason) == (pb.DECISION_PASS, "", pb.REASON_HOLD_OUT)
    assert reply.probability > 0.5
    served_with: list[str] = []  # another text may take the first one's place, and fails as well
    for at in range(12):
        request = heard(at, served)
        reply = server.stub.Rewrite(request, timeout=60)
        if not reply.text:
            break
        served_with.append(reply.text)
        turn = a_turn(
            interaction_id=request.interaction_id, user_id=served, query=HEARD, timestamp_ms=request.timestamp_ms,
            context=request.context, interpretation=BRUNO,
            feedback=pb.Feedback(barge_in=True, explicit=pb.EXPLICIT_NO, dwell_s=0.5),
        )  # fmt: skip
        late = pb.FeedbackEvent(
            user_id=served, interaction_id=turn.interaction_id, feedback=turn.feedback, rewritten_query=reply.text
        )
        server.stub.Record(pb.RecordRequest(interactions=[turn], feedback=[late]), timeout=60)
    assert len(served_with) > 1 and served_with[0] == ASKED, "one failure is no proof"
    assert (reply.decision, reply.reason) == (pb.DECISION_PASS, pb.REASON_RETIRED)
    explained = server.stub.Explain(pb.ExplainRequest(request=heard(at, served)), timeout=60)
    found = next(c for c in explained.candidates if c.text == ASKED)
    assert found.retired and 0.9 < found.harm <= 1
    arms = {(line["arm"], line["reason"]) for line in server.log() if line["event"] == "rewrite"}
    assert arms == {("hold_out", "hold_out"), ("served", "confident"), ("served", "retired")}
    assert HEARD not in server.log_file.read_text() and ASKED not in server.log_file.read_text()
