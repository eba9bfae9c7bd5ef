"""A small voice assistant on a terminal that lets the query-rewrite service mend what it heard, and tells it what came
of each turn. Its understanding is that of the sample log's assistant: some rules and names.

    make run                                             # in one terminal
    .venv/bin/python docs/examples/voice_assistant.py    # in another; type "play ago", then "no", then Ctrl-D

A line is what was heard. "stop" breaks an answer off, "no" and "yes" say what it was like: they are feedback on the
turn before, as is the time until the next request. Where the service is slow or gone, the assistant goes on with what
it heard.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable

from retriever.normalise import normalise
from rewrite_service.client import (
    Answer,
    Client,
    ClientOptions,
    Context,
    Explicit,
    Feedback,
    Interpretation,
    Outcome,
    Recorder,
)
from rewrite_service.sample.assistant import Household, interpret

REACTIONS = {
    "stop": Feedback(barge_in=True),
    "no": Feedback(explicit=Explicit.NO),
    "yes": Feedback(explicit=Explicit.YES),
}
HOME = Household(appliances=(("kitchen", "light"), ("bedroom", "light"), ("bedroom", "fan")), contacts=("anna", "ben"))


class Assistant:
    """One user's assistant on a device with a screen. `hear` each request, `react` to the answer."""

    def __init__(self, client: Client, recorder: Recorder, user_id: str, room: str) -> None:
        self._client, self._recorder, self._user_id = client, recorder, user_id
        self._context = Context(device_id=f"{user_id}-terminal", device_type="display", has_screen=True, room=room)
        self._turn: tuple[Answer, float] | None = None

    def hear(self, query: str) -> str:
        """Answers a request; what it was served with and what came of it goes to the service in the background."""
        self._tell(Feedback(dwell_s=self._since()))
        answer = self._client.rewrite(query, self._user_id, context=self._context)
        meant = interpret(normalise(answer.text), HOME, self._context.room, has_screen=True)
        self._recorder.add(answer.turn(Outcome.NO_MATCH if meant is None else Outcome.OK, meant))
        self._turn = answer, time.monotonic()
        return f"{_why(answer)}\n{_said(meant)}"

    def react(self, feedback: Feedback) -> None:
        """What the user made of the last answer."""
        self._tell(feedback)
        self._turn = None

    def _tell(self, feedback: Feedback) -> None:
        if self._turn is not None:
            self._recorder.add(self._turn[0].late(feedback))

    def _since(self) -> float | None:
        return None if self._turn is None else time.monotonic() - self._turn[1]


def _why(answer: Answer) -> str:
    if answer.rewritten:
        return f"  asked {answer.text!r} instead: {answer.reason}, {answer.probability:.3f}"
    return f"  asked as heard: {answer.reason}"


def _said(meant: Interpretation | None) -> str:
    if meant is None:
        return "assistant: sorry, I don't know that one"
    return f"assistant: {meant.intent} " + " ".join(f"{name}={value!r}" for name, value in meant.slots)


def talk(assistant: Assistant, lines: Iterable[str]) -> None:
    """Until the lines end."""
    for line in lines:
        said = line.strip()
        if said in REACTIONS:
            assistant.react(REACTIONS[said])
        elif said:
            print(f"you: {said}\n{assistant.hear(said)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="127.0.0.1:50051", help="the service; dns:///name:port for several")
    parser.add_argument("--user", default="cleo")
    parser.add_argument("--room", default="living room")
    parser.add_argument("--deadline-ms", type=float, default=25.0, help="for a rewrite; then it goes on without")
    given = parser.parse_args()
    options = ClientOptions.from_environment(deadline_ms=given.deadline_ms)
    with Client(given.target, options) as client, Recorder(client) as recorder:
        if not client.connect(timeout_s=1):
            print("the service does not answer; going on without it", file=sys.stderr)
        talk(Assistant(client, recorder, given.user, given.room), sys.stdin)
        told = recorder.close(timeout_s=2)
    print(f"recorded {told.recorded} turns and reactions, {told.dropped} dropped, {told.refused} refused")


if __name__ == "__main__":
    main()
